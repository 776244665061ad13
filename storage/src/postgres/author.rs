//! The author's own SQL: turns that carry statements, and questions.
//!
//! Used by [`ServerStorage`](crate::server::ServerStorage). It has connections of its own, so that a slow
//! statement holds up nobody's lane. A turn with statements is a transaction of its
//! own: the statements, then the same function that the lanes call; any failure
//! undoes it. Bounds: three quarters of the pool's connections,
//! [`MAX_STATEMENT`](super::server::MAX_STATEMENT) for each statement,
//! [`CACHED`] prepared statements for each connection.

use std::collections::HashMap;

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::server::{Purpose, Server};
use super::text::{original, stored};
use super::wire::{COMMIT, commit_one};
use super::{errors, sql, values};
use crate::server::idle::{ATTEMPTS, Idle, RECONNECT, in_a_circle};
use crate::server::lanes::Turn;
use crate::{BoxFuture, DialogKey, Error, Result, Row, Statement, Sync, Value};

/// Prepared statements that a connection keeps; then it starts over.
const CACHED: usize = 200;

#[derive(Debug)]
pub(super) struct Author {
    server: Server,
    sync: Sync,
    idle: Idle<Conn>,
}

struct Conn {
    client: Client,
    look: tokio_postgres::Statement,
    commit: tokio_postgres::Statement,
    prepared: HashMap<(String, Vec<Type>), tokio_postgres::Statement>,
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Conn")
    }
}

/// Why something was not done.
enum Failure {
    /// The connection is gone; it may have been done.
    Lost,
    Deadlock,
    Answer(Error),
}

type Tried<T> = std::result::Result<T, Failure>;

impl Failure {
    fn of_author(error: &tokio_postgres::Error) -> Self {
        if errors::is_lost(error) {
            Failure::Lost
        } else if errors::is_deadlock(error) {
            Failure::Deadlock
        } else {
            Failure::Answer(errors::authors(error))
        }
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
        true
    }

    fn own_query(&self, query: Statement) -> BoxFuture<'_, Result<Vec<Row>>> {
        Box::pin(self.own_query(query))
    }
}

impl Author {
    pub(super) fn new(server: Server, sync: Sync) -> Self {
        Author {
            idle: Idle::new(server.for_authors()),
            server,
            sync,
        }
    }

    /// Statements of this crate, as [`Storage::own`](crate::Storage::own) has them.
    async fn own(&self, statements: Vec<Statement>) -> Result<Vec<u64>> {
        let statements: Vec<Statement> = statements.into_iter().map(ours).collect::<Result<_>>()?;
        let mut deadlocks = 0;
        loop {
            let _permit = self.idle.permit().await?;
            let Ok(mut conn) = self.take().await else {
                tokio::time::sleep(RECONNECT).await;
                continue;
            };
            let tried = conn.own(&statements).await;
            if !matches!(tried, Err(Failure::Lost)) {
                self.idle.put_back(conn);
            }
            match tried {
                Ok(counts) => return Ok(counts),
                Err(Failure::Lost) => tokio::time::sleep(RECONNECT).await,
                Err(Failure::Deadlock) if deadlocks < ATTEMPTS => deadlocks += 1,
                Err(Failure::Deadlock) => return Err(in_a_circle()),
                Err(Failure::Answer(error)) => return Err(error),
            }
        }
    }

    async fn own_query(&self, query: Statement) -> Result<Vec<Row>> {
        let rows = self.query_translated(ours(query)?, true).await?;
        let text = |value: &Value| match value {
            Value::Text(text) => Value::Text(original(text.clone())),
            other => other.clone(),
        };
        let rows = rows.iter().map(|row| {
            let values = row.values().iter().map(text).collect();
            Row::new(row.columns().into(), values)
        });
        Ok(rows.collect())
    }

    async fn commit(&self, turn: &Turn) -> Result<()> {
        let statements: Vec<Statement> = turn
            .commit
            .statements
            .iter()
            .map(|s| {
                Ok(Statement {
                    sql: sql::translate(&s.sql, true)?,
                    params: s.params.clone(),
                })
            })
            .collect::<Result<_>>()?;
        let mut deadlocks = 0;
        loop {
            let _permit = self.idle.permit().await?;
            let Ok(mut conn) = self.take().await else {
                tokio::time::sleep(RECONNECT).await;
                continue;
            };
            // Dropped half-way, the connection is closed, which rolls back.
            let tried = conn.commit(turn, &statements).await;
            match tried {
                Ok(answer) => {
                    self.idle.put_back(conn);
                    return answer;
                }
                Err(Failure::Lost) => tokio::time::sleep(RECONNECT).await,
                Err(Failure::Deadlock) => {
                    self.idle.put_back(conn);
                    deadlocks += 1;
                    if deadlocks == ATTEMPTS {
                        return Err(in_a_circle());
                    }
                }
                Err(Failure::Answer(error)) => {
                    self.idle.put_back(conn);
                    return Err(error);
                }
            }
        }
    }

