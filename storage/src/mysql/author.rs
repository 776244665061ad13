//! The author's own SQL: turns with statements or relays, and queries.
//!
//! Used by [`ServerStorage`](crate::lanes::ServerStorage). It has its own connections, so that
//! a slow statement holds up no lane. A turn with statements is its own transaction: the
//! statements, then what the lanes write; any failure rolls it back. The dialog's lock row is
//! taken last, so that nobody waits for it while a statement runs. Bounds: three quarters of
//! the pool's connections, [`MAX_STATEMENT`] for each statement.

use std::sync::Weak;
use std::time::Duration;

use mysql_async::Row as MyRow;
use mysql_async::prelude::Queryable;

use super::calls::Calls;
use super::conn::Tried;
use super::errors::{self, Failed};
use super::literal::Sql;
use super::server::Server;
use super::session::Purpose;
use super::sql::{self, Prepared};
use super::values;
use super::wire::Look;
use super::writing::is_guard;
use crate::lanes::bounds::MAX_STATEMENT;
use crate::lanes::idle::{Attempt, Idle, settled};
use crate::lanes::shared::Shared;
use crate::lanes::sql::Use;
use crate::lanes::wire::{Failure, Turn};
use crate::{BoxFuture, DialogKey, Error, LockAfter, Result, Row, Statement};

/// A statement that the server itself does not stop in time is stopped by us.
const LATE: Duration = Duration::from_secs(1);

pub(super) struct Author {
    server: Server,
    shared: Weak<Shared>,
    idle: Idle<Calls>,
}

impl std::fmt::Debug for Author {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Author").finish_non_exhaustive()
    }
}

impl crate::lanes::Author for Author {
    fn commit<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.commit(turn))
    }

    fn query(&self, query: Statement) -> BoxFuture<'_, Result<Vec<Row>>> {
        Box::pin(self.query(query))
    }

    fn dialogs_with_unsent(&self, limit: u32) -> BoxFuture<'_, Result<Vec<DialogKey>>> {
        Box::pin(self.dialogs_with_unsent(limit))
    }

    fn own(&self, statements: Vec<Statement>) -> BoxFuture<'_, Result<Vec<u64>>> {
        Box::pin(self.own(statements))
    }

    fn own_query(&self, query: Statement) -> BoxFuture<'_, Result<Vec<Row>>> {
        Box::pin(self.query(query))
    }

    fn numbers_dialogs(&self) -> bool {
        false
    }
}

/// Executes our own statements in the transaction that is open, which is rolled back if one
/// fails; how many rows each changed.
async fn run_ours(calls: &mut Calls, statements: &[Prepared]) -> Tried<Vec<u64>> {
    let mut changed = Vec::new();
    for statement in statements {
        let params = mysql_async::Params::from(statement.params.clone());
        let done = calls.conn.my.exec_drop(&statement.sql, params).await;
        if let Err(error) = calls.conn.note(done.map_err(Failed::My)) {
            if !calls.conn.is_lost() {
                calls.conn.roll_back().await?;
            }
            return Err(error);
        }
        changed.push(calls.conn.my.affected_rows());
    }
    Ok(changed)
}

/// How an attempt ended that is not to be repeated.
enum Ended<T> {
    Done(T),
    Refused(Error),
}

fn ended<T>(tried: Tried<Ended<T>>) -> Attempt<T> {
    match tried {
        Ok(Ended::Done(answer)) => Attempt::Done(answer),
        Ok(Ended::Refused(error)) => Attempt::Refused(error),
        Err(error) if error.is_lost() => Attempt::Lost,
        Err(error) if error.is_deadlock() || error.is_duplicate() || is_guard(&error) => {
            Attempt::GaveWay
        }
        Err(error) => Attempt::Refused(error.ours()),
    }
}

/// Our own statements, as this server takes them.
fn ours<'a>(statements: impl IntoIterator<Item = &'a Statement>) -> Result<Vec<Prepared>> {
    let ours = |statement| sql::translate(statement, Use::Ours);
    statements.into_iter().map(ours).collect()
}

impl Author {
    pub(super) fn new(server: Server, shared: Weak<Shared>) -> Self {
        Author {
            idle: Idle::new(server.for_authors()),
            server,
            shared,
        }
    }

    async fn commit(&self, turn: &Turn) -> Result<()> {
        let statements: Vec<Prepared> = turn
            .commit
            .statements
            .iter()
            .map(|statement| sql::translate(statement, Use::Turn))
            .collect::<Result<_>>()?;
        let changes = ours(turn.commit.changes.iter().map(|change| &change.0))?;
        settled!(self.idle, self.open(), calls => async {
            ended(self.try_commit(&mut calls, turn, &statements, &changes).await)
        })
    }

    async fn query(&self, query: Statement) -> Result<Vec<Row>> {
        let query = sql::translate(&query, Use::Question)?;
        let rows = settled!(self.idle, self.open(), calls => async {
            ended(self.try_query(&mut calls, &query).await)
        })?;
        values::rows(rows)
    }

