//! MySQL's tables and rows, for a copy.
//!
//! Used by `mod.rs` only. Names match as written or in another case. Our outbox and history
//! have the dialog's key where other engines have its number: the column `dialog` is converted
//! both ways.

use std::collections::HashMap;

use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value as My};
use tokio::sync::mpsc;

use super::super::conn::{Columns, Conn, Tried};
use super::super::errors::Failed;
use super::super::literal::Sql;
use super::super::schema;
use crate::copy::{Batch, Rows, Table};
use crate::{DialogKey, Result, Value};

/// A column as the server has it.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    kind: Kind,
}

/// How a column's values travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Whole numbers, as far as they go into an `i64`.
    Integer,
    /// The same, which the server shows as bytes.
    Bit,
    /// The server shows six digits of it, unless it is made a double.
    Float,
    Double,
    /// Decimals and times too: as the server writes them.
    Text,
    Bytes,
    /// Text of ours that is compared byte by byte.
    Key,
    /// The number of the dialog whose key the table has.
    Dialog,
}

impl Kind {
    /// By its name in information_schema.
    fn of(data_type: &str, ours: bool) -> Self {
        match data_type {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => Kind::Integer,
            "bit" => Kind::Bit,
            "float" => Kind::Float,
            "double" => Kind::Double,
            "varbinary" if ours => Kind::Key,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob"
            | "geometry" | "point" | "linestring" | "polygon" | "multipoint"
            | "multilinestring" | "multipolygon" | "geometrycollection" | "geomcollection"
            | "vector" => Kind::Bytes,
            _ => Kind::Text,
        }
    }

    /// One value as the server showed it.
    fn value(self, shown: My) -> Tried<Value> {
        let odd = Failed::Odd("a value is not what its column says");
        let bytes = match shown {
            My::NULL => return Ok(Value::Null),
            My::Bytes(bytes) => bytes,
            _ => return Err(odd),
        };
        if self == Kind::Bytes {
            return Ok(Value::Blob(bytes));
        }
        let text = String::from_utf8(bytes).map_err(|_| Failed::Odd("a text is not UTF-8"))?;
        Ok(match self {
            Kind::Integer | Kind::Bit | Kind::Dialog => match text.parse() {
                Ok(number) => Value::Integer(number),
                Err(_) => Value::Text(text), // Unsigned ones can be larger.
            },
            Kind::Float | Kind::Double => Value::Real(text.parse().map_err(|_| odd)?),
            Kind::Text | Kind::Key | Kind::Bytes => Value::Text(text),
        })
    }

    /// Writes one value; or why it cannot be kept.
    fn put(self, sql: &mut Sql, value: &Value) -> std::result::Result<(), &'static str> {
        match (value, self) {
            (Value::Null, _) => sql.push("NULL"),
            (Value::Real(v), _) if !v.is_finite() => {
                return Err("holds NaN or an infinity, which MySQL cannot keep; change it first");
            }
            // A number would be a place in an ENUM, or a time.
            (Value::Integer(v), Kind::Text) => sql.text(&v.to_string()),
            (Value::Real(v), Kind::Text) => sql.text(&v.to_string()),
            (Value::Integer(v), _) => sql.number(v),
            // With an exponent it is a double, and not a decimal.
            (Value::Real(v), _) => sql.number(format_args!("{v:e}")),
            (Value::Text(v), Kind::Key) => sql.bytes(v.as_bytes()),
            (Value::Text(_), Kind::Bytes) => {
                return Err("holds text, which is not what the target's BLOB column is for");
            }
            (Value::Text(v), _) => sql.text(v),
            (Value::Blob(v), Kind::Bytes) => sql.bytes(v),
            (Value::Blob(_), _) => {
                return Err("holds bytes, which only a BLOB column of the target can keep");
            }
        };
        Ok(())
    }
}

/// An identifier as SQL takes it.
pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The author's tables.
pub(super) async fn tables(conn: &mut Conn) -> Tried<Vec<String>> {
    let ask = format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE {} \
         AND LEFT(TABLE_NAME,8)<>'turnkey_' ORDER BY TABLE_NAME",
        schema::TABLES
    );
    texts(conn, &Sql::new(&ask)).await
}

