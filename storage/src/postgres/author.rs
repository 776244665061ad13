//! The author's own SQL: turns with statements or relays, and queries.
//!
//! Used by [`ServerStorage`](crate::lanes::ServerStorage). It has its own connections, so that
//! a slow statement holds up no lane. A turn with statements is its own transaction: the
//! statements, then the same function that the lanes call, then the relays and the other changes
//! of our tables; any failure rolls it back. Bounds:
//! three quarters of the pool's connections,
//! [`MAX_STATEMENT`](crate::lanes::bounds::MAX_STATEMENT) for each statement, [`CACHED`]
//! prepared statements for each connection.

use std::collections::HashMap;

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use super::errors::{self, Failed};
use super::server::Server;
use super::session::Purpose;
use super::text::{original, stored};
use super::wire::{COMMIT, commit_one};
use super::{sql, values};
use crate::lanes::idle::{Attempt, Idle, Kept, settled};
use crate::lanes::sql::Use;
use crate::lanes::wire::Turn;
use crate::{BoxFuture, DialogKey, Error, Pending, Result, Row, Statement, Sync, Value, inbox};

/// Prepared statements that a connection keeps; then it starts over.
const CACHED: usize = 200;

/// Whoever makes the same row at this moment is waited for. In the order that is given, so that
/// of two under one id the first stands.
const RELAY: &str = "INSERT INTO turnkey_inbox
         (channel, id, user_id, arrived, body, attempts, due, error)
     SELECT r.channel, r.id, r.user_id, r.arrived, r.body, r.attempts, r.due, r.error
     FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::bigint[],
             $7::bigint[], $8::text[])
         WITH ORDINALITY AS r (channel, id, user_id, arrived, body, attempts, due, error, n)
     WHERE NOT EXISTS (SELECT 1 FROM turnkey_seen s WHERE s.id = r.id AND s.channel = r.channel)
     ORDER BY r.n
     ON CONFLICT DO NOTHING";

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
        Self::of(error, errors::authors)
    }

    fn of_ours(error: &tokio_postgres::Error) -> Self {
        Self::of(error, errors::ours)
    }

    /// Of a question: one that writes is refused on every server.
    fn of_question(error: &tokio_postgres::Error) -> Self {
        match errors::is_write_refused(error) {
            true => Failure::Answer(errors::authors(error)),
            false => Self::of_author(error),
        }
    }

    fn of(error: &tokio_postgres::Error, told: fn(&tokio_postgres::Error) -> Error) -> Self {
        if errors::is_lost(error) {
            Failure::Lost
        } else if errors::is_deadlock(error) {
            Failure::Deadlock
        } else {
            Failure::Answer(told(error))
        }
    }
}

fn ended<T>(tried: Tried<T>) -> Attempt<T> {
    match tried {
        Ok(answer) => Attempt::Done(answer),
        Err(Failure::Lost) => Attempt::Lost,
        Err(Failure::Deadlock) => Attempt::GaveWay,
        Err(Failure::Answer(error)) => Attempt::Refused(error),
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
        Box::pin(async move {
            let rows = self.query(keepable(query)).await?;
            Ok(rows.into_iter().map(|row| row.map_text(original)).collect())
        })
    }

    fn numbers_dialogs(&self) -> bool {
        true
    }
}

/// With texts as our tables keep them.
fn keepable(mut statement: Statement) -> Statement {
    for value in &mut statement.params {
        if let Value::Text(text) = value {
            *text = stored(text).into_owned();
        }
    }
    statement
}

/// Our own statements, as this server takes them.
fn ours(statements: impl IntoIterator<Item = Statement>) -> Result<Vec<Statement>> {
    let ours = |statement: Statement| {
        let sql = sql::translate(&statement.sql, Use::Ours)?;
        Ok(Statement {
            sql,
            ..keepable(statement)
        })
    };
    statements.into_iter().map(ours).collect()
}

impl Author {
    pub(super) fn new(server: Server, sync: Sync) -> Self {
        Author {
            idle: Idle::new(server.for_authors()),
            server,
            sync,
        }
    }

    async fn commit(&self, turn: &Turn) -> Result<()> {
        let statements: Vec<Statement> = turn
            .commit
            .statements
            .iter()
            .map(|s| {
                Ok(Statement {
                    sql: sql::translate(&s.sql, Use::Turn)?,
                    params: s.params.clone(),
                })
            })
            .collect::<Result<_>>()?;
        let changes = turn.commit.changes.iter().map(|change| change.0.clone());
        let changes = ours(changes)?;
        settled!(self.idle, self.open(), conn => async {
            ended(conn.commit(turn, &statements, &changes).await)
        })?
    }

    async fn query(&self, query: Statement) -> Result<Vec<Row>> {
        let query = Statement {
            sql: sql::translate(&query.sql, Use::Question)?,
            params: query.params,
        };
        let rows = settled!(self.idle, self.open(), conn => async {
            ended(conn.query(&query).await)
        })?;
        values::rows(&rows)
    }

