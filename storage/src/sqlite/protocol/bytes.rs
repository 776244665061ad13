//! Encodes and decodes the fields of messages.
//!
//! Used by `mod.rs` alone, which says which fields a message has. Integers are little endian; a
//! text, a blob or a list is its length as `u32` and its contents; an optional value is a byte
//! that says whether it is there, and the value. Invariant: whatever bytes come, decoding ends
//! with a value or an error, and allocates no more memory than they are long.

use std::sync::Arc;

use crate::{
    DialogKey, Error, Fence, Guarded, LockAfter, Outcome, Owner, Pending, ReplyId, Result, Row,
    Seen, Statement, Unsent, Value,
};

/// Something that a message may hold.
pub(super) trait Field<'a>: Sized {
    /// Writes it behind `buffer`'s content.
    fn put(&self, buffer: &mut Vec<u8>);

    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Poisoned`]: these are not its bytes.
    fn take(input: &mut Input<'a>) -> Result<Self>;
}

/// What is left to read of a frame's body.
pub(super) struct Input<'a>(pub(super) &'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = u32::take(self)? as usize;
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(garbled)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(garbled)?;
        self.0 = rest;
        Ok(*taken)
    }
}

pub(super) fn garbled() -> Error {
    Error::Poisoned("garbled message on the writer's socket".to_owned())
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Field<'_> for $integer {
            fn put(&self, buffer: &mut Vec<u8>) {
                buffer.extend_from_slice(&self.to_le_bytes());
            }

            fn take(input: &mut Input<'_>) -> Result<Self> {
                input.array().map(<$integer>::from_le_bytes)
            }
        }
    )*};
}

integers!(u8, u32, u64, i64);

impl Field<'_> for bool {
    fn put(&self, buffer: &mut Vec<u8>) {
        buffer.push(u8::from(*self));
    }

    fn take(input: &mut Input<'_>) -> Result<Self> {
        u8::take(input).map(|byte| byte != 0)
    }
}

impl<'a> Field<'a> for &'a [u8] {
    fn put(&self, buffer: &mut Vec<u8>) {
        (self.len() as u32).put(buffer);
        buffer.extend_from_slice(self);
    }

    fn take(input: &mut Input<'a>) -> Result<Self> {
        input.bytes()
    }
}

impl<'a> Field<'a> for &'a str {
    fn put(&self, buffer: &mut Vec<u8>) {
        self.as_bytes().put(buffer);
    }

    fn take(input: &mut Input<'a>) -> Result<Self> {
        std::str::from_utf8(input.bytes()?).map_err(|_| garbled())
    }
}

impl Field<'_> for String {
    fn put(&self, buffer: &mut Vec<u8>) {
        self.as_str().put(buffer);
    }

    fn take(input: &mut Input<'_>) -> Result<Self> {
        <&str>::take(input).map(str::to_owned)
    }
}

/// Bytes of our own: a list of them would be read one by one.
#[derive(Debug)]
pub(super) struct Blob(pub(super) Vec<u8>);

impl Field<'_> for Blob {
    fn put(&self, buffer: &mut Vec<u8>) {
        self.0.as_slice().put(buffer);
    }

    fn take(input: &mut Input<'_>) -> Result<Self> {
        input.bytes().map(|bytes| Blob(bytes.to_vec()))
    }
}

impl<'a, T: Field<'a>> Field<'a> for Option<T> {
    fn put(&self, buffer: &mut Vec<u8>) {
        self.is_some().put(buffer);
        if let Some(it) = self {
            it.put(buffer);
        }
    }

    fn take(input: &mut Input<'a>) -> Result<Self> {
        match bool::take(input)? {
            true => T::take(input).map(Some),
            false => Ok(None),
        }
    }
}

impl<'a, T: Field<'a>> Field<'a> for Vec<T> {
    fn put(&self, buffer: &mut Vec<u8>) {
        (self.len() as u32).put(buffer);
        for item in self {
            item.put(buffer);
        }
    }

    /// The count is not trusted for the allocation: a garbled one must not ask for
    /// gigabytes.
    fn take(input: &mut Input<'a>) -> Result<Self> {
        let count = u32::take(input)? as usize;
        let mut items = Vec::with_capacity(count.min(input.0.len()));
        for _ in 0..count {
            items.push(T::take(input)?);
        }
        Ok(items)
    }
}

impl<'a, A: Field<'a>, B: Field<'a>> Field<'a> for (A, B) {
    fn put(&self, buffer: &mut Vec<u8>) {
        self.0.put(buffer);
        self.1.put(buffer);
    }

    fn take(input: &mut Input<'a>) -> Result<Self> {
        Ok((A::take(input)?, B::take(input)?))
    }
}

/// The bytes of a struct are those of its fields, in this order.
macro_rules! structs {
    ($($name:ident { $($field:tt: $type:ty),* })*) => {$(
        impl Field<'_> for $name {
            fn put(&self, buffer: &mut Vec<u8>) {
                $(self.$field.put(buffer);)*
            }

            fn take(input: &mut Input<'_>) -> Result<Self> {
                Ok($name { $($field: <$type as Field<'_>>::take(input)?),* })
            }
        }
    )*};
}

structs! {
    DialogKey { channel: String, user_id: String }
    Fence { 0: u64 }
    Owner { 0: u64 }
    ReplyId { turn: Fence, index: u32 }
    Unsent { id: ReplyId, body: String }
    Statement { sql: String, params: Vec<Value> }
    Guarded { statement: Statement, rows: Option<u64> }
}

/// The names of the columns stand once.
impl Field<'_> for Outcome {
    fn put(&self, buffer: &mut Vec<u8>) {
        self.changed.put(buffer);
        let columns = self.rows.first().map(Row::columns).unwrap_or_default();
        (columns.len() as u32).put(buffer);
        for column in columns {
            column.put(buffer);
        }
        (self.rows.len() as u32).put(buffer);
        for value in self.rows.iter().flat_map(Row::values) {
            value.put(buffer);
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Self> {
        let changed = u64::take(input)?;
        let columns: Arc<[String]> = Vec::take(input)?.into();
        let count = u32::take(input)? as usize;
        // A row takes bytes, so that a garbled count must not ask for gigabytes.
        if columns.is_empty() && count > 0 {
            return Err(garbled());
        }
        let mut rows = Vec::with_capacity(count.min(input.0.len()));
        for _ in 0..count {
            let values = columns.iter().map(|_| Value::take(input));
            rows.push(Row::new(columns.clone(), values.collect::<Result<_>>()?));
        }
        Ok(Outcome { changed, rows })
    }
}

impl Field<'_> for Seen {
    fn put(&self, buffer: &mut Vec<u8>) {
        self.digest.as_slice().put(buffer);
        self.answer.as_slice().put(buffer);
    }

    fn take(input: &mut Input<'_>) -> Result<Self> {
        Ok(Seen {
            digest: Blob::take(input)?.0,
            answer: Blob::take(input)?.0,
        })
    }
}

impl Field<'_> for Pending {
    fn put(&self, buffer: &mut Vec<u8>) {
        self.dialog.put(buffer);
        self.update.put(buffer);
        self.arrived.put(buffer);
        self.body.as_slice().put(buffer);
        self.attempts.put(buffer);
        self.due.put(buffer);
        self.error.put(buffer);
    }

    fn take(input: &mut Input<'_>) -> Result<Self> {
        Ok(Pending {
            dialog: DialogKey::take(input)?,
            update: String::take(input)?,
            arrived: i64::take(input)?,
            body: Blob::take(input)?.0,
            attempts: u32::take(input)?,
            due: i64::take(input)?,
            error: Field::take(input)?,
        })
    }
}

impl Field<'_> for LockAfter {
    fn put(&self, buffer: &mut Vec<u8>) {
        (*self == LockAfter::GivenBack).put(buffer);
    }

    fn take(input: &mut Input<'_>) -> Result<Self> {
        Ok(match bool::take(input)? {
            true => LockAfter::GivenBack,
            false => LockAfter::Kept,
        })
    }
}

impl Field<'_> for Value {
    fn put(&self, buffer: &mut Vec<u8>) {
        match self {
            Value::Null => buffer.push(0),
            Value::Integer(v) => {
                buffer.push(1);
                v.put(buffer);
            }
            Value::Real(v) => {
                buffer.push(2);
                v.to_bits().put(buffer);
            }
            Value::Text(v) => {
                buffer.push(3);
                v.put(buffer);
            }
            Value::Blob(v) => {
                buffer.push(4);
                v.as_slice().put(buffer);
            }
        }
    }

    fn take(input: &mut Input<'_>) -> Result<Self> {
        Ok(match u8::take(input)? {
            0 => Value::Null,
            1 => Value::Integer(i64::take(input)?),
            2 => Value::Real(f64::from_bits(u64::take(input)?)),
            3 => Value::Text(String::take(input)?),
            4 => Value::Blob(Blob::take(input)?.0),
            _ => return Err(garbled()),
        })
    }
}

impl Field<'_> for Error {
    fn put(&self, buffer: &mut Vec<u8>) {
        let none = String::new();
        let opening;
        let (kind, text): (u8, &String) = match self {
            Error::Busy(text) => (0, text),
            Error::Unavailable(text) => (1, text),
            Error::Full => (2, &none),
            Error::Stale => (3, &none),
            Error::Seen => (4, &none),
            Error::Statement(text) => (5, text),
            Error::Open(why) | Error::NotYet(why) => {
                opening = why.to_string();
                (6, &opening)
            }
            Error::Poisoned(text) | Error::Undone(text) => (7, text),
            Error::Rows {
                statement,
                expected,
                found,
            } => {
                opening = format!("{statement} {expected} {found}");
                (8, &opening)
            }
        };
        kind.put(buffer);
        text.put(buffer);
    }

    fn take(input: &mut Input<'_>) -> Result<Self> {
        let kind = u8::take(input)?;
        let text = String::take(input)?;
        Ok(match kind {
            0 => Error::Busy(text),
            1 => Error::Unavailable(text),
            2 => Error::Full,
            3 => Error::Stale,
            4 => Error::Seen,
            5 => Error::Statement(text),
            6 => Error::open(text),
            7 => Error::Poisoned(text),
            8 => {
                let mut numbers = text.split(' ').map(str::parse);
                let mut next = || numbers.next().and_then(|n| n.ok()).ok_or_else(garbled);
                Error::Rows {
                    statement: next()? as usize,
                    expected: next()?,
                    found: next()?,
                }
            }
            _ => return Err(garbled()),
        })
    }
}
