//! Checksums of tables that are the same whatever engine holds them, and in whatever
//! order it reads them.
//!
//! A row is serialised and hashed with SHA-256; a table's checksum is the sum of its rows'
//! hashes, modulo 2^256. So two equal rows count twice. Numbers count by their value: a row
//! stays the same if an engine keeps 1 as 1.0, or a decimal as its digits.

use std::fmt;

use sha2::{Digest, Sha256};

use super::Rows;
use crate::Value;

/// A table's rows in 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checksum([u64; 4]);

impl Checksum {
    fn add_row(&mut self, row: &[Value]) {
        let mut hash = Sha256::new();
        for value in row {
            put(&mut hash, value);
        }
        let mut carry = false;
        for (sum, bytes) in self.0.iter_mut().zip(hash.finalize().chunks_exact(8)) {
            let mut part = [0; 8];
            part.copy_from_slice(bytes);
            let (with, over) = sum.overflowing_add(u64::from_le_bytes(part));
            let (with, over_again) = with.overflowing_add(carry.into());
            *sum = with;
            carry = over || over_again;
        }
    }
}

/// As 64 hexadecimal digits.
impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .rev()
            .try_for_each(|part| write!(f, "{part:016x}"))
    }
}

/// What was read of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Rows.
    pub rows: u64,
    /// Their contents.
    pub checksum: Checksum,
    pub(super) ended: bool,
}

impl Summary {
    /// Adds a batch; none at the end.
    pub(super) fn add(&mut self, rows: Option<Rows>) {
        match rows {
            Some(rows) => {
                self.rows += rows.len() as u64;
                for row in &rows {
                    self.checksum.add_row(row);
                }
            }
            None => self.ended = true,
        }
    }
}

/// One value: what it is, its length, its bytes.
fn put(hash: &mut Sha256, value: &Value) {
    let mut bytes = |kind: u8, bytes: &[u8]| {
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    match value {
        Value::Null => bytes(b'0', b""),
        // In decimal digits, as many as it takes to tell it from others.
        Value::Integer(v) => bytes(b'n', v.to_string().as_bytes()),
        Value::Real(v) => bytes(b'n', v.to_string().as_bytes()),
        Value::Text(v) if is_number(v) => bytes(b'n', v.as_bytes()),
        Value::Text(v) => bytes(b't', v.as_bytes()),
        Value::Blob(v) => bytes(b'b', v),
    }
}

/// Whether a number would be written in just this way.
fn is_number(text: &str) -> bool {
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '-') || text.len() > 400 {
        return false;
    }
    text.parse::<i64>().is_ok_and(|v| v.to_string() == text)
        || text.parse::<f64>().is_ok_and(|v| v.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(rows: &[&[Value]]) -> Checksum {
        let mut sum = Summary::default();
        sum.add(Some(rows.iter().map(|row| row.to_vec()).collect()));
        sum.checksum
    }

    #[test]
    fn the_order_of_rows_does_not_count_and_all_else_does() {
        let (a, b) = ([Value::from("a"), 1.into()], [Value::from("b"), 2.into()]);
        assert_eq!(sum(&[&a, &b]), sum(&[&b, &a]));
        assert_ne!(sum(&[&a, &a]), sum(&[&b, &b]));
        assert_ne!(sum(&[&a, &a]), sum(&[]));
        assert_ne!(sum(&[&a]), sum(&[&a, &a]));
        let one = |value: Value| sum(&[&[value]]);
        let values = [
            Value::Null,
            "".into(),
            vec![0_u8; 0].into(),
            0.into(),
            1.into(),
            0.5.into(),
            (-0.0).into(),
            "01".into(),
            "1.0".into(),
            "-".into(),
            "x".into(),
            "x\0".into(),
            b"x".to_vec().into(),
            i64::MAX.into(),
        ];
        for (n, value) in values.iter().enumerate() {
            for other in &values[n + 1..] {
                assert_ne!(
                    one(value.clone()),
                    one(other.clone()),
                    "{value:?} {other:?}"
                );
            }
        }
        assert_ne!(
            sum(&[&["ab".into(), "c".into()]]),
            sum(&[&["a".into(), "bc".into()]])
        );
    }

    #[test]
    fn numbers_count_by_their_value() {
        let one = |value: Value| sum(&[&[value]]);
        assert_eq!(one(1.into()), one(1.0.into()));
        assert_eq!(one(1.into()), one("1".into()));
        assert_eq!(one(0.1.into()), one("0.1".into()));
        assert_eq!(one(1e20.into()), one("100000000000000000000".into()));
    }
}
