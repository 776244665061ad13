//! PostgreSQL with a plain transaction for each turn: `postgres-plain`.
//!
//! The pool is `plain.rs`'s.

use tokio_postgres::{Client, Config, Statement};

use super::super::order::{Load, SyncLevel};
use super::super::servers::postgres_admin::{connect, parse};
use super::super::state;
use super::plain::{Connection, Ended};
use crate::error::Error;

pub(super) fn config(load: &Load) -> crate::error::Result<Config> {
    let mut config = parse(&load.url)?;
    config.options(match load.sync {
        SyncLevel::Full => "-c synchronous_commit=on",
        SyncLevel::Normal => "-c synchronous_commit=off",
    });
    Ok(config)
}

pub(super) fn fill(load: &Load) -> crate::error::Result<()> {
    super::runtime()?.block_on(async {
        let client = connect(&config(load)?).await?;
        // Room on each page, as in our own table: a new state stays beside the old.
        client
            .batch_execute(
                "CREATE TABLE state (user_id TEXT COLLATE \"C\" PRIMARY KEY, state TEXT NOT NULL)
                 WITH (fillfactor = 70)",
            )
            .await?;
        client
            .execute(
                "INSERT INTO state SELECT 'u' || n, $1 FROM generate_series(0, $2::bigint - 1) AS n",
                &[&state::padded(0, load.state_bytes), &(load.users as i64)],
            )
            .await?;
        Ok(())
    })
}

/// A connection with the statements of a turn.
pub(super) struct Prepared {
    client: Client,
    select: Statement,
    update: Statement,
}

impl Prepared {
    /// Two round trips: calls that are awaited together travel together.
    async fn try_turn(&self, user: &str, bytes: usize) -> Result<(), Failure> {
        let (begun, read) = tokio::join!(self.client.batch_execute("BEGIN"), async {
            self.client.query_one(&self.select, &[&user]).await
        });
        begun?;
        let state = state::next(Some(read?.get(0)), bytes).map_err(Failure::Other)?;
        let (updated, committed) = tokio::join!(
            async { self.client.execute(&self.update, &[&user, &state]).await },
            self.client.batch_execute("COMMIT")
        );
        updated?;
        committed.map_err(Failure::Commit)
    }
}

enum Failure {
    Before(tokio_postgres::Error),
    /// It may have been committed.
    Commit(tokio_postgres::Error),
    Other(Error),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Failure::Before(error)
    }
}

impl Connection for Prepared {
    async fn open(load: &Load) -> crate::error::Result<Self> {
        let client = connect(&config(load)?).await?;
        Ok(Prepared {
            select: client
                .prepare("SELECT state FROM state WHERE user_id = $1 FOR UPDATE")
                .await?,
            update: client
                .prepare("UPDATE state SET state = $2 WHERE user_id = $1")
                .await?,
            client,
        })
    }

    async fn turn(&mut self, user: &str, bytes: usize) -> crate::error::Result<Ended> {
        let kind = |e: &tokio_postgres::Error| match e.code() {
            Some(code) => format!("SQLSTATE {}", code.code()),
            None => "connection".to_owned(),
        };
        match self.try_turn(user, bytes).await {
            Ok(()) => Ok(Ended::Acknowledged),
            Err(Failure::Before(error)) => Ok(Ended::Refused(kind(&error))),
            Err(Failure::Commit(error)) => Ok(Ended::Uncertain(kind(&error))),
            Err(Failure::Other(error)) => Err(error),
        }
    }

    async fn roll_back(&mut self) -> crate::error::Result<()> {
        Ok(self.client.batch_execute("ROLLBACK").await?)
    }

    async fn close(self) -> crate::error::Result<()> {
        Ok(())
    }
}

pub(super) fn sum(load: &Load) -> crate::error::Result<u64> {
    super::runtime()?.block_on(async {
        let client = connect(&config(load)?).await?;
        let row = client
            .query_one(
                "SELECT coalesce(sum((state::json ->> 'count')::bigint), 0)::bigint FROM state",
                &[],
            )
            .await?;
        Ok(row.get::<_, i64>(0) as u64)
    })
}
