//! Timers: updates of a dialog that are due at a time of the author's.
//!
//! Set and cancelled with a turn's commit ([`set`], [`cancel`]); of two under one name of a
//! dialog the later one stands. Whoever finds one due ([`due_before`]) has it fire ([`fire`]):
//! one transaction that takes it away and puts its update into the inbox. From there it is an
//! update like any other. Two that fire the same one at the same moment fire it once. Those that
//! come again and again are [`schedules`](crate::schedules). Bounds: [`MAX_NAME`] bytes of a
//! name, [`PER_DIALOG`] timers of a dialog.

use crate::{Change, DialogKey, Result, Row, Statement, Storage, clock};

/// Bytes of a timer's name.
pub const MAX_NAME: usize = 64;

/// Timers that a dialog may have. Whoever sets them sees to it, under the dialog's lock:
/// [`count_others`].
pub const PER_DIALOG: u64 = 100;

/// A timer that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Its name within the dialog.
    pub name: String,
    /// When it is due: milliseconds since 1970.
    pub due: i64,
    /// The id of its update, within its channel.
    pub update: String,
    /// How it goes on when it has fired; none if it is over then.
    pub schedule: Option<String>,
}

/// Sets a timer: `update` is the id of the update that it fires, and `body` that update, as its
/// reader in the inbox knows it.
pub fn set(timer: &Timer, body: &[u8]) -> [Change; 2] {
    let insert = Statement::new(
        "INSERT INTO turnkey_timer (user_id, channel, name, due, id, body, schedule)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        (
            &timer.dialog.user_id,
            &timer.dialog.channel,
            &timer.name,
            timer.due,
            &timer.update,
            body,
            timer.schedule.as_deref(),
        ),
    );
    [cancel(&timer.dialog, &timer.name), Change(insert)]
}

/// Takes a timer away, if there is one of this name.
pub fn cancel(dialog: &DialogKey, name: &str) -> Change {
    Change(Statement::new(
        "DELETE FROM turnkey_timer WHERE user_id = ?1 AND channel = ?2 AND name = ?3",
        (&dialog.user_id, &dialog.channel, name),
    ))
}

/// How many timers a dialog has, those of these names left out.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn count_others(
    storage: &dyn Storage,
    dialog: &DialogKey,
    names: &[&str],
) -> Result<u64> {
    let ask = Statement::new(
        "SELECT name FROM turnkey_timer WHERE user_id = ?1 AND channel = ?2",
        (&dialog.user_id, &dialog.channel),
    );
    let mut others = 0;
    for row in storage.own_query(ask).await? {
        others += u64::from(!names.contains(&row.key("name")?.as_str()));
    }
    Ok(others)
}

/// The timers that are due before this moment (milliseconds since 1970), those due first at the
/// front.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn due_before(storage: &dyn Storage, until: i64, limit: u32) -> Result<Vec<Timer>> {
    let ask = "SELECT user_id, channel, name, due, id, schedule FROM turnkey_timer
         WHERE due < ?1 ORDER BY due LIMIT ?2";
    listed(storage, Statement::new(ask, (until, limit))).await
}

/// The timers of a dialog, or, without one, of all: those due first at the front.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn list(
    storage: &dyn Storage,
    dialog: Option<&DialogKey>,
    limit: u32,
) -> Result<Vec<Timer>> {
    let ask = match dialog {
        Some(dialog) => Statement::new(
            "SELECT user_id, channel, name, due, id, schedule FROM turnkey_timer
             WHERE user_id = ?1 AND channel = ?2 ORDER BY due LIMIT ?3",
            (&dialog.user_id, &dialog.channel, limit),
        ),
        None => Statement::new(
            "SELECT user_id, channel, name, due, id, schedule FROM turnkey_timer
             ORDER BY due LIMIT ?1",
            (limit,),
        ),
    };
    listed(storage, ask).await
}

pub(crate) async fn listed(storage: &dyn Storage, ask: Statement) -> Result<Vec<Timer>> {
    let timer = |row: &Row| {
        Ok(Timer {
            dialog: DialogKey::new(row.key("channel")?, row.key("user_id")?),
            name: row.key("name")?,
            due: row.get("due")?,
            update: row.key("id")?,
            schedule: row.maybe_key("schedule")?,
        })
    };
    storage.own_query(ask).await?.iter().map(timer).collect()
}

/// Has these timers fire: each that is still there leaves its place to its update in the inbox,
/// in this order. How many there were. Those with a schedule are left alone:
/// [`schedules::tick`](crate::schedules::tick) has them fire. The caller limits how many: all are
/// one transaction.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn fire(storage: &dyn Storage, timers: &[Timer]) -> Result<u64> {
    let now = clock::now_us();
    let mut statements = Vec::with_capacity(timers.len() * 3);
    // Rows are taken in the order of their keys: two that fire the same ones do not wait for
    // each other in a circle.
    let over = |(_, timer): &(usize, &Timer)| timer.schedule.is_none();
    let mut in_order: Vec<(usize, &Timer)> = timers.iter().enumerate().filter(over).collect();
    in_order.sort_by_key(|(_, timer)| (&timer.dialog, &timer.name));
    for (place, timer) in in_order {
        let key = || (&timer.dialog.user_id, &timer.dialog.channel, &timer.name);
        let (user, channel, name) = key();
        // A turn that replaces it, or takes it away, is waited for.
        statements.push(Statement::new(
            "UPDATE turnkey_timer SET due = due
             WHERE user_id = ?1 AND channel = ?2 AND name = ?3",
            key(),
        ));
        statements.push(Statement::new(
            "INSERT INTO turnkey_inbox
                 (channel, id, user_id, arrived, body, attempts, due, error)
             SELECT t.channel, t.id, t.user_id, ?4, t.body, 0, 0, NULL FROM turnkey_timer t
             WHERE t.user_id = ?1 AND t.channel = ?2 AND t.name = ?3 AND t.due = ?5
                 AND NOT EXISTS (SELECT 1 FROM turnkey_inbox i
                     WHERE i.id = t.id AND i.channel = t.channel)
                 AND NOT EXISTS (SELECT 1 FROM turnkey_seen s
                     WHERE s.id = t.id AND s.channel = t.channel)",
            (user, channel, name, now + place as i64, timer.due),
        ));
        statements.push(Statement::new(
            "DELETE FROM turnkey_timer
             WHERE user_id = ?1 AND channel = ?2 AND name = ?3 AND due = ?4",
            (user, channel, name, timer.due),
        ));
    }
    if statements.is_empty() {
        return Ok(0);
    }
    let changed = storage.own(statements).await?;
    Ok(changed.iter().skip(2).step_by(3).sum())
}

/// Takes a timer away, for an operator; whether there was one.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn drop_timer(storage: &dyn Storage, dialog: &DialogKey, name: &str) -> Result<bool> {
    let Change(delete) = cancel(dialog, name);
    Ok(storage.own(vec![delete]).await? == [1])
}
