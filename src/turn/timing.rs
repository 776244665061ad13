//! Timers: what a turn wants done about them.
//!
//! `outcome.rs` asks for the [`changes`] that go with a turn's commit; `turn.rs` sees then to those
//! that are due [`soon`], and `alarm.rs` to all others. Those that come again and again are
//! `ticking.rs`'s from then on. Due times are those of the wall clock, which
//! people mean; the order of updates never hangs on them. Bounds: [`LONGEST_DELAY`], [`MAX_DATA`],
//! [`timers::PER_DIALOG`].

use std::time::Duration;

use turnkey_storage::timers::{self, MAX_NAME, PER_DIALOG, Timer as Row};
use turnkey_storage::{Change, schedules};

use crate::author::error::{Error, Result};
use crate::author::message::{Kind, LONGEST_DELAY, SetTimer, TimerChange, Update, When};
use crate::author::schedule::Schedule;
use crate::shared::clock::unix_ms;
use crate::turn::context::Bot;
use crate::turn::{relay, ticking};

/// Bytes of a timer's data, as JSON.
const MAX_DATA: usize = 64 << 10;

/// Between two looks of `alarm.rs`.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// What is due sooner than this is not left to the next look: longer than one, in case that is
/// late.
const SOON_MS: i64 = 4 * LOOK.as_millis() as i64;

/// What changes with the commit of a turn for this update that wants this done about timers; and
/// what is set then. Called under the dialog's lock.
///
/// # Errors
/// What is wanted cannot be: too many timers, too far off, a name that is none. Or the storage is away.
pub(super) async fn changes(
    bot: &Bot,
    update: &Update,
    wanted: Vec<TimerChange>,
) -> Result<(Vec<Change>, Vec<Row>)> {
    let (mut changes, mut set) = (Vec::new(), Vec::new());
    for change in wanted {
        let (TimerChange::Set { name, .. } | TimerChange::Cancel { name }) = &change;
        if update.dialog == schedules::dialog(name) {
            return Err(Error::msg(format!(
                "{name:?} is the schedule that this dialog belongs to: give a timer another name; it ends when the bot declares it no more"
            )));
        }
        match change {
            TimerChange::Cancel { name } => {
                set.retain(|row: &Row| row.name != name);
                changes.push(timers::cancel(&update.dialog, &name));
            }
            TimerChange::Set { name, when, data } => {
                let (row, body) = row(update, name, when, data).map_err(Error::msg)?;
                set.retain(|before: &Row| before.name != row.name);
                changes.extend(timers::set(&row, &body));
                set.push(row);
            }
        }
    }
    if !set.is_empty() {
        let names: Vec<&str> = set.iter().map(|row| row.name.as_str()).collect();
        let others = timers::count_others(&*bot.storage, &update.dialog, &names);
        let all = others.await.map_err(Error::Storage)? + names.len() as u64;
        if all > PER_DIALOG {
            return Err(Error::msg(format!(
                "this dialog would have {all} timers; {PER_DIALOG} is the limit"
            )));
        }
    }
    Ok((changes, set))
}

/// A timer's row, and its update.
///
/// # Errors
/// It cannot be, and why.
pub(crate) fn row(
    update: &Update,
    name: String,
    when: When,
    data: serde_json::Value,
) -> std::result::Result<(Row, Vec<u8>), String> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("a timer's name has 1 to {MAX_NAME} bytes"));
    }
    let now = unix_ms() as i64;
    let (due, schedule) = match when {
        When::After(delay) => {
            let delay = delay.0.map_err(|why| format!("timer {name:?}: {why}"))?;
            let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
            (now.saturating_add(delay), None)
        }
        When::At(moment) => (moment, None),
        When::Every { cron, zone } => {
            let read = Schedule::new(&cron, &zone);
            let schedule = read.map_err(|why| format!("timer {name:?}: {why}"))?;
            (ticking::first(&schedule, now), Some(schedule))
        }
    };
    if due.saturating_sub(now) > LONGEST_DELAY.as_millis() as i64 {
        return Err(format!("timer {name:?} is more than ten years off"));
    }
    // Each setting fires by itself: one that is set again for the same moment, too.
    let (user, by) = (&update.dialog.user_id, &update.id);
    let id = match schedule {
        None => relay::bounded(ticking::PREFIX, &format!("{user}:{name}:{due}:{by}")),
        Some(_) => ticking::id(due, &format!("{user}:{name}:{by}")),
    };
    let kept = SetTimer {
        name: name.clone(),
        due: schedule.is_none().then_some(due),
        data,
    };
    let raw = serde_json::to_vec(&kept).map_err(|e| e.to_string())?;
    if raw.len() > MAX_DATA {
        return Err(format!(
            "timer {name:?} has more than {} KiB of data",
            MAX_DATA >> 10
        ));
    }
    let fired = Update {
        kind: Kind::Timer,
        user: update.user.clone(),
        sender: update.sender.clone(),
        chat: update.chat.clone(),
        address: update.address.clone(),
        within: update.within.clone(),
        ..Update::new(update.dialog.clone(), id.clone(), name.clone(), raw.into())
    };
    let body = serde_json::to_vec(&fired).map_err(|e| e.to_string())?;
    let dialog = update.dialog.clone();
    let row = Row {
        dialog,
        name,
        due,
        update: id,
        schedule: schedule.map(|schedule| schedule.to_string()),
    };
    Ok((row, body))
}

/// How long it is until this one is due, should that be sooner than somebody looks. A schedule
/// has time for that.
pub(super) fn soon(row: &Row) -> Option<Duration> {
    let left = row.due - unix_ms() as i64;
    (left < SOON_MS && row.schedule.is_none())
        .then(|| Duration::from_millis(u64::try_from(left).unwrap_or_default()))
}
