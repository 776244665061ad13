//! Sends committed replies: in order, with retries, each marked as sent.
//!
//! Called by `turn.rs` while it holds the dialog's lock. Invariants: a reply is
//! sent only after its commit is durable; the next one only after the one before
//! was accepted or refused for good; a mark follows each. Bounds: [`ATTEMPTS`]
//! for each reply; then it stays in the outbox and whoever holds the lock next
//! tries again.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use turnkey_storage::{Grant, ReplyId, Unsent};

use crate::channels::SendError;
use crate::message::{DialogKey, Outgoing};
use crate::scoreboard::Field;
use crate::turn::{self, Bot};

/// Attempts to send one reply before its turn ends without it: two minutes of
/// pauses, more when the platform asks for longer ones.
const ATTEMPTS: u32 = 10;

/// Before the second attempt; doubled before each further one.
const FIRST_DELAY: Duration = Duration::from_millis(250);

/// The longest wait between two attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// The longest wait that a platform's `retry_after` is believed for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Between two looks for replies that a dead worker or an earlier life left.
const LOOK: Duration = Duration::from_secs(2);

/// Turns of a worker that only send what others left. While a platform is away they
/// last for minutes; new updates must not lack their places.
const RESUMED: u32 = 64;

/// Sends replies read from the storage, and marks each.
pub(crate) async fn send(bot: &Bot, grant: &Grant, unsent: Vec<Unsent>) -> Result<(), SendError> {
    for reply in unsent {
        match serde_json::from_str::<Outgoing>(&reply.body) {
            Ok(outgoing) => deliver(bot, grant.dialog(), reply.id, &outgoing).await?,
            // Written by another version: nobody will ever be able to send it.
            Err(error) => tracing::error!(
                "{}: dropping a reply that cannot be read: {error}",
                grant.dialog()
            ),
        }
        mark(bot, grant, reply.id).await?;
    }
    Ok(())
}

/// Sends the replies that the turn of this grant just committed. The mark of the
/// last is left to the caller: it rides with the end of the turn.
pub(crate) async fn send_new(
    bot: &Bot,
    grant: &Grant,
    replies: Vec<Outgoing>,
) -> Result<Vec<ReplyId>, SendError> {
    let last = replies.len().saturating_sub(1);
    for (index, reply) in replies.iter().enumerate() {
        let id = ReplyId {
            turn: grant.fence(),
            index: index as u32,
        };
        deliver(bot, grant.dialog(), id, reply).await?;
        if index == last {
            return Ok(vec![id]);
        }
        mark(bot, grant, id).await?;
    }
    Ok(Vec::new())
}

/// Looks for replies without a turn that sends them, for as long as it is polled.
pub(crate) async fn look_for_unsent(bot: Rc<Bot>) {
    let resumed = Rc::new(Cell::new(0));
    loop {
        let free = RESUMED - resumed.get();
        if free > 0 {
            match bot.storage.dialogs_with_unsent(free).await {
                Ok(dialogs) => {
                    for dialog in dialogs {
                        let (bot, resumed) = (bot.clone(), resumed.clone());
                        resumed.set(resumed.get() + 1);
                        tokio::task::spawn_local(async move {
                            turn::resume(&bot, dialog).await;
                            resumed.set(resumed.get() - 1);
                        });
                    }
                }
                Err(error) => tracing::warn!("cannot look into the outbox: {error}"),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn mark(bot: &Bot, grant: &Grant, reply: ReplyId) -> Result<(), SendError> {
    bot.storage
        .sent(grant, vec![reply])
        .await
        .map_err(|e| SendError::Retry {
            reason: e.to_string(),
            after: None,
        })
}

/// Sends one reply until it is accepted or refused for good.
async fn deliver(
    bot: &Bot,
    dialog: &DialogKey,
    id: ReplyId,
    reply: &Outgoing,
) -> Result<(), SendError> {
    let channel = bot.channels.of(dialog);
    let mut delay = FIRST_DELAY;
    let mut attempt = 1;
    loop {
        match channel.send(id, reply).await {
            Ok(()) => {
                bot.slot.add(Field::Replies, 1);
                return Ok(());
            }
            Err(SendError::Refused(reason)) => {
                tracing::warn!("{dialog}: a reply was refused for good: {reason}");
                return Ok(());
            }
            Err(SendError::Retry { reason, after }) => {
                if attempt == ATTEMPTS {
                    return Err(SendError::Retry { reason, after });
                }
                if attempt == 1 {
                    tracing::warn!("{dialog}: cannot send yet, trying again: {reason}");
                } else {
                    tracing::debug!("{dialog}: attempt {attempt} to send failed: {reason}");
                }
                let pause = after.map_or(delay, |after| after.min(LONGEST_RETRY_AFTER));
                let mut draining = bot.draining.clone();
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    // A pause may be longer than a stop may take: the next start
                    // sends it.
                    _ = draining.wait_for(|drain| *drain) => {
                        return Err(SendError::Retry { reason, after });
                    }
                }
                delay = (delay * 2).min(LONGEST_DELAY);
                attempt += 1;
            }
        }
    }
}
