//! Broadcasts: one thing said to many dialogs, as a row with a cursor.
//!
//! An operator makes one ([`create`]); whoever serves the database takes [`step`]s, each of
//! which moves the cursor over some dialogs and puts an update for each of them into the inbox,
//! in one transaction. What became of a dialog's reply is counted in the transaction that takes
//! the reply out of the outbox ([`sent`], [`refused`], [`bury_reply`]) or its update out of the
//! inbox ([`bury_update`]), so each dialog counts once, whatever crashes. A reply that is sent
//! in several messages counts with the last of them; one that its platform refuses later counts
//! again, as not reached ([`refused_late`]).
//!
//! The condition is an operator's own SQL. It is only ever part of a question, which every
//! engine runs in a transaction or on a connection that cannot write.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | a broadcast, from its making to its last step |
//! | `counting.rs` | what became of each dialog's reply |
//!
//! Bounds: [`KEPT`] broadcasts, [`MAX_FAILURES`] failures of each with their reasons; the
//! caller limits the dialogs of a step.

mod counting;

pub use self::counting::{bury_reply, bury_update, failures, refused, refused_late, sent};
use crate::inbox::{Pending, in_order};
use crate::{DialogKey, Error, Result, Row, Statement, Storage, Value};

/// How the ids of a broadcast's updates begin. Callers of HTTP choose theirs, also such ones:
/// those are no broadcast's, which never goes there.
pub const PREFIX: &str = "broadcast:";

/// Broadcasts that are kept; of more the oldest that have ended are forgotten.
pub const KEPT: u64 = 200;

/// Failures of a broadcast that are kept with their reasons; those after them are counted.
pub const MAX_FAILURES: u64 = 10_000;

/// The columns of a broadcast but its text, which may be long.
const COLUMNS: &str = "id, made_at, channel, filter_sql, in_groups, rate, state, trouble,
    after_user, after_channel, queued, sent, failed";

/// To whom a broadcast goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience {
    /// Only dialogs of this channel.
    pub channel: Option<String>,
    /// A condition in SQL on `user_id` and `channel` (also `dialog.user_id` and
    /// `dialog.channel`, inside of a subquery).
    pub filter: Option<String>,
    /// Also dialogs that take place in groups.
    pub groups: bool,
}

/// What a broadcast is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct New {
    /// To whom.
    pub audience: Audience,
    /// What is said, in the caller's own terms.
    pub body: String,
    /// Dialogs a second; none for what the caller finds fit.
    pub rate: Option<u32>,
}

/// What becomes of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Steps are taken.
    Running,
    /// No steps are taken until it is resumed.
    Paused,
    /// All that it was for has been reached, or could not be.
    Done,
    /// It was ended before.
    Stopped,
}

impl State {
    const ALL: [State; 4] = [State::Running, State::Paused, State::Done, State::Stopped];

    /// As it is stored.
    pub fn name(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Paused => "paused",
            State::Done => "done",
            State::Stopped => "stopped",
        }
    }

    fn named(name: &str) -> Result<Self> {
        let found = State::ALL.into_iter().find(|state| state.name() == name);
        found.ok_or_else(|| Error::Unavailable(format!("a broadcast is in the state {name:?}")))
    }

    /// What it may have been before.
    fn before(self) -> &'static str {
        match self {
            State::Running => "'paused'",
            State::Paused | State::Done => "'running'",
            State::Stopped => "'running', 'paused'",
        }
    }
}

/// A broadcast, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// Its number.
    pub id: u64,
    /// When it was made, in microseconds since 1970.
    pub made_at: i64,
    /// What it is made of.
    pub made_of: New,
    /// What becomes of it.
    pub state: State,
    /// Why it was paused by itself, or what it leaves out.
    pub trouble: Option<String>,
    /// The last dialog that had its turn; empty before the first.
    pub after: DialogKey,
    /// Dialogs it was put into the inbox for.
    pub queued: u64,
    /// Those that it reached.
    pub sent: u64,
    /// Those that it could not reach.
    pub failed: u64,
}

