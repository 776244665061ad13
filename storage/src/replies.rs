//! Failing replies: how often each was tried, and what becomes of it.
//!
//! The sender of replies records each failure with [`note`], and gives a reply up with
//! [`bury`]: the reply leaves the outbox, so that its dialog goes on, and becomes a dead reply.
//! An operator looks at dead replies and sends them again or drops them; a waiting reply can be
//! dropped too. Dead replies stay until then, like dead letters. Bounds: every list has a
//! limit.
//!
//! The caller of [`bury`] holds the dialog's lock; the operator's commands do not. So an
//! operation on a row that is gone meanwhile does nothing.

use crate::{
    DialogKey, FORGOTTEN, Fence, ReplyId, Result, Row, Statement, Storage, Value, unix_ms,
};

/// How our statements begin that take replies out of the outbox, or put them into it: the
/// writer of SQLite's file counts them.
pub(crate) const TAKES_REPLIES: &str = "DELETE FROM turnkey_outbox";
pub(crate) const PUTS_REPLIES: &str = "INSERT INTO turnkey_outbox";

/// The columns of a dead reply.
pub(crate) const COLUMNS: &str = "turn, n, channel, user_id, body, error, attempts, since, died";

/// A reply that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// How often it failed.
    pub attempts: u32,
    /// From when its age counts, in milliseconds since 1970: its turn, or when an
    /// operator had it tried again.
    pub since: i64,
}

/// A reply that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadReply {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Its place.
    pub id: ReplyId,
    /// What the commit carried.
    pub body: String,
    /// Why it failed last.
    pub error: String,
    /// How often it failed.
    pub attempts: u32,
    /// As [`Waiting::since`].
    pub since: i64,
    /// When it was given up, in milliseconds since 1970.
    pub died: i64,
}

/// What is known of a reply in the outbox; none when it is no longer there.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn waiting(
    storage: &dyn Storage,
    dialog: &DialogKey,
    id: ReplyId,
) -> Result<Option<Waiting>> {
    let (join, of_dialog) = match storage.numbers_dialogs() {
        true => ("d.id = o.dialog", "d.user_id = ?1 AND d.channel = ?2"),
        false => (
            "d.user_id = o.user_id AND d.channel = o.channel",
            "o.user_id = ?1 AND o.channel = ?2",
        ),
    };
    let query = format!(
        "SELECT o.attempts AS attempts, o.since AS since, d.updated_at AS updated_at
         FROM turnkey_outbox o JOIN turnkey_dialog d ON {join}
         WHERE {of_dialog} AND o.turn = ?3 AND o.n = ?4"
    );
    let rows = storage
        .own_query(Statement::new(query, key(dialog, id)))
        .await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let since = match row.get("since")? {
        0 => row.get("updated_at")?,
        since => since,
    };
    Ok(Some(Waiting {
        attempts: row.get::<i64>("attempts")? as u32,
        since,
    }))
}

/// Notes how often a reply has failed by now, and why.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn note(
    storage: &dyn Storage,
    dialog: &DialogKey,
    id: ReplyId,
    now: &Waiting,
    error: &str,
) -> Result<()> {
    let change = format!(
        "UPDATE turnkey_outbox SET attempts = ?5, since = ?6, error = ?7
         WHERE {} AND turn = ?3 AND n = ?4",
        of_dialog(storage)
    );
    let mut params = key(dialog, id);
    params.extend([
        Value::from(now.attempts),
        Value::from(now.since),
        Value::from(error),
    ]);
    storage
        .own(vec![Statement::new(change, params)])
        .await
        .map(drop)
}

/// Gives a reply up: it leaves the outbox and is a dead reply. Nothing happens when it is
/// not in the outbox.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn bury(
    storage: &dyn Storage,
    dialog: &DialogKey,
    id: ReplyId,
    last: &Waiting,
    error: &str,
) -> Result<()> {
    let statements = burial(storage, dialog, id, last, error);
    storage.own(statements).await.map(drop)
}

