//! Finds abandoned work: updates in the inbox and replies in the outbox whose worker died,
//! whose program was stopped or killed, or whose pause has ended.
//!
//! Run by each worker. If two workers find the same dialog, the second learns from the update's
//! id that it is done. Platforms that asked for a pause are left alone. Bounds: [`AT_ONCE`],
//! [`RESUMED`], [`REMEMBERED`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use turnkey_storage::clock::{self, Jump};
use turnkey_storage::inbox;

use crate::author::message::DialogKey;
use crate::turn::context::Bot;
use crate::turn::turn;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Dialogs of a worker whose updates are made up for at a time; new updates must not
/// lack their places.
const AT_ONCE: usize = 64;

/// Of one channel among them: while its platform is away each lasts for minutes.
const OF_A_CHANNEL: usize = 48;

/// Between two looks for replies that a dead worker or an earlier life left.
const OUTBOX_LOOK: Duration = Duration::from_secs(2);

/// Turns of a worker that only send what others left. While a platform is away they
/// last for minutes; new updates must not lack their places.
const RESUMED: u32 = 64;

/// Dialogs whose replies must wait, remembered so as not to be looked at before.
const REMEMBERED: usize = 4096;

/// Has new updates come after those of the inbox, by whatever clock those arrived. Called
/// before the first is taken; true once it is done.
pub(crate) async fn go_on_from_the_inbox(bot: &Bot) -> bool {
    match inbox::latest_arrival(&*bot.storage).await {
        Ok(latest) => {
            latest.into_iter().for_each(clock::not_before);
            true
        }
        Err(error) => {
            tracing::warn!("cannot look into the inbox: {error}");
            false
        }
    }
}

/// Says that somebody set the machine's clock.
fn look_at_the_clock() {
    match clock::follow() {
        None => {}
        Some(Jump::Forward(by)) => tracing::warn!(
            "the machine's clock was set forward by {} s; the order of updates stays as it is",
            by.as_secs()
        ),
        Some(Jump::Back(by)) => tracing::warn!(
            "the machine's clock was set back by {} s; the order of updates stays as it is, their times are ahead until it has caught up or the bot is started again",
            by.as_secs()
        ),
    }
}

/// Looks for as long as it is polled.
pub(crate) async fn look_for_pending(bot: Rc<Bot>, mut goes_on: bool) {
    // None while its turn runs, else when it is due again.
    let waiting: Rc<RefCell<HashMap<DialogKey, Option<Instant>>>> = Rc::default();
    loop {
        look_at_the_clock();
        if !goes_on {
            goes_on = go_on_from_the_inbox(&bot).await;
        }
        let now = Instant::now();
        waiting
            .borrow_mut()
            .retain(|_, due| due.is_none_or(|due| due > now));
        if running(&waiting.borrow(), None) < AT_ONCE {
            // Those that run may be about to take their locks; those that wait may be the oldest.
            let limit = AT_ONCE + waiting.borrow().len();
            match inbox::due_dialogs(&*bot.storage, limit as u32).await {
                Ok(dialogs) => {
                    for dialog in dialogs {
                        let is_free = {
                            let waiting = waiting.borrow();
                            // While one platform is away, the others' go on.
                            !waiting.contains_key(&dialog)
                                && running(&waiting, None) < AT_ONCE
                                && running(&waiting, Some(&dialog.channel)) < OF_A_CHANNEL
                        };
                        if !is_free {
                            continue;
                        }
                        waiting.borrow_mut().insert(dialog.clone(), None);
                        let (bot, waiting) = (bot.clone(), waiting.clone());
                        tokio::task::spawn_local(async move {
                            let pause = turn::resume(&bot, dialog.clone()).await;
                            let mut waiting = waiting.borrow_mut();
                            match pause {
                                Some(pause) if waiting.len() < REMEMBERED => {
                                    waiting.insert(dialog, Some(Instant::now() + pause))
                                }
                                _ => waiting.remove(&dialog),
                            }
                        });
                    }
                }
                Err(error) => tracing::warn!("cannot look into the inbox: {error}"),
            }
        }
        if !bot.inbox.sleep(LOOK).await {
            return;
        }
    }
}

/// How many of these run now, of all channels or of one.
fn running(waiting: &HashMap<DialogKey, Option<Instant>>, channel: Option<&str>) -> usize {
    let runs = |(dialog, due): &(&DialogKey, &Option<Instant>)| {
        due.is_none() && channel.is_none_or(|channel| dialog.channel == channel)
    };
    waiting.iter().filter(runs).count()
}

/// Looks for replies without a turn that sends them, for as long as it is polled.
pub(crate) async fn look_for_unsent(bot: Rc<Bot>) {
    // None while its turn runs, else when it is due again.
    let waiting: Rc<RefCell<HashMap<DialogKey, Option<Instant>>>> = Rc::default();
    loop {
        let now = Instant::now();
        waiting
            .borrow_mut()
            .retain(|_, due| due.is_none_or(|due| due > now));
        let running = waiting
            .borrow()
            .values()
            .filter(|due| due.is_none())
            .count();
        let free = (RESUMED as usize).saturating_sub(running);
        if free > 0 {
            // Those that are remembered may stand before all others.
            let limit = free + waiting.borrow().len();
            match bot.storage.dialogs_with_unsent(limit as u32).await {
                Ok(dialogs) => {
                    let due = |dialog: &DialogKey| {
                        let paused = bot.channels.outlet(dialog).pace.pause_left();
                        paused.is_none() && !waiting.borrow().contains_key(dialog)
                    };
                    for dialog in dialogs.into_iter().filter(due).take(free) {
                        waiting.borrow_mut().insert(dialog.clone(), None);
                        let (bot, waiting) = (bot.clone(), waiting.clone());
                        tokio::task::spawn_local(async move {
                            let pause = turn::resume(&bot, dialog.clone()).await;
                            let mut waiting = waiting.borrow_mut();
                            match pause {
                                Some(pause) if waiting.len() < REMEMBERED => {
                                    waiting.insert(dialog, Some(Instant::now() + pause))
                                }
                                _ => waiting.remove(&dialog),
                            }
                        });
                    }
                }
                Err(error) => tracing::warn!("cannot look into the outbox: {error}"),
            }
        }
        tokio::time::sleep(OUTBOX_LOOK).await;
    }
}
