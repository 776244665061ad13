//! Updates that were taken in before their turn was committed: a platform was told that
//! it need not send them again, so they are ours.
//!
//! Called by whoever runs turns. [`accept`] makes an update durable; the commit of its
//! turn takes it out ([`Commit::pending`](crate::Commit::pending)), in one transaction;
//! [`Begun::earlier`](crate::Begun::earlier) shows what was left by a turn that died.
//! Every call may be made twice: the update's id is the key. Bounds: [`Bounds`].

use crate::{DialogKey, Error, Result, Row, Seen, Statement, Storage, Value};

/// An update in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Its id within its channel.
    pub update: String,
    /// When it arrived, in microseconds since 1970: the order of the dialog's turns.
    pub arrived: i64,
    /// The update itself, in its owner's words.
    pub body: Vec<u8>,
    /// How often its handler was called.
    pub attempts: u32,
    /// Not to be tried before this time, in milliseconds since 1970.
    pub due: i64,
    /// Why the last attempt failed.
    pub error: Option<String>,
}

impl Pending {
    /// What an engine shows of the oldest update of a dialog in the inbox to a begin for
    /// `update`, which arrived then: it goes first, unless it is the same or came later.
    /// To a begin without an update it is shown once it is due.
    pub(crate) fn before(self, update: Option<&str>, arrived: i64) -> Option<Self> {
        let goes_first = match update {
            Some(update) => self.update != update && self.arrived < arrived,
            None => self.due <= crate::unix_ms(),
        };
        goes_first.then_some(self)
    }
}

/// How many updates the inbox holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of one dialog.
    pub per_dialog: u32,
    /// In all.
    pub all: u32,
}

/// What is known of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpdateState {
    /// It never came, or so long ago that it was forgotten.
    Unknown,
    /// It is in the inbox.
    Pending,
    /// Its turn was committed.
    Done(Seen),
    /// It was given up, for this reason.
    Dead(String),
}

/// Takes an update in. It is durable when this returns; one that is there already, was
/// committed or was given up is left alone.
///
/// # Errors
/// [`Error::Busy`] at a bound; else as [`Storage::commit`].
pub async fn accept(storage: &dyn Storage, pending: &Pending, bounds: Bounds) -> Result<()> {
    let Pending { dialog, .. } = pending;
    let insert = Statement::new(
        "INSERT INTO turnkey_inbox (channel, id, user_id, arrived, due, attempts, error, body)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM (SELECT 1 AS n) one
         WHERE NOT EXISTS (SELECT 1 FROM turnkey_inbox i WHERE i.id = ?2 AND i.channel = ?1)
         AND NOT EXISTS (SELECT 1 FROM turnkey_seen s WHERE s.id = ?2 AND s.channel = ?1)
         AND (SELECT COUNT(*) FROM turnkey_inbox a) < ?9
         AND (SELECT COUNT(*) FROM turnkey_inbox d
              WHERE d.user_id = ?3 AND d.channel = ?1) < ?10",
        vec![
            Value::from(&dialog.channel),
            Value::from(&pending.update),
            Value::from(&dialog.user_id),
            Value::from(pending.arrived),
            Value::from(pending.due),
            Value::from(pending.attempts),
            Value::from(pending.error.as_deref()),
            Value::from(pending.body.as_slice()),
            Value::from(bounds.all),
            Value::from(bounds.per_dialog),
        ],
    );
    let accepted = storage.own(vec![insert]).await;
    let refused = match accepted {
        Ok(counts) if counts == [1] => return Ok(()),
        Ok(_) => Error::Busy("the inbox has no room for another update of this user".to_owned()),
        // Another process may have taken the same one in, in this moment.
        Err(error @ Error::Statement(_)) => error,
        Err(error) => return Err(error),
    };
    match state_of(storage, &dialog.channel, &pending.update).await? {
        UpdateState::Unknown => Err(refused),
        _ => Ok(()),
    }
}

