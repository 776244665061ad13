//! Looks for updates in the inbox that nobody takes care of: their worker died, the
//! program was stopped or killed, or a pause between attempts ended meanwhile.
//!
//! Run by each worker. Two workers may find the same dialog: each update has its id, so
//! whoever comes second learns that it is done. (Replies that were not sent are looked for
//! by `turn/send.rs`, which knows how long a platform wants to be left alone.) Bounds:
//! [`AT_ONCE`].

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use turnkey_storage::clock::{self, Jump};
use turnkey_storage::inbox;

use crate::author::message::DialogKey;
use crate::turn::turn::{self, Bot};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// Dialogs of a worker whose updates are made up for at a time; new updates must not
/// lack their places.
const AT_ONCE: usize = 64;

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
    let running: Rc<RefCell<HashSet<DialogKey>>> = Rc::default();
    loop {
        look_at_the_clock();
        if !goes_on {
            goes_on = go_on_from_the_inbox(&bot).await;
        }
        let busy = running.borrow().len();
        if busy < AT_ONCE {
            // Those that run may be about to take their locks.
            match inbox::due_dialogs(&*bot.storage, (AT_ONCE + busy) as u32).await {
                Ok(dialogs) => {
                    for dialog in dialogs {
                        if running.borrow().len() >= AT_ONCE
                            || !running.borrow_mut().insert(dialog.clone())
                        {
                            continue;
                        }
                        let (bot, running) = (bot.clone(), running.clone());
                        tokio::task::spawn_local(async move {
                            turn::resume(&bot, dialog.clone()).await;
                            running.borrow_mut().remove(&dialog);
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
