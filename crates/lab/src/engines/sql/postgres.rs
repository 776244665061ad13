//! A workload's connection to PostgreSQL.

use std::collections::BTreeMap;

use bytes::BytesMut;
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Statement};
use turnkey_storage::Value;

use super::super::super::order::Load;
use super::super::super::servers::postgres_admin::connect;
use super::super::super::workload::Dialect;
use super::super::postgres::config;
use super::server::{Connection, Refusal};

/// A connection with its prepared statements: as many as a workload has.
pub(super) struct Postgres {
    client: Client,
    statements: BTreeMap<String, Statement>,
}

/// A value as the column's type has it: a file does not say which integers are long.
#[derive(Debug)]
struct Param(Value);

impl ToSql for Param {
    fn to_sql(
        &self,
        kind: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Integer(number) => match *kind {
                Type::INT2 => i16::try_from(*number)?.to_sql(kind, out),
                Type::INT4 => i32::try_from(*number)?.to_sql(kind, out),
                Type::FLOAT8 => (*number as f64).to_sql(kind, out),
                Type::TEXT | Type::VARCHAR => number.to_string().to_sql(kind, out),
                _ => number.to_sql(kind, out),
            },
            Value::Real(number) => number.to_sql(kind, out),
            Value::Text(text) => text.to_sql(kind, out),
            Value::Blob(bytes) => bytes.to_sql(kind, out),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

fn refusal(error: &tokio_postgres::Error) -> Refusal {
    let code = error.code().map(|code| code.code().to_owned());
    Refusal {
        kind: match &code {
            Some(code) => format!("SQLSTATE {code}"),
            None => "connection".to_owned(),
        },
        is_certain: code.is_some(),
        // Serialization failures, deadlocks, locks that were not to be had.
        is_passing: code.is_some_and(|code| matches!(code.as_str(), "40001" | "40P01" | "55P03")),
        words: match error.as_db_error() {
            Some(said) => format!("PostgreSQL: {}", said.message()),
            None => error.to_string(),
        },
    }
}

/// Types that the answer of an invariant may have.
fn number(row: &tokio_postgres::Row) -> Option<i64> {
    match *row.columns().first()?.type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(0).ok()?,
        Type::INT4 => row.try_get::<_, Option<i32>>(0).ok()?.map(i64::from),
        Type::INT2 => row.try_get::<_, Option<i16>>(0).ok()?.map(i64::from),
        _ => None,
    }
}

impl Connection for Postgres {
    const DIALECT: Dialect = Dialect::Postgres;

    async fn open(load: &Load) -> crate::error::Result<Self> {
        Ok(Postgres {
            client: connect(&config(load)?).await?,
            statements: BTreeMap::new(),
        })
    }

    async fn batch(&mut self, sql: &str) -> Result<(), Refusal> {
        self.client
            .batch_execute(sql)
            .await
            .map_err(|e| refusal(&e))
    }

    async fn step(&mut self, sql: &str, values: Vec<Value>) -> Result<Option<i64>, Refusal> {
        let statement = match self.statements.get(sql) {
            Some(statement) => statement.clone(),
            None => {
                let prepared = self.client.prepare(sql).await.map_err(|e| refusal(&e))?;
                self.statements.insert(sql.to_owned(), prepared.clone());
                prepared
            }
        };
        let params: Vec<Param> = values.into_iter().map(Param).collect();
        let params: Vec<&(dyn ToSql + Sync)> =
            params.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
        let rows = self.client.query(&statement, &params).await;
        let rows = rows.map_err(|e| refusal(&e))?;
        Ok(rows.first().and_then(number))
    }

    async fn close(self) -> crate::error::Result<()> {
        Ok(())
    }
}
