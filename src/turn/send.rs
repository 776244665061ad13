//! Sends committed replies: in order, within the platforms' limits, with retries; marks each as
//! sent.
//!
//! Called by `turn.rs` while it holds the dialog's lock. Invariants: a reply is sent only after
//! its commit is durable; the next one only after the one before was accepted, refused for good
//! or given up; each is then marked; all workers of the box obey a platform's "too many
//! requests", also after a restart. A task that waits here holds no connection. Bounds:
//! [`ATTEMPTS`] for each reply, [`PATIENCE`] for each wait; then the reply stays in the outbox,
//! the lock is released, and `recovery.rs` or the dialog's next turn tries again, until
//! `--max-reply-attempts` or `--max-reply-age`: then the reply becomes a dead reply. An attempt
//! counts only if the platform answered it; while the platform is unreachable, only the age
//! counts. A broadcast's reply has its end counted in the transaction that takes it out of the
//! outbox, and takes a place only when nobody else wants it, for up to [`YIELD`].

use std::time::Duration;

use turnkey_storage::replies::{self, Waiting};
use turnkey_storage::{DialogKey, Grant, ReplyId, Unsent, broadcasts, pauses};

use crate::author::message::Outgoing;
use crate::channels::{Outlet, SendError, Sent};
use crate::shared::backoff::jitter;
use crate::shared::clock::unix_ms;
use crate::shared::drain;
use crate::shared::scoreboard::Field;
use crate::shared::scrub::told;
use crate::turn::context::Bot;
use crate::turn::{late, left, names};
use turnkey_text::numbers::counted;

/// Attempts to send one reply before its turn ends without it: two minutes of
/// pauses, more when the platform asks for longer ones.
const ATTEMPTS: u32 = 10;

/// Before the second attempt; doubled before each further one. Each is cut by up to a
/// half, at random: those who failed together do not come back together.
const FIRST_DELAY: Duration = Duration::from_millis(250);

/// The longest wait between two attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// The longest wait that a platform's `retry_after` is believed for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The longest wait for a platform's limit in which a turn keeps its lock.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a broadcast's reply lets others go first; then it waits in line like them.
const YIELD: Duration = Duration::from_secs(10);

/// Between two looks of such a reply for a place.
const YIELD_LOOK: Duration = Duration::from_millis(20);

/// A shorter pause is not worth a row: a restart takes about as long.
const WORTH_KEEPING: Duration = Duration::from_secs(1);