    async fn query(&self, query: Statement) -> Result<Vec<Row>> {
        let query = Statement {
            sql: sql::translate(&query.sql, false)?,
            params: query.params,
        };
        self.query_translated(query, false).await
    }

    async fn query_translated(&self, query: Statement, ours: bool) -> Result<Vec<Row>> {
        loop {
            let _permit = self.idle.permit().await?;
            let Ok(mut conn) = self.take().await else {
                tokio::time::sleep(RECONNECT).await;
                continue;
            };
            match conn.query(&query, ours).await {
                Ok(rows) => {
                    self.idle.put_back(conn);
                    return values::rows(&rows);
                }
                Err(Failure::Lost) => tokio::time::sleep(RECONNECT).await,
                Err(Failure::Deadlock) => self.idle.put_back(conn),
                Err(Failure::Answer(error)) => {
                    self.idle.put_back(conn);
                    return Err(error);
                }
            }
        }
    }

    async fn dialogs_with_unsent(&self, limit: u32) -> Result<Vec<DialogKey>> {
        let rows = self
            .query(Statement::new(
                "SELECT d.channel, d.user_id FROM turnkey_outbox o JOIN turnkey_dialog d ON d.id = o.dialog
                 WHERE NOT EXISTS (SELECT 1 FROM turnkey_lock l
                     WHERE l.user_id = d.user_id AND l.channel = d.channel)
                 GROUP BY d.id, d.channel, d.user_id ORDER BY min(o.turn) LIMIT $1",
                (i64::from(limit),),
            ))
            .await?;
        rows.iter()
            .map(|row| {
                Ok(DialogKey {
                    channel: original(row.get("channel")?),
                    user_id: original(row.get("user_id")?),
                })
            })
            .collect()
    }

    async fn take(&self) -> std::result::Result<Conn, tokio_postgres::Error> {
        if let Some(conn) = self.idle.take(|conn| conn.client.is_closed()) {
            return Ok(conn);
        }
        let client = self.server.client(Purpose::Author, self.sync).await?;
        Ok(Conn {
            look: client
                .prepare("SELECT turnkey_look($1, $2, $3, $4)")
                .await?,
            commit: client.prepare(COMMIT).await?,
            prepared: HashMap::new(),
            client,
        })
    }
}

impl Conn {
    async fn commit(&mut self, turn: &Turn, statements: &[Statement]) -> Tried<Result<()>> {
        let outcome = self.try_commit(turn, statements).await;
        let end = match &outcome {
            Ok(Ok(())) => "COMMIT",
            Err(Failure::Lost) => return outcome,
            _ => "ROLLBACK",
        };
        // A constraint that is checked late fails here.
        match self.client.batch_execute(end).await {
            Ok(()) => outcome,
            Err(error) => Err(Failure::of_author(&error)),
        }
    }

    async fn try_commit(&mut self, turn: &Turn, statements: &[Statement]) -> Tried<Result<()>> {
        let channel = stored(&turn.dialog.channel);
        let user = stored(&turn.dialog.user_id);
        let fence = turn.fence.0 as i64;
        let update = stored(&turn.commit.update);
        let parameters: [&(dyn ToSql + std::marker::Sync); 4] = [&channel, &user, &fence, &update];
        // In one round trip: polled first, sent first.
        let (begun, looked) = tokio::join!(
            biased;
            self.client.batch_execute("BEGIN"),
            self.client.query_one(&self.look, &parameters),
        );
        begun.map_err(|e| Failure::of_author(&e))?;
        let looked = looked.map_err(|e| Failure::of_author(&e))?;
        match looked.get::<_, i32>(0) {
            0 => {}
            1 => return Ok(Err(Error::Seen)),
            3 => {} // Committed before: the function below knows, and ends the turn.
            _ => return Ok(Err(Error::Stale)),
        }
        if looked.get::<_, i32>(0) == 0 {
            for statement in statements {
                self.run(statement, false).await?;
            }
        }
        commit_one(&self.client, &self.commit, turn)
            .await
            .map_err(|e| Failure::of_author(&e))
    }

