//! The [`Turn`] that a handler is given.
//!
//! Made and taken apart by `handlers/rust.rs`. Invariant: nothing that a handler does here
//! takes effect before its turn is committed.

use std::sync::Arc;

use turnkey_storage::{Grant, Params, Row, Statement, Storage};

use crate::author::error::{Error, Result};
use crate::author::message::{Picture, Reply, Rpc, Update};

/// Replies of one turn. More is a handler that loops.
pub const MAX_REPLIES: usize = 1000;

/// One update of one user, with the user's state. What a handler changes here
/// takes effect when it returns `Ok`, all at once, or not at all.
pub struct Turn<S> {
    /// The user's state. For a new user it is `S::default()`.
    pub state: S,
    pub(crate) update: Arc<Update>,
    pub(crate) attempt: u32,
    pub(crate) replies: Vec<Reply>,
    pub(crate) statements: Vec<Statement>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) grant: Grant,
}

impl<S> Turn<S> {
    /// The update's text, caption or button data.
    pub fn text(&self) -> &str {
        &self.update.text
    }

    /// The command that the text is, without slash and bot's name: `start` for `/start`,
    /// `/start ref_42` (who opened `t.me/BOT?start=ref_42`) and, in groups, `/start@BOT`;
    /// none for any other text.
    pub fn command(&self) -> Option<&str> {
        self.update.command().map(|(command, _)| command)
    }

    /// What stands behind a command: `ref_42` in `/start ref_42`; empty if nothing does.
    pub fn argument(&self) -> &str {
        self.update.command().map_or("", |(_, argument)| argument)
    }

    /// The data of the button that was pressed; none if it was not a button.
    pub fn button(&self) -> Option<&str> {
        self.update.button()
    }

    /// What another system asks for; none for what a user did.
    pub fn rpc(&self) -> Option<Rpc> {
        self.update.rpc()
    }

    /// The pictures that the user sent.
    pub fn pictures(&self) -> &[Picture] {
        &self.update.pictures
    }

    /// The user, as the channel names them.
    pub fn user_id(&self) -> &str {
        &self.update.dialog.user_id
    }

    /// The channel's name, such as `telegram`.
    pub fn channel(&self) -> &str {
        &self.update.dialog.channel
    }

    /// The whole update, the platform's own JSON included.
    pub fn update(&self) -> &Update {
        &self.update
    }

    /// Which attempt at this update this is, from 1. After an error, a panic, a time-out
    /// or the death of the process the same update is tried again, up to
    /// `--max-attempts` times: a handler that calls something costly can do less then.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Queues a reply. It is sent after the turn is committed, in order.
    pub fn reply(&mut self, reply: impl Into<Reply>) {
        self.replies.push(reply.into());
    }

    /// Adds a statement of your own to the turn's transaction: it takes effect
    /// with the new state, or neither does. Parameters are `?1`, `?2` …; a tuple,
    /// an array or a `Vec` of values. Tables of your own are made by
    /// [`App::migrations`](crate::App::migrations).
    ///
    /// It runs at the end of the turn; should it fail then, the turn fails.
    pub fn execute(&mut self, sql: impl Into<String>, params: impl Params) {
        self.statements.push(Statement::new(sql, params));
    }

    /// Asks a question of your own tables. All earlier turns of this user are
    /// seen, statements queued in this one are not yet.
    ///
    /// # Errors
    /// When the query is wrong, writes, or takes longer than five seconds.
    pub async fn query(&self, sql: impl Into<String>, params: impl Params) -> Result<Vec<Row>> {
        self.storage
            .query(Some(&self.grant), Statement::new(sql, params))
            .await
            .map_err(Error::Storage)
    }
}
