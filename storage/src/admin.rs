//! What an operator asks of a database: dialogs, their state, what waits to be sent.
//!
//! Called by the command line. Works while a bot runs. Bounds: every list has a limit.

use crate::{DialogKey, Error, ReplyId, Result, Storage};

/// A dialog in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogSummary {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Bytes of its state; none when it was forgotten.
    pub state_bytes: Option<u64>,
    /// Its last turn, in milliseconds since 1970.
    pub updated_at: i64,
}

/// A dialog with all that is known of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogDetail {
    /// Whose it is.
    pub dialog: DialogKey,
    /// JSON text; none when it was forgotten.
    pub state: Option<String>,
    /// Its last turn, in milliseconds since 1970.
    pub updated_at: i64,
    /// Its last turns, oldest first, each as JSON text.
    pub history: Vec<String>,
    /// Replies that are not marked as sent.
    pub unsent: u64,
    /// Updates in the inbox.
    pub pending: u64,
}

/// A reply that is not marked as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxLine {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Its place.
    pub id: ReplyId,
    /// What the commit carried.
    pub body: String,
    /// The dialog's last turn, in milliseconds since 1970: replies are sent before a
    /// newer turn.
    pub since: i64,
}

/// Up to `limit` dialogs whose user id contains `user`, in the order of user id and
/// channel, behind `after`.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn dialogs(
    storage: &dyn Storage,
    user: Option<&str>,
    after: Option<&DialogKey>,
    limit: u32,
) -> Result<Vec<DialogSummary>> {
    let _ = (storage, user, after, limit);
    Err(Error::Unavailable("not yet".to_owned()))
}

/// A dialog with up to `history` of its last turns; none when it is not known.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn dialog(
    storage: &dyn Storage,
    dialog: &DialogKey,
    history: u32,
) -> Result<Option<DialogDetail>> {
    let _ = (storage, dialog, history);
    Err(Error::Unavailable("not yet".to_owned()))
}

/// Forgets a dialog's state: its next turn starts as a new dialog's. A turn under way is
/// told [`Error::Stale`] and runs again. Replies that wait to be sent, and the history,
/// stay. False when there is no state.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn reset(storage: &dyn Storage, dialog: &DialogKey) -> Result<bool> {
    let _ = (storage, dialog);
    Err(Error::Unavailable("not yet".to_owned()))
}

/// Up to `limit` replies that are not marked as sent, behind `after`, the oldest turns
/// first.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn outbox(
    storage: &dyn Storage,
    after: Option<ReplyId>,
    limit: u32,
) -> Result<Vec<OutboxLine>> {
    let _ = (storage, after, limit);
    Err(Error::Unavailable("not yet".to_owned()))
}
