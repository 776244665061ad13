//! What this crate itself needs from an engine: statements on our own tables.
//!
//! Implemented by each engine together with [`Storage`](crate::Storage), which is thereby
//! sealed: the records in our tables (`inbox.rs`, `dead.rs`, `replies.rs` …) rely on promises
//! that only the engines here make.

use crate::{BoxFuture, DialogKey, Result, Row, Statement};

/// An engine, as the modules of this crate see it. It cannot be named outside.
pub trait Own {
    /// Our own statements, in one transaction that is durable when this returns: how
    /// many rows each changed. They may be executed twice, when their answer was lost,
    /// and so are written to take effect once.
    fn own(&self, statements: Vec<Statement>) -> BoxFuture<'_, Result<Vec<u64>>>;

    /// A question of our own tables, which sees all that was acknowledged. Texts that are
    /// keys may come as bytes: read them with [`Row::key`].
    fn own_query(&self, query: Statement) -> BoxFuture<'_, Result<Vec<Row>>>;

    /// [`inbox::due_dialogs`](crate::inbox::due_dialogs): only an engine knows where a turn
    /// is under way.
    fn due(&self, limit: u32) -> BoxFuture<'_, Result<Vec<DialogKey>>>;

    /// Whether the outbox and the history name a dialog by its number, rather than by its
    /// key.
    fn numbers_dialogs(&self) -> bool;
}
