//! Finds abandoned work: updates in the inbox and replies in the outbox whose worker died,
//! whose program was stopped or killed, or whose pause has ended.
//!
//! Run by each worker. If two workers find the same dialog, the second learns from the update's
//! id that it is done. Platforms that asked for a pause are left alone. Bounds: [`AT_ONCE`],
//! [`RESUMED`], [`REMEMBERED`].

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;
use turnkey_storage::clock::{self, Jump};
use turnkey_storage::inbox;

use crate::author::message::DialogKey;
use crate::turn::context::Bot;
use crate::turn::{gathering, turn};

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
const RESUMED: usize = 64;

/// Dialogs whose replies must wait, remembered so as not to be looked at before.
const REMEMBERED: usize = 4096;

/// Has new updates come after those of the inbox, by whatever clock those arrived. Called
/// before the first is taken; true once it is done.
pub(crate) async fn go_on_from_the_inbox(bot: &Bot) -> bool {
    gathering::look_for_own(bot).await;
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

/// The dialogs that one look has turns resumed for: never two of one dialog.
#[derive(Clone, Default)]
struct Resumed {
    /// None while its turn runs, else when it is due again.
    due: Rc<RefCell<HashMap<DialogKey, Option<Instant>>>>,
}

impl Resumed {
    /// Forgets those that are due again, and counts those that run, by their channel.
    fn running(&self) -> HashMap<String, usize> {
        let now = Instant::now();
        let mut running = HashMap::new();
        self.due.borrow_mut().retain(|dialog, due| {
            if due.is_none() {
                *running.entry(dialog.channel.clone()).or_default() += 1;
            }
            due.is_none_or(|due| due > now)
        });
        running
    }

    /// Those that run and those that wait: they may stand before all others.
    fn len(&self) -> usize {
        self.due.borrow().len()
    }

    /// Resumes a dialog. False: it runs, or must wait.
    fn start(&self, bot: &Rc<Bot>, dialog: DialogKey) -> bool {
        match self.due.borrow_mut().entry(dialog.clone()) {
            Entry::Occupied(_) => return false,
            Entry::Vacant(free) => free.insert(None),
        };
        let (bot, resumed) = (bot.clone(), self.clone());
        tokio::task::spawn_local(async move {
            let pause = turn::resume(&bot, dialog.clone()).await;
            let mut due = resumed.due.borrow_mut();
            match pause {
                Some(pause) if due.len() < REMEMBERED => {
                    due.insert(dialog, Some(Instant::now() + pause))
                }
                _ => due.remove(&dialog),
            }
        });
        true
    }
}

/// Looks for as long as it is polled.
pub(crate) async fn look_for_pending(bot: Rc<Bot>, mut goes_on: bool) {
    let resumed = Resumed::default();
    loop {
        look_at_the_clock();
        if !goes_on {
            goes_on = go_on_from_the_inbox(&bot).await;
        }
        gathering::look_for_own(&bot).await;
        if resumed.running().values().sum::<usize>() < AT_ONCE {
            // Those that run may be about to take their locks; those that wait may be the oldest.
            let limit = AT_ONCE + resumed.len();
            match inbox::due_dialogs(&*bot.storage, limit as u32).await {
                Ok(dialogs) => {
                    let mut running = resumed.running();
                    let mut all: usize = running.values().sum();
                    for dialog in dialogs {
                        let of_channel = running.entry(dialog.channel.clone()).or_default();
                        // While one platform is away, the others' go on.
                        let is_free = all < AT_ONCE && *of_channel < OF_A_CHANNEL;
                        if is_free && resumed.start(&bot, dialog) {
                            all += 1;
                            *of_channel += 1;
                        }
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

/// Looks for replies without a turn that sends them, for as long as it is polled.
pub(crate) async fn look_for_unsent(bot: Rc<Bot>) {
    let resumed = Resumed::default();
    loop {
        let running: usize = resumed.running().values().sum();
        let mut free = RESUMED.saturating_sub(running);
        if free > 0 {
            let limit = free + resumed.len();
            match bot.storage.dialogs_with_unsent(limit as u32).await {
                Ok(dialogs) => {
                    for dialog in dialogs {
                        if free == 0 {
                            break;
                        }
                        let pause = bot.channels.outlet(&dialog).pace.pause_left();
                        if pause.is_none() && resumed.start(&bot, dialog) {
                            free -= 1;
                        }
                    }
                }
                Err(error) => tracing::warn!("cannot look into the outbox: {error}"),
            }
        }
        tokio::time::sleep(OUTBOX_LOOK).await;
    }
}
