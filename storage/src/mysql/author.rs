//! The author's own SQL: turns that carry statements, and questions.
//!
//! Used by [`ServerStorage`](crate::server::ServerStorage). It has connections of its
//! own, so that a slow statement holds up nobody's lane. A turn with statements is a
//! transaction of its own: the statements, then what the lanes write; any failure
//! undoes it. The dialog's lock row is taken last, so that nobody waits for it while a
//! statement runs. Bounds: three quarters of the pool's connections,
//! [`MAX_STATEMENT`] for each statement.

use std::sync::Weak;
use std::time::Duration;

use mysql_async::Row as MyRow;
use mysql_async::prelude::Queryable;
use tokio::sync::SemaphorePermit;

use super::conn::Tried;
use super::errors::{self, Failed};
use super::literal::Sql;
use super::server::{MAX_STATEMENT, Purpose, Server};
use super::sql::{self, Place, Prepared};
use super::values;
use super::wire::{Calls, Look, is_guard};
use crate::server::idle::{ATTEMPTS, Idle, RECONNECT, in_a_circle};
use crate::server::lanes::{Failure, Shared, Turn};
use crate::{BoxFuture, DialogKey, Error, Result, Row, Statement};

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

impl crate::server::Author for Author {
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

    fn rows_have_dialog_id(&self) -> bool {
        false
    }

    fn own_query(&self, query: Statement) -> BoxFuture<'_, Result<Vec<Row>>> {
        Box::pin(self.query(query))
    }
}

/// How an attempt ended that is not to be repeated.
enum Ended<T> {
    Done(T),
    Refused(Error),
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
            .map(|statement| sql::translate(statement, Place::Turn))
            .collect::<Result<_>>()?;
        let mut deadlocks = 0;
        loop {
            let (_permit, calls) = self.connection().await?;
            let Some(mut calls) = calls else { continue };
            let ended = self.try_commit(&mut calls, turn, &statements).await;
            if let Some(answer) = self.settle(calls, ended, &mut deadlocks).await {
                return answer;
            }
        }
    }

    /// Statements of this crate, as [`Storage::own`](crate::Storage::own) has them.
    async fn own(&self, statements: Vec<Statement>) -> Result<Vec<u64>> {
        let statements: Vec<Prepared> = statements
            .iter()
            .map(|statement| sql::translate(statement, Place::Ours))
            .collect::<Result<_>>()?;
        let mut deadlocks = 0;
        loop {
            let (_permit, calls) = self.connection().await?;
            let Some(mut calls) = calls else { continue };
            let ended = self.try_own(&mut calls, &statements).await;
            if let Some(answer) = self.settle(calls, ended, &mut deadlocks).await {
                return answer;
            }
        }
    }

    async fn query(&self, query: Statement) -> Result<Vec<Row>> {
        let query = sql::translate(&query, Place::Question)?;
        let mut deadlocks = 0;
        loop {
            let (_permit, calls) = self.connection().await?;
            let Some(mut calls) = calls else { continue };
            let ended = self.try_query(&mut calls, &query).await;
            if let Some(rows) = self.settle(calls, ended, &mut deadlocks).await {
                return values::rows(rows?);
            }
        }
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

    /// The next connection that is free; none, after a pause, when the server is away.
    async fn connection(&self) -> Result<(SemaphorePermit<'_>, Option<Calls>)> {
        let permit = self.idle.permit().await?;
        let calls = self.take().await.ok();
        if calls.is_none() {
            tokio::time::sleep(RECONNECT).await;
        }
        Ok((permit, calls))
    }

    /// What is answered after an attempt; none when there is to be another one.
    async fn settle<T>(
        &self,
        calls: Calls,
        ended: Tried<Ended<T>>,
        deadlocks: &mut u32,
    ) -> Option<Result<T>> {
        let lost = calls.conn.is_lost();
        if !lost {
            self.idle.put_back(calls);
        }
        match ended {
            Ok(Ended::Done(answer)) => Some(Ok(answer)),
            Ok(Ended::Refused(error)) => Some(Err(error)),
            Err(_) if lost => {
                tokio::time::sleep(RECONNECT).await;
                None
            }
            Err(error) if error.is_deadlock() || error.is_duplicate() || is_guard(&error) => {
                *deadlocks += 1;
                (*deadlocks == ATTEMPTS).then(|| Err(in_a_circle()))
            }
            Err(error) => Some(Err(error.ours())),
        }
    }

    async fn try_commit(
        &self,
        calls: &mut Calls,
        turn: &Turn,
        statements: &[Prepared],
    ) -> Tried<Ended<()>> {
        match calls.look(turn).await? {
            Look::Free => {}
            Look::Refused(error) => return Ok(Ended::Refused(error)),
            Look::Done => {
                if turn.commit.end {
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
        calls.write(Sql::default(), &[turn]).await?;
        Ok(Ended::Done(()))
    }

    async fn try_own(&self, calls: &mut Calls, statements: &[Prepared]) -> Tried<Ended<Vec<u64>>> {
        calls.conn.run(&Sql::new("START TRANSACTION")).await?;
        let mut counts = Vec::new();
        for statement in statements {
            if let Err(refused) = self.execute(calls, statement).await? {
                calls.conn.roll_back_if_there().await?;
                return Ok(Ended::Refused(refused));
            }
            counts.push(calls.conn.my.affected_rows());
        }
        calls.conn.run(&Sql::new("COMMIT")).await?;
        Ok(Ended::Done(counts))
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

    async fn take(&self) -> Tried<Calls> {
        match self.idle.take(|calls| calls.conn.is_stale()) {
            Some(calls) => Ok(calls),
            None => Ok(Calls {
                conn: self.server.open(Purpose::Author).await?,
                shared: self.shared.clone(),
            }),
        }
    }
}
