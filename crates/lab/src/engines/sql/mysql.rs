//! A workload's connection to MySQL or MariaDB.

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error as My, Params, Row, Value as MyValue};
use turnkey_storage::Value;

use super::super::super::order::Load;
use super::super::super::servers::mysql_admin::connect;
use super::super::super::workload::Dialect;
use super::server::{Connection, Refusal};

/// A connection; the library keeps its statements prepared.
pub(super) struct Mysql(Conn);

fn param(value: Value) -> MyValue {
    match value {
        Value::Null => MyValue::NULL,
        Value::Integer(number) => MyValue::Int(number),
        Value::Real(number) => MyValue::Double(number),
        Value::Text(text) => MyValue::Bytes(text.into_bytes()),
        Value::Blob(bytes) => MyValue::Bytes(bytes),
    }
}

fn refusal(error: &My) -> Refusal {
    let server = match error {
        My::Server(server) => Some(server),
        _ => None,
    };
    Refusal {
        kind: server.map_or("connection".to_owned(), |e| format!("error {}", e.code)),
        is_certain: server.is_some(),
        // A deadlock, a lock that was not to be had, a row that changed since (MariaDB).
        is_passing: server.is_some_and(|e| matches!(e.code, 1205 | 1213 | 1020)),
        words: server.map_or_else(|| error.to_string(), |e| format!("MySQL: {}", e.message)),
    }
}

impl Connection for Mysql {
    const DIALECT: Dialect = Dialect::Mysql;

    async fn open(load: &Load) -> crate::error::Result<Self> {
        Ok(Mysql(connect(&load.url).await?))
    }

    async fn batch(&mut self, sql: &str) -> Result<(), Refusal> {
        self.0.query_drop(sql).await.map_err(|e| refusal(&e))
    }

    async fn step(&mut self, sql: &str, values: Vec<Value>) -> Result<Option<i64>, Refusal> {
        // Statements that set variables of the session cannot all be prepared.
        let rows: Result<Vec<Row>, My> = match values.is_empty() {
            true => self.0.query(sql).await,
            false => {
                let values = values.into_iter().map(param).collect();
                self.0.exec(sql, Params::Positional(values)).await
            }
        };
        let rows = rows.map_err(|e| refusal(&e))?;
        let first = rows.first().and_then(|row| row.as_ref(0));
        Ok(match first {
            Some(MyValue::Int(number)) => Some(*number),
            Some(MyValue::UInt(number)) => i64::try_from(*number).ok(),
            // A sum is a decimal, which comes as text.
            Some(MyValue::Bytes(text)) => {
                std::str::from_utf8(text).ok().and_then(|t| t.parse().ok())
            }
            _ => None,
        })
    }

    async fn close(self) -> crate::error::Result<()> {
        Ok(self.0.disconnect().await?)
    }
}