impl Broadcast {
    /// Dialogs whose end is not known yet, or will never be: an operator dropped the update
    /// or the reply.
    pub fn open(&self) -> u64 {
        self.queued.saturating_sub(self.sent + self.failed)
    }
}

/// A dialog that could not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub at: i64,
}

/// The broadcast that an update is of, by its id.
pub fn of_update(update: &str) -> Option<u64> {
    let (id, _) = update.strip_prefix(PREFIX)?.split_once(':')?;
    id.parse().ok()
}

/// How many dialogs it would go to now.
///
/// # Errors
/// [`Error::Statement`] with the database's words when the condition is wrong.
pub async fn count(storage: &dyn Storage, audience: &Audience) -> Result<u64> {
    let (from, params) = chosen(audience, Vec::new());
    let query = Statement::new(format!("SELECT COUNT(*) AS n FROM {from}"), params);
    let rows = storage.own_query(query).await?;
    let row = rows.first().ok_or_else(nothing)?;
    Ok(row.get::<i64>("n")? as u64)
}

/// How many dialogs are still ahead of a broadcast's cursor.
///
/// # Errors
/// [`Error::Statement`] with the database's words when the condition is wrong by now.
pub async fn left(storage: &dyn Storage, broadcast: &Broadcast) -> Result<u64> {
    let after = &broadcast.after;
    let params = vec![Value::from(&after.user_id), Value::from(&after.channel)];
    let (from, params) = chosen(&broadcast.made_of.audience, params);
    let query = format!(
        "SELECT COUNT(*) AS n FROM {from}
         AND c.user_id >= ?1 AND (c.user_id > ?1 OR c.channel > ?2)"
    );
    let rows = storage.own_query(Statement::new(query, params)).await?;
    let row = rows.first().ok_or_else(nothing)?;
    Ok(row.get::<i64>("n")? as u64)
}

/// Makes a broadcast, which runs from now on: its number.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn create(storage: &dyn Storage, new: &New) -> Result<u64> {
    let New {
        audience,
        body,
        rate,
    } = new;
    let made_at = crate::clock::now_us();
    // Executed twice, it is there: the moment and the text are its own.
    let insert = Statement::new(
        "INSERT INTO turnkey_broadcast
             (id, made_at, channel, filter_sql, in_groups, body, rate, state, after_user,
              after_channel, queued, sent, failed)
         SELECT (SELECT COALESCE(MAX(m.id), 0) + 1 FROM turnkey_broadcast m),
             ?1, ?2, ?3, ?4, ?5, ?6, 'running', '', '', 0, 0, 0
         FROM (SELECT 1 AS one) t
         WHERE NOT EXISTS (SELECT 1 FROM turnkey_broadcast b WHERE b.made_at = ?1 AND b.body = ?5)",
        vec![
            Value::from(made_at),
            Value::from(audience.channel.as_deref()),
            Value::from(audience.filter.as_deref()),
            Value::from(audience.groups),
            Value::from(body),
            Value::from(*rate),
        ],
    );
    storage.own(vec![insert]).await?;
    let query = Statement::new(
        "SELECT MAX(id) AS id FROM turnkey_broadcast WHERE made_at = ?1 AND body = ?2",
        (made_at, body),
    );
    let rows = storage.own_query(query).await?;
    let id = rows.first().ok_or_else(nothing)?.get::<i64>("id")?;
    if id > KEPT as i64 {
        let oldest = id - KEPT as i64;
        let failures = "DELETE FROM turnkey_broadcast_failed WHERE broadcast <= ?1
             AND broadcast IN (SELECT b.id FROM turnkey_broadcast b
                 WHERE b.state IN ('done', 'stopped'))";
        let ended = "DELETE FROM turnkey_broadcast WHERE id <= ?1
             AND state IN ('done', 'stopped')";
        storage
            .own(vec![
                Statement::new(failures, (oldest,)),
                Statement::new(ended, (oldest,)),
            ])
            .await?;
    }
    Ok(id as u64)
}

