//! MySQL or MariaDB with a plain transaction for each turn: `mysql-plain`.
//!
//! Two statements travel in one text, so a turn is two round trips. Prepared ones
//! travel one by one, which takes four. The texts hold no user's input: ids and states
//! here have no quote and no backslash. Bounds: `pool` connections a process; a turn
//! waits for one in line.

use std::cell::RefCell;
use std::rc::Rc;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error as My};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

use super::super::measure::{self, Meter};
use super::super::order::{Load, Window};
use super::super::servers::mysql_admin::connect;
use super::super::state::{self, Random};
use crate::error::Error;

/// Users made in one statement.
const FILLING: u64 = 1000;

pub(super) fn fill(load: &Load) -> crate::Result<()> {
    super::runtime()?.block_on(async {
        let mut conn = connect(&load.url).await?;
        conn.query_drop(
            "CREATE TABLE state (user_id VARBINARY(64) NOT NULL PRIMARY KEY, state LONGTEXT NOT NULL)
             ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        )
        .await?;
        let state = state::padded(0, load.state_bytes);
        conn.query_drop(format!("SET @state = '{state}'")).await?;
        let mut user = 0;
        while user < load.users {
            let end = (user + FILLING).min(load.users);
            let rows: Vec<String> = (user..end)
                .map(|user| format!("('{}', @state)", state::user_id(user)))
                .collect();
            conn.query_drop(format!("INSERT INTO state VALUES {}", rows.join(",")))
                .await?;
            user = end;
        }
        Ok(conn.disconnect().await?)
    })
}

enum Failure {
    My(My),
    Other(Error),
}

impl From<My> for Failure {
    fn from(error: My) -> Self {
        Failure::My(error)
    }
}

/// The state that a text's second statement reads. An error of either shows.
async fn read(conn: &mut Conn, user: &str) -> Result<Option<String>, My> {
    let text = format!("BEGIN; SELECT state FROM state WHERE user_id = '{user}' FOR UPDATE");
    let mut answers = conn.query_iter(text).await?;
    answers.collect::<mysql_async::Row>().await?;
    let state = answers.collect::<String>().await?.pop();
    answers.drop_result().await?;
    Ok(state)
}

async fn turn(conn: &mut Conn, user: &str, bytes: usize) -> Result<(), Failure> {
    let read = read(conn, user).await?;
    let state = state::next(read.as_deref(), bytes).map_err(Failure::Other)?;
    let text = format!("UPDATE state SET state = '{state}' WHERE user_id = '{user}'; COMMIT");
    Ok(conn.query_drop(text).await?)
}

pub(super) fn turns(
    load: &Load,
    start: impl FnOnce() -> crate::Result<Window>,
) -> crate::Result<Meter> {
    let runtime = super::runtime()?;
    LocalSet::new().block_on(&runtime, async {
        let mut pool = Vec::new();
        for _ in 0..load.pool.min(load.in_flight).max(1) {
            pool.push(connect(&load.url).await?);
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
                    let Some(mut conn) = pool.borrow_mut().pop() else {
                        return Err(Error::msg("a permit without a connection"));
                    };
                    let done = turn(&mut conn, &user, load.state_bytes).await;
                    let failed = done.is_err();
                    note(done, &meter, began)?;
                    if failed {
                        conn.query_drop("ROLLBACK").await?;
                    }
                    pool.borrow_mut().push(conn);
                }
                Ok::<_, Error>(())
            });
        }
        while let Some(ended) = lanes.join_next().await {
            ended??;
        }
        for conn in pool.take() {
            conn.disconnect().await?;
        }
        let meter = Rc::try_unwrap(meter).map_err(|_| Error::msg("a lane is left"))?;
        Ok(meter.into_inner())
    })
}

fn note(done: Result<(), Failure>, meter: &RefCell<Meter>, began: u64) -> crate::Result<()> {
    let mut meter = meter.borrow_mut();
    match done {
        Ok(()) => meter.acknowledge(began),
        // What the server refused has no effect.
        Err(Failure::My(My::Server(error))) => meter.error(format!("error {}", error.code)),
        Err(Failure::My(_)) => {
            meter.error("connection".to_owned());
            meter.uncertain();
        }
        Err(Failure::Other(error)) => return Err(error),
    }
    Ok(())
}

pub(super) fn sum(load: &Load) -> crate::Result<u64> {
    super::runtime()?.block_on(async {
        let mut conn = connect(&load.url).await?;
        let sum: Option<u64> = conn
            .query_first(
                "SELECT CAST(COALESCE(SUM(JSON_EXTRACT(state, '$.count')), 0) AS UNSIGNED) FROM state",
            )
            .await?;
        conn.disconnect().await?;
        sum.ok_or_else(|| Error::Start("the server told no sum of the counters".to_owned()))
    })
}
