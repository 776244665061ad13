//! The inbox: updates that were answered before their turn was committed.
//!
//! A caller that cannot finish an update's turn soon calls [`accept`]; from then on the update
//! survives any crash. [`Granted::earlier`](crate::Granted) hands it to the next holder of its
//! dialog's lock; a commit with [`Origin::Inbox`](crate::Origin) removes it together with the
//! turn's commit. Updates for other dialogs come in with a turn's commit
//! ([`Commit::relays`](crate::Commit)) or outside of any turn ([`relay`]).
//!
//! Invariants: an update is in the inbox, among the seen ones, or nowhere; the updates of a
//! dialog are in the order of their arrival. Bounds: [`Bounds`], which relays have none of:
//! they are as durable as the commit that they belong to, and so cannot be refused after it.

use std::time::Duration;

use crate::{
    Change, DialogKey, Error, Fence, Result, Row, Seen, Statement, Storage, Value, clock, dead,
    done,
};

/// The longest pause before an update is tried again.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Added to an update's attempts each time that giving it up begins: more than `--max-attempts`
/// can be, now or at any earlier start.
pub const GIVING_UP: u32 = 1 << 20;

/// The longest that an update waits for others before it is tried for the first time.
pub const LONGEST_WINDOW: Duration = Duration::from_secs(600);

/// Milliseconds. What was tried and is due later than this from now, and what was not and is
/// due later than [`TOO_FAR_UNTRIED_MS`], was put off by a clock that has been set since: it is
/// due now. Twice what is possible: clocks of boxes differ a little.
pub(crate) const TOO_FAR_MS: i64 = 2 * LONGEST_PAUSE.as_millis() as i64;

/// See [`TOO_FAR_MS`].
pub(crate) const TOO_FAR_UNTRIED_MS: i64 = 2 * LONGEST_WINDOW.as_millis() as i64;

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
    /// How often its turn failed; see [`GIVING_UP`].
    pub attempts: u32,
    /// Not to be tried before: milliseconds since 1970.
    pub due: i64,
    /// Why it failed last.
    pub error: Option<String>,
}

impl Pending {
    /// How long it is not to be tried yet.
    pub fn pause(&self) -> Duration {
        pause(self.due, self.attempts)
    }

    fn is_due(&self) -> bool {
        self.pause().is_zero()
    }

    /// Whether this one, the oldest of its dialog, goes before a turn for `update`, which
    /// arrived at this moment (microseconds since 1970); without an update, whether it is
    /// due.
    pub(crate) fn goes_before(&self, update: Option<&str>, arrived: i64) -> bool {
        match update {
            // Of those that arrived at the same moment the ids decide.
            Some(update) => (self.arrived, self.update.as_str()) < (arrived, update),
            None => self.is_due(),
        }
    }
}

/// How many updates the inbox takes; one more is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of one dialog.
    pub per_dialog: u32,
    /// Of all dialogs.
    pub all: u32,
}

fn pause(due: i64, attempts: u32) -> Duration {
    let left = due.saturating_sub(clock::now_ms());
    let too_far = match attempts {
        0 => TOO_FAR_UNTRIED_MS,
        _ => TOO_FAR_MS,
    };
    if left > too_far {
        return Duration::ZERO;
    }
    Duration::from_millis(u64::try_from(left).unwrap_or(0))
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

/// What counts to the bounds: not what one dialog said to another, nor timers and callbacks, which
/// were committed as a whole and have bounds of their own. (Ids of `http` are their callers' to
/// choose.)
const OF_PLATFORMS: &str = "(i.channel = 'http'
                 OR i.id NOT LIKE 'relay:%' AND i.id NOT LIKE 'broadcast:%'
                 AND i.id NOT LIKE 'timer:%' AND i.id NOT LIKE 'callback:%')";

/// An update in the inbox, without its body, for who looks after the bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Its id within its channel.
    pub update: String,
    /// When it arrived: milliseconds since 1970.
    pub arrived: i64,
    /// How often its turn has failed.
    pub attempts: u32,
    /// How long it is not to be tried yet.
    pub pause: Duration,
    /// Why it failed last.
    pub error: Option<String>,
}