/// The broadcast of this number.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn get(storage: &dyn Storage, id: u64) -> Result<Option<Broadcast>> {
    let query = format!("SELECT {COLUMNS}, body FROM turnkey_broadcast WHERE id = ?1");
    let rows = storage
        .own_query(Statement::new(query, (number(id),)))
        .await?;
    rows.first().map(broadcast).transpose()
}

/// Up to `limit` broadcasts, the newest first; [`New::body`] is left empty.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn list(storage: &dyn Storage, limit: u32) -> Result<Vec<Broadcast>> {
    let query =
        format!("SELECT {COLUMNS}, '' AS body FROM turnkey_broadcast ORDER BY id DESC LIMIT ?1");
    let rows = storage.own_query(Statement::new(query, (limit,))).await?;
    rows.iter().map(broadcast).collect()
}

/// Up to `limit` broadcasts that run, the oldest first.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn running(storage: &dyn Storage, limit: u32) -> Result<Vec<Broadcast>> {
    let query = format!(
        "SELECT {COLUMNS}, body FROM turnkey_broadcast WHERE state = 'running'
         ORDER BY id LIMIT ?1"
    );
    let rows = storage.own_query(Statement::new(query, (limit,))).await?;
    rows.iter().map(broadcast).collect()
}

/// Up to `limit` broadcasts that have not ended, the oldest first; [`New::body`] is left empty.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn open(storage: &dyn Storage, limit: u32) -> Result<Vec<Broadcast>> {
    let query = format!(
        "SELECT {COLUMNS}, '' AS body FROM turnkey_broadcast WHERE state IN ('running', 'paused')
         ORDER BY id LIMIT ?1"
    );
    let rows = storage.own_query(Statement::new(query, (limit,))).await?;
    rows.iter().map(broadcast).collect()
}

/// Pauses, resumes, stops or ends a broadcast: its state afterwards, which is another one
/// where that is not possible; none when there is no such broadcast. `trouble` stands for why.
/// Of one that is stopped, the updates that wait in the inbox are taken out.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn set_state(
    storage: &dyn Storage,
    id: u64,
    state: State,
    trouble: Option<&str>,
) -> Result<Option<State>> {
    // Its row is held first: a step that comes after it finds it stopped.
    let mut statements = vec![Statement::new(
        format!(
            "UPDATE turnkey_broadcast SET state = ?2, trouble = ?3
             WHERE id = ?1 AND state IN ({})",
            state.before()
        ),
        (number(id), state.name(), trouble),
    )];
    if state == State::Stopped {
        let (from, to) = range(id);
        statements.push(Statement::new(
            "UPDATE turnkey_broadcast SET queued = queued - (SELECT COUNT(*) FROM turnkey_inbox i
                 WHERE i.id >= ?2 AND i.id < ?3 AND i.channel <> 'http')
             WHERE id = ?1 AND state = 'stopped'",
            (number(id), &from, &to),
        ));
        statements.push(Statement::new(
            "DELETE FROM turnkey_inbox WHERE id >= ?2 AND id < ?3 AND channel <> 'http'
                 AND EXISTS (SELECT 1 FROM turnkey_broadcast b
                     WHERE b.id = ?1 AND b.state = 'stopped')",
            (number(id), from, to),
        ));
    }
    storage.own(statements).await?;
    Ok(get(storage, id).await?.map(|broadcast| broadcast.state))
}

/// Says what is wrong with a broadcast that goes on all the same.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn note_trouble(storage: &dyn Storage, id: u64, trouble: &str) -> Result<()> {
    let note = Statement::new(
        "UPDATE turnkey_broadcast SET trouble = ?2 WHERE id = ?1",
        (number(id), trouble),
    );
    storage.own(vec![note]).await.map(drop)
}

