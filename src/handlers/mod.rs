//! Runs the author's code: the contract that every kind of handler keeps, and a file for each
//! kind.
//!
//! Called by `turn/turn.rs`, which knows no state type and no language. Invariant: whatever a
//! handler does (fail, panic, take too long), the lock comes back; its results count only if it
//! returned `Ok`.

pub(crate) mod rust;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use turnkey_storage::{Grant, Statement, Storage};

use crate::author::error::Result;
use crate::author::message::{Reply, Update};
use crate::author::user_lock::LockFactory;
use crate::channels::Factory;

/// What the author of a bot brings.
pub(crate) struct Author {
    pub(crate) handler: Box<dyn AnyHandler>,
    pub(crate) migrations: Vec<String>,
    /// Channels of the author's own, by name.
    pub(crate) channels: Vec<(String, Factory)>,
    /// A user lock of the author's own.
    pub(crate) user_lock: Option<LockFactory>,
    /// Edits are handled.
    pub(crate) edits: bool,
}

/// What a handler left when it returned `Ok`.
pub(crate) struct Handled {
    pub(crate) state: String,
    pub(crate) replies: Vec<Reply>,
    pub(crate) statements: Vec<Statement>,
}

/// What a handler is called with.
pub(crate) struct Call {
    pub(crate) update: Arc<Update>,
    /// From 1.
    pub(crate) attempt: u32,
    /// JSON text; none for a new user.
    pub(crate) state: Option<String>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) grant: Grant,
    pub(crate) timeout: Duration,
}

/// What comes back: the lock and the state as it was, in any case.
pub(crate) struct Returned {
    pub(crate) state: Option<String>,
    pub(crate) grant: Grant,
    pub(crate) outcome: Result<Handled>,
}

/// A handler whose state type is forgotten.
pub(crate) trait AnyHandler {
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Returned> + '_>>;
}
