//! An operator's queries: dialogs, their state, what waits to be sent.
//!
//! Called by the command line and the admin address. Works while a bot runs. Bounds: every list has a limit.

use crate::person::{self, Person};
use crate::{
    DialogKey, Error, FORGOTTEN, Fence, ReplyId, Result, Row, Statement, Storage, Value, schedules,
};

/// What a dialog has beside its state, and loses with it.
const BESIDE_STATE: [&str; 6] = [
    "turnkey_message",
    "turnkey_timer",
    "turnkey_step",
    "turnkey_overlap",
    "turnkey_callback",
    "turnkey_person",
];

/// Attempts at a reset that meets a commit each time.
const ATTEMPTS: u32 = 10;

/// A dialog in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogSummary {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Bytes of its state; none when it was forgotten.
    pub state_bytes: Option<u64>,
    /// Its last turn, in milliseconds since 1970.
    pub updated_at: i64,
    /// Who it is, where the platform has told.
    pub person: Option<Person>,
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
    /// Who it is, where the platform has told.
    pub person: Option<Person>,
    /// Its last turns, oldest first, each as JSON text.
    pub history: Vec<String>,
    /// When each of these was committed, in milliseconds since 1970.
    pub moments: Vec<i64>,
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
    /// How often it failed.
    pub attempts: u32,
    /// Why it failed last.
    pub error: Option<String>,
}

/// Rows that [`queues`] counts at most, and looks at for the oldest: a table of any size
/// costs no more.
pub const COUNTED: u64 = 10_000;

/// How much waits in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queues {
    /// Updates in the inbox; [`COUNTED`] stands for that many or more.
    pub inbox: u64,
    /// Replies that are not marked as sent; the same.
    pub outbox: u64,
    /// Dead letters; the same.
    pub dead: u64,
    /// Dead replies; the same.
    pub dead_replies: u64,
    /// Whose update in the inbox arrived first, and when: microseconds since 1970.
    pub oldest_update: Option<(DialogKey, i64)>,
    /// Whose turn with an unsent reply is the oldest (of [`COUNTED`] replies), and when
    /// that dialog had its last turn: milliseconds since 1970.
    pub oldest_reply: Option<(DialogKey, i64)>,
}

/// How much waits. A few short queries, whatever the size of the tables.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn queues(storage: &dyn Storage) -> Result<Queues> {
    let counts = format!(
        "SELECT (SELECT COUNT(*) FROM (SELECT 1 AS one FROM turnkey_inbox LIMIT {COUNTED}) i) AS inbox,
             (SELECT COUNT(*) FROM (SELECT 1 AS one FROM turnkey_outbox LIMIT {COUNTED}) o) AS outbox,
             (SELECT COUNT(*) FROM (SELECT 1 AS one FROM turnkey_dead LIMIT {COUNTED}) d) AS dead,
             (SELECT COUNT(*) FROM (SELECT 1 AS one FROM turnkey_dead_reply LIMIT {COUNTED}) r)
                 AS dead_replies"
    );
    let rows = storage.own_query(Statement::new(counts, ())).await?;
    let count = |name| match rows.first() {
        Some(row) => row.get::<i64>(name).map(|n| n as u64),
        None => Ok(0),
    };
    let mut queues = Queues {
        inbox: count("inbox")?,
        outbox: count("outbox")?,
        dead: count("dead")?,
        dead_replies: count("dead_replies")?,
        ..Queues::default()
    };
    if queues.inbox > 0 {
        let oldest = format!(
            "SELECT user_id, channel, arrived AS since
             FROM (SELECT user_id, channel, arrived FROM turnkey_inbox LIMIT {COUNTED}) i
             ORDER BY arrived LIMIT 1"
        );
        queues.oldest_update = first(storage, oldest).await?;
    }
    if queues.outbox > 0 {
        let (key, join) = match storage.numbers_dialogs() {
            true => ("dialog", "d.id = o.dialog"),
            false => (
                "user_id, channel",
                "d.user_id = o.user_id AND d.channel = o.channel",
            ),
        };
        let oldest = format!(
            "SELECT d.user_id AS user_id, d.channel AS channel, d.updated_at AS since
             FROM (SELECT {key}, turn FROM turnkey_outbox LIMIT {COUNTED}) o
             JOIN turnkey_dialog d ON {join} ORDER BY o.turn LIMIT 1"
        );
        queues.oldest_reply = first(storage, oldest).await?;
    }
    Ok(queues)
}

async fn first(storage: &dyn Storage, query: String) -> Result<Option<(DialogKey, i64)>> {
    let rows = storage.own_query(Statement::new(query, ())).await?;
    rows.first()
        .map(|row| Ok((row.dialog()?, row.get("since")?)))
        .transpose()
}