/// A table's name as the server has it; none when there is no such table.
pub(super) async fn find(conn: &mut Conn, table: &str) -> Tried<Option<String>> {
    let mut ask = Sql::new("SELECT TABLE_NAME FROM information_schema.TABLES WHERE ");
    ask.push(schema::TABLES)
        .push(" AND LOWER(TABLE_NAME)=LOWER(")
        .text(table)
        .push(") ORDER BY CAST(TABLE_NAME AS BINARY)=")
        .bytes(table.as_bytes())
        .push(" DESC LIMIT 1");
    Ok(texts(conn, &ask).await?.pop())
}

async fn texts(conn: &mut Conn, ask: &Sql) -> Tried<Vec<String>> {
    let mut texts = Vec::new();
    for answer in conn.run(ask).await? {
        for mut row in answer.rows {
            texts.push(row.text(0)?);
        }
    }
    Ok(texts)
}

/// Those that can be written: generated ones make themselves.
pub(super) async fn all_columns(conn: &mut Conn, name: &str) -> Tried<Vec<Column>> {
    let ours = name.starts_with("turnkey_");
    let mut ask = Sql::new(
        "SELECT COLUMN_NAME,DATA_TYPE FROM information_schema.COLUMNS \
         WHERE TABLE_SCHEMA=DATABASE() AND COALESCE(GENERATION_EXPRESSION,'')='' \
         AND TABLE_NAME=",
    );
    ask.text(name).push(" ORDER BY ORDINAL_POSITION");
    let mut columns = Vec::new();
    for answer in conn.run(&ask).await? {
        for mut row in answer.rows {
            columns.push(Column {
                name: row.text(0)?,
                kind: Kind::of(&row.text(1)?.to_lowercase(), ours),
            });
        }
    }
    Ok(columns)
}

/// The table's columns in the order of its rows.
async fn columns(conn: &mut Conn, name: &str, table: &Table) -> Tried<Vec<Column>> {
    let mut there = all_columns(conn, name).await?;
    let mut columns = Vec::new();
    for wanted in &table.columns {
        // Names of columns have no case.
        let same = |c: &Column| c.name.to_lowercase() == wanted.to_lowercase();
        match there.iter().position(same) {
            Some(at) => columns.push(there.swap_remove(at)),
            None if table.ours && wanted == "dialog" => columns.push(Column {
                name: wanted.clone(),
                kind: Kind::Dialog,
            }),
            None => return Err(Failed::Odd("a table was changed meanwhile")),
        }
    }
    Ok(columns)
}

/// The question for every row of a table.
fn question(name: &str, columns: &[Column], table: &Table) -> String {
    let shown = |column: &Column| {
        let name = quoted(&column.name);
        match column.kind {
            Kind::Dialog => "d.id".to_owned(),
            Kind::Bit => format!("t.{name}+0"),
            Kind::Float => format!("t.{name}+0e0"),
            _ => format!("t.{name}"),
        }
    };
    let asked: Vec<String> = columns.iter().map(shown).collect();
    let mut sql = format!("SELECT {} FROM {} t", asked.join(","), quoted(name));
    let by_dialog = columns.iter().any(|c| c.kind == Kind::Dialog);
    if name == "turnkey_dialog" {
        sql.push_str(" FORCE INDEX (id)");
    } else if by_dialog {
        sql.push_str(
            " FORCE INDEX (PRIMARY) STRAIGHT_JOIN turnkey_dialog d FORCE INDEX (PRIMARY) \
             ON d.user_id=t.user_id AND d.channel=t.channel",
        );
    }
    let key = columns[..table.key].iter().map(|column| match column.kind {
        Kind::Dialog => "t.user_id,t.channel".to_owned(),
        _ => shown(column),
    });
    let key: Vec<String> = key.collect();
    if !key.is_empty() {
        sql.push_str(" ORDER BY ");
        sql.push_str(&key.join(","));
    }
    sql
}

/// Every row of a table, in batches.
pub(super) async fn read(
    conn: &mut Conn,
    table: &Table,
    to: &mpsc::Sender<Result<Rows>>,
) -> Tried<()> {
    let name = find(conn, &table.name).await?.unwrap_or_default();
    let columns = columns(conn, &name, table).await?;
    let sql = question(&name, &columns, table);
    let mut rows = conn.my.query_iter(sql).await?;
    let mut batch = Batch::default();
    while let Some(row) = rows.next().await? {
        let row = columns
            .iter()
            .zip(row.unwrap())
            .map(|(column, shown)| column.kind.value(shown))
            .collect::<Tried<_>>()?;
        if let Some(full) = batch.add(row)
            && to.send(Ok(full)).await.is_err()
        {
            return Ok(()); // Nobody wants the rest.
        }
    }
    rows.drop_result().await?;
    if let Some(rest) = batch.rest() {
        drop(to.send(Ok(rest)).await);
    }
    Ok(())
}

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

