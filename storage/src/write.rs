//! Statements that a program writes outside any turn, with what it expects of them.
//!
//! Made by callers of [`SharedDatabase`](crate::sqlite::SharedDatabase), executed by the writer.
//! Plain data.

use crate::{Params, Row, Statement};

/// A statement, and how many rows it must affect.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Guarded {
    pub(crate) statement: Statement,
    pub(crate) rows: Option<u64>,
}

/// Statements that take effect together, or not at all.
///
/// ```
/// # use turnkey_storage::Write;
/// let transfer = Write::new()
///     .run("UPDATE account SET balance = balance - ?1 WHERE id = ?2 AND balance >= ?1", (10, "a"))
///     .expect(1) // else there is no such account, or not enough on it: nothing is changed
///     .run("UPDATE account SET balance = balance + ?1 WHERE id = ?2", (10, "b"))
///     .expect(1)
///     .key("transfer 4711"); // however often it is sent
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use = "it is written by `SharedDatabase::write`"]
pub struct Write {
    pub(crate) key: Option<String>,
    pub(crate) statements: Vec<Guarded>,
}

impl Write {
    /// None yet.
    pub fn new() -> Self {
        Write::default()
    }

    /// Another statement, with its parameters.
    pub fn run(mut self, sql: impl Into<String>, params: impl Params) -> Self {
        self.statements.push(Guarded {
            statement: Statement::new(sql, params),
            rows: None,
        });
        self
    }

    /// The last statement must affect so many rows: return them, if it returns any (`SELECT`,
    /// `RETURNING`), or else change them. If not, nothing is changed, and the answer is
    /// [`Error::Rows`](crate::Error::Rows).
    pub fn expect(mut self, rows: u64) -> Self {
        if let Some(last) = self.statements.last_mut() {
            last.rows = Some(rows);
        }
        self
    }

    /// A name of this write. Under one name a write takes effect once, whoever sends it and how
    /// often: later ones get the answer of the first. Without a name it is sent once, and when
    /// the writer dies before it answers, nobody knows whether it took effect
    /// ([`Error::Unavailable`](crate::Error::Unavailable)).
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }
}

impl From<Statement> for Write {
    fn from(statement: Statement) -> Self {
        Write::from(vec![statement])
    }
}

impl From<Vec<Statement>> for Write {
    fn from(statements: Vec<Statement>) -> Self {
        let guarded = |statement| Guarded {
            statement,
            rows: None,
        };
        Write {
            key: None,
            statements: statements.into_iter().map(guarded).collect(),
        }
    }
}

/// What a statement did.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Rows that it inserted, updated or deleted; not those of triggers and foreign keys.
    pub changed: u64,
    /// Rows that it returned.
    pub rows: Vec<Row>,
}