/// The next dialogs that a broadcast goes to, up to `limit`, of these channels, in the order of
/// user id and channel.
///
/// # Errors
/// [`Error::Statement`] with the database's words when the condition is wrong by now.
pub async fn next(
    storage: &dyn Storage,
    broadcast: &Broadcast,
    channels: &[&str],
    limit: u32,
) -> Result<Vec<DialogKey>> {
    if channels.is_empty() {
        return Ok(Vec::new());
    }
    let after = &broadcast.after;
    let params = vec![
        Value::from(&after.user_id),
        Value::from(&after.channel),
        Value::from(limit),
    ];
    let (from, mut params) = chosen(&broadcast.made_of.audience, params);
    let served = channels.iter().map(|channel| {
        params.push(Value::from(*channel));
        format!("?{}", params.len())
    });
    let served = served.collect::<Vec<_>>().join(", ");
    // Written so that the first column alone gives MySQL a place in the key to start at.
    let query = format!(
        "SELECT c.user_id AS user_id, c.channel AS channel FROM {from}
         AND c.user_id >= ?1 AND (c.user_id > ?1 OR c.channel > ?2) AND c.channel IN ({served})
         ORDER BY c.user_id, c.channel LIMIT ?3"
    );
    let rows = storage.own_query(Statement::new(query, params)).await?;
    rows.iter().map(Row::dialog).collect()
}

/// Moves the cursor of a running broadcast to the dialog of the last of these updates, which
/// come into the inbox with it. Nothing happens when the cursor was moved, or the broadcast
/// paused, meanwhile.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn step(storage: &dyn Storage, broadcast: &Broadcast, rows: &[Pending]) -> Result<()> {
    let Some(last) = rows.last().map(|row| &row.dialog) else {
        return Ok(());
    };
    let id = number(broadcast.id);
    let mut statements = vec![Statement::new(
        "UPDATE turnkey_broadcast
         SET after_user = ?4, after_channel = ?5, queued = queued + ?6
         WHERE id = ?1 AND state = 'running' AND after_user = ?2 AND after_channel = ?3",
        (
            id,
            &broadcast.after.user_id,
            &broadcast.after.channel,
            &last.user_id,
            &last.channel,
            rows.len() as i64,
        ),
    )];
    // Done a second time, they find the cursor where it is to be, and themselves there.
    statements.extend(in_order(rows).into_iter().map(|pending| {
        Statement::new(
            "INSERT INTO turnkey_inbox (channel, id, user_id, arrived, body, attempts, due)
             SELECT ?1, ?2, ?3, ?4, ?5, 0, ?6 FROM (SELECT 1 AS one) t
             WHERE EXISTS (SELECT 1 FROM turnkey_broadcast b
                     WHERE b.id = ?7 AND b.state = 'running'
                         AND b.after_user = ?8 AND b.after_channel = ?9)
                 AND NOT EXISTS (SELECT 1 FROM turnkey_inbox i WHERE i.id = ?2 AND i.channel = ?1)
                 AND NOT EXISTS (SELECT 1 FROM turnkey_seen s WHERE s.id = ?2 AND s.channel = ?1)",
            vec![
                Value::from(&pending.dialog.channel),
                Value::from(&pending.update),
                Value::from(&pending.dialog.user_id),
                Value::from(pending.arrived),
                Value::from(&pending.body[..]),
                Value::from(pending.due),
                Value::from(id),
                Value::from(&last.user_id),
                Value::from(&last.channel),
            ],
        )
    }));
    storage.own(statements).await.map(drop)
}

/// How many of a broadcast's updates and replies wait; `limit` stands for that many or more.
/// It reads the outbox: not to be asked where [`Broadcast::open`] says it already.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn waiting(storage: &dyn Storage, id: u64, limit: u32) -> Result<u64> {
    let (from, to) = range(id);
    // As the update stands in the body of a reply: a text in it would have its quotes escaped.
    let query = Statement::new(
        "SELECT (SELECT COUNT(*) FROM (SELECT 1 AS one FROM turnkey_inbox
                 WHERE id >= ?1 AND id < ?2 AND channel <> 'http' LIMIT ?4) i)
             + (SELECT COUNT(*) FROM (SELECT 1 AS one FROM turnkey_outbox
                 WHERE body LIKE ?3 LIMIT ?4) o) AS n",
        (from, to, format!("%\"update\":\"{PREFIX}{id}:%"), limit),
    );
    let rows = storage.own_query(query).await?;
    let waiting = rows.first().ok_or_else(nothing)?.get::<i64>("n")?;
    Ok((waiting as u64).min(limit.into()))
}