/// An update's body, if it is in the inbox.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn body_of(
    storage: &dyn Storage,
    channel: &str,
    update: &str,
) -> Result<Option<Vec<u8>>> {
    let ask = "SELECT body FROM turnkey_inbox WHERE id = ?2 AND channel = ?1";
    let rows = storage
        .own_query(Statement::new(ask, (channel, update)))
        .await?;
    rows.first().map(|row| row.get("body")).transpose()
}

/// Notes that an attempt failed, or (before it) that it is made.
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
    let note = Statement::new(
        "UPDATE turnkey_inbox SET attempts = ?3, error = ?4, due = ?5
         WHERE id = ?2 AND channel = ?1",
        vec![
            Value::from(&dialog.channel),
            Value::from(update),
            Value::from(attempts),
            Value::from(error),
            Value::from(due),
        ],
    );
    storage.own(vec![note]).await.map(drop)
}

/// Takes an update out that was committed otherwise.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn forget(storage: &dyn Storage, channel: &str, update: &str) -> Result<()> {
    let delete = Statement::new(
        "DELETE FROM turnkey_inbox WHERE id = ?2 AND channel = ?1",
        (channel, update),
    );
    storage.own(vec![delete]).await.map(drop)
}

/// Up to `limit` dialogs with an update that is due and without a turn under way, those
/// of the oldest updates first.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn due_dialogs(storage: &dyn Storage, limit: u32) -> Result<Vec<DialogKey>> {
    let ask = Statement::new(
        // The first of each dialog: the others wait for it, also while it is not due.
        "SELECT i.channel, i.user_id FROM turnkey_inbox i WHERE i.due <= ?1
         AND NOT EXISTS (SELECT 1 FROM turnkey_inbox e WHERE e.user_id = i.user_id
             AND e.channel = i.channel AND e.due > ?1
             AND (e.arrived < i.arrived OR (e.arrived = i.arrived AND e.id < i.id)))
         AND NOT EXISTS (SELECT 1 FROM turnkey_lock l
             WHERE l.user_id = i.user_id AND l.channel = i.channel)
         GROUP BY i.channel, i.user_id ORDER BY MIN(i.arrived) LIMIT ?2",
        (crate::unix_ms(), i64::from(limit)),
    );
    let rows = storage.own_query(ask).await?;
    rows.iter().map(dialog_of).collect()
}

/// What became of an update.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn state_of(storage: &dyn Storage, channel: &str, update: &str) -> Result<UpdateState> {
    // From the end of its way to the beginning: on its way meanwhile it is not missed.
    let asks = [
        "SELECT error FROM turnkey_dead WHERE id = ?2 AND channel = ?1",
        "SELECT digest, answer FROM turnkey_seen WHERE id = ?2 AND channel = ?1",
        "SELECT id FROM turnkey_inbox WHERE id = ?2 AND channel = ?1",
        "SELECT digest, answer FROM turnkey_seen WHERE id = ?2 AND channel = ?1",
    ];
    for (step, ask) in asks.into_iter().enumerate() {
        let rows = storage
            .own_query(Statement::new(ask, (channel, update)))
            .await?;
        let Some(row) = rows.first() else { continue };
        return Ok(match step {
            0 => UpdateState::Dead(text(row, "error")?),
            2 => UpdateState::Pending,
            _ => UpdateState::Done(Seen {
                digest: row.get("digest")?,
                answer: row.get("answer")?,
            }),
        });
    }
    Ok(UpdateState::Unknown)
}

pub(crate) fn dialog_of(row: &Row) -> Result<DialogKey> {
    Ok(DialogKey {
        channel: text(row, "channel")?,
        user_id: text(row, "user_id")?,
    })
}

/// A text, which some engines keep as bytes.
pub(crate) fn text(row: &Row, column: &str) -> Result<String> {
    match row.get::<String>(column) {
        Ok(text) => Ok(text),
        Err(_) => String::from_utf8(row.get(column)?)
            .map_err(|_| Error::Unavailable(format!("{column} in our tables is not UTF-8"))),
    }
}
