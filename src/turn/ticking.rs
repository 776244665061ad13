//! Schedules: timers that come again and again, those of dialogs and the bot's own.
//!
//! `timing.rs` sets a dialog's; [`declare`] has the bot's own stand as the author says, and
//! `alarm.rs` calls [`fire`] for those that are due. A tick is an update like any other once it
//! is in the inbox; [`arrived`] says there which time it is and how late. Invariants: each tick
//! fires once, whoever tries; of one schedule, one tick at most is not done. What was missed, by a
//! stop of all or by a long turn, is not made up for. Bounds: those of [`schedules`].

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use turnkey_storage::inbox::Pending;
use turnkey_storage::schedules::{self, Next, Ticked};
use turnkey_storage::timers::Timer as Row;
use turnkey_storage::{Result, Storage};

use crate::author::every::Declared;
use crate::author::message::{Kind, SetTimer, Timer, Update, UpdateId};
use crate::author::schedule::Schedule;
use crate::shared::clock::unix_ms;
use crate::shared::scoreboard::Field;
use crate::turn::context::Bot;
use crate::turn::relay;

/// How the ids of timers' updates begin; no platform's do.
pub(super) const PREFIX: &str = "timer:";

/// What follows [`PREFIX`] in the id of a tick; then comes when it was due.
const TICK: &str = "tick:";

/// When a schedule is looked at again that cannot be read here: the time zones of this box may be
/// older than those of another.
const UNREAD_MS: i64 = 3600 * 1000;

/// The id of a tick; `of` is the same for all ticks of one setting.
pub(super) fn id(due: i64, of: &str) -> String {
    relay::bounded(&format!("{PREFIX}{TICK}{due}:"), of)
}

/// When the tick of this id was due, and what is the same for all.
fn parts(id: &str) -> Option<(i64, &str)> {
    let (due, of) = id
        .strip_prefix(PREFIX)?
        .strip_prefix(TICK)?
        .split_once(':')?;
    Some((due.parse().ok()?, of))
}

/// The next tick of what this one belongs to.
fn next(timer: &Row, due: i64) -> Next {
    let of = parts(&timer.update).map_or(&*timer.name, |(_, of)| of);
    Next {
        due,
        update: id(due, of),
    }
}

/// When a schedule that is set now is due first.
pub(super) fn first(schedule: &Schedule, now: i64) -> i64 {
    schedule.next(now).unwrap_or(i64::MAX)
}

/// Has those of these that have a schedule fire, and move on. How many fired.
///
/// # Errors
/// The storage is away.
pub(super) async fn fire(bot: &Bot, rows: &[Row]) -> Result<u64> {
    let now = unix_ms() as i64;
    // Many users have the same.
    let mut known: HashMap<&str, Option<i64>> = HashMap::new();
    let mut ticks = Vec::new();
    for row in rows {
        let Some(text) = row.schedule.as_deref() else {
            continue;
        };
        let due = known.entry(text).or_insert_with(|| {
            let schedule = Schedule::read(text);
            schedule.ok().and_then(|read| read.next(now.max(row.due)))
        });
        match *due {
            Some(due) => ticks.push((row, next(row, due))),
            None => put_off(&*bot.storage, row, now).await?,
        }
    }
    let mut fired = 0;
    let became = schedules::tick(&*bot.storage, &ticks).await?;
    for ((row, _), became) in ticks.iter().zip(became) {
        match became {
            Ticked::Fired => fired += 1,
            Ticked::Gone => {}
            Ticked::LeftOut => {
                bot.slot.add(Field::LeftOut, 1);
                tracing::info!(
                    "{}: a tick of {:?} is left out, since the one before is not done",
                    row.dialog,
                    row.name
                );
            }
        }
    }
    Ok(fired)
}

/// Says that a schedule cannot be read on this box, and lets it be for a while.
async fn put_off(storage: &dyn Storage, row: &Row, now: i64) -> Result<()> {
    let later = next(row, now + UNREAD_MS);
    if schedules::put(storage, row, &later).await? {
        tracing::warn!(
            "{}: the schedule {:?} of {:?} cannot be read on this box, and is looked at again in an hour: are its time zones older than another's?",
            row.dialog,
            row.schedule.as_deref().unwrap_or_default(),
            row.name
        );
    }
    Ok(())
}

/// Has the tick of this schedule be due now; it goes on as before then. False: it moved by itself
/// meanwhile, or is gone.
///
/// # Errors
/// The storage is away.
pub(crate) async fn fire_now(storage: &dyn Storage, timer: &Row) -> Result<bool> {
    schedules::put(storage, timer, &next(timer, unix_ms() as i64)).await
}