    async fn own(&self, statements: Vec<Statement>) -> Result<Vec<u64>> {
        let statements = ours(&statements)?;
        // Two that make the same row at one moment: looked at again, it is there.
        settled!(self.idle, self.open(), calls => async {
            ended(self.try_own(&mut calls, &statements).await)
        })
    }

    async fn dialogs_with_unsent(&self, limit: u32) -> Result<Vec<DialogKey>> {
        let rows = self
            .query(Statement::new(
                "SELECT o.user_id, o.channel FROM turnkey_outbox o
                 WHERE NOT EXISTS (SELECT 1 FROM turnkey_lock l
                     WHERE l.user_id = o.user_id AND l.channel = o.channel)
                 GROUP BY o.user_id, o.channel ORDER BY min(o.turn) LIMIT ?1",
                (i64::from(limit),),
            ))
            .await?;
        let text = |row: &Row, column| {
            String::from_utf8(row.get(column)?)
                .map_err(|_| Error::Unavailable("a key in our tables is not UTF-8".to_owned()))
        };
        rows.iter()
            .map(|row| {
                Ok(DialogKey {
                    channel: text(row, "channel")?,
                    user_id: text(row, "user_id")?,
                })
            })
            .collect()
    }

    async fn try_commit(
        &self,
        calls: &mut Calls,
        turn: &Turn,
        statements: &[Prepared],
        changes: &[Prepared],
    ) -> Tried<Ended<()>> {
        match calls.look(turn).await? {
            Look::Free => {}
            Look::Refused(error) => return Ok(Ended::Refused(error)),
            Look::Done => {
                if turn.commit.lock == LockAfter::GivenBack {
                    calls.hand_over(&[(&turn.dialog, turn.fence)]).await?;
                }
                return Ok(Ended::Done(()));
            }
        }
        calls.conn.run(&Sql::new("START TRANSACTION")).await?;
        for statement in statements {
            if let Err(refused) = self.execute(calls, statement).await? {
                calls.conn.roll_back_if_there().await?;
                return Ok(Ended::Refused(refused));
            }
        }
        // Before the turn itself, whose last statements commit it and hand its lock over.
        run_ours(calls, changes).await?;
        calls.write(Sql::default(), &[turn]).await?;
        Ok(Ended::Done(()))
    }

    async fn try_own(&self, calls: &mut Calls, statements: &[Prepared]) -> Tried<Ended<Vec<u64>>> {
        calls.conn.run(&Sql::new("START TRANSACTION")).await?;
        let changed = run_ours(calls, statements).await?;
        calls.conn.run(&Sql::new("COMMIT")).await?;
        Ok(Ended::Done(changed))
    }

    async fn try_query(&self, calls: &mut Calls, query: &Prepared) -> Tried<Ended<Vec<MyRow>>> {
        calls
            .conn
            .run(&Sql::new("START TRANSACTION READ ONLY"))
            .await?;
        let rows = self.execute(calls, query).await?;
        calls.conn.roll_back_if_there().await?;
        Ok(match rows {
            Ok(rows) => Ended::Done(rows),
            Err(error) => Ended::Refused(error),
        })
    }

    /// Executes a statement of the author's; inside, what it did wrong. After a failure
    /// that is to be tried again nothing is left of the transaction.
    async fn execute(&self, calls: &mut Calls, statement: &Prepared) -> Tried<Result<Vec<MyRow>>> {
        let id = calls.conn.my.id();
        let params = mysql_async::Params::from(statement.params.clone());
        let rows = calls.conn.my.exec::<MyRow, _, _>(&statement.sql, params);
        let Ok(rows) = tokio::time::timeout(MAX_STATEMENT + LATE, rows).await else {
            self.stop(id);
            let slow: Tried<()> = calls.conn.note(Err(Failed::Slow));
            drop(slow);
            return Ok(Err(errors::too_slow()));
        };
        match calls.conn.note(rows.map_err(Failed::My)) {
            Ok(rows) => Ok(Ok(rows)),
            Err(error) if error.is_deadlock() => {
                calls.conn.roll_back().await?;
                Err(error)
            }
            Err(error) if error.is_lost() => Err(error),
            Err(error) => Ok(Err(errors::authors(&error))),
        }
    }

    /// Lets the server end a session that nobody listens to any more: else its
    /// statement would hold its rows until it is done.
    fn stop(&self, id: u32) {
        let server = self.server.clone();
        tokio::spawn(async move {
            let stopped = async {
                let mut conn = server.open(Purpose::Ours).await?;
                conn.run(&Sql::new(&format!("KILL {id}"))).await
            };
            if let Err(error) = stopped.await {
                tracing::debug!("a slow statement could not be stopped: {}", error.words());
            }
        });
    }

    async fn open(&self) -> Tried<Calls> {
        Ok(Calls {
            conn: self.server.open(Purpose::Author).await?,
            shared: self.shared.clone(),
        })
    }
}
