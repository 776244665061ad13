//! A workload on a database server, a plain transaction each, over a pool of connections:
//! what `mysql-plain` and `postgres-plain` have in common. Each statement is prepared once
//! on each connection.
//!
//! Bound: that of [`Pool`].

use std::collections::BTreeMap;
use std::rc::Rc;

use turnkey_storage::Value;

use super::super::super::measure::Meter;
use super::super::super::order::{Load, Window};
use super::super::super::workload::{Dialect, Prepared, Workload};
use super::super::lanes::{self, Pool};
use super::super::plain::Ended;
use super::{Ready, draws, ready, rows, tables, values};
use crate::error::Error;

/// A connection that does one statement at a time.
pub(super) trait Connection: Sized {
    const DIALECT: Dialect;

    async fn open(load: &Load) -> crate::error::Result<Self>;

    /// Without parameters and rows.
    async fn batch(&mut self, sql: &str) -> Result<(), Refusal>;

    /// All its rows are fetched; the first column of the first one, if it is a number.
    async fn step(&mut self, sql: &str, values: Vec<Value>) -> Result<Option<i64>, Refusal>;

    async fn close(self) -> crate::error::Result<()>;
}

/// Why a statement failed.
pub(super) struct Refusal {
    /// In few words, to be counted.
    pub(super) kind: String,
    /// The server said no; otherwise nobody knows.
    pub(super) is_certain: bool,
    /// Another try may succeed: a deadlock, say.
    pub(super) is_passing: bool,
    pub(super) words: String,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Error::Start(refusal.words)
    }
}

pub(super) fn fill<C: Connection>(load: &Load, workload: &Workload) -> crate::error::Result<()> {
    let runtime = super::super::runtime()?;
    let mut conn = runtime.block_on(C::open(load))?;
    runtime.block_on(async {
        for sql in tables(workload, C::DIALECT)? {
            conn.batch(&sql).await?;
        }
        Ok::<_, Error>(())
    })?;
    rows(load, workload, C::DIALECT, |part| {
        runtime.block_on(async {
            conn.batch("BEGIN").await?;
            for (statement, values) in part {
                conn.step(&statement.sql, values).await?;
            }
            Ok(conn.batch("COMMIT").await?)
        })
    })?;
    runtime.block_on(conn.close())
}

pub(super) fn turns<C: Connection + 'static>(
    load: &Load,
    workload: &Workload,
    start: impl FnOnce() -> crate::error::Result<Window>,
) -> crate::error::Result<Meter> {
    let transactions = Rc::new(ready(workload, C::DIALECT)?);
    let draws = Rc::new(draws(load, workload));
    lanes::local(async {
        let pool = Pool::open(load, C::open).await?;
        let meter = Meter::of_kinds(start()?, &workload.names())?;
        let meter = lanes::run(load, meter, |lane, pace, meter| {
            let pool = pool.clone();
            let (transactions, draws) = (transactions.clone(), draws.clone());
            async move {
                while let Some(began) = pace.next().await {
                    let kind = draws.transaction();
                    let Some(transaction) = transactions.get(kind) else {
                        return Err(Error::msg("a transaction that is not there"));
                    };
                    let drawn = draws.all(&transaction.parameters, lane);
                    let mut conn = pool.take().await?;
                    // A deadlock is the loser's to try again, as long as the window is open.
                    loop {
                        let ended = once(&mut conn, transaction, &drawn).await?;
                        let mut meter = meter.borrow_mut();
                        match ended {
                            Ended::Acknowledged => meter.acknowledge_kind(kind, began),
                            Ended::Uncertain(word) => {
                                meter.error(word);
                                meter.uncertain_kind(kind);
                            }
                            Ended::Refused(word) => {
                                meter.error(word);
                                if !meter.is_over() {
                                    continue;
                                }
                            }
                        }
                        break;
                    }
                    pool.give_back(conn);
                }
                Ok(())
            }
        });
        let meter = meter.await?;
        for conn in pool.leave() {
            conn.close().await?;
        }
        Ok(meter)
    })
}

/// A refusal that is none of those that pass ends the measurement.
async fn once<C: Connection>(
    conn: &mut C,
    transaction: &Ready,
    drawn: &BTreeMap<String, Value>,
) -> crate::error::Result<Ended> {
    let alone = transaction.statements.len() == 1;
    let refused = match all(conn, transaction, drawn, alone).await {
        Ok(()) => return Ok(Ended::Acknowledged),
        Err(refused) => refused,
    };
    if !refused.is_certain {
        return Ok(Ended::Uncertain(refused.kind));
    }
    if !refused.is_passing {
        return Err(refused.into());
    }
    if !alone {
        conn.batch("ROLLBACK").await?;
    }
    Ok(Ended::Refused(refused.kind))
}

async fn all<C: Connection>(
    conn: &mut C,
    transaction: &Ready,
    drawn: &BTreeMap<String, Value>,
    alone: bool,
) -> Result<(), Refusal> {
    if !alone {
        conn.batch("BEGIN").await?;
    }
    for statement in &transaction.statements {
        conn.step(&statement.sql, values(statement, drawn)).await?;
    }
    if !alone {
        conn.batch("COMMIT").await?;
    }
    Ok(())
}

/// What queries of one whole number answer.
pub(super) fn ask<C: Connection>(
    load: &Load,
    queries: &[Prepared],
) -> crate::error::Result<Vec<i64>> {
    super::super::runtime()?.block_on(async {
        let mut conn = C::open(load).await?;
        let mut answers = Vec::new();
        for query in queries {
            let answer = conn.step(&query.sql, Vec::new()).await?;
            answers.push(answer.ok_or_else(|| {
                Error::Start(format!("the invariant {:?} is no whole number", query.sql))
            })?);
        }
        conn.close().await?;
        Ok(answers)
    })
}
