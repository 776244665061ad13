//! What becomes of replies that their platform took, and said more about later.
//!
//! Called by `send.rs` for each message that such a platform took, and by the updaters when it
//! says that one arrived or that it refuses it after all. A refused one becomes a dead reply: an
//! operator may have it sent again, and the handler can ask for it. Invariants: a reply is kept
//! before it is marked as sent; a refusal is settled before its request is answered 200, and
//! before the turn that tells the handler of it. Bound: what is kept goes when its message
//! arrived, or with update ids (`--keep-seen`).

use turnkey_storage::{DialogKey, ReplyId, admin, broadcasts, replies, taken};

use crate::author::message::Outgoing;
use crate::channels::{Channel, End, ReplyEnd, Sent};
use crate::shared::scoreboard::Field;
use crate::shared::scrub::told;
use crate::turn::context::Bot;

/// Keeps a reply that its platform has taken, if it may refuse it later.
///
/// # Errors
/// The storage is away.
pub(super) async fn keep(
    bot: &Bot,
    channel: &dyn Channel,
    (dialog, id, broadcast): (&DialogKey, ReplyId, Option<u64>),
    sent: &Sent,
) -> turnkey_storage::Result<()> {
    match &sent.message {
        Some(message) if channel.refuses_late() => {
            taken::keep(&*bot.storage, dialog, id, message, broadcast).await
        }
        _ => Ok(()),
    }
}

/// Notes what a platform says of messages that it had taken. A refusal also counts as one that
/// came at once.
///
/// # Errors
/// A sentence: the platform is to say it again.
pub(crate) async fn settle(bot: &Bot, ends: &[ReplyEnd]) -> Result<(), String> {
    let arrived: Vec<_> = ends
        .iter()
        .filter(|end| matches!(end.end, End::Arrived))
        .filter_map(|end| {
            let (_, id) = Outgoing::read_key(&end.key)?;
            Some((id, end.message.as_str()))
        })
        .collect();
    // What stays goes with its age.
    if !arrived.is_empty()
        && let Err(error) = taken::forget(&*bot.storage, &arrived).await
    {
        tracing::debug!("replies that arrived are still kept: {error}");
    }
    let mut settled = Ok(());
    for end in ends {
        if let End::Refused { dialog, reason } = &end.end {
            // Also after a failure: the others need not be said again.
            settled = settled.and(refused(bot, end, dialog, &told(reason)).await);
        }
    }
    settled
}

async fn refused(bot: &Bot, end: &ReplyEnd, whose: &DialogKey, reason: &str) -> Result<(), String> {
    let away = |error: turnkey_storage::Error| {
        tracing::warn!("{whose}: a late refusal is to come again, the storage is away: {error}");
        "the storage takes nothing just now".to_owned()
    };
    let storage = &*bot.storage;
    let key = Outgoing::read_key(&end.key);
    if let Some((_, id)) = key {
        // The sender is between the platform's answer and its mark, or was cut off there.
        let waiting = admin::unsent(storage, id).await.map_err(away)?;
        if waiting.is_some_and(|line| is_of(&line.body, id, &end.key)) {
            return Err("the reply that it is about is being sent".to_owned());
        }
    }
    let taken = match key {
        Some((_, id)) => taken::find(storage, id).await.map_err(away)?,
        None => None,
    };
    let taken = taken.filter(|taken| taken.message == end.message);
    let broadcast = key.and_then(|(update, _)| broadcasts::of_update(update));
    let (Some((_, id)), Some(taken)) = (key, taken) else {
        if broadcast.is_some() {
            // It is counted already, or the broadcast is long over.
            return Ok(());
        }
        if let Some((_, id)) = key
            && let Some(dead) = replies::get(storage, id).await.map_err(away)?
            && is_of(&dead.body, id, &end.key)
        {
            // Our answer did not arrive, and it is said again.
            return Ok(());
        }
        // Too old, or said by another program.
        bot.slot.add(Field::Refused, 1);
        tracing::warn!(
            "{whose}: a reply that was taken was refused later: {reason} (reply {})",
            end.key
        );
        return Ok(());
    };
    let dialog = &taken.dialog;
    if let Some(broadcast) = broadcast {
        let counted = broadcasts::refused_late(storage, broadcast, &taken, reason).await;
        if counted.map_err(away)? {
            bot.slot.add(Field::Refused, 1);
            // Thousands may be held back: they are listed, not logged.
            tracing::debug!("{dialog}: broadcast {broadcast} was refused later: {reason}");
        }
        return Ok(());
    }
    let buried = taken::refused(storage, id, &end.message, reason).await;
    if buried.map_err(away)? {
        bot.slot.add(Field::Refused, 1);
        bot.slot.add(Field::BuriedReplies, 1);
        let show = ["outbox", "show", &format!("{}.{}", id.turn.0, id.index)];
        let show = bot.inbox.commands.line(&show);
        tracing::warn!("{dialog}: a reply that was taken was refused later: {reason} ({show})");
    }
    Ok(())
}

/// Whether a row of the outbox is the reply of this key, and not one of another database's.
fn is_of(body: &str, id: ReplyId, key: &str) -> bool {
    serde_json::from_str::<Outgoing>(body).is_ok_and(|outgoing| outgoing.key(id) == key)
}
