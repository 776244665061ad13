//! Schedules: timers that come again and again.
//!
//! A timer whose [`Timer::schedule`] is set moves on when it fires ([`tick`]), in the transaction
//! that fills the inbox, on the condition that nobody else had it move on: however many try, each
//! tick fires once. When the next one is due, the caller says, who can read a schedule. A
//! dialog's own are set and cancelled as all timers are ([`timers::set`]); the bot's own belong
//! to dialogs of the channel [`CHANNEL`], and stand as they are declared ([`declare`]).
//!
//! Invariant: a schedule has one tick in the inbox at most. While that waits, runs or is tried
//! again, further ticks are left out ([`Ticked::LeftOut`]). Bound: [`MOST`] of the bot's own.

use crate::timers::{self, Timer, listed};
use crate::{DialogKey, Result, Statement, Storage, clock};

/// The channel of the dialogs that the bot's own schedules belong to. The dialog's name is the
/// schedule's. Three engines have it in an index.
pub const CHANNEL: &str = "cron";

/// Schedules of the bot's own.
pub const MOST: usize = 100;

/// Timers that [`overview`] counts at most.
pub const COUNTED: u64 = 10_000;

/// A timer that is overdue for less is about to fire: milliseconds.
const OVERDUE_MS: i64 = 5000;

/// What comes after a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// When it is due: milliseconds since 1970.
    pub due: i64,
    /// The id of its update.
    pub update: String,
}

/// What became of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ticked {
    /// It is in the inbox.
    Fired,
    /// The one before is not done: this one was left out.
    LeftOut,
    /// Somebody else was sooner, or the schedule is another now.
    Gone,
}

/// Has these fire, and moves each on to what comes next; what became of each, in this order. The
/// caller limits how many: all are one transaction.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn tick(storage: &dyn Storage, ticks: &[(&Timer, Next)]) -> Result<Vec<Ticked>> {
    let now = clock::now_us();
    let mut statements = Vec::with_capacity(ticks.len() * 3);
    // In the order of their keys: two that do the same do not wait for each other in a circle.
    let mut in_order: Vec<_> = ticks.iter().enumerate().collect();
    in_order.sort_by_key(|(_, (timer, _))| (&timer.dialog, &timer.name));
    for &(place, (timer, next)) in &in_order {
        let (user, channel) = (&timer.dialog.user_id, &timer.dialog.channel);
        // A turn that replaces it, or takes it away, is waited for.
        statements.push(Statement::new(
            "UPDATE turnkey_timer SET due = due
             WHERE user_id = ?1 AND channel = ?2 AND name = ?3",
            (user, channel, &timer.name),
        ));
        statements.push(Statement::new(
            "INSERT INTO turnkey_inbox
                 (channel, id, user_id, arrived, body, attempts, due, error)
             SELECT t.channel, t.id, t.user_id, ?4, t.body, 0, 0, NULL FROM turnkey_timer t
             WHERE t.user_id = ?1 AND t.channel = ?2 AND t.name = ?3 AND t.id = ?5
                 AND NOT EXISTS (SELECT 1 FROM turnkey_inbox i
                     WHERE (i.id = t.id OR i.id = t.fired) AND i.channel = t.channel)
                 AND NOT EXISTS (SELECT 1 FROM turnkey_seen s
                     WHERE s.id = t.id AND s.channel = t.channel)",
            (
                user,
                channel,
                &timer.name,
                now + place as i64,
                &timer.update,
            ),
        ));
        // Of several assignments, MySQL makes the first one first.
        statements.push(Statement::new(
            "UPDATE turnkey_timer SET
                 fired = CASE WHEN EXISTS (SELECT 1 FROM turnkey_inbox i
                     WHERE i.id = ?4 AND i.channel = ?2) THEN ?4 ELSE fired END,
                 due = ?5, id = ?6
             WHERE user_id = ?1 AND channel = ?2 AND name = ?3 AND id = ?4",
            (
                user,
                channel,
                &timer.name,
                &timer.update,
                next.due,
                &next.update,
            ),
        ));
    }
    if statements.is_empty() {
        return Ok(Vec::new());
    }
    let changed = storage.own(statements).await?;
    let mut became = vec![Ticked::Gone; ticks.len()];
    for ((place, _), changed) in in_order.iter().zip(changed.chunks(3)) {
        became[*place] = match *changed {
            [_, 1, _] => Ticked::Fired,
            [_, _, 1] => Ticked::LeftOut,
            _ => Ticked::Gone,
        };
    }
    Ok(became)
}

