//! MySQL's tables and rows, for a copy.
//!
//! Used by `mod.rs` and `inserts.rs`. Names match as written or in another case. Our outbox and history
//! have the dialog's key where other engines have its number: the column `dialog` is converted
//! both ways.

use mysql_async::Value as My;
use mysql_async::prelude::Queryable;
use tokio::sync::mpsc;

use super::super::conn::{Columns, Conn, Tried};
use super::super::errors::Failed;
use super::super::literal::Sql;
use super::super::schema;
use crate::copy::{Batch, Rows, Table};
use crate::{Result, Value};

/// A column as the server has it.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// How a column's values travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
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
    pub(super) fn put(self, sql: &mut Sql, value: &Value) -> std::result::Result<(), &'static str> {
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
pub(super) async fn columns(conn: &mut Conn, name: &str, table: &Table) -> Tried<Vec<Column>> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