/// Up to `limit` dialogs whose user's id or name contains `user`, in the order of user id and
/// channel, behind `after`. Of names the case of letters does not count.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn dialogs(
    storage: &dyn Storage,
    user: Option<&str>,
    after: Option<&DialogKey>,
    limit: u32,
) -> Result<Vec<DialogSummary>> {
    let mut conditions = vec!["1 = 1"];
    let mut params = vec![Value::from(limit)];
    let first = DialogKey::new("", "");
    let after = after.unwrap_or(&first);
    conditions.push("(d.user_id > ?2 OR (d.user_id = ?2 AND d.channel > ?3))");
    params.extend([Value::from(&after.user_id), Value::from(&after.channel)]);
    if let Some(user) = user {
        conditions.push("(d.user_id LIKE ?4 ESCAPE '!' OR p.folded LIKE ?5 ESCAPE '!')");
        let containing = |text: &str| Value::from(format!("%{}%", escaped(text)));
        params.extend([containing(user), containing(&user.to_lowercase())]);
    }
    let query = format!(
        "SELECT {} FROM turnkey_dialog d {}
         WHERE {} ORDER BY d.user_id, d.channel LIMIT ?1",
        summary_columns(),
        person::BESIDE,
        conditions.join(" AND ")
    );
    let rows = storage.own_query(Statement::new(query, params)).await?;
    rows.iter().map(summary).collect()
}

/// What [`summary`] reads, of a dialog `d` and [`person::BESIDE`] it.
pub(crate) fn summary_columns() -> String {
    format!(
        "d.user_id AS user_id, d.channel AS channel, d.version AS version,
         OCTET_LENGTH(d.state) AS state_bytes, d.updated_at AS updated_at, {}",
        person::COLUMNS
    )
}

/// Of a row with [`summary_columns`].
pub(crate) fn summary(row: &Row) -> Result<DialogSummary> {
    let bytes = row.get::<i64>("state_bytes")? as u64;
    Ok(DialogSummary {
        dialog: row.dialog()?,
        state_bytes: (!is_forgotten(row)?).then_some(bytes),
        updated_at: row.get("updated_at")?,
        person: Person::of(row)?,
    })
}

/// A text for LIKE that stands for itself.
fn escaped(text: &str) -> String {
    text.replace('!', "!!")
        .replace('%', "!%")
        .replace('_', "!_")
}

fn is_forgotten(row: &Row) -> Result<bool> {
    Ok(row.get::<i64>("version")? as u64 & FORGOTTEN != 0)
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
    let key = || (&dialog.user_id, &dialog.channel);
    let query = format!(
        "SELECT d.version AS version, d.state AS state, d.updated_at AS updated_at, {}
         FROM turnkey_dialog d {} WHERE d.user_id = ?1 AND d.channel = ?2",
        person::COLUMNS,
        person::BESIDE
    );
    let rows = storage.own_query(Statement::new(query, key())).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let state: String = row.get("state")?;
    let of_dialog = match storage.numbers_dialogs() {
        true => {
            "dialog = (SELECT d.id FROM turnkey_dialog d WHERE d.user_id = ?1 AND d.channel = ?2)"
        }
        false => "user_id = ?1 AND channel = ?2",
    };
    let query =
        format!("SELECT at, turn FROM turnkey_history WHERE {of_dialog} ORDER BY id DESC LIMIT ?3");
    let params = (&dialog.user_id, &dialog.channel, history);
    let newest_first = storage.own_query(Statement::new(query, params)).await?;
    let (mut turns, mut moments) = (Vec::new(), Vec::new());
    for row in newest_first.iter().rev() {
        turns.push(row.get("turn")?);
        moments.push(row.get("at")?);
    }
    let count = async |table: &str, of_dialog: &str| -> Result<u64> {
        let query = format!("SELECT COUNT(*) AS n FROM {table} WHERE {of_dialog}");
        let rows = storage.own_query(Statement::new(query, key())).await?;
        rows.first()
            .map_or(Ok(0), |row| row.get::<i64>("n").map(|n| n as u64))
    };
    Ok(Some(DialogDetail {
        dialog: dialog.clone(),
        state: (!is_forgotten(row)?).then_some(state),
        updated_at: row.get("updated_at")?,
        person: Person::of(row)?,
        history: turns,
        moments,
        unsent: count("turnkey_outbox", of_dialog).await?,
        pending: count("turnkey_inbox", "user_id = ?1 AND channel = ?2").await?,
    }))
}

