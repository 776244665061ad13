//! The inbox: updates that were answered before their turn was committed.
//!
//! Whoever takes an update in and cannot finish its turn soon calls [`accept`]; from
//! then on the update is ours and survives any crash. [`Begun::earlier`](crate::Begun)
//! hands it to whoever holds its dialog's lock next, [`Commit::pending`](crate::Commit)
//! takes it out together with the turn.
//!
//! Invariants: an update is in the inbox, among those that were seen, or nowhere; the
//! updates of a dialog are in the order of their arrival. Bounds: [`Bounds`].

use crate::{DialogKey, Error, Result, Seen, Storage};

/// An update in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Its id within its channel.
    pub update: String,
    /// When it arrived, in microseconds since 1970: the order within a dialog.
    pub arrived: i64,
    /// The update, as its caller wrote it.
    pub body: Vec<u8>,
    /// How often its turn failed.
    pub attempts: u32,
    /// Not to be tried before: milliseconds since 1970.
    pub due: i64,
    /// Why it failed last.
    pub error: Option<String>,
}

/// How many updates the inbox takes; one more is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of one dialog.
    pub per_dialog: u32,
    /// Of all dialogs.
    pub all: u32,
}

/// What is known of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateState {
    /// Nothing: it never came, is under way, or was forgotten.
    Unknown,
    /// It is in the inbox.
    Pending,
    /// It was committed.
    Done(Seen),
    /// It is among the dead letters, for this reason.
    Dead(String),
}

/// Takes an update into the inbox. It is durable when this returns. Nothing happens when
/// it is there already, or was handled before.
///
/// # Errors
/// [`Error::Busy`] when the inbox is at one of its bounds; else as
/// [`Storage::commit`].
pub async fn accept(storage: &dyn Storage, pending: &Pending, bounds: Bounds) -> Result<()> {
    let _ = (storage, pending, bounds);
    Err(Error::Unavailable("not yet".to_owned()))
}

/// Notes that a turn of this update failed, and when the next may be tried
/// (milliseconds since 1970). Nothing happens when it is not in the inbox.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn note_failure(
    storage: &dyn Storage,
    dialog: &DialogKey,
    update: &str,
    attempts: u32,
    error: &str,
    due: i64,
) -> Result<()> {
    let _ = (storage, dialog, update, attempts, error, due);
    Err(Error::Unavailable("not yet".to_owned()))
}

/// Up to `limit` dialogs whose oldest update in the inbox is due and that have no turn
/// under way, the longest waiting first.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn due_dialogs(storage: &dyn Storage, limit: u32) -> Result<Vec<DialogKey>> {
    let _ = (storage, limit);
    Err(Error::Unavailable("not yet".to_owned()))
}

/// What is known of an update.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn state_of(storage: &dyn Storage, channel: &str, update: &str) -> Result<UpdateState> {
    let _ = (storage, channel, update);
    Err(Error::Unavailable("not yet".to_owned()))
}
