//! PostgreSQL with a plain transaction for each turn: `postgres-plain`.
//!
//! Bounds: `pool` connections a process; a turn waits for one in line.

use std::cell::RefCell;
use std::rc::Rc;

use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};
use tokio_postgres::{Client, Config, Statement};

use super::super::measure::{self, Meter};
use super::super::order::{Load, SyncLevel, Window};
use super::super::servers::postgres_admin::{connect, parse};
use super::super::state::{self, Random};
use crate::error::Error;

fn config(load: &Load) -> crate::Result<Config> {
    let mut config = parse(&load.url)?;
    config.options(match load.sync {
        SyncLevel::Full => "-c synchronous_commit=on",
        SyncLevel::Normal => "-c synchronous_commit=off",
    });
    Ok(config)
}

pub(super) fn fill(load: &Load) -> crate::Result<()> {
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
struct Prepared {
    client: Client,
    select: Statement,
    update: Statement,
}

impl Prepared {
    async fn open(load: &Load) -> crate::Result<Self> {
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

    /// Two round trips: calls that are awaited together travel together.
    async fn turn(&self, user: &str, bytes: usize) -> Result<(), Failure> {
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

pub(super) fn turns(
    load: &Load,
    start: impl FnOnce() -> crate::Result<Window>,
) -> crate::Result<Meter> {
    let runtime = super::runtime()?;
    LocalSet::new().block_on(&runtime, async {
        let mut pool = Vec::new();
        for _ in 0..load.pool.min(load.in_flight).max(1) {
            pool.push(Prepared::open(load).await?);
        }
        // First come, first served.
        let free = Rc::new(Semaphore::new(pool.len()));
        let pool = Rc::new(RefCell::new(pool));
        let meter = Rc::new(RefCell::new(Meter::new(start()?)?));
        let mut lanes = JoinSet::new();
        for lane in 0..load.in_flight {
            let (pool, free, meter, load) =
                (pool.clone(), free.clone(), meter.clone(), load.clone());
            lanes.spawn_local(async move {
                let mut random = Random::new(load.seed.wrapping_add(lane as u64 * 7919));
                while !meter.borrow().is_over() {
                    let user = state::user_id(random.below(load.users));
                    let began = measure::now();
                    let _permit = free.acquire().await?;
                    let Some(connection) = pool.borrow_mut().pop() else {
                        return Err(Error::msg("a permit without a connection"));
                    };
                    let done = connection.turn(&user, load.state_bytes).await;
                    let failed = done.is_err();
                    note(done, &meter, began)?;
                    if failed {
                        connection.client.batch_execute("ROLLBACK").await?;
                    }
                    pool.borrow_mut().push(connection);
                }
                Ok::<_, Error>(())
            });
        }
        while let Some(ended) = lanes.join_next().await {
            ended??;
        }
        let meter = Rc::try_unwrap(meter).map_err(|_| Error::msg("a lane is left"))?;
        Ok(meter.into_inner())
    })
}

fn note(done: Result<(), Failure>, meter: &RefCell<Meter>, began: u64) -> crate::Result<()> {
    let mut meter = meter.borrow_mut();
    let kind = |e: &tokio_postgres::Error| match e.code() {
        Some(code) => format!("SQLSTATE {}", code.code()),
        None => "connection".to_owned(),
    };
    match done {
        Ok(()) => meter.acknowledge(began),
        Err(Failure::Before(error)) => meter.error(kind(&error)),
        Err(Failure::Commit(error)) => {
            meter.error(kind(&error));
            meter.uncertain();
        }
        Err(Failure::Other(error)) => return Err(error),
    }
    Ok(())
}

pub(super) fn sum(load: &Load) -> crate::Result<u64> {
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