/// Forgets a dialog's state, the names of its messages, its timers (but for the bot's own
/// schedules), its callbacks, the steps of its turns and its user's name: its next turn starts as
/// a new dialog's. A turn under way is told [`Error::Stale`] and runs again. Replies that wait to
/// be sent, and the history, stay. False when there is no state.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn reset(storage: &dyn Storage, dialog: &DialogKey) -> Result<bool> {
    let mut tried = None;
    for _ in 0..ATTEMPTS {
        let query = Statement::new(
            "SELECT version FROM turnkey_dialog WHERE user_id = ?1 AND channel = ?2",
            (&dialog.user_id, &dialog.channel),
        );
        let rows = storage.own_query(query).await?;
        let beside = BESIDE_STATE.map(|table| forget_without_state(table, dialog));
        let Some(row) = rows.first() else {
            storage.own(beside.into()).await?;
            return Ok(false);
        };
        let version: i64 = row.get("version")?;
        if is_forgotten(row)? {
            storage.own(beside.into()).await?;
            // It may be this very call that did it, and only its answer was lost.
            return Ok(tried == Some(version));
        }
        let forgotten = version | FORGOTTEN as i64;
        tried = Some(forgotten);
        // The lock's row first, as a commit takes it: between its look at the version
        // and its write nobody comes in.
        let hold = Statement::new(
            "UPDATE turnkey_lock SET since = since WHERE user_id = ?1 AND channel = ?2",
            (&dialog.user_id, &dialog.channel),
        );
        let forget = Statement::new(
            "UPDATE turnkey_dialog SET version = ?1, state = 'null'
             WHERE user_id = ?2 AND channel = ?3 AND version = ?4",
            (forgotten, &dialog.user_id, &dialog.channel, version),
        );
        let statements = [hold, forget].into_iter().chain(beside).collect();
        if storage.own(statements).await?.get(1) == Some(&1) {
            return Ok(true);
        }
    }
    Err(Error::Busy(
        "this dialog has one turn after another".to_owned(),
    ))
}

/// Takes all rows of a dialog away, unless it has a state: for whoever forgets that in the same
/// transaction, and may find that it was written again. The bot's own schedules are no dialog's
/// to forget.
fn forget_without_state(table: &str, dialog: &DialogKey) -> Statement {
    let declared = match table == "turnkey_timer" && dialog.channel == schedules::CHANNEL {
        true => "AND (schedule IS NULL OR name <> user_id)",
        false => "",
    };
    Statement::new(
        format!(
            "DELETE FROM {table} WHERE user_id = ?1 AND channel = ?2 {declared}
             AND NOT EXISTS (SELECT 1 FROM turnkey_dialog d
                 WHERE d.user_id = ?1 AND d.channel = ?2 AND d.version < ?3)"
        ),
        (&dialog.user_id, &dialog.channel, FORGOTTEN as i64),
    )
}

/// The reply of this place, if it is not marked as sent.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn unsent(storage: &dyn Storage, id: ReplyId) -> Result<Option<OutboxLine>> {
    let query = lines(storage, "o.turn = ?1 AND o.n = ?2");
    let params = (id.turn.0 as i64, id.index);
    let rows = storage.own_query(Statement::new(query, params)).await?;
    rows.first().map(line).transpose()
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
    let after = after.unwrap_or(ReplyId {
        turn: Fence(0),
        index: 0,
    });
    let query = lines(
        storage,
        "o.turn > ?1 OR (o.turn = ?1 AND o.n > ?2) ORDER BY o.turn, o.n LIMIT ?3",
    );
    let params = (after.turn.0 as i64, after.index, limit);
    let rows = storage.own_query(Statement::new(query, params)).await?;
    rows.iter().map(line).collect()
}

/// Up to `limit` replies of a dialog that are not marked as sent, in order.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn unsent_of(
    storage: &dyn Storage,
    dialog: &DialogKey,
    limit: u32,
) -> Result<Vec<OutboxLine>> {
    let of_dialog = "d.user_id = ?1 AND d.channel = ?2 ORDER BY o.turn, o.n LIMIT ?3";
    let params = (&dialog.user_id, &dialog.channel, limit);
    let query = Statement::new(lines(storage, of_dialog), params);
    let rows = storage.own_query(query).await?;
    rows.iter().map(line).collect()
}

/// The question for [`OutboxLine`]s of which this holds.
fn lines(storage: &dyn Storage, condition: &str) -> String {
    let join = match storage.numbers_dialogs() {
        true => "d.id = o.dialog",
        false => "d.user_id = o.user_id AND d.channel = o.channel",
    };
    format!(
        "SELECT d.user_id AS user_id, d.channel AS channel, d.updated_at AS since,
             o.turn AS turn, o.n AS n, o.body AS body, o.attempts AS attempts, o.error AS error
         FROM turnkey_outbox o JOIN turnkey_dialog d ON {join} WHERE {condition}"
    )
}

fn line(row: &Row) -> Result<OutboxLine> {
    Ok(OutboxLine {
        dialog: row.dialog()?,
        id: ReplyId {
            turn: Fence(row.get::<i64>("turn")? as u64),
            index: row.get::<i64>("n")? as u32,
        },
        body: row.get("body")?,
        since: row.get("since")?,
        attempts: row.get::<i64>("attempts")? as u32,
        error: row.get("error")?,
    })
}
