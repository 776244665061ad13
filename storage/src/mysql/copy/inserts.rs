//! Rows as INSERTs, for a copy.
//!
//! Used by `mod.rs` only. Invariant: a value that a column cannot keep exactly is refused, with
//! a sentence. Bound: that of the caller on the bytes of a statement.

use std::collections::HashMap;

use super::super::conn::{Columns, Conn, Tried};
use super::super::literal::Sql;
use super::rows::{Column, Kind, columns, find, quoted};
use crate::copy::{Rows, Table};
use crate::{DialogKey, Value};

/// A batch of rows as INSERTs.
pub(super) struct Inserts<'a> {
    table: &'a Table,
    columns: Vec<Column>,
    /// The keys of the dialogs that the rows name.
    dialogs: HashMap<i64, DialogKey>,
    head: String,
    rows: std::slice::Iter<'a, Vec<Value>>,
    /// A row that had no room in the one before.
    left: Option<Sql>,
}

impl<'a> Inserts<'a> {
    pub(super) async fn new(conn: &mut Conn, table: &'a Table, rows: &'a Rows) -> Tried<Self> {
        let name = find(conn, &table.name).await?.unwrap_or_default();
        let columns = columns(conn, &name, table).await?;
        let mut dialogs = HashMap::new();
        if let Some(at) = columns.iter().position(|c| c.kind == Kind::Dialog) {
            let mut ask = Sql::new("SELECT id,user_id,channel FROM turnkey_dialog WHERE id IN ");
            ask.numbers(rows.iter().filter_map(|row| match row[at] {
                Value::Integer(id) => Some(id as u64),
                _ => None,
            }));
            for answer in conn.run(&ask).await? {
                for mut row in answer.rows {
                    dialogs.insert(row.number(0)?, row.dialog(1)?);
                }
            }
        }
        let names = columns.iter().map(|column| match column.kind {
            Kind::Dialog => "user_id,channel".to_owned(),
            _ => quoted(&column.name),
        });
        let names: Vec<String> = names.collect();
        Ok(Inserts {
            table,
            head: format!(
                "INSERT INTO {} ({}) VALUES ",
                quoted(&name),
                names.join(",")
            ),
            columns,
            dialogs,
            rows: rows.iter(),
            left: None,
        })
    }

    /// The next one, of no more bytes than `bound` unless a single row has more; a
    /// sentence when a value cannot be kept.
    pub(super) fn next(&mut self, bound: usize) -> Option<std::result::Result<Sql, String>> {
        let mut insert: Option<Sql> = None;
        loop {
            let row = match self.left.take() {
                Some(row) => row,
                None => match self.rows.next().map(|row| self.row(row)) {
                    None => return insert.map(Ok),
                    Some(Err(sentence)) => return Some(Err(sentence)),
                    Some(Ok(row)) => row,
                },
            };
            match &mut insert {
                None => {
                    let mut first = Sql::new(&self.head);
                    first.push(&row.0);
                    insert = Some(first);
                }
                Some(sql) if sql.0.len() + 1 + row.0.len() <= bound => {
                    sql.push(",").push(&row.0);
                }
                Some(_) => {
                    self.left = Some(row);
                    return insert.map(Ok);
                }
            }
        }
    }

    /// In brackets.
    fn row(&self, row: &[Value]) -> std::result::Result<Sql, String> {
        let mut sql = Sql::new("(");
        for (at, (column, value)) in self.columns.iter().zip(row).enumerate() {
            if at > 0 {
                sql.push(",");
            }
            if let (Kind::Dialog, Value::Integer(id)) = (column.kind, value) {
                let dialog = self.dialogs.get(id).ok_or_else(|| {
                    format!(
                        "a row of {} belongs to no dialog; run check on the database that is copied from",
                        self.table.name
                    )
                })?;
                sql.key(dialog);
                continue;
            }
            column.kind.put(&mut sql, value).map_err(|why| {
                format!("the column {} of {} {why}", column.name, self.table.name)
            })?;
        }
        sql.push(")");
        Ok(sql)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(columns: &[&str]) -> Table {
        Table {
            name: "t`x".to_owned(),
            columns: columns.iter().map(|c| (*c).to_owned()).collect(),
            key: 0,
            ours: false,
        }
    }

    fn inserts<'a>(table: &'a Table, rows: &'a Rows, kinds: &[Kind]) -> Inserts<'a> {
        let columns = kinds.iter().zip(&table.columns).map(|(kind, name)| Column {
            name: name.clone(),
            kind: *kind,
        });
        Inserts {
            table,
            columns: columns.collect(),
            dialogs: HashMap::new(),
            head: "+".to_owned(),
            rows: rows.iter(),
            left: None,
        }
    }

    #[test]
    fn rows_are_put_together_up_to_a_bound() {
        let table = table(&["n"]);
        let rows: Rows = [1, 2, 3, 123_456_789, 4].map(|n| vec![n.into()]).into();
        let mut inserts = inserts(&table, &rows, &[Kind::Integer]);
        let mut all = Vec::new();
        while let Some(insert) = inserts.next(8) {
            all.push(insert.unwrap().0);
        }
        assert_eq!(all, ["+(1),(2)", "+(3)", "+(123456789)", "+(4)"]);
    }
}
