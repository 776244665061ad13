//! Converts result values for the author.
//!
//! Used by `author.rs`. Types that [`Value`] lacks are refused, with advice.

use std::sync::Arc;

use mysql_async::consts::ColumnType;
use mysql_async::{Column, Row as MyRow, Value as My};

use crate::{Error, Result, Row, Value};

/// The number of the character set of what is no text.
const BINARY: u16 = 63;

/// The rows of an answer.
pub(super) fn rows(rows: Vec<MyRow>) -> Result<Vec<Row>> {
    let Some(first) = rows.first() else {
        return Ok(Vec::new());
    };
    let names: Arc<[String]> = first
        .columns_ref()
        .iter()
        .map(|column| column.name_str().into_owned())
        .collect();
    rows.into_iter()
        .map(|row| {
            let columns = row.columns();
            let values = row
                .unwrap()
                .into_iter()
                .zip(columns.iter())
                .map(|(value, column)| convert(value, column))
                .collect::<Result<_>>()?;
            Ok(Row::new(names.clone(), values))
        })
        .collect()
}

fn convert(value: My, column: &Column) -> Result<Value> {
    let refuse = |what: &str| {
        Err(Error::Statement(format!(
            "column {:?} holds {what}, which cannot be read; cast it in the query, as in CAST({} AS CHAR)",
            column.name_str(),
            column.name_str()
        )))
    };
    Ok(match value {
        My::NULL => Value::Null,
        My::Int(v) => Value::Integer(v),
        My::UInt(v) => match i64::try_from(v) {
            Ok(v) => Value::Integer(v),
            Err(_) => return refuse("a number larger than a signed 64-bit integer"),
        },
        My::Float(v) => Value::Real(v.into()),
        My::Double(v) => Value::Real(v),
        My::Date(..) | My::Time(..) => return refuse("a date or a time"),
        My::Bytes(bytes) => match column.column_type() {
            ColumnType::MYSQL_TYPE_DECIMAL | ColumnType::MYSQL_TYPE_NEWDECIMAL => {
                decimal(&bytes)
                    .ok_or_else(|| Error::Statement("a decimal number cannot be read".to_owned()))?
            }
            // At most 64 of them, the highest first.
            ColumnType::MYSQL_TYPE_BIT => Value::Integer(
                bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | i64::from(*byte)),
            ),
            // Always in utf8mb4, whatever is said of it.
            ColumnType::MYSQL_TYPE_JSON => text(bytes)?,
            _ if column.character_set() == BINARY => Value::Blob(bytes),
            _ => text(bytes)?,
        },
    })
}

fn text(bytes: Vec<u8>) -> Result<Value> {
    String::from_utf8(bytes)
        .map(Value::Text)
        .map_err(|_| Error::Statement("a text is not UTF-8".to_owned()))
}

/// A decimal, such as the sum of a BIGINT column: an integer if it is one.
fn decimal(digits: &[u8]) -> Option<Value> {
    let digits = std::str::from_utf8(digits).ok()?;
    match digits.parse() {
        Ok(whole) => Some(Value::Integer(whole)),
        Err(_) => digits.parse().ok().map(Value::Real),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_an_integer_or_a_real() {
        for (digits, value) in [
            ("0", Value::Integer(0)),
            ("-42", Value::Integer(-42)),
            ("0.5000", Value::Real(0.5)),
            (
                "9223372036854775808",
                Value::Real(9_223_372_036_854_775_808.0),
            ),
        ] {
            assert_eq!(decimal(digits.as_bytes()), Some(value));
        }
        assert_eq!(decimal(b"x"), None);
    }
}
