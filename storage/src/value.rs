//! Values, statements and rows: how an author's own SQL travels to an engine and
//! back. Plain data, the same for every engine.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::{DialogKey, Error, Result, row};

/// A value of a column or a parameter.
///
/// ```
/// use turnkey_storage::Value;
///
/// assert_eq!(Value::from("tea"), Value::Text("tea".to_owned()));
/// assert_eq!(Value::from(true), Value::Integer(1));
/// assert_eq!(Value::from(None::<u32>), Value::Null);
/// ```
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
    i8 => |v: i8| Value::Integer(v.into()),
    isize => |v: isize| Value::Integer(v as i64),
    u64 => unsigned,
    usize => |v: usize| unsigned(v as u64),
    f32 => |v: f32| Value::Real(v.into()),
    bool => |v: bool| Value::Integer(v.into()),
    f64 => Value::Real,
    String => Value::Text,
    &str => |v: &str| Value::Text(v.to_owned()),
    &String => |v: &String| Value::Text(v.clone()),
    Vec<u8> => Value::Blob,
    &[u8] => |v: &[u8]| Value::Blob(v.to_vec()),
    &Vec<u8> => |v: &Vec<u8>| Value::Blob(v.clone()),
    std::borrow::Cow<'_, str> => |v: std::borrow::Cow<'_, str>| Value::Text(v.into_owned()),
}

/// One above `i64::MAX` is a floating point number, as SQLite reads such a literal; a server
/// refuses it for a column of integers.
fn unsigned(value: u64) -> Value {
    i64::try_from(value).map_or(Value::Real(value as f64), Value::Integer)
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

/// The parameters of a statement: `()`, a tuple of up to twelve values, an array or a `Vec` of
/// values, or a single value. (A `Vec<u8>` by itself is a list of numbers: bytes by themselves
/// are written `(bytes,)`.)
///
/// ```
/// use turnkey_storage::{Params, Value};
///
/// assert_eq!(7.into_values(), [Value::Integer(7)]);
/// assert_eq!(("tea", 2, 0.5).into_values().len(), 3);
/// assert_eq!((vec![1_u8, 2],).into_values(), [Value::Blob(vec![1, 2])]);
/// // Values of several types in a number that is not known before:
/// let list: Vec<Value> = vec!["tea".into(), 2.into()];
/// assert_eq!(list.into_values().len(), 2);
/// ```
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

macro_rules! params_for_one {
    ($($type:ty)*) => {
        $(impl Params for $type {
            fn into_values(self) -> Vec<Value> {
                vec![self.into()]
            }
        })*
    };
}

params_for_one! {
    i64 i32 i16 i8 isize u64 u32 u16 u8 usize bool f64 f32 String &str &String Value
    std::borrow::Cow<'_, str>
}

impl<T: Into<Value>> Params for Option<T> {
    fn into_values(self) -> Vec<Value> {
        vec![self.into()]
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
    (A, B, C, D, E, F, G, H, I) (A, B, C, D, E, F, G, H, I, J)
    (A, B, C, D, E, F, G, H, I, J, K) (A, B, C, D, E, F, G, H, I, J, K, L)
}

/// One SQL statement with its parameters, written `?1`, `?2` …
///
/// ```
/// use turnkey_storage::Statement;
///
/// let statement = Statement::new("INSERT INTO orders (item, count) VALUES (?1, ?2)", ("tea", 2));
/// assert_eq!(statement.params.len(), 2);
/// ```
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
///
/// ```
/// use turnkey_storage::{Result, Row};
///
/// #[derive(serde::Deserialize)]
/// struct Order { item: String, count: u32, note: Option<String> }
///
/// fn read(row: &Row) -> Result<u32> {
///     let first: String = row.get(0)?;         // by its place
///     let count: u32 = row.get("count")?;      // by its name
///     let order: Order = row.to()?;            // by the names of the fields
///     let (item, again): (String, u32) = row.to()?; // by the order of the columns
///     assert_eq!((first, count), (item, again));
///     Ok(order.count + order.item.len() as u32 + u32::from(order.note.is_some()))
/// }
/// ```
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

    /// The value of a column: by its name, or by its place, from 0.
    ///
    /// # Errors
    /// [`Error::Statement`] when there is no such column or it holds another type.
    pub fn get<T: FromValue>(&self, column: impl Column) -> Result<T> {
        let value = column
            .place(&self.columns)
            .and_then(|place| self.values.get(place))
            .ok_or_else(|| Error::Statement(format!("the answer has no column {column:?}")))?;
        T::from_value(value).ok_or_else(|| {
            Error::Statement(format!(
                "column {column:?} holds {value:?}, which is not a {}",
                std::any::type_name::<T>()
            ))
        })
    }

    /// The row as a struct of yours, whose fields have the names of columns. Others are left
    /// out. A tuple has the columns in their order.
    ///
    /// # Errors
    /// [`Error::Statement`]: which field is missing, or holds another type.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T> {
        row::read(&self.columns, &self.values)
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

/// What names a column of a [`Row`]: its name, or its place, from 0.
///
/// ```
/// use turnkey_storage::Column;
///
/// let columns = ["item".to_owned(), "count".to_owned()];
/// assert_eq!("count".place(&columns), Some(1));
/// assert_eq!(2.place(&columns), None);
/// ```
pub trait Column: std::fmt::Debug {
    /// Its place among these, if there is such a column.
    fn place(&self, columns: &[String]) -> Option<usize>;
}

impl Column for str {
    fn place(&self, columns: &[String]) -> Option<usize> {
        columns.iter().position(|name| name == self)
    }
}

impl Column for String {
    fn place(&self, columns: &[String]) -> Option<usize> {
        self.as_str().place(columns)
    }
}

impl<T: Column + ?Sized> Column for &T {
    fn place(&self, columns: &[String]) -> Option<usize> {
        (**self).place(columns)
    }
}

impl Column for usize {
    fn place(&self, columns: &[String]) -> Option<usize> {
        (*self < columns.len()).then_some(*self)
    }
}

/// A Rust type that a column's value can be read as.
///
/// ```
/// use turnkey_storage::{FromValue, Value};
///
/// /// A day, kept as `2026-01-02`.
/// struct Day(String);
///
/// impl FromValue for Day {
///     fn from_value(value: &Value) -> Option<Self> {
///         String::from_value(value).filter(|text| text.len() == 10).map(Day)
///     }
/// }
/// assert!(Day::from_value(&Value::from("2026-01-02")).is_some());
/// ```
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

macro_rules! from_integer {
    ($($type:ty)*) => {
        $(impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                i64::from_value(value)?.try_into().ok()
            }
        })*
    };
}