/// What [`bury`] does.
pub(crate) fn burial(
    storage: &dyn Storage,
    dialog: &DialogKey,
    id: ReplyId,
    last: &Waiting,
    error: &str,
) -> Vec<Statement> {
    let of_dialog = of_dialog(storage);
    let bury = format!(
        "INSERT INTO turnkey_dead_reply ({COLUMNS})
         SELECT o.turn, o.n, ?2, ?1, o.body, ?5, ?6, ?7, ?8 FROM turnkey_outbox o
         WHERE {of_dialog} AND o.turn = ?3 AND o.n = ?4 AND NOT EXISTS
             (SELECT 1 FROM turnkey_dead_reply r WHERE r.turn = ?3 AND r.n = ?4)"
    );
    let mut params = key(dialog, id);
    params.extend([
        Value::from(error),
        Value::from(last.attempts),
        Value::from(last.since),
        Value::from(unix_ms()),
    ]);
    let take_out = format!("{TAKES_REPLIES} WHERE {of_dialog} AND turn = ?3 AND n = ?4");
    vec![
        Statement::new(bury, params),
        Statement::new(take_out, key(dialog, id)),
    ]
}

/// The turn of an update that was handled, if its dialog has had a newer one since.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn overtaken(
    storage: &dyn Storage,
    dialog: &DialogKey,
    update: &str,
) -> Result<Option<Fence>> {
    let query = Statement::new(
        "SELECT s.fence AS fence, d.version AS version FROM turnkey_dialog d, turnkey_seen s
         WHERE d.user_id = ?1 AND d.channel = ?2 AND s.id = ?3 AND s.channel = ?2",
        (&dialog.user_id, &dialog.channel, update),
    );
    let rows = storage.own_query(query).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let turn = row.get::<i64>("fence")? as u64;
    let last = row.get::<i64>("version")? as u64 & !FORGOTTEN;
    Ok((last > turn).then_some(Fence(turn)))
}

/// Keeps a reply as a dead one that never was in the outbox. Nothing happens when its place
/// is taken.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn miss(
    storage: &dyn Storage,
    dialog: &DialogKey,
    id: ReplyId,
    body: &str,
    error: &str,
) -> Result<()> {
    let now = unix_ms();
    let miss = format!(
        "INSERT INTO turnkey_dead_reply ({COLUMNS})
         SELECT ?3, ?4, ?2, ?1, ?5, ?6, 0, ?7, ?7 FROM (SELECT 1 AS one) t
         WHERE NOT EXISTS (SELECT 1 FROM turnkey_dead_reply r WHERE r.turn = ?3 AND r.n = ?4)"
    );
    let mut params = key(dialog, id);
    params.extend([Value::from(body), Value::from(error), Value::from(now)]);
    storage
        .own(vec![Statement::new(miss, params)])
        .await
        .map(drop)
}

/// Up to `limit` dead replies behind `after`, those of the oldest turns first.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn list(
    storage: &dyn Storage,
    after: Option<ReplyId>,
    limit: u32,
) -> Result<Vec<DeadReply>> {
    // No turn has the fence 0.
    let (turn, n) = after.map_or((0, 0), |id| (id.turn.0 as i64, id.index));
    let query = Statement::new(
        format!(
            "SELECT {COLUMNS} FROM turnkey_dead_reply
             WHERE turn > ?1 OR (turn = ?1 AND n > ?2) ORDER BY turn, n LIMIT ?3"
        ),
        (turn, n, limit),
    );
    let rows = storage.own_query(query).await?;
    rows.iter().map(dead_reply).collect()
}

/// Up to `limit` dead replies of a dialog, the oldest first.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn dead_of(
    storage: &dyn Storage,
    dialog: &DialogKey,
    limit: u32,
) -> Result<Vec<DeadReply>> {
    let query = format!(
        "SELECT {COLUMNS} FROM turnkey_dead_reply WHERE user_id = ?1 AND channel = ?2
         ORDER BY turn, n LIMIT ?3"
    );
    let params = (&dialog.user_id, &dialog.channel, limit);
    let rows = storage.own_query(Statement::new(query, params)).await?;
    rows.iter().map(dead_reply).collect()
}