    async fn own(&mut self, statements: &[Statement]) -> Tried<Vec<u64>> {
        let failure = |e| Failure::of_author(&e);
        self.client.batch_execute("BEGIN").await.map_err(failure)?;
        let mut counts = Vec::new();
        let mut failed = None;
        for statement in statements {
            match self.run_own(statement).await {
                Ok(count) => counts.push(count),
                Err(Failure::Lost) => return Err(Failure::Lost),
                Err(other) => {
                    failed = Some(other);
                    break;
                }
            }
        }
        let end = match failed {
            None => "COMMIT",
            Some(_) => "ROLLBACK",
        };
        self.client.batch_execute(end).await.map_err(failure)?;
        failed.map_or(Ok(counts), Err)
    }

    async fn run_own(&mut self, statement: &Statement) -> Tried<u64> {
        let prepared = self.prepare_own(statement).await?;
        let params: Vec<values::Param<'_>> = statement.params.iter().map(values::Param).collect();
        let count = self
            .client
            .execute_raw(&prepared, params)
            .await
            .map_err(|e| Failure::of_author(&e))?;
        Ok(count)
    }

    /// The types are the values' own: a column takes them, where it differs.
    async fn prepare_own(&mut self, statement: &Statement) -> Tried<tokio_postgres::Statement> {
        let types = statement.params.iter().map(|value| match value {
            Value::Null | Value::Text(_) => Type::TEXT,
            Value::Integer(_) => Type::INT8,
            Value::Real(_) => Type::FLOAT8,
            Value::Blob(_) => Type::BYTEA,
        });
        self.prepare_typed(&statement.sql, types.collect()).await
    }

    async fn query(&mut self, query: &Statement, ours: bool) -> Tried<Vec<tokio_postgres::Row>> {
        self.client
            .batch_execute("START TRANSACTION READ ONLY")
            .await
            .map_err(|e| Failure::of_author(&e))?;
        let rows = self.run(query, ours).await;
        if matches!(rows, Err(Failure::Lost)) {
            return rows;
        }
        self.client
            .batch_execute("ROLLBACK")
            .await
            .map_err(|e| Failure::of_author(&e))?;
        rows
    }

    async fn run(&mut self, statement: &Statement, ours: bool) -> Tried<Vec<tokio_postgres::Row>> {
        let prepared = match ours {
            true => self.prepare_own(statement).await?,
            false => self.prepare(statement).await?,
        };
        let params: Vec<values::Param<'_>> = statement.params.iter().map(values::Param).collect();
        let params: Vec<&(dyn ToSql + std::marker::Sync)> = params
            .iter()
            .map(|p| p as &(dyn ToSql + std::marker::Sync))
            .collect();
        let rows = self.client.query(&prepared, &params).await;
        rows.map_err(|e| {
            // It may have been prepared for a table that has changed since.
            self.prepared.clear();
            Failure::of_author(&e)
        })
    }

    /// Prepares a statement with the types that the server expects. Where it does
    /// not know (`SELECT ?1`) it says text, and the value's own type is taken.
    async fn prepare(&mut self, statement: &Statement) -> Tried<tokio_postgres::Statement> {
        let first = self.prepare_typed(&statement.sql, Vec::new()).await?;
        if first.params().len() != statement.params.len() {
            return Err(Failure::Answer(Error::Statement(format!(
                "it has {} parameters, and {} values were given: {}",
                first.params().len(),
                statement.params.len(),
                statement.sql
            ))));
        }
        let types: Vec<Type> = first
            .params()
            .iter()
            .zip(&statement.params)
            .map(|(expected, value)| match (expected, value) {
                (&Type::TEXT, Value::Integer(_)) => Type::INT8,
                (&Type::TEXT, Value::Real(_)) => Type::FLOAT8,
                (&Type::TEXT, Value::Blob(_)) => Type::BYTEA,
                (expected, _) => expected.clone(),
            })
            .collect();
        if types == first.params() {
            return Ok(first);
        }
        self.prepare_typed(&statement.sql, types).await
    }

    async fn prepare_typed(
        &mut self,
        sql: &str,
        types: Vec<Type>,
    ) -> Tried<tokio_postgres::Statement> {
        let key = (sql.to_owned(), types);
        if let Some(prepared) = self.prepared.get(&key) {
            return Ok(prepared.clone());
        }
        let prepared = self
            .client
            .prepare_typed(&key.0, &key.1)
            .await
            .map_err(|e| Failure::of_author(&e))?;
        if self.prepared.len() >= CACHED {
            self.prepared.clear();
        }
        self.prepared.insert(key, prepared.clone());
        Ok(prepared)
    }
}

/// A statement of this crate as the server takes it, its texts as they are stored.
fn ours(statement: Statement) -> Result<Statement> {
    let param = |value| match value {
        Value::Text(text) => Value::Text(stored(&text).into_owned()),
        other => other,
    };
    Ok(Statement {
        sql: sql::translate(&statement.sql, false)?,
        params: statement.params.into_iter().map(param).collect(),
    })
}
