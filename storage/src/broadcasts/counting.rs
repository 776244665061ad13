//! What became of each dialog's reply: counted in the transaction that takes the reply out of the
//! outbox or its update out of the inbox.
//!
//! Called by whoever sends replies and gives them up. Invariant: a dialog counts once, as reached or as not reached, whatever
//! crashes. Bounds: [`MAX_FAILURES`] listed failures, [`MAX_REASON`].

use super::{Failure, MAX_FAILURES, number};
use crate::dead::DeadLetter;
use crate::replies::{self, TAKES_REPLIES, Waiting};
use crate::taken::Taken;
use crate::{DialogKey, ReplyId, Result, Row, Statement, Storage, Value, dead, taken, unix_ms};

/// Bytes of a reason.
const MAX_REASON: usize = 500;

/// A reply of a broadcast was sent: it leaves the outbox, and the dialog counts as reached.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn sent(
    storage: &dyn Storage,
    broadcast: u64,
    dialog: &DialogKey,
    reply: ReplyId,
) -> Result<()> {
    let last = is_last(storage);
    // One that an operator had tried again.
    let failure = "SELECT COUNT(*) FROM turnkey_broadcast_failed f
         WHERE f.broadcast = ?5 AND f.user_id = ?1 AND f.channel = ?2";
    let key = || key(dialog, reply, broadcast);
    let statements = vec![
        Statement::new(
            format!(
                "UPDATE turnkey_broadcast SET sent = sent + 1, failed = failed - ({failure})
                 WHERE id = ?5 AND {last}"
            ),
            key(),
        ),
        Statement::new(
            format!(
                "DELETE FROM turnkey_broadcast_failed
                 WHERE broadcast = ?5 AND user_id = ?1 AND channel = ?2 AND {last}"
            ),
            key(),
        ),
        take_out(storage, dialog, reply),
    ];
    storage.own(statements).await.map(drop)
}

/// A reply of a broadcast was refused for good: it leaves the outbox, and the dialog counts as
/// one that could not be reached.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn refused(
    storage: &dyn Storage,
    broadcast: u64,
    dialog: &DialogKey,
    reply: ReplyId,
    reason: &str,
) -> Result<()> {
    let mut statements = reply_failed(storage, broadcast, dialog, reply, reason);
    statements.push(take_out(storage, dialog, reply));
    storage.own(statements).await.map(drop)
}

/// A message that the platform had taken is refused after all ([`taken`]): its dialog counts as
/// one that could not be reached. False, and nothing happens, when no reply is kept under this
/// message.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn refused_late(
    storage: &dyn Storage,
    broadcast: u64,
    taken: &Taken,
    reason: &str,
) -> Result<bool> {
    let kept = "EXISTS (SELECT 1 FROM turnkey_taken k
         WHERE k.turn = ?3 AND k.n = ?4 AND k.message = ?5)";
    let params = |with_reason: bool| {
        let mut params = replies::key(&taken.dialog, taken.id);
        params.push(Value::from(&taken.message));
        params.push(Value::from(number(broadcast)));
        params.extend(with_reason.then(|| Value::from(short(reason))));
        params.extend(with_reason.then(|| Value::from(unix_ms())));
        params
    };
    let is_new = is_new("?6");
    let mut statements = vec![Statement::new(
        format!(
            "UPDATE turnkey_broadcast SET sent = sent - 1
             WHERE id = ?6 AND sent > 0 AND {kept} AND {is_new}"
        ),
        params(false),
    )];
    statements.extend(failed(kept, ("?6", "?7", "?8"), params));
    statements.push(taken::take_out(taken.id, &taken.message));
    let changed = storage.own(statements).await?;
    Ok(changed.last().is_some_and(|rows| *rows > 0))
}

/// [`replies::bury`] for a reply of a broadcast.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn bury_reply(
    storage: &dyn Storage,
    broadcast: u64,
    dialog: &DialogKey,
    reply: ReplyId,
    last: &Waiting,
    reason: &str,
) -> Result<()> {
    let mut statements = reply_failed(storage, broadcast, dialog, reply, reason);
    statements.extend(replies::burial(storage, dialog, reply, last, reason));
    storage.own(statements).await.map(drop)
}