/// The dead reply of this place.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn get(storage: &dyn Storage, id: ReplyId) -> Result<Option<DeadReply>> {
    let query = format!("SELECT {COLUMNS} FROM turnkey_dead_reply WHERE turn = ?1 AND n = ?2");
    let rows = storage.own_query(Statement::new(query, place(id))).await?;
    rows.first().map(dead_reply).transpose()
}

/// Has a reply tried again as if it had never failed: a dead one goes back into the
/// outbox, and is sent before those of newer turns that still wait; one that waits has its
/// attempts and its age begin anew. False when there is none.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn retry(storage: &dyn Storage, id: ReplyId) -> Result<bool> {
    let (columns, values, same) = match storage.numbers_dialogs() {
        true => ("dialog", "d.id", "o.dialog = d.id"),
        false => (
            "user_id, channel",
            "d.user_id, d.channel",
            "o.user_id = d.user_id AND o.channel = d.channel",
        ),
    };
    let back = format!(
        "{PUTS_REPLIES} ({columns}, turn, n, body, attempts, since)
         SELECT {values}, r.turn, r.n, r.body, 0, ?3
         FROM turnkey_dead_reply r JOIN turnkey_dialog d
             ON d.user_id = r.user_id AND d.channel = r.channel
         WHERE r.turn = ?1 AND r.n = ?2 AND NOT EXISTS
             (SELECT 1 FROM turnkey_outbox o WHERE {same} AND o.turn = ?1 AND o.n = ?2)"
    );
    let forget = "DELETE FROM turnkey_dead_reply WHERE turn = ?1 AND n = ?2
         AND EXISTS (SELECT 1 FROM turnkey_outbox o WHERE o.turn = ?1 AND o.n = ?2)";
    let anew = "UPDATE turnkey_outbox SET attempts = 0, since = ?3, error = NULL
         WHERE turn = ?1 AND n = ?2";
    let now = || {
        let ReplyId { turn, index } = id;
        (turn.0 as i64, index, unix_ms())
    };
    let changed = storage
        .own(vec![
            Statement::new(back, now()),
            Statement::new(forget, place(id)),
            Statement::new(anew, now()),
        ])
        .await?;
    Ok(changed.iter().any(|rows| *rows > 0))
}

/// Throws a reply away, dead or waiting; false when there is none.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn drop_reply(storage: &dyn Storage, id: ReplyId) -> Result<bool> {
    let waits = format!("{TAKES_REPLIES} WHERE turn = ?1 AND n = ?2");
    let dead = "DELETE FROM turnkey_dead_reply WHERE turn = ?1 AND n = ?2";
    let changed = storage
        .own(vec![
            Statement::new(waits, place(id)),
            Statement::new(dead, place(id)),
        ])
        .await?;
    Ok(changed.iter().any(|rows| *rows > 0))
}

/// The condition that a row of the outbox is of the dialog in `?1` and `?2`.
pub(crate) fn of_dialog(storage: &dyn Storage) -> &'static str {
    match storage.numbers_dialogs() {
        true => {
            "dialog = (SELECT d.id FROM turnkey_dialog d WHERE d.user_id = ?1 AND d.channel = ?2)"
        }
        false => "user_id = ?1 AND channel = ?2",
    }
}

/// `?1` to `?4`.
pub(crate) fn key(dialog: &DialogKey, id: ReplyId) -> Vec<Value> {
    vec![
        Value::from(&dialog.user_id),
        Value::from(&dialog.channel),
        Value::from(id.turn.0 as i64),
        Value::from(id.index),
    ]
}

fn place(id: ReplyId) -> (i64, u32) {
    (id.turn.0 as i64, id.index)
}

fn dead_reply(row: &Row) -> Result<DeadReply> {
    Ok(DeadReply {
        dialog: row.dialog()?,
        id: ReplyId {
            turn: Fence(row.get::<i64>("turn")? as u64),
            index: row.get::<i64>("n")? as u32,
        },
        body: row.get("body")?,
        error: row.get("error")?,
        attempts: row.get::<i64>("attempts")? as u32,
        since: row.get("since")?,
        died: row.get("died")?,
    })
}