/// What to select from, up to an open WHERE: the dialogs of an audience as `c`. The values
/// behind those that are given.
///
/// The condition stands in a table of its own, and ours are outside of it: one that closes
/// parentheses or has an `OR` of its own undoes nothing of ours.
fn chosen(audience: &Audience, mut params: Vec<Value>) -> (String, Vec<Value>) {
    let mut dialogs = "(SELECT user_id, channel FROM turnkey_dialog) dialog".to_owned();
    if let Some(filter) = &audience.filter {
        // A comment at its end ends with the line.
        dialogs.push_str(&format!(" WHERE ({filter}\n)"));
    }
    // Replies of HTTP's ride in the answers, and nobody is behind a schedule of the bot's own:
    // there is nobody to send to.
    let mut from = format!(
        "(SELECT user_id, channel FROM {dialogs}\n) c
         WHERE c.channel <> 'http' AND c.channel <> 'cron' AND c.user_id <> ''"
    );
    if let Some(channel) = &audience.channel {
        params.push(Value::from(channel));
        from.push_str(&format!(" AND c.channel = ?{}", params.len()));
    }
    if !audience.groups {
        // `USER@CHAT`; groups themselves: Telegram's have negative ids, VK's begin at 2000000000.
        from.push_str(
            " AND c.user_id NOT LIKE '%@%' AND c.user_id NOT LIKE '-%'
              AND NOT (c.channel = 'vk' AND c.user_id LIKE '20000_____')",
        );
    }
    (from, params)
}

/// From the first id of a broadcast's updates to behind the last.
fn range(id: u64) -> (String, String) {
    // The character after the colon.
    (format!("{PREFIX}{id}:"), format!("{PREFIX}{id};"))
}

fn number(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

fn nothing() -> Error {
    Error::Unavailable("the database answers nothing".to_owned())
}

fn broadcast(row: &Row) -> Result<Broadcast> {
    let count = |column| row.get::<i64>(column).map(|n| n.max(0) as u64);
    let maybe_key = |column| match row.get::<Value>(column)? {
        Value::Null => Ok(None),
        _ => row.key(column).map(Some),
    };
    Ok(Broadcast {
        id: count("id")?,
        made_at: row.get("made_at")?,
        made_of: New {
            audience: Audience {
                channel: maybe_key("channel")?,
                filter: row.get("filter_sql")?,
                groups: row.get("in_groups")?,
            },
            body: row.get("body")?,
            rate: row.get::<Option<i64>>("rate")?.map(|rate| rate as u32),
        },
        state: State::named(&row.get::<String>("state")?)?,
        trouble: row.get("trouble")?,
        after: DialogKey::new(row.key("after_channel")?, row.key("after_user")?),
        queued: count("queued")?,
        sent: count("sent")?,
        failed: count("failed")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_says_whose_it_is() {
        assert_eq!(of_update("broadcast:7:42"), Some(7));
        assert_eq!(of_update("broadcast:7:a:b"), Some(7));
        for other in ["broadcast:7", "broadcast:x:1", "relay:7:1", "7", ""] {
            assert_eq!(of_update(other), None, "{other}");
        }
        let (from, to) = range(7);
        for (id, within) in [
            ("broadcast:7:", true),
            ("broadcast:7:zz", true),
            ("broadcast:70:1", false),
            ("broadcast:6:9", false),
        ] {
            assert_eq!((from.as_str()..to.as_str()).contains(&id), within, "{id}");
        }
    }
}
