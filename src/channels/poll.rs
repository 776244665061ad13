//! Platforms that can be polled for updates.
//!
//! Called by `updaters/polling.rs`, which decides when to ask and handles the updates; the
//! calls themselves are in `telegram/api.rs` and `vk/api.rs`.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use super::SendError;

/// A place in a platform's queue of updates: everything before it is ours.
pub(crate) type Mark = u64;

/// What a platform gave.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Each update's JSON, with the mark that stands when it and all before it are ours.
    pub(crate) updates: Vec<(Mark, Bytes)>,
    /// Where to ask next; none for whatever the platform has.
    pub(crate) next: Option<Mark>,
}

/// Why a platform gave nothing.
#[derive(Debug)]
pub(crate) enum PollError {
    /// It is away, or wants to be left alone for some time.
    Away {
        reason: String,
        after: Option<Duration>,
    },
    /// Somebody else gets the updates. The sentence says who, and what to do.
    Taken(String),
    /// It does not know the token, and never will.
    Token(String),
}

impl PollError {
    /// Why, and how long to wait where the platform named a time.
    pub(crate) fn told(self) -> (String, Option<Duration>) {
        match self {
            PollError::Away { reason, after } => (reason, after),
            PollError::Token(reason) | PollError::Taken(reason) => (reason, None),
        }
    }
}

impl From<SendError> for PollError {
    fn from(error: SendError) -> Self {
        let reason = error.to_string();
        let after = match error {
            SendError::Retry { after, .. }
            | SendError::Away { after, .. }
            | SendError::TooMany { after, .. } => after,
            SendError::Refused(_) | SendError::Unreachable(_) => None,
        };
        PollError::Away { reason, after }
    }
}

pub(crate) type Asked<'a, T> = Pin<Box<dyn Future<Output = Result<T, PollError>> + 'a>>;

/// A platform that can be asked.
pub(crate) trait Poll {
    /// Its channel.
    fn channel(&self) -> &'static str;

    /// Its name, for people.
    fn platform(&self) -> &'static str;

    /// The page or community whose token it is, once it is known and where there is one.
    fn account(&self) -> Option<u64> {
        None
    }

    /// Asks for what comes from `mark` on, and waits for `wait` if there is nothing.
    fn ask(&self, mark: Option<Mark>, wait: Duration) -> Asked<'_, Batch>;

    /// Whether asking from a mark tells the platform to forget what is before it, so that
    /// it keeps all others and gives them again. Else the mark must be kept by us.
    fn forgets(&self) -> bool;

    /// Calls what the channel would have answered a webhook with, once. Best effort.
    fn call(&self, answer: Vec<u8>) -> Asked<'_, ()>;

    /// Tells the platform that everything before the mark is ours.
    fn confirm(&self, mark: Mark) -> Asked<'_, ()>;
}