from_integer! { i32 i16 i8 isize u64 u32 u16 u8 usize }

impl FromValue for f32 {
    fn from_value(value: &Value) -> Option<Self> {
        f64::from_value(value).map(|v| v as f32)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_what_one_writes() {
        let values = |statement: Statement| statement.params;
        assert_eq!(values(Statement::new("", 7_u64)), [Value::Integer(7)]);
        assert_eq!(values(Statement::new("", "x")), [Value::from("x")]);
        assert_eq!(values(Statement::new("", None::<i64>)), [Value::Null]);
        let mixed = (1_u64, 0.5_f32, true, Some("x"), vec![1_u8], 3_usize);
        let expected = [
            Value::Integer(1),
            Value::Real(0.5),
            Value::Integer(1),
            Value::from("x"),
            Value::Blob(vec![1]),
            Value::Integer(3),
        ];
        assert_eq!(values(Statement::new("", mixed)), expected);
        assert_eq!(Value::from(u64::MAX), Value::Real(u64::MAX as f64));
    }

    #[test]
    fn a_column_has_a_name_and_a_place() {
        let columns = Arc::from(["n".to_owned(), "text".to_owned()]);
        let row = Row::new(columns, vec![Value::Integer(300), Value::from("x")]);
        assert_eq!(row.get::<u64>(0).unwrap(), 300);
        assert_eq!(row.get::<i32>("n").unwrap(), 300);
        assert_eq!(row.get::<f32>("n").unwrap(), 300.0);
        assert_eq!(row.get::<String>(1).unwrap(), "x");
        assert!(row.get::<u8>(0).is_err(), "it does not fit");
        assert!(row.get::<u8>(2).is_err() && row.get::<u8>("m").is_err());
        let (n, text): (u64, String) = row.to().unwrap();
        assert_eq!((n, text.as_str()), (300, "x"));
    }
}