/// [`dead::bury`] for an update of a broadcast.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn bury_update(storage: &dyn Storage, broadcast: u64, letter: &DeadLetter) -> Result<()> {
    let waits = "EXISTS (SELECT 1 FROM turnkey_inbox i
         WHERE i.id = ?3 AND i.channel = ?2 AND i.channel <> 'http')";
    let update = &letter.update;
    let DialogKey { channel, user_id } = &letter.dialog;
    let mut statements = failed(waits, ("?4", "?5", "?6"), |reason| {
        let mut params = vec![
            Value::from(user_id),
            Value::from(channel),
            Value::from(update),
            Value::from(number(broadcast)),
        ];
        params.extend(reason.then(|| Value::from(short(&letter.error))));
        params.extend(reason.then(|| Value::from(letter.died)));
        params
    });
    statements.extend(dead::burial(letter));
    storage.own(statements).await.map(drop)
}

/// Up to `limit` dialogs that a broadcast could not reach, behind `after`, in the order of user
/// id and channel.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn failures(
    storage: &dyn Storage,
    id: u64,
    after: Option<&DialogKey>,
    limit: u32,
) -> Result<Vec<Failure>> {
    let first = DialogKey::new("", "");
    let after = after.unwrap_or(&first);
    let query = Statement::new(
        "SELECT user_id, channel, reason, at FROM turnkey_broadcast_failed
         WHERE broadcast = ?1 AND (user_id > ?2 OR (user_id = ?2 AND channel > ?3))
         ORDER BY user_id, channel LIMIT ?4",
        (number(id), &after.user_id, &after.channel, limit),
    );
    let rows = storage.own_query(query).await?;
    let failure = |row: &Row| {
        Ok(Failure {
            dialog: row.dialog()?,
            reason: row.get("reason")?,
            at: row.get("at")?,
        })
    };
    rows.iter().map(failure).collect()
}

/// Counts a failure of the last message of a turn, while it is in the outbox.
fn reply_failed(
    storage: &dyn Storage,
    broadcast: u64,
    dialog: &DialogKey,
    reply: ReplyId,
    reason: &str,
) -> Vec<Statement> {
    failed(&is_last(storage), ("?5", "?6", "?7"), |with_reason| {
        let mut params = key(dialog, reply, broadcast);
        params.extend(with_reason.then(|| Value::from(short(reason))));
        params.extend(with_reason.then(|| Value::from(unix_ms())));
        params
    })
}

/// Counts the dialog in `?1` and `?2` as one that was not reached, on this condition, which the
/// statements after these must end. The parameters of the broadcast, the reason and the moment
/// are given; `params` has those for a statement, with or without the last two.
fn failed(
    condition: &str,
    (broadcast, reason, at): (&str, &str, &str),
    params: impl Fn(bool) -> Vec<Value>,
) -> Vec<Statement> {
    let new = is_new(broadcast);
    vec![
        Statement::new(
            format!(
                "UPDATE turnkey_broadcast SET failed = failed + 1
                 WHERE id = {broadcast} AND {condition} AND {new}"
            ),
            params(false),
        ),
        Statement::new(
            format!(
                "INSERT INTO turnkey_broadcast_failed (broadcast, user_id, channel, reason, at)
                 SELECT {broadcast}, ?1, ?2, {reason}, {at} FROM (SELECT 1 AS one) t
                 WHERE {condition} AND {new} AND EXISTS (SELECT 1 FROM turnkey_broadcast b
                     WHERE b.id = {broadcast} AND b.failed <= {MAX_FAILURES})"
            ),
            params(true),
        ),
    ]
}

/// The condition that the dialog in `?1` and `?2` is not yet one that was not reached.
fn is_new(broadcast: &str) -> String {
    format!(
        "NOT EXISTS (SELECT 1 FROM turnkey_broadcast_failed f
             WHERE f.broadcast = {broadcast} AND f.user_id = ?1 AND f.channel = ?2)"
    )
}

/// The condition that the reply in `?1` to `?4` is in the outbox, the only one of its turn.
fn is_last(storage: &dyn Storage) -> String {
    let of_dialog = replies::of_dialog(storage);
    let of_turn = format!("SELECT 1 FROM turnkey_outbox WHERE {of_dialog} AND turn = ?3");
    format!("EXISTS ({of_turn} AND n = ?4) AND NOT EXISTS ({of_turn} AND n <> ?4)")
}

fn take_out(storage: &dyn Storage, dialog: &DialogKey, reply: ReplyId) -> Statement {
    let of_dialog = replies::of_dialog(storage);
    Statement::new(
        format!("{TAKES_REPLIES} WHERE {of_dialog} AND turn = ?3 AND n = ?4"),
        replies::key(dialog, reply),
    )
}

/// `?1` to `?5`.
fn key(dialog: &DialogKey, reply: ReplyId, broadcast: u64) -> Vec<Value> {
    let mut key = replies::key(dialog, reply);
    key.push(Value::from(number(broadcast)));
    key
}

fn short(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(MAX_REASON)]
}
