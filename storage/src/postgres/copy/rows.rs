//! PostgreSQL's tables and rows, for a copy.
//!
//! Used by `mod.rs` only. Names match as written or in lower case, which is what PostgreSQL
//! makes of unquoted names.

use std::pin::pin;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::super::text::{original, stored};
use super::super::{Server, errors, values};
use crate::copy::{Batch, Rows, Table};
use crate::{Result, Value};

type Asked<T> = std::result::Result<T, tokio_postgres::Error>;

/// A column as the server has it.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Type,
}

/// An identifier as SQL takes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's name as the server has it; none when there is no such table.
pub(super) async fn find(client: &Client, table: &str) -> Asked<Option<String>> {
    let rows = client
        .query(
            "SELECT relname::text FROM pg_class
             WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
                 AND (relname = $1::text OR relname = lower($1::text))
             ORDER BY relname = $1::text DESC LIMIT 1",
            &[&table],
        )
        .await?;
    Ok(rows.first().map(|row| row.get(0)))
}

/// Those that can be written: generated ones make themselves.
pub(super) async fn all_columns(client: &Client, name: &str) -> Asked<Vec<Column>> {
    let rows = client
        .query(
            "SELECT a.attname::text, a.atttypid FROM pg_attribute a
             JOIN pg_class t ON t.oid = a.attrelid
             WHERE t.relname = $1 AND t.relnamespace = current_schema()::regnamespace
                 AND t.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
                 AND a.attgenerated = ''
             ORDER BY a.attnum",
            &[&name],
        )
        .await?;
    Ok(rows
        .iter()
        .map(|row| Column {
            name: row.get(0),
            // What is not built in travels as text.
            kind: Type::from_oid(row.get(1)).unwrap_or(Type::UNKNOWN),
        })
        .collect())
}

/// The table's columns in the order of its rows.
pub(super) async fn columns(client: &Client, table: &Table) -> Asked<Vec<Column>> {
    let name = find(client, &table.name).await?.unwrap_or_default();
    let mut there = all_columns(client, &name).await?;
    let mut columns = Vec::new();
    for wanted in &table.columns {
        let exact = there.iter().position(|c| c.name == *wanted);
        let at = exact.or_else(|| {
            there
                .iter()
                .position(|c| c.name.eq_ignore_ascii_case(wanted))
        });
        columns.extend(at.map(|at| there.swap_remove(at)));
    }
    Ok(columns)
}

/// Whether the server's own form of the type is one of [`Value`]'s.
fn is_plain(kind: &Type) -> bool {
    matches!(
        *kind,
        Type::BOOL
            | Type::INT2
            | Type::INT4
            | Type::INT8
            | Type::OID
            | Type::FLOAT4
            | Type::FLOAT8
            | Type::BYTEA
            | Type::TEXT
            | Type::VARCHAR
            | Type::BPCHAR
            | Type::NAME
    )
}

/// One value as COPY takes it; or why it cannot be kept.
pub(super) fn put(
    out: &mut String,
    value: &Value,
    kind: &Type,
    ours: bool,
) -> std::result::Result<(), &'static str> {
    match value {
        Value::Null => out.push_str("\\N"),
        Value::Integer(v) => out.push_str(&v.to_string()),
        Value::Real(v) => out.push_str(&v.to_string()),
        Value::Blob(_) if *kind != Type::BYTEA => {
            return Err("holds bytes, which only a BYTEA column of the target can keep");
        }
        Value::Blob(v) => {
            out.push_str("\\\\x");
            for byte in v {
                for digit in [byte >> 4, byte & 15] {
                    out.extend(char::from_digit(digit.into(), 16));
                }
            }
        }
        Value::Text(_) if *kind == Type::BYTEA => {
            return Err("holds text, which is not what the target's BYTEA column is for");
        }
        Value::Text(v) if !ours && v.contains('\0') => {
            return Err(
                "holds a NUL character, which PostgreSQL's text cannot keep; make it bytes",
            );
        }
        Value::Text(v) => {
            let kept = if ours { stored(v) } else { v.as_str().into() };
            for c in kept.chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '\n' => out.push_str("\\n"),
                    '\r' => out.push_str("\\r"),
                    '\t' => out.push_str("\\t"),
                    c => out.push(c),
                }
            }
        }
    }
    Ok(())
}

/// Every row of a table, in batches.
pub(super) async fn read(
    server: &Server,
    client: &Client,
    table: &Table,
    to: &mpsc::Sender<Result<Rows>>,
) -> Result<()> {
    let fail = |e: tokio_postgres::Error| errors::open(server, &e);
    let name = find(client, &table.name)
        .await
        .map_err(fail)?
        .unwrap_or_default();
    let columns = columns(client, table).await.map_err(fail)?;
    let asked: Vec<String> = columns
        .iter()
        .map(|c| match is_plain(&c.kind) {
            true => quoted(&c.name),
            false => format!("{}::text", quoted(&c.name)),
        })
        .collect();
    let mut sql = format!("SELECT {} FROM {}", asked.join(", "), quoted(&name));
    if table.key > 0 {
        sql.push_str(" ORDER BY ");
        sql.push_str(&asked[..table.key].join(", "));
    }
    let none: [&str; 0] = [];
    let mut rows = pin!(client.query_raw(&sql, none).await.map_err(fail)?);
    let mut batch = Batch::default();
    while let Some(row) = rows.next().await {
        let mut row = values::of_row(&row.map_err(fail)?)?;
        if table.ours {
            for value in &mut row {
                if let Value::Text(text) = value {
                    *text = original(std::mem::take(text));
                }
            }
        }
        if let Some(full) = batch.add(row)
            && to.send(Ok(full)).await.is_err()
        {
            return Ok(()); // Nobody wants the rest.
        }
    }
    if let Some(rest) = batch.rest() {
        drop(to.send(Ok(rest)).await);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_takes_every_text() {
        let kept = |value: Value, kind: Type, ours: bool| {
            let mut out = String::new();
            put(&mut out, &value, &kind, ours).map(|()| out)
        };
        let awkward = Value::from("a\tb\\N\r\n\0é");
        assert_eq!(
            kept(awkward.clone(), Type::TEXT, true).unwrap(),
            "a\\tb\\\\N\\r\\n\u{1}0é"
        );
        assert!(kept(awkward, Type::TEXT, false).is_err());
        assert_eq!(kept(Value::Null, Type::TEXT, true).unwrap(), "\\N");
        let bytes = Value::from(vec![0_u8, 255]);
        assert_eq!(kept(bytes.clone(), Type::BYTEA, true).unwrap(), "\\\\x00ff");
        assert!(kept(bytes, Type::TEXT, true).is_err());
        assert!(kept("text".into(), Type::BYTEA, true).is_err());
    }
}
