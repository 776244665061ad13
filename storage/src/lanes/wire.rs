//! What an engine brings to the lanes: how one phase of many turns is done on a
//! connection, and what a failure means.
//!
//! Called by `phases.rs`; each engine implements [`Wire`] and [`Connect`] in its own
//! `wire.rs`, and [`Failure`] in its `errors.rs`. Bounds: [`MAX_BATCH`] requests a call,
//! [`MAX_WAITERS`] of one dialog.

use super::idle::Kept;
use crate::{Commit, DialogKey, Error, Fence, Pending, ReplyId, Result, Seen, Unsent};

/// Requests that travel together.
pub(crate) const MAX_BATCH: usize = 128;

/// Waiters of one dialog; one more is refused, as by the SQLite engine.
pub(crate) const MAX_WAITERS: i32 = 1000;

/// A turn to be written.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) dialog: DialogKey,
    pub(crate) fence: Fence,
    pub(crate) version: u64,
    pub(crate) commit: Commit,
}

/// A lock that is asked for.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) ticket: i64,
    pub(crate) dialog: DialogKey,
    pub(crate) update: Option<String>,
    /// Microseconds since 1970.
    pub(crate) arrived: i64,
}

/// A lock that was handed over: what the turn needs to know is asked for.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) ticket: i64,
    pub(crate) dialog: DialogKey,
    pub(crate) update: Option<String>,
    pub(crate) fence: Fence,
}

/// What became of an [`Ask`].
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived; a box would cost every turn an allocation"
)]
pub(crate) enum Asked {
    Granted(Found),
    Queued,
    Refused,
}

/// What a turn needs to know.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) fence: Fence,
    pub(crate) version: u64,
    pub(crate) state: Option<String>,
    pub(crate) seen: Option<Seen>,
    pub(crate) unsent: Vec<Unsent>,
    /// The oldest of the dialog in the inbox, be it this one, earlier or later.
    pub(crate) oldest: Option<Pending>,
}

/// Why a call failed.
pub(crate) trait Failure: Send {
    /// The whole reason in one line.
    fn words(&self) -> String;

    /// The connection is gone, or about to be: connect again.
    fn is_lost(&self) -> bool;

    /// Others were in the way, and this one was chosen to give way.
    fn is_deadlock(&self) -> bool;

    /// What its callers are told.
    fn ours(&self) -> Error;
}

/// A lane's connection as an engine makes it. Each call does one phase of many turns,
/// all or nothing, and is sorted by dialog: so two calls never wait for each other in
/// a circle.
pub(crate) trait Wire: Kept + Sized + 'static {
    type Failed: Failure;

    /// Takes locks, or places in their queues.
    fn begin(
        &mut self,
        owner: i64,
        asks: &[Ask],
    ) -> impl Future<Output = std::result::Result<Vec<(i64, Asked)>, Self::Failed>> + Send;

    /// Reads under locks that are held.
    fn read(
        &mut self,
        readings: &[Reading],
    ) -> impl Future<Output = std::result::Result<Vec<(i64, Found)>, Self::Failed>> + Send;

    /// Writes many turns; fails when anything is not as it should be.
    fn commit_all(
        &mut self,
        turns: &[&Turn],
    ) -> impl Future<Output = std::result::Result<(), Self::Failed>> + Send;

    /// Writes one turn, or finds out why not.
    fn commit_one(
        &mut self,
        turn: &Turn,
    ) -> impl Future<Output = std::result::Result<Result<()>, Self::Failed>> + Send;

    /// Forgets replies that were sent, and gives locks back.
    fn sent(
        &mut self,
        replies: &[(&DialogKey, ReplyId)],
        ends: &[(&DialogKey, Fence)],
    ) -> impl Future<Output = std::result::Result<(), Self::Failed>> + Send;

    /// Gives up places in queues, or locks that were granted meanwhile.
    fn cancel(
        &mut self,
        owner: i64,
        places: &[(i64, DialogKey)],
    ) -> impl Future<Output = std::result::Result<(), Self::Failed>> + Send;
}

/// Makes the connections of an engine's lanes.
pub(crate) trait Connect: Send + 'static {
    type Wire: Wire;

    fn connect(
        &self,
    ) -> impl Future<Output = std::result::Result<Self::Wire, <Self::Wire as Wire>::Failed>> + Send;
}
