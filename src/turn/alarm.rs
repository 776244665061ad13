//! Has timers fire when they are due.
//!
//! Run by the first worker only ([`run`]); several boxes do no harm. A timer fires into the inbox in
//! one transaction, once however many try; from there it is an update like any other, with the
//! dialog's order, attempts and dead letters. What is due sooner than this looks, the turn that set
//! it has fire. The bot's own schedules are declared before. Bounds: [`LOOKED_AT`], [`FIRED`],
//! [`RESUMED`].

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use turnkey_storage::timers::{self, Timer};
use turnkey_storage::{DialogKey, Result};

use crate::shared::clock::unix_ms;
use crate::turn::context::Bot;
use crate::turn::timing::LOOK;
use crate::turn::{ticking, turn};

/// Timers that a look finds; then comes the next.
const LOOKED_AT: u32 = 5000;

/// After so many tries to declare the schedules, the log says what is wrong.
const MANY_TRIES: u32 = 5;

/// Timers that fire in one transaction, which others wait for.
const FIRED: usize = 200;

/// Dialogs whose turns begin at once when their timers fire; `recovery.rs` finds the others.
const RESUMED: usize = 256;

/// Has timers fire when they are due, for as long as it is polled.
pub(crate) async fn run(bot: Rc<Bot>) {
    let resumed = Rc::new(Cell::new(0));
    let mut undeclared = Some(0);
    loop {
        if let Some(tries) = undeclared {
            undeclared = match ticking::declare(&bot).await {
                Ok(()) => None,
                Err(error) => {
                    // Of two boxes that do it at once, one does it again.
                    if tries == MANY_TRIES {
                        tracing::warn!("the bot's schedules cannot be declared yet: {error}");
                    }
                    Some(tries.saturating_add(1))
                }
            };
        }
        let next = tokio::time::Instant::now() + LOOK;
        let until = unix_ms() as i64 + LOOK.as_millis() as i64;
        match timers::due_before(&*bot.storage, until, LOOKED_AT).await {
            Ok(due) => {
                if !fire_in_time(&bot, &due, &resumed).await {
                    return;
                }
            }
            // Others who look at the same database say so.
            Err(error) => tracing::debug!("cannot look for timers: {error}"),
        }
        let left = next.saturating_duration_since(tokio::time::Instant::now());
        if !bot.inbox.sleep(left).await {
            return;
        }
    }
}

/// Has these fire, each when it is due. False: the worker leaves.
async fn fire_in_time(bot: &Rc<Bot>, due: &[Timer], resumed: &Rc<Cell<usize>>) -> bool {
    let mut left = due;
    while let Some(first) = left.first() {
        let now = unix_ms() as i64;
        if first.due > now {
            let pause = Duration::from_millis((first.due - now) as u64);
            if !bot.inbox.sleep(pause).await {
                return false;
            }
            continue;
        }
        let ready = left.iter().take(FIRED).take_while(|row| row.due <= now);
        let (ready, rest) = left.split_at(ready.count());
        if let Err(error) = fire(bot, ready, resumed).await {
            tracing::warn!("{} timers cannot fire yet: {error}", ready.len());
            return true;
        }
        left = rest;
    }
    true
}

/// Has these fire, and begins the turns of their dialogs.
async fn fire(bot: &Rc<Bot>, rows: &[Timer], resumed: &Rc<Cell<usize>>) -> Result<()> {
    let fired = timers::fire(&*bot.storage, rows).await? + ticking::fire(bot, rows).await?;
    if fired == 0 {
        return Ok(()); // Somebody was sooner.
    }
    // Of those of one dialog the first: its turn comes first.
    let mut dialogs: BTreeMap<&DialogKey, &Timer> = BTreeMap::new();
    for row in rows {
        dialogs.entry(&row.dialog).or_insert(row);
    }
    for (dialog, timer) in dialogs {
        if resumed.get() >= RESUMED {
            break;
        }
        resumed.set(resumed.get() + 1);
        let (bot, resumed) = (bot.clone(), resumed.clone());
        let (dialog, update) = (dialog.clone(), timer.update.clone());
        tokio::task::spawn_local(async move {
            turn::run_fired(&bot, dialog, &update).await;
            resumed.set(resumed.get() - 1);
        });
    }
    Ok(())
}
