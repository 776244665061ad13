//! Moments of the crate `jiff` as values: the feature `jiff`.
//!
//! Each travels as text of one length, so that sorting texts sorts moments (of the years 0 to
//! 9999). Six digits follow the second, as many as PostgreSQL keeps: what is smaller is cut off.
//!
//! In a column of text every engine keeps them, and its own functions read them:
//! [SQLite](https://www.sqlite.org/lang_datefunc.html#time_values),
//! [PostgreSQL](https://www.postgresql.org/docs/current/datatype-datetime.html),
//! [MySQL](https://dev.mysql.com/doc/refman/8.4/en/datetime.html). PostgreSQL takes them for its
//! columns of times, too, and MySQL all but a `Timestamp`, whose zone it does not read. Such a
//! column is read with a cast: `column::text`, `CAST(column AS CHAR)`.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};

use crate::{FromValue, Value};

/// As `2026-01-02T03:04:05.000000Z`.
///
/// ```
/// use jiff::Timestamp;
/// use turnkey_storage::{FromValue, Value};
///
/// let moment: Timestamp = "2026-01-02T03:04:05+01:00".parse()?;
/// let value = Value::from(moment);
/// assert_eq!(value, Value::from("2026-01-02T02:04:05.000000Z"));
/// assert_eq!(Timestamp::from_value(&value), Some(moment));
/// # Ok::<_, jiff::Error>(())
/// ```
impl From<Timestamp> for Value {
    fn from(moment: Timestamp) -> Self {
        Value::Text(format!("{moment:.6}"))
    }
}

/// As `2026-01-02`.
impl From<Date> for Value {
    fn from(date: Date) -> Self {
        Value::Text(date.to_string())
    }
}

/// As `03:04:05.000000`.
impl From<Time> for Value {
    fn from(time: Time) -> Self {
        Value::Text(format!("{time:.6}"))
    }
}

/// As `2026-01-02T03:04:05.000000`.
impl From<DateTime> for Value {
    fn from(moment: DateTime) -> Self {
        Value::Text(format!("{moment:.6}"))
    }
}

macro_rules! from_text {
    ($($type:ty)*) => {
        $(impl FromValue for $type {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Text(text) => text.parse().ok(),
                    _ => None,
                }
            }
        })*
    };
}

from_text! { Timestamp Date Time DateTime }

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn text(value: impl Into<Value>) -> String {
        String::from_value(&value.into()).unwrap()
    }

    #[test]
    fn texts_sort_as_moments_do() {
        let at = |ns: i128| Timestamp::from_nanosecond(ns).unwrap();
        let moments = [
            at(-1_500_000_000),
            at(0),
            at(999_999_999),
            at(1_000_000_000),
            at(1_500_000_000),
        ];
        assert!(moments.map(text).is_sorted());
    }

    #[test]
    fn each_comes_back() {
        let moment: DateTime = "2026-01-02T03:04:05.678901".parse().unwrap();
        assert_eq!(DateTime::from_value(&moment.into()), Some(moment));
        assert_eq!(Date::from_value(&moment.date().into()), Some(moment.date()));
        assert_eq!(Time::from_value(&moment.time().into()), Some(moment.time()));
        assert_eq!(Timestamp::from_value(&Value::Integer(0)), None);
        assert_eq!(Timestamp::from_value(&Value::from("tomorrow")), None);
    }

    /// What SQLite, and PostgreSQL in a cast to text, make of them.
    #[test]
    fn engines_understand_them() {
        let moment: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        let seconds = Connection::open_in_memory().unwrap().query_row(
            "SELECT unixepoch(?1)",
            [text(moment)],
            |row| row.get(0),
        );
        assert_eq!(seconds, Ok(moment.as_second()));
        for theirs in ["2026-01-02 03:04:05.678+00", "2026-01-02 04:04:05.678+01"] {
            assert_eq!(Timestamp::from_value(&Value::from(theirs)), Some(moment));
        }
        let local = Value::from("2026-01-02 03:04:05");
        assert_eq!(
            DateTime::from_value(&local).map(text).unwrap(),
            "2026-01-02T03:04:05.000000"
        );
    }
}