/// A foreign key.
pub(super) struct Reference {
    pub(super) child: String,
    pub(super) parent: String,
    parent_schema: String,
    /// Of the child, and what they refer to.
    columns: Vec<(String, String)>,
}

impl Reference {
    /// The question how many rows refer to none.
    pub(super) fn broken(&self) -> String {
        let pairs = || self.columns.iter().map(|(c, p)| (quoted(c), quoted(p)));
        let joined: Vec<String> = pairs().map(|(c, p)| format!("c.{c}=p.{p}")).collect();
        let there: Vec<String> = pairs().map(|(c, _)| format!("c.{c} IS NOT NULL")).collect();
        let gone: Vec<String> = pairs().map(|(_, p)| format!("p.{p} IS NULL")).collect();
        format!(
            "SELECT COUNT(*) FROM {} c LEFT JOIN {}.{} p ON {} WHERE {} AND {}",
            quoted(&self.child),
            quoted(&self.parent_schema),
            quoted(&self.parent),
            joined.join(" AND "),
            there.join(" AND "),
            gone.join(" AND "),
        )
    }
}

/// Every foreign key of one of these tables, or to one of them.
pub(super) async fn references(conn: &mut Conn, tables: &[String]) -> Tried<Vec<Reference>> {
    let ask = "SELECT CONSTRAINT_NAME,TABLE_NAME,REFERENCED_TABLE_SCHEMA,REFERENCED_TABLE_NAME,\
               COLUMN_NAME,REFERENCED_COLUMN_NAME FROM information_schema.KEY_COLUMN_USAGE \
               WHERE TABLE_SCHEMA=DATABASE() AND REFERENCED_TABLE_NAME IS NOT NULL \
               ORDER BY TABLE_NAME,CONSTRAINT_NAME,ORDINAL_POSITION";
    let mut references: Vec<(String, Reference)> = Vec::new();
    for answer in conn.run(&Sql::new(ask)).await? {
        for mut row in answer.rows {
            let row: &mut Row = &mut row;
            let (name, child) = (row.text(0)?, row.text(1)?);
            let pair = (row.text(4)?, row.text(5)?);
            match references.last_mut() {
                Some((last, reference)) if *last == name && reference.child == child => {
                    reference.columns.push(pair);
                }
                _ => references.push((
                    name,
                    Reference {
                        child,
                        parent_schema: row.text(2)?,
                        parent: row.text(3)?,
                        columns: vec![pair],
                    },
                )),
            }
        }
    }
    let named = |table: &String| tables.iter().any(|t| t.eq_ignore_ascii_case(table));
    let references = references.into_iter().map(|(_, reference)| reference);
    Ok(references
        .filter(|r| named(&r.child) || named(&r.parent))
        .collect())
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

    #[test]
    fn every_value_is_kept_or_refused() {
        let kept = |value: Value, kind: Kind| {
            let mut sql = Sql::default();
            kind.put(&mut sql, &value).map(|()| sql.0)
        };
        let put = |value: Value, kind| kept(value, kind).unwrap();
        assert_eq!(put(Value::Null, Kind::Bytes), "NULL");
        assert_eq!(put(7.into(), Kind::Text), "'7'");
        assert_eq!(put(i64::MIN.into(), Kind::Double), "-9223372036854775808");
        assert_eq!(put(0.1.into(), Kind::Double), "1e-1");
        assert_eq!(put(0.1.into(), Kind::Text), "'0.1'");
        assert_eq!(put("a'".into(), Kind::Text), r"'a\''");
        assert_eq!(put("é".into(), Kind::Key), "X'c3a9'");
        assert_eq!(put(vec![0_u8].into(), Kind::Bytes), "X'00'");
        for (value, kind) in [
            (Value::from(f64::NAN), Kind::Double),
            (f64::INFINITY.into(), Kind::Text),
            ("x".into(), Kind::Bytes),
            (vec![1_u8].into(), Kind::Text),
            (vec![1_u8].into(), Kind::Key),
        ] {
            assert!(kept(value.clone(), kind).is_err(), "{value:?} {kind:?}");
        }
    }
}