/// Sends replies read from the storage, and marks each.
pub(crate) async fn send(bot: &Bot, grant: &Grant, unsent: Vec<Unsent>) -> Result<(), SendError> {
    for reply in unsent {
        match serde_json::from_str::<Outgoing>(&reply.body) {
            Ok(outgoing) => deliver(bot, grant.dialog(), reply.id, &outgoing).await?,
            // Written by another version, say.
            Err(error) => {
                let reason = format!("it cannot be read: {error}");
                give_up_unreadable(bot, grant.dialog(), reply.id, &reason).await?;
            }
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

/// Gives up a reply that nobody here will ever be able to send.
async fn give_up_unreadable(
    bot: &Bot,
    dialog: &DialogKey,
    id: ReplyId,
    reason: &str,
) -> Result<(), SendError> {
    let waiting = replies::waiting(&*bot.storage, dialog, id).await;
    match waiting.map_err(stays)? {
        Some(last) => give_up(bot, (dialog, id, None), &last, reason)
            .await
            .map_err(stays),
        None => Ok(()),
    }
}

/// The storage is away: the reply stays in the outbox.
fn stays(error: turnkey_storage::Error) -> SendError {
    SendError::Retry {
        reason: error.to_string(),
        after: None,
    }
}

async fn mark(bot: &Bot, grant: &Grant, reply: ReplyId) -> Result<(), SendError> {
    bot.storage.sent(grant, vec![reply]).await.map_err(stays)
}

/// Sends one reply until it is accepted, refused for good or given up.
async fn deliver(
    bot: &Bot,
    dialog: &DialogKey,
    id: ReplyId,
    reply: &Outgoing,
) -> Result<(), SendError> {
    let resolved = names::resolve(&*bot.storage, dialog, reply).await;
    let Some(resolved) = resolved.map_err(stays)? else {
        tracing::info!("{dialog}: the message that was to be changed has no name here any more");
        return Ok(());
    };
    let broadcast = broadcasts::of_update(&reply.update);
    let outlet = bot.channels.outlet(dialog);
    let mut delay = FIRST_DELAY;
    let mut taken = outlet.taken.get();
    for attempt in 1.. {
        wait_for_place(bot, outlet, reply, broadcast.is_some()).await?;
        let (reason, after, counts) = match outlet.channel.send(id, &resolved).await {
            Ok(sent) => {
                learn(bot, dialog, reply, &sent).await?;
                let kept = late::keep(bot, outlet.channel, (dialog, id, broadcast), &sent);
                kept.await.map_err(stays)?;
                if let Some(broadcast) = broadcast {
                    let counted = broadcasts::sent(&*bot.storage, broadcast, dialog, id);
                    counted.await.map_err(stays)?;
                }
                break;
            }
            Err(error @ (SendError::Refused(_) | SendError::Unreachable(_))) => {
                let reason = told(&error.to_string()).into_owned();
                outlet.pace.note_trouble(&reason);
                if let SendError::Unreachable(_) = error {
                    left::note(bot, dialog, reply, &reason)
                        .await
                        .map_err(stays)?;
                }
                bot.slot.add(Field::Refused, 1);
                let Some(broadcast) = broadcast else {
                    tracing::warn!("{dialog}: a reply was refused for good: {reason}");
                    return Ok(());
                };
                // Thousands may have blocked the bot: they are listed, not logged.
                tracing::debug!("{dialog}: broadcast {broadcast} was refused: {reason}");
                let counted = broadcasts::refused(&*bot.storage, broadcast, dialog, id, &reason);
                return counted.await.map_err(stays);
            }
            Err(SendError::TooMany { reason, after, all }) => {
                bot.slot.add(Field::TooMany, 1);
                let pause = after.unwrap_or(delay).min(LONGEST_RETRY_AFTER);
                heed(bot, outlet, &reply.to, pause, all);
                // The wait is for the next place.
                (reason, Some(Duration::ZERO), false)
            }
            Err(SendError::Retry { reason, after }) => (reason, after, true),
            // If others got through meanwhile, it is this reply that does not.
            Err(SendError::Away { reason, after }) => (reason, after, taken != outlet.taken.get()),
        };
        taken = outlet.taken.get();
        // It is stored, and shown to operators.
        let reason = told(&reason).into_owned();
        outlet.pace.note_trouble(&reason);
        let Some(failures) = failed(bot, (dialog, id, broadcast), counts, &reason).await? else {
            return Ok(());
        };
        if attempt == ATTEMPTS || after > Some(PATIENCE) {
            return Err(SendError::Retry { reason, after });
        }
        if attempt == 1 {
            tracing::warn!("{dialog}: cannot send yet, trying again: {reason}");
        } else {
            tracing::debug!("{dialog}: attempt {attempt} to send failed: {reason}");
        }
        // An earlier round may have waited longer already.
        delay = delay.max(FIRST_DELAY * 2_u32.saturating_pow(failures.saturating_sub(1).min(16)));
        delay = delay.min(LONGEST_DELAY);
        let pause = after.unwrap_or_else(|| jitter(delay));
        if !drain::sleep(&bot.draining, pause).await {
            return Err(SendError::Retry { reason, after });
        }
        delay *= 2;
    }
    outlet.taken.set(outlet.taken.get().wrapping_add(1));
    bot.slot.add(Field::Replies, 1);
    Ok(())
}

/// Notes what the platform said of what it took.
async fn learn(
    bot: &Bot,
    dialog: &DialogKey,
    reply: &Outgoing,
    sent: &Sent,
) -> Result<(), SendError> {
    if let Some(why) = &sent.gone {
        tracing::info!("{dialog}: the message that was to be changed is gone: {why}");
    }
    let learnt = names::learn(&*bot.storage, dialog, &reply.action, sent);
    learnt.await.map_err(stays)
}

/// Notes that an attempt failed. How many have that count; none when there is nothing more
/// to do about this reply: it was given up, or an operator dropped it meanwhile.
///
/// # Errors
/// When the storage is away: the reply stays in the outbox.
async fn failed(
    bot: &Bot,
    (dialog, id, broadcast): (&DialogKey, ReplyId, Option<u64>),
    counts: bool,
    reason: &str,
) -> Result<Option<u32>, SendError> {
    let storage = &*bot.storage;
    let Some(mut now) = replies::waiting(storage, dialog, id).await.map_err(stays)? else {
        return Ok(None);
    };
    now.attempts = now.attempts.saturating_add(u32::from(counts));
    let age =
        Duration::from_millis(u64::try_from(unix_ms() as i64 - now.since).unwrap_or_default());
    let limits = &bot.limits;
    if now.attempts < limits.reply_attempts && age < limits.reply_age {
        let noted = replies::note(storage, dialog, id, &now, reason).await;
        return noted.map(|()| Some(now.attempts)).map_err(stays);
    }
    give_up(bot, (dialog, id, broadcast), &now, reason)
        .await
        .map_err(stays)?;
    Ok(None)
}

/// Gives a reply up: it is a dead reply, and those behind it go on.
async fn give_up(
    bot: &Bot,
    (dialog, id, broadcast): (&DialogKey, ReplyId, Option<u64>),
    last: &Waiting,
    reason: &str,
) -> turnkey_storage::Result<()> {
    let storage = &*bot.storage;
    match broadcast {
        None => replies::bury(storage, dialog, id, last, reason).await?,
        Some(of) => broadcasts::bury_reply(storage, of, dialog, id, last, reason).await?,
    }
    bot.slot.add(Field::BuriedReplies, 1);
    let seconds = (unix_ms() as i64 - last.since) / 1000;
    let show = ["outbox", "show", &format!("{}.{}", id.turn.0, id.index)];
    let show = bot.inbox.commands.line(&show);
    tracing::error!(
        "{dialog}: a reply was given up after {}, {seconds} s after its turn: {reason} \
         ({show})",
        counted(last.attempts.into(), "attempt")
    );
    Ok(())
}

/// Waits until the platform's limits allow one more call to this chat.
///
/// # Errors
/// When that is further away than a turn waits.
async fn wait_for_place(
    bot: &Bot,
    outlet: Outlet<'_>,
    outgoing: &Outgoing,
    yields: bool,
) -> Result<(), SendError> {
    let too_long = |wait: Duration| SendError::Retry {
        reason: format!("the platform's limits allow it in {} s", wait.as_secs() + 1),
        after: Some(wait),
    };
    let (channel, pace) = (outlet.channel, outlet.pace);
    let chat = outgoing.to.as_str();
    let mut wait = match channel.is_paced(&outgoing.action) {
        true => pace
            .chat(channel.chat_rate(chat), chat, PATIENCE)
            .map_err(too_long)?,
        false => Duration::ZERO,
    };
    let mut is_reserved = false;
    let mut yielded = Duration::ZERO;
    loop {
        if !drain::sleep(&bot.draining, wait).await {
            return Err(too_long(wait));
        }
        wait = match pace.pause_left() {
            // A pause may have begun meanwhile; those who wait then line up again.
            Some(pause) if pause > PATIENCE => return Err(too_long(pause)),
            Some(pause) => {
                is_reserved = false;
                pause
            }
            None if is_reserved => return Ok(()),
            // A place that is there now, or none: those who come meanwhile go first.
            None if yields && yielded < YIELD => match pace.bot(channel.rate(), Duration::ZERO) {
                Ok(_) => return Ok(()),
                Err(away) => {
                    let pause = away.max(YIELD_LOOK);
                    yielded += pause;
                    jitter(pause).max(YIELD_LOOK)
                }
            },
            None => {
                is_reserved = true;
                pace.bot(channel.rate(), PATIENCE).map_err(too_long)?
            }
        };
    }
}

/// Heeds a platform's "too many": for the chat, or for all where the platform says so or
/// several chats were told.
fn heed(bot: &Bot, outlet: Outlet<'_>, chat: &str, pause: Duration, all: bool) {
    let (channel, pace) = (outlet.channel, outlet.pace);
    let scope = if all || pace.is_flooded(pause) {
        pace.pause(pause);
        outlet.name.to_owned()
    } else {
        pace.pause_chat(channel.chat_rate(chat), chat, pause);
        format!("{}:{chat}", outlet.name)
    };
    if pause < WORTH_KEEPING {
        return;
    }
    let storage = bot.storage.clone();
    tokio::task::spawn_local(async move {
        let until = unix_ms() as i64 + pause.as_millis() as i64;
        if let Err(error) = pauses::set(storage.as_ref(), &scope, until).await {
            tracing::debug!("a pause is not kept: {error}");
        }
    });
}

/// Heeds pauses of an earlier life, or of other boxes, that are not over. Called before
/// anything is sent.
pub(crate) async fn recall_pauses(bot: &Bot) {
    let all = match pauses::all(bot.storage.as_ref()).await {
        Ok(all) => all,
        Err(error) => return tracing::warn!("pauses of an earlier run are not known: {error}"),
    };
    for (scope, until) in all {
        let Ok(left) = u64::try_from(until - unix_ms() as i64) else {
            continue;
        };
        let pause = Duration::from_millis(left).min(LONGEST_RETRY_AFTER);
        let (name, chat) = match scope.split_once(':') {
            Some((name, chat)) => (name, Some(chat)),
            None => (scope.as_str(), None),
        };
        let Some(outlet) = bot.channels.outlet_named(name) else {
            continue;
        };
        match chat {
            Some(chat) => {
                let rate = outlet.channel.chat_rate(chat);
                outlet.pace.pause_chat(rate, chat, pause);
            }
            None => outlet.pace.pause(pause),
        }
    }
}

/// Gives the lock back, with the last marks.
pub(super) async fn end(bot: &Bot, grant: Grant, sent: Vec<ReplyId>, dialog: &DialogKey) {
    if let Err(error) = bot.storage.end(grant, sent).await {
        // The lock is given back all the same; the mark is not on the disk.
        tracing::warn!("{dialog}: a reply may be sent twice: {error}");
    }
}
