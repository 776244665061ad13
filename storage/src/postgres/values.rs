//! The author's values on their way to the server and back.
//!
//! Used by `author.rs`. Parameters travel as text, which the server reads as whatever type it
//! expects: an integer for a `boolean` or a `numeric`, a text for a `timestamptz`, a `uuid` or
//! a `jsonb`. Results come in the server's binary format; types that [`Value`] lacks are
//! refused, with advice.

use std::error::Error as StdError;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type};

use crate::{Error, Result, Row, Value};

type Failed = Box<dyn StdError + std::marker::Sync + Send>;

/// A parameter.
#[derive(Debug)]
pub(super) struct Param<'a>(pub(super) &'a Value);

impl ToSql for Param<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> std::result::Result<IsNull, Failed> {
        match self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::Integer(v) => out.put_slice(v.to_string().as_bytes()),
            Value::Real(v) => out.put_slice(v.to_string().as_bytes()),
            Value::Text(v) if v.contains('\0') => {
                return Err(
                    "PostgreSQL's text cannot hold a NUL character; keep it as bytes".into(),
                );
            }
            Value::Text(v) => out.put_slice(v.as_bytes()),
            Value::Blob(v) => {
                out.put_slice(b"\\x");
                for byte in v {
                    out.put_slice(format!("{byte:02x}").as_bytes());
                }
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A column of a result.
struct Column(Value);

impl<'a> FromSql<'a> for Column {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> std::result::Result<Self, Failed> {
        Ok(Column(match *ty {
            Type::BOOL => Value::Integer(bool::from_sql(ty, raw)?.into()),
            Type::INT2 => Value::Integer(i16::from_sql(ty, raw)?.into()),
            Type::INT4 => Value::Integer(i32::from_sql(ty, raw)?.into()),
            Type::INT8 => Value::Integer(i64::from_sql(ty, raw)?),
            Type::OID => Value::Integer(u32::from_sql(ty, raw)?.into()),
            Type::FLOAT4 => Value::Real(f32::from_sql(ty, raw)?.into()),
            Type::FLOAT8 => Value::Real(f64::from_sql(ty, raw)?),
            Type::NUMERIC => numeric(raw)?,
            Type::BYTEA => Value::Blob(raw.to_vec()),
            Type::JSONB => {
                Value::Text(std::str::from_utf8(raw.get(1..).unwrap_or_default())?.to_owned())
            }
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::JSON | Type::UNKNOWN => {
                Value::Text(std::str::from_utf8(raw)?.to_owned())
            }
            _ => {
                return Err(format!(
                    "a value of type {ty} cannot be read; cast it in the query, as in column::text"
                )
                .into());
            }
        }))
    }

    fn from_sql_null(_: &Type) -> std::result::Result<Self, Failed> {
        Ok(Column(Value::Null))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A `numeric`, such as the sum of a BIGINT column: an integer if it is one.
/// Four 16-bit fields (digits, weight, sign, scale), then digits to the base 10,000
/// (numeric_send in the server's source).
fn numeric(raw: &[u8]) -> std::result::Result<Value, Failed> {
    let words: Vec<i16> = raw
        .chunks_exact(2)
        .map(|pair| i16::from_be_bytes([pair[0], pair[1]]))
        .collect();
    let [_, weight, sign, _, digits @ ..] = &words[..] else {
        return Err("a numeric that is cut off".into());
    };
    if !matches!(sign, 0 | 0x4000) {
        return Ok(Value::Real(f64::NAN)); // NaN or infinite.
    }
    let weight = i32::from(*weight);
    let negative = *sign != 0;
    if digits.len() as i32 <= weight + 1 {
        let whole = (0..=weight).try_fold(0_i64, |sum, place| {
            let digit = digits.get(place as usize).copied().unwrap_or(0);
            let digit = i64::from(if negative { -digit } else { digit });
            sum.checked_mul(10_000)?.checked_add(digit)
        });
        if let Some(whole) = whole {
            return Ok(Value::Integer(whole));
        }
    }
    let size = digits.iter().enumerate().fold(0.0, |sum, (place, digit)| {
        sum + f64::from(*digit) * 10_000_f64.powi(weight - place as i32)
    });
    Ok(Value::Real(if negative { -size } else { size }))
}

/// The rows of an answer.
pub(super) fn rows(rows: &[tokio_postgres::Row]) -> Result<Vec<Row>> {
    let Some(first) = rows.first() else {
        return Ok(Vec::new());
    };
    let columns: Arc<[String]> = first
        .columns()
        .iter()
        .map(|c| c.name().to_owned())
        .collect();
    rows.iter()
        .map(|row| Ok(Row::new(columns.clone(), of_row(row)?)))
        .collect()
}

/// The values of a row.
pub(super) fn of_row(row: &tokio_postgres::Row) -> Result<Vec<Value>> {
    (0..row.len())
        .map(|index| {
            row.try_get::<_, Column>(index)
                .map(|column| column.0)
                .map_err(|e| Error::Statement(super::errors::words(&e)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_is_an_integer_or_a_real() {
        let raw =
            |words: &[i16]| -> Vec<u8> { words.iter().flat_map(|w| w.to_be_bytes()).collect() };
        for (words, value) in [
            (&[0, 0, 0, 0][..], Value::Integer(0)),
            (&[1, 0, 0, 0, 42], Value::Integer(42)),
            (&[1, 1, 0x4000, 0, 3], Value::Integer(-30_000)),
            (&[2, 0, 0, 1, 1, 5000], Value::Real(1.5)),
            (&[1, -1, 0, 2, 2500], Value::Real(0.25)),
            (
                &[5, 4, 0, 0, 922, 3372, 368, 5477, 5807],
                Value::Integer(i64::MAX),
            ),
            (&[1, 5, 0, 0, 1], Value::Real(1e20)),
        ] {
            assert_eq!(numeric(&raw(words)).unwrap(), value);
        }
        assert!(numeric(&[0, 1]).is_err());
    }
}