/// What waits in the inbox, of all or of one dialog, in the order of arrival; at most `limit`.
///
/// # Errors
/// As [`Storage::query`].
pub async fn list(
    storage: &dyn Storage,
    dialog: Option<&DialogKey>,
    limit: u32,
) -> Result<Vec<Waiting>> {
    let mut params = vec![Value::from(limit)];
    let mut of_dialog = "";
    if let Some(dialog) = dialog {
        of_dialog = "i.user_id = ?2 AND i.channel = ?3 AND";
        params.extend([Value::from(&dialog.user_id), Value::from(&dialog.channel)]);
    }
    let query = format!(
        "SELECT i.channel AS channel, i.user_id AS user_id, i.id AS id, i.arrived AS arrived,
             i.attempts AS attempts, i.due AS due, i.error AS error
         FROM turnkey_inbox i
         WHERE {of_dialog} NOT EXISTS
             (SELECT 1 FROM turnkey_seen s WHERE s.id = i.id AND s.channel = i.channel)
         ORDER BY i.arrived, i.id LIMIT ?1"
    );
    let waiting = |row: &Row| {
        let attempts: u32 = row.get("attempts")?;
        Ok(Waiting {
            dialog: DialogKey::new(row.key("channel")?, row.key("user_id")?),
            update: row.key("id")?,
            arrived: row.get::<i64>("arrived")? / 1000,
            attempts: attempts % GIVING_UP,
            pause: pause(row.get("due")?, attempts),
            error: row.get("error")?,
        })
    };
    let rows = storage.own_query(Statement::new(query, params)).await?;
    rows.iter().map(waiting).collect()
}

/// Takes an update into the inbox. It is durable when this returns. Nothing happens when
/// it is there already, or was handled before.
///
/// # Errors
/// [`Error::Busy`] when the inbox is at one of its bounds; else as
/// [`Storage::commit`].
pub async fn accept(storage: &dyn Storage, pending: &Pending, bounds: Bounds) -> Result<()> {
    let insert = acceptance(pending, bounds);
    if storage.own(vec![insert]).await? == [1] {
        return Ok(());
    }
    match state_of(storage, &pending.dialog.channel, &pending.update).await? {
        UpdateState::Unknown => Err(too_many()),
        UpdateState::Pending | UpdateState::Done(_) | UpdateState::Dead(_) => Ok(()),
    }
}

/// What is said where the inbox takes no more.
pub(crate) fn too_many() -> Error {
    Error::Busy("too many updates wait in the inbox already".to_owned())
}

/// What [`accept`] writes.
pub(crate) fn acceptance(pending: &Pending, bounds: Bounds) -> Statement {
    let mut params = columns(pending);
    params.extend([Value::from(bounds.per_dialog), Value::from(bounds.all)]);
    Statement::new(
        format!(
            "INSERT INTO turnkey_inbox
             (channel, id, user_id, arrived, body, attempts, due, error)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM (SELECT 1 AS one) t
         WHERE NOT EXISTS (SELECT 1 FROM turnkey_inbox i WHERE i.id = ?2 AND i.channel = ?1)
             AND NOT EXISTS (SELECT 1 FROM turnkey_seen s WHERE s.id = ?2 AND s.channel = ?1)
             AND (SELECT COUNT(*) FROM turnkey_inbox i
                 WHERE i.user_id = ?3 AND i.channel = ?1 AND {OF_PLATFORMS}) < ?9
             AND (SELECT COUNT(*) FROM turnkey_inbox i WHERE {OF_PLATFORMS}) < ?10"
        ),
        params,
    )
}

/// The values of its row: channel, id, user, arrival, body, attempts, due, error.
fn columns(pending: &Pending) -> Vec<Value> {
    vec![
        Value::from(&pending.dialog.channel),
        Value::from(&pending.update),
        Value::from(&pending.dialog.user_id),
        Value::from(pending.arrived),
        Value::from(&pending.body[..]),
        Value::from(pending.attempts),
        Value::from(pending.due),
        Value::from(pending.error.as_deref()),
    ]
}

/// Takes updates into the inbox, all of them or none: what a turn does with
/// [`Commit::relays`](crate::Commit), outside of any turn. They are durable when this returns.
/// Nothing happens to one that is there already, or was handled before. How many were new; less
/// than that if the storage had to do it a second time, since its first answer was lost.
///
/// The caller limits how many: all are one transaction, for which others wait.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn relay(storage: &dyn Storage, rows: &[Pending]) -> Result<u64> {
    if rows.is_empty() {
        return Ok(0);
    }
    let insert = |pending: &Pending| {
        Statement::new(
            "INSERT INTO turnkey_inbox
                 (channel, id, user_id, arrived, body, attempts, due, error)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 FROM (SELECT 1 AS one) t
             WHERE NOT EXISTS (SELECT 1 FROM turnkey_inbox i WHERE i.id = ?2 AND i.channel = ?1)
                 AND NOT EXISTS (SELECT 1 FROM turnkey_seen s WHERE s.id = ?2 AND s.channel = ?1)",
            columns(pending),
        )
    };
    let statements = in_order(rows).into_iter().map(insert).collect();
    Ok(storage.own(statements).await?.iter().sum())
}

/// Relays in the order of their keys: two transactions that share some do not wait for each
/// other in a circle. Of two under one id the first stays the first.
pub(crate) fn in_order(relays: &[Pending]) -> Vec<&Pending> {
    let mut relays: Vec<&Pending> = relays.iter().collect();
    relays.sort_by_key(|pending| (&pending.update, &pending.dialog.channel));
    relays
}

