//! Replies that a platform took and may still refuse: what is needed to make a dead reply of one.
//!
//! Some platforms take a message, and say later that it was not delivered; by then the reply has
//! left the outbox. So the sender keeps a copy of such a reply with [`keep`], before it is marked
//! as sent. It goes when the platform says that the message arrived ([`forget`]), or that it will
//! not: then the reply becomes a dead one ([`refused`]), or counts as a failure of its broadcast
//! ([`broadcasts::refused_late`](crate::broadcasts::refused_late)). Of most messages the platform
//! says one or the other within seconds; what it says nothing of goes with old update ids
//! ([`retention`](crate::retention)).
//!
//! Invariant: a reply is kept under the id of its latest message, and only what the platform says
//! of that one counts. Bound: one transaction forgets a hundred messages.

use crate::{DialogKey, Fence, ReplyId, Result, Row, Statement, Storage, Value, replies, unix_ms};

/// Messages that one transaction forgets.
const AT_ONCE: usize = 100;

/// How the columns are listed.
const COLUMNS: &str = "turn, n, channel, user_id, body, message, at";

/// A reply that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Its place.
    pub id: ReplyId,
    /// What the commit carried; empty for one of a broadcast.
    pub body: String,
    /// What the platform calls the message.
    pub message: String,
    /// When it was taken, in milliseconds since 1970.
    pub at: i64,
}

/// Keeps a reply that is in the outbox, in place of what was kept of it before; one of a
/// broadcast, which is only counted, without its body. Nothing happens when it is not there.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn keep(
    storage: &dyn Storage,
    dialog: &DialogKey,
    id: ReplyId,
    message: &str,
    broadcast: Option<u64>,
) -> Result<()> {
    let of_dialog = replies::of_dialog(storage);
    let body = match broadcast {
        None => "o.body",
        Some(_) => "''",
    };
    let keep = format!(
        "INSERT INTO turnkey_taken ({COLUMNS})
         SELECT o.turn, o.n, ?2, ?1, {body}, ?5, ?6 FROM turnkey_outbox o
         WHERE {of_dialog} AND o.turn = ?3 AND o.n = ?4"
    );
    let mut params = replies::key(dialog, id);
    params.extend([Value::from(message), Value::from(unix_ms())]);
    let statements = vec![
        Statement::new(
            "DELETE FROM turnkey_taken WHERE turn = ?1 AND n = ?2",
            place(id),
        ),
        Statement::new(keep, params),
    ];
    storage.own(statements).await.map(drop)
}

/// The reply of this place, if it was taken and nothing more is known of it.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn find(storage: &dyn Storage, id: ReplyId) -> Result<Option<Taken>> {
    let query = format!("SELECT {COLUMNS} FROM turnkey_taken WHERE turn = ?1 AND n = ?2");
    let rows = storage.own_query(Statement::new(query, place(id))).await?;
    rows.first().map(taken).transpose()
}

/// These messages arrived: nothing is kept of them any more.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn forget(storage: &dyn Storage, arrived: &[(ReplyId, &str)]) -> Result<()> {
    for some in arrived.chunks(AT_ONCE) {
        let statements = some.iter().map(|(id, message)| take_out(*id, message));
        storage.own(statements.collect()).await?;
    }
    Ok(())
}

/// The platform refuses a message after all: its reply is a dead one. False, and nothing
/// happens, when no reply is kept under this message.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn refused(
    storage: &dyn Storage,
    id: ReplyId,
    message: &str,
    error: &str,
) -> Result<bool> {
    let bury = format!(
        "INSERT INTO turnkey_dead_reply ({})
         SELECT k.turn, k.n, k.channel, k.user_id, k.body, ?4, 1, k.at, ?5 FROM turnkey_taken k
         WHERE k.turn = ?1 AND k.n = ?2 AND k.message = ?3 AND NOT EXISTS
             (SELECT 1 FROM turnkey_dead_reply r WHERE r.turn = ?1 AND r.n = ?2)",
        replies::COLUMNS
    );
    let params = (id.turn.0 as i64, id.index, message, error, unix_ms());
    let statements = vec![Statement::new(bury, params), take_out(id, message)];
    let changed = storage.own(statements).await?;
    Ok(changed.last().is_some_and(|rows| *rows > 0))
}

/// Nothing is kept of this message any more.
pub(crate) fn take_out(id: ReplyId, message: &str) -> Statement {
    Statement::new(
        "DELETE FROM turnkey_taken WHERE turn = ?1 AND n = ?2 AND message = ?3",
        (id.turn.0 as i64, id.index, message),
    )
}

fn place(id: ReplyId) -> (i64, u32) {
    (id.turn.0 as i64, id.index)
}

fn taken(row: &Row) -> Result<Taken> {
    Ok(Taken {
        dialog: row.dialog()?,
        id: ReplyId {
            turn: Fence(row.get::<i64>("turn")? as u64),
            index: row.get::<i64>("n")? as u32,
        },
        body: row.get("body")?,
        message: row.get("message")?,
        at: row.get("at")?,
    })
}