/// Has the bot's own schedules be what the author declares.
///
/// # Errors
/// The storage is away; or another box did it at the same moment.
pub(super) async fn declare(bot: &Bot) -> Result<()> {
    let now = unix_ms() as i64;
    let rows: Vec<_> = bot.every.iter().map(|one| declared(one, now)).collect();
    schedules::declare(&*bot.storage, &rows).await
}

fn declared(one: &Declared, now: i64) -> (Row, Vec<u8>) {
    let dialog = schedules::dialog(&one.name);
    let due = first(&one.schedule, now);
    let id = id(due, &one.name);
    let kept = SetTimer {
        name: one.name.clone(),
        due: None,
        data: serde_json::Value::Null,
    };
    let raw = serde_json::to_vec(&kept).unwrap_or_default();
    let update = Update {
        kind: Kind::Timer,
        ..Update::new(dialog.clone(), id.clone(), one.name.clone(), raw.into())
    };
    let row = Row {
        dialog,
        name: one.name.clone(),
        due,
        update: id,
        schedule: Some(one.schedule.to_string()),
    };
    (row, serde_json::to_vec(&update).unwrap_or_default())
}

/// A timer's update has come to its turn: says in it when it was due and how late it fired.
pub(super) fn arrived(update: &mut Update, row: &Pending) {
    let Ok(kept) = serde_json::from_slice::<SetTimer>(&update.raw) else {
        return; // It is as a handler finds it.
    };
    update.id = UpdateId(row.update.clone());
    let due = kept.due.or_else(|| parts(&row.update).map(|(due, _)| due));
    let due = due.unwrap_or_default();
    let late = (row.arrived / 1000).saturating_sub(due);
    let timer = Timer {
        name: kept.name,
        due,
        late: Duration::from_millis(u64::try_from(late).unwrap_or_default()),
        data: kept.data,
    };
    if let Ok(raw) = serde_json::to_vec(&timer) {
        update.raw = Bytes::from(raw);
    }
}

#[cfg(test)]
mod tests {
    use turnkey_storage::DialogKey;

    use super::*;
    use crate::author::message::MAX_UPDATE_ID;

    fn row(update: &str) -> Row {
        Row {
            dialog: DialogKey::new("telegram", "7"),
            name: "tea".to_owned(),
            due: 5,
            update: update.to_owned(),
            schedule: Some("0 9 * * MON UTC".to_owned()),
        }
    }

    #[test]
    fn ids_of_ticks_say_when_they_were_due() {
        for of in ["7:tea:u1", "a:b:7:te:a", &"\u{e9}".repeat(300)] {
            let first = id(1_796_000_000_000, of);
            assert!(first.len() <= MAX_UPDATE_ID, "{first}");
            let second = next(&row(&first), 1_797_000_000_000).update;
            assert_eq!(second, id(1_797_000_000_000, of));
            assert_eq!(parts(&second).unwrap().0, 1_797_000_000_000);
        }
        // A timer that comes once, of whatever user.
        for other in ["timer:tick:x:1", "timer:7:tea:1", "relay:tick:1:x"] {
            assert_eq!(parts(other), None, "{other}");
        }
    }

    #[test]
    fn what_has_arrived_says_when_it_was_due_and_how_late_it_is() {
        let arrive = |kept: &str, id: &str, arrived_ms: i64| {
            let dialog = DialogKey::new("telegram", "7");
            let mut update = Update {
                kind: Kind::Timer,
                ..Update::new(dialog.clone(), "old", "tea", kept.to_owned().into())
            };
            let pending = Pending {
                dialog,
                update: id.to_owned(),
                arrived: arrived_ms * 1000,
                body: Vec::new(),
                attempts: 0,
                due: 0,
                error: None,
            };
            arrived(&mut update, &pending);
            assert_eq!(update.id.0, id);
            let timer = update.timer().unwrap();
            (timer.name, timer.due, timer.late.as_millis(), timer.data)
        };
        let tea = |due, late, data| ("tea".to_owned(), due, late, data);
        let data = serde_json::json!({ "sort": 1 });
        let kept = r#"{"name":"tea","data":{"sort":1}}"#;
        let tick = id(1000, "7:tea");
        assert_eq!(arrive(kept, &tick, 1500), tea(1000, 500, data.clone()));
        // The clock was set back in between.
        assert_eq!(arrive(kept, &tick, 900), tea(1000, 0, data.clone()));
        let once = r#"{"name":"tea","due":700,"data":{"sort":1}}"#;
        assert_eq!(arrive(once, "timer:7:tea:700:u", 1500), tea(700, 800, data));
    }
}