    async fn own(&self, statements: Vec<Statement>) -> Result<Vec<u64>> {
        let statements = ours(statements)?;
        // Two that make the same row at one moment: looked at again, it is there.
        settled!(self.idle, self.open(), conn => async {
            ended(conn.own(&statements).await)
        })
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

    async fn open(&self) -> std::result::Result<Conn, Failed> {
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

impl Kept for Conn {
    fn is_lost(&self) -> bool {
        self.client.is_closed()
    }

    async fn answers(&mut self) -> bool {
        self.client.simple_query("").await.is_ok()
    }
}

impl Conn {
    async fn commit(
        &mut self,
        turn: &Turn,
        statements: &[Statement],
        changes: &[Statement],
    ) -> Tried<Result<()>> {
        let outcome = self.try_commit(turn, statements, changes).await;
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

    async fn try_commit(
        &mut self,
        turn: &Turn,
        statements: &[Statement],
        changes: &[Statement],
    ) -> Tried<Result<()>> {
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
                self.run(statement, Failure::of_author).await?;
            }
        }
        let answer = match commit_one(&self.client, &self.commit, turn).await {
            Ok(answer) => answer,
            Err(Failed::Pg(error)) => return Err(Failure::of_author(&error)),
            Err(_) => return Err(Failure::Lost),
        };
        // Those of a turn that was committed before came in with it.
        if answer.is_ok() && looked.get::<_, i32>(0) == 0 {
            self.relay(&turn.commit.relays).await?;
            for change in changes {
                self.run(change, Failure::of_ours).await?;
            }
        }
        Ok(answer)
    }

    /// Takes updates into the inbox; after the turn's own is known to be handled.
    async fn relay(&mut self, relays: &[Pending]) -> Tried<()> {
        if relays.is_empty() {
            return Ok(());
        }
        let insert = self.prepare_typed(RELAY, Vec::new()).await?;
        let relays = inbox::in_order(relays);
        macro_rules! column {
            ($relay:ident => $value:expr) => {
                relays.iter().map(|$relay| $value).collect::<Vec<_>>()
            };
        }
        let columns: [&(dyn ToSql + std::marker::Sync); 8] = [
            &column!(relay => stored(&relay.dialog.channel)),
            &column!(relay => stored(&relay.update)),
            &column!(relay => stored(&relay.dialog.user_id)),
            &column!(relay => relay.arrived),
            &column!(relay => &relay.body),
            &column!(relay => i64::from(relay.attempts)),
            &column!(relay => relay.due),
            &column!(relay => relay.error.as_deref().map(stored)),
        ];
        let inserted = self.client.execute(&insert, &columns).await;
        inserted.map(drop).map_err(|e| Failure::of_ours(&e))
    }

    async fn own(&mut self, statements: &[Statement]) -> Tried<Vec<u64>> {
        let ours = |e: tokio_postgres::Error| match e.code() {
            // Somebody made the row at the same moment: looked at again, it is there.
            Some(&SqlState::UNIQUE_VIOLATION) => Failure::Deadlock,
            _ => Failure::of_ours(&e),
        };
        self.client.batch_execute("BEGIN").await.map_err(ours)?;
        let mut changed = Vec::new();
        let mut outcome = Ok(());
        for statement in statements {
            let prepared = match self.prepare(statement).await {
                Ok(prepared) => prepared,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            };
            let params: Vec<values::Param<'_>> =
                statement.params.iter().map(values::Param).collect();
            let params = params
                .iter()
                .map(|p| p as &(dyn ToSql + std::marker::Sync))
                .collect::<Vec<_>>();
            match self.client.execute(&prepared, &params).await {
                Ok(rows) => changed.push(rows),
                Err(error) => {
                    outcome = Err(ours(error));
                    break;
                }
            }
        }
        if matches!(outcome, Err(Failure::Lost)) {
            return Err(Failure::Lost);
        }
        let end = if outcome.is_ok() {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        self.client.batch_execute(end).await.map_err(ours)?;
        outcome.map(|()| changed)
    }

    async fn query(&mut self, query: &Statement) -> Tried<Vec<tokio_postgres::Row>> {
        self.client
            .batch_execute("START TRANSACTION READ ONLY")
            .await
            .map_err(|e| Failure::of_author(&e))?;
        let rows = self.run(query, Failure::of_question).await;
        if matches!(rows, Err(Failure::Lost)) {
            return rows;
        }
        self.client
            .batch_execute("ROLLBACK")
            .await
            .map_err(|e| Failure::of_author(&e))?;
        rows
    }

    async fn run(
        &mut self,
        statement: &Statement,
        failure: fn(&tokio_postgres::Error) -> Failure,
    ) -> Tried<Vec<tokio_postgres::Row>> {
        let prepared = self.prepare(statement).await?;
        let params: Vec<values::Param<'_>> = statement.params.iter().map(values::Param).collect();
        let params: Vec<&(dyn ToSql + std::marker::Sync)> = params
            .iter()
            .map(|p| p as &(dyn ToSql + std::marker::Sync))
            .collect();
        let rows = self.client.query(&prepared, &params).await;
        rows.map_err(|e| {
            // It may have been prepared for a table that has changed since.
            self.prepared.clear();
            failure(&e)
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
