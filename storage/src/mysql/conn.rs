//! One connection: statements of ours in one round trip, and their rows.
//!
//! Used by every file here that asks the server. Invariant: after a failure no
//! transaction is open, or the connection is lost.

use mysql_async::prelude::Queryable;
use mysql_async::{DriverError, Row, Value};

use super::errors::Failed;
use super::literal::Sql;
use crate::DialogKey;
use crate::lanes::wire::Failure;

pub(super) type Tried<T> = std::result::Result<T, Failed>;

/// What one statement answered. The last one of a text is left out when it has no rows.
#[derive(Debug)]
pub(super) struct StatementResult {
    /// Rows that were changed.
    pub(super) affected: u64,
    pub(super) rows: Vec<Row>,
}

/// A connection that `server.rs` has set up.
pub(super) struct Conn {
    pub(super) my: mysql_async::Conn,
    /// The server's `max_allowed_packet`.
    limit: usize,
    broken: bool,
}

impl Conn {
    pub(super) fn new(my: mysql_async::Conn, limit: usize) -> Self {
        Conn {
            my,
            limit,
            broken: false,
        }
    }

    /// Bytes that the server takes at once.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn is_lost(&self) -> bool {
        self.broken || self.my.is_disconnected()
    }

    /// Asks the server for a sign of life.
    pub(super) async fn is_there(&mut self) -> bool {
        let answered = self.my.ping().await;
        self.broken |= answered.is_err();
        answered.is_ok()
    }

    /// Notes what a failure means for the connection.
    pub(super) fn note<T>(&mut self, tried: Tried<T>) -> Tried<T> {
        if let Err(error) = &tried {
            self.broken |= error.is_lost();
        }
        tried
    }

    /// Sends statements in one text and collects all their answers. When one fails, the
    /// later ones are not executed, and what was begun is rolled back.
    pub(super) async fn run(&mut self, sql: &Sql) -> Tried<Vec<StatementResult>> {
        if self.is_lost() {
            return Err(Failed::My(DriverError::ConnectionClosed.into()));
        }
        // A byte for the command.
        if sql.0.len() + 1 > self.limit {
            return Err(Failed::TooLarge {
                bytes: sql.0.len(),
                limit: self.limit,
            });
        }
        let tried = self.answers(&sql.0).await.map_err(Failed::My);
        let answers = self.note(tried);
        if answers.is_err() && !self.broken {
            self.roll_back().await?;
        }
        answers
    }

    pub(super) async fn roll_back(&mut self) -> Tried<()> {
        let rolled_back = self.my.query_drop("ROLLBACK").await.map_err(Failed::My);
        // What cannot be rolled back is not to be used again.
        self.broken |= rolled_back.is_err();
        rolled_back
    }

    /// The same, unless the connection is of no more use, which rolls back too.
    pub(super) async fn roll_back_if_there(&mut self) -> Tried<()> {
        match self.is_lost() {
            true => Ok(()),
            false => self.roll_back().await,
        }
    }

    async fn answers(&mut self, sql: &str) -> mysql_async::Result<Vec<StatementResult>> {
        let mut result = self.my.query_iter(sql).await?;
        let mut answers = Vec::new();
        loop {
            let affected = result.affected_rows();
            let rows = result.collect().await?;
            answers.push(StatementResult { affected, rows });
            if result.is_empty() {
                // An error of a later statement is kept back until here.
                result.drop_result().await?;
                return Ok(answers);
            }
        }
    }
}

/// The columns of a row of ours, which came as text.
pub(super) trait Columns {
    fn bytes(&mut self, index: usize) -> Tried<Vec<u8>>;
    fn text(&mut self, index: usize) -> Tried<String>;
    fn number<T: std::str::FromStr>(&self, index: usize) -> Tried<T>;
    fn is_null(&self, index: usize) -> bool;
    /// A key that starts at this column.
    fn dialog(&mut self, index: usize) -> Tried<DialogKey>;
}

impl Columns for Row {
    fn bytes(&mut self, index: usize) -> Tried<Vec<u8>> {
        match self.take::<Value, _>(index) {
            Some(Value::Bytes(bytes)) => Ok(bytes),
            _ => Err(Failed::Odd("a column that should hold bytes does not")),
        }
    }

    fn text(&mut self, index: usize) -> Tried<String> {
        String::from_utf8(self.bytes(index)?)
            .map_err(|_| Failed::Odd("a text in our tables is not UTF-8"))
    }

    fn number<T: std::str::FromStr>(&self, index: usize) -> Tried<T> {
        let odd = Failed::Odd("a column that should hold a number does not");
        let Some(Value::Bytes(bytes)) = self.as_ref(index) else {
            return Err(odd);
        };
        let number = std::str::from_utf8(bytes).ok().and_then(|n| n.parse().ok());
        number.ok_or(odd)
    }

    fn is_null(&self, index: usize) -> bool {
        !matches!(self.as_ref(index), Some(Value::Bytes(_)))
    }

    fn dialog(&mut self, index: usize) -> Tried<DialogKey> {
        Ok(DialogKey {
            user_id: self.text(index)?,
            channel: self.text(index + 1)?,
        })
    }
}
