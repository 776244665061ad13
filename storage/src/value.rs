//! Values, statements and rows: how an author's own SQL travels to an engine and
//! back. Plain data, the same for every engine.

use std::sync::Arc;

use crate::{DialogKey, Error, Result};

/// A value of a column or a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL NULL.
    Null,
    /// A signed integer.
    Integer(i64),
    /// A floating point number.
    Real(f64),
    /// Text; may hold NUL characters.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

macro_rules! value_from {
    ($($type:ty => $make:expr),* $(,)?) => {
        $(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                #[allow(clippy::redundant_closure_call)]
                ($make)(value)
            }
        })*
    };
}

value_from! {
    i64 => Value::Integer,
    i32 => |v: i32| Value::Integer(v.into()),
    u32 => |v: u32| Value::Integer(v.into()),
    i16 => |v: i16| Value::Integer(v.into()),
    u16 => |v: u16| Value::Integer(v.into()),
    u8 => |v: u8| Value::Integer(v.into()),
    bool => |v: bool| Value::Integer(v.into()),
    f64 => Value::Real,
    String => Value::Text,
    &str => |v: &str| Value::Text(v.to_owned()),
    &String => |v: &String| Value::Text(v.clone()),
    Vec<u8> => Value::Blob,
    &[u8] => |v: &[u8]| Value::Blob(v.to_vec()),
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// The parameters of a statement: `()`, a tuple of up to eight values, an array
/// or a `Vec` of values.
pub trait Params {
    /// The values in order.
    fn into_values(self) -> Vec<Value>;
}

impl Params for () {
    fn into_values(self) -> Vec<Value> {
        Vec::new()
    }
}

impl<T: Into<Value>> Params for Vec<T> {
    fn into_values(self) -> Vec<Value> {
        self.into_iter().map(Into::into).collect()
    }
}

impl<T: Into<Value>, const N: usize> Params for [T; N] {
    fn into_values(self) -> Vec<Value> {
        self.into_iter().map(Into::into).collect()
    }
}

macro_rules! params_for_tuples {
    ($(($($name:ident),+))*) => {
        $(impl<$($name: Into<Value>),+> Params for ($($name,)+) {
            fn into_values(self) -> Vec<Value> {
                #[allow(non_snake_case)]
                let ($($name,)+) = self;
                vec![$($name.into()),+]
            }
        })*
    };
}

params_for_tuples! {
    (A) (A, B) (A, B, C) (A, B, C, D) (A, B, C, D, E)
    (A, B, C, D, E, F) (A, B, C, D, E, F, G) (A, B, C, D, E, F, G, H)
}

/// One SQL statement with its parameters, written `?1`, `?2` …
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// The SQL, one statement.
    pub sql: String,
    /// The values of its parameters.
    pub params: Vec<Value>,
}

impl Statement {
    /// Makes a statement of its parts.
    pub fn new(sql: impl Into<String>, params: impl Params) -> Self {
        Statement {
            sql: sql.into(),
            params: params.into_values(),
        }
    }
}

/// A row of an answer.
#[derive(Clone, Debug)]
pub struct Row {
    columns: Arc<[String]>,
    values: Vec<Value>,
}

impl Row {
    /// Makes a row; every row of an answer shares the column names.
    pub(crate) fn new(columns: Arc<[String]>, values: Vec<Value>) -> Self {
        Row { columns, values }
    }

    /// The column's value.
    ///
    /// # Errors
    /// [`Error::Statement`] when there is no such column or it holds another type.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T> {
        let index = self
            .columns
            .iter()
            .position(|name| name == column)
            .ok_or_else(|| Error::Statement(format!("the answer has no column {column:?}")))?;
        let value = &self.values[index];
        T::from_value(value).ok_or_else(|| {
            Error::Statement(format!(
                "column {column:?} holds {value:?}, which is not a {}",
                std::any::type_name::<T>()
            ))
        })
    }

    /// The value of a column that is one of our keys: text, which MySQL keeps as bytes.
    pub(crate) fn key(&self, column: &str) -> Result<String> {
        match self.get::<Value>(column)? {
            Value::Blob(bytes) => String::from_utf8(bytes)
                .map_err(|_| Error::Unavailable("a key in our tables is not UTF-8".to_owned())),
            Value::Text(text) => Ok(text),
            other => Err(Error::Unavailable(format!(
                "the key {column:?} in our tables is {other:?}"
            ))),
        }
    }

    /// The same where there may be none.
    pub(crate) fn maybe_key(&self, column: &str) -> Result<Option<String>> {
        match self.get::<Value>(column)? {
            Value::Null => Ok(None),
            _ => self.key(column).map(Some),
        }
    }

    /// With every text changed.
    #[cfg(feature = "postgres")]
    pub(crate) fn map_text(mut self, change: impl Fn(String) -> String) -> Self {
        for value in &mut self.values {
            if let Value::Text(text) = value {
                *text = change(std::mem::take(text));
            }
        }
        self
    }

    /// The dialog in `user_id` and `channel`.
    pub(crate) fn dialog(&self) -> Result<DialogKey> {
        Ok(DialogKey {
            channel: self.key("channel")?,
            user_id: self.key("user_id")?,
        })
    }

    /// The values in the order of the columns.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// The columns' names.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
}

/// A Rust type that a column's value can be read as.
pub trait FromValue: Sized {
    /// The value, or none when it holds another type.
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for Value {
    fn from_value(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Integer(v) => Some(*v),
            _ => None,
        }
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value).map(|v| v != 0)
    }
}

impl FromValue for f64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Real(v) => Some(*v),
            Value::Integer(v) => Some(*v as f64),
            _ => None,
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(v) => Some(v.clone()),
            _ => None,
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Blob(v) => Some(v.clone()),
            _ => None,
        }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            other => T::from_value(other).map(Some),
        }
    }
}