/// Takes an update out that was committed otherwise, and its steps away.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn forget(storage: &dyn Storage, channel: &str, update: &str) -> Result<()> {
    let delete = vec![
        done::take_out(channel, update),
        done::take_steps(channel, update),
    ];
    storage.own(delete).await.map(drop)
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
    let update = Statement::new(
        "UPDATE turnkey_inbox SET attempts = ?1, error = ?2, due = ?3
         WHERE id = ?4 AND channel = ?5 AND user_id = ?6",
        (
            attempts,
            error,
            due,
            update,
            &dialog.channel,
            &dialog.user_id,
        ),
    );
    storage.own(vec![update]).await.map(drop)
}

/// Up to `limit` dialogs whose oldest update in the inbox is due and that have no turn
/// under way, the longest waiting first.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn due_dialogs(storage: &dyn Storage, limit: u32) -> Result<Vec<DialogKey>> {
    storage.due(limit).await
}

/// The updates of a dialog in the inbox, oldest first; at most `limit`.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn of_dialog(
    storage: &dyn Storage,
    dialog: &DialogKey,
    limit: u32,
) -> Result<Vec<Pending>> {
    let ask = "SELECT id, arrived, body, attempts, due, error FROM turnkey_inbox
         WHERE user_id = ?1 AND channel = ?2 ORDER BY arrived, id LIMIT ?3";
    let ask = Statement::new(ask, (&dialog.user_id, &dialog.channel, limit));
    let rows = storage.own_query(ask).await?;
    let pending = |row: &Row| {
        Ok(Pending {
            dialog: dialog.clone(),
            update: row.key("id")?,
            arrived: row.get("arrived")?,
            body: row.get("body")?,
            attempts: row.get::<i64>("attempts")?.try_into().unwrap_or(u32::MAX),
            due: row.get("due")?,
            error: row.get("error")?,
        })
    };
    rows.iter().map(pending).collect()
}

/// Has the updates of a dialog that arrived after `since` and are not due yet wait until `due`:
/// something came that belongs to them. One that failed keeps its own time. All moments are
/// milliseconds since 1970.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn put_off(
    storage: &dyn Storage,
    dialog: &DialogKey,
    since: i64,
    now: i64,
    due: i64,
) -> Result<()> {
    let update = Statement::new(
        "UPDATE turnkey_inbox SET due = ?1
         WHERE user_id = ?2 AND channel = ?3 AND arrived > ?4 AND attempts = 0
             AND due > ?5 AND due < ?1",
        (
            due,
            &dialog.user_id,
            &dialog.channel,
            since.saturating_mul(1000),
            now,
        ),
    );
    storage.own(vec![update]).await.map(drop)
}

/// An update of the inbox that is handled by the turn of another one of its dialog: it is taken
/// out, and remembered with this answer to this digest. `fence` is that of the turn.
pub fn handled(
    dialog: &DialogKey,
    update: &str,
    fence: Fence,
    digest: &[u8],
    answer: &[u8],
) -> [Change; 2] {
    let channel = &dialog.channel;
    let remember = done::remember(channel, update, fence.0, clock::now_ms(), digest, answer);
    [Change(remember), Change(done::take_out(channel, update))]
}

/// When the latest update in the inbox arrived, in microseconds since 1970: whoever takes
/// updates goes on from there ([`clock::not_before`]).
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn latest_arrival(storage: &dyn Storage) -> Result<Option<i64>> {
    let ask = "SELECT MAX(arrived) AS latest FROM turnkey_inbox";
    let rows = storage.own_query(Statement::new(ask, ())).await?;
    rows.first().map_or(Ok(None), |row| row.get("latest"))
}

/// What is known of an update.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn state_of(storage: &dyn Storage, channel: &str, update: &str) -> Result<UpdateState> {
    // These are three questions, and an update moves on meanwhile. It leaves the inbox in
    // the step in which it becomes one of the others, so the inbox is asked first.
    let pending = Statement::new(
        "SELECT due FROM turnkey_inbox WHERE id = ?1 AND channel = ?2",
        (update, channel),
    );
    if !storage.own_query(pending).await?.is_empty() {
        return Ok(UpdateState::Pending);
    }
    if let Some(letter) = dead::get(storage, channel, update).await? {
        return Ok(UpdateState::Dead(letter.error));
    }
    let seen = Statement::new(
        "SELECT digest, answer FROM turnkey_seen WHERE id = ?1 AND channel = ?2",
        (update, channel),
    );
    Ok(match storage.own_query(seen).await?.first() {
        Some(row) => UpdateState::Done(Seen {
            digest: row.get("digest")?,
            answer: row.get("answer")?,
        }),
        None => UpdateState::Unknown,
    })
}
