//! The author's side: the [`Turn`] that a handler is given, and how a handler of
//! any state type is called by the rest of the program, which knows none.
//!
//! Called by `turn.rs`. Invariant: whatever the handler does (fail, panic, take
//! too long), its [`Turn`] comes to an end here and the lock is given back; what
//! it left in the turn counts only if it returned `Ok`.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
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
    update: Arc<Update>,
    attempt: u32,
    replies: Vec<Reply>,
    statements: Vec<Statement>,
    storage: Arc<dyn Storage>,
    grant: Grant,
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

/// A handler of state `S`.
pub(crate) struct Typed<S, F> {
    handler: F,
    state: std::marker::PhantomData<fn(S)>,
}

impl<S, F> Typed<S, F> {
    pub(crate) fn new(handler: F) -> Self {
        Typed {
            handler,
            state: std::marker::PhantomData,
        }
    }
}

impl<S, F> AnyHandler for Typed<S, F>
where
    S: Default + Serialize + DeserializeOwned + 'static,
    F: AsyncFn(&mut Turn<S>) -> Result<()> + 'static,
{
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Returned> + '_>> {
        Box::pin(async move {
            let read = || match call.state.as_deref().map(serde_json::from_str) {
                None => Ok(S::default()),
                Some(Ok(state)) => Ok(state),
                Some(Err(e)) => Err(Error::msg(format!(
                    "the stored state does not fit the handler's type: {e}"
                ))),
            };
            let state = match guard(read) {
                Ok(state) => state,
                Err(error) => {
                    return Returned {
                        state: call.state,
                        grant: call.grant,
                        outcome: Err(error),
                    };
                }
            };
            let mut turn = Turn {
                state,
                update: call.update,
                attempt: call.attempt,
                replies: Vec::new(),
                statements: Vec::new(),
                storage: call.storage,
                grant: call.grant,
            };
            let handled =
                tokio::time::timeout(call.timeout, catch_panic((self.handler)(&mut turn)))
                    .await
                    .unwrap_or(Err(Error::Timeout(call.timeout)));
            let outcome = handled.and_then(|()| {
                if turn.replies.len() > MAX_REPLIES {
                    return Err(Error::msg(format!(
                        "{} replies in one turn; {MAX_REPLIES} is the limit",
                        turn.replies.len()
                    )));
                }
                Ok(Handled {
                    state: guard(|| Ok(serde_json::to_string(&turn.state)?))?,
                    replies: turn.replies,
                    statements: turn.statements,
                })
            });
            Returned {
                state: call.state,
                grant: turn.grant,
                outcome,
            }
        })
    }
}

/// Runs the author's code; a panic in it is an error of this turn alone.
async fn catch_panic(handler: impl Future<Output = Result<()>>) -> Result<()> {
    let mut handler = pin!(handler);
    poll_fn(|context| {
        guard(|| Ok(handler.as_mut().poll(context))).unwrap_or_else(|error| Poll::Ready(Err(error)))
    })
    .await
}

/// Calls the author's code. What a panic left half changed is thrown away.
fn guard<T>(author: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(author)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Err(Error::Panic(message))
    })
}