/// Moves a schedule to another moment, without a tick: it fires then, and goes on from there.
/// False: it moved by itself meanwhile, or is gone.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn put(storage: &dyn Storage, timer: &Timer, next: &Next) -> Result<bool> {
    let change = Statement::new(
        "UPDATE turnkey_timer SET due = ?5, id = ?6
         WHERE user_id = ?1 AND channel = ?2 AND name = ?3 AND id = ?4",
        (
            &timer.dialog.user_id,
            &timer.dialog.channel,
            &timer.name,
            &timer.update,
            next.due,
            &next.update,
        ),
    );
    Ok(storage.own(vec![change]).await? == [1])
}

/// Has the bot's own schedules be these, each with the update that it fires: what is new is
/// added, what is declared in another way begins anew, and what is declared no more is taken
/// away. One that stands as it is declared keeps its tick, also one that is overdue.
///
/// # Errors
/// As [`Storage::commit`]: also when two boxes do this at the same moment. It may be done again.
pub async fn declare(storage: &dyn Storage, declared: &[(Timer, Vec<u8>)]) -> Result<()> {
    let there = own(storage, u32::MAX).await?;
    let mut statements = Vec::new();
    for timer in there {
        if !declared.iter().any(|(one, _)| one.dialog == timer.dialog) {
            statements.push(Statement::new(
                "DELETE FROM turnkey_timer WHERE user_id = ?1 AND channel = ?2 AND name = ?3
                     AND schedule IS NOT NULL",
                (&timer.dialog.user_id, CHANNEL, &timer.name),
            ));
        }
    }
    for (timer, body) in declared {
        let params = || {
            (
                &timer.dialog.user_id,
                CHANNEL,
                &timer.name,
                timer.due,
                &timer.update,
                &body[..],
                timer.schedule.as_deref(),
            )
        };
        statements.push(Statement::new(
            "UPDATE turnkey_timer SET due = ?4, id = ?5, body = ?6, schedule = ?7
             WHERE user_id = ?1 AND channel = ?2 AND name = ?3
                 AND (schedule IS NULL OR schedule <> ?7)",
            params(),
        ));
        statements.push(Statement::new(
            "INSERT INTO turnkey_timer (user_id, channel, name, due, id, body, schedule)
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 FROM (SELECT 1 AS one) t
             WHERE NOT EXISTS (SELECT 1 FROM turnkey_timer m
                 WHERE m.user_id = ?1 AND m.channel = ?2 AND m.name = ?3)",
            params(),
        ));
    }
    match statements.is_empty() {
        true => Ok(()),
        false => storage.own(statements).await.map(drop),
    }
}

/// The bot's own schedules, those due first at the front.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn own(storage: &dyn Storage, limit: u32) -> Result<Vec<Timer>> {
    // The channel stands here, for the index that has no other.
    let ask = format!(
        "SELECT user_id, channel, name, due, id, schedule FROM turnkey_timer
         WHERE channel = '{CHANNEL}' AND schedule IS NOT NULL AND name = user_id
         ORDER BY due LIMIT ?1"
    );
    listed(storage, Statement::new(ask, (limit,))).await
}

/// Which dialog a schedule of the bot's own belongs to.
pub fn dialog(name: &str) -> DialogKey {
    DialogKey::new(CHANNEL, name)
}

/// How much is due later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// Timers that wait, schedules among them; [`COUNTED`] stands for that many or more.
    pub waiting: u64,
    /// Those that should have fired seconds ago; the same.
    pub overdue: u64,
    /// What is due first: milliseconds since 1970.
    pub next: Option<i64>,
    /// The bot's own schedules, those due first at the front; so many of them.
    pub own: Vec<Timer>,
}

/// How much is due later, at this moment (milliseconds since 1970), with so many of the bot's own
/// schedules. Two short queries, whatever the size of the table.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn overview(storage: &dyn Storage, now: i64, limit: u32) -> Result<Overview> {
    let ask = format!(
        "SELECT (SELECT COUNT(*) FROM (SELECT 1 AS one FROM turnkey_timer LIMIT {COUNTED}) t)
                 AS waiting,
             (SELECT COUNT(*) FROM (SELECT 1 AS one FROM turnkey_timer WHERE due < ?1
                 LIMIT {COUNTED}) o) AS overdue"
    );
    let ask = Statement::new(ask, (now - OVERDUE_MS,));
    let rows = storage.own_query(ask).await?;
    let count = |name| match rows.first() {
        Some(row) => row.get::<i64>(name).map(|n| n as u64),
        None => Ok(0),
    };
    let first = timers::list(storage, None, 1).await?;
    Ok(Overview {
        waiting: count("waiting")?,
        overdue: count("overdue")?,
        next: first.first().map(|timer| timer.due),
        own: own(storage, limit).await?,
    })
}
