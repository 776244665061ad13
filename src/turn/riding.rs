//! Replies that ride in the answer to a platform: sent again with the stored answer, unless a
//! newer turn of their user has overtaken them.
//!
//! Called by `turn.rs` and the updaters for updates that were seen before. Invariant: a riding
//! reply never arrives after newer ones; an overtaken one becomes a dead reply.

use std::rc::Rc;

use turnkey_storage::{Arrival, Begin, Begun, DialogKey, Grant, ReplyId, Seen, Unsent, replies};

use crate::author::message::{Outgoing, Update};
use crate::turn::context::{ACCEPTED_WAIT, Bot};
use crate::turn::receipt::{Answer, Receipt};
use crate::turn::send;

/// What rides in the answer of another turn of this update, if this one was answered
/// before: the platform came again since it did not get that answer, and has ours, in
/// which nothing rides.
pub(super) fn rode(bot: &Bot, receipt: &Receipt<'_>, seen: &Seen) -> Option<Outgoing> {
    let update = &receipt.update;
    let channel = bot.channels.of(&update.dialog);
    if !receipt.is_accepted() || !channel.can_send() {
        return None;
    }
    Some(Outgoing::answering(update, channel.rode(&seen.answer)?))
}

/// Sends it, in the dialog's order. False: it is still to be sent.
pub(super) async fn send_what_rode(
    bot: &Rc<Bot>,
    dialog: &DialogKey,
    rode: Option<Outgoing>,
) -> bool {
    let Some(rode) = rode else { return true };
    let begin = Begin {
        dialog: dialog.clone(),
        update: None,
        arrived: Arrival::now(),
        wait: ACCEPTED_WAIT,
    };
    let Ok(Begun::Granted(begun)) = bot.storage.begin(begin).await else {
        return false;
    };
    let grant = begun.grant;
    let mut is_sent = send::send(bot, &grant, begun.unsent).await.is_ok();
    if is_sent {
        is_sent = match overtaken(bot, dialog, &rode).await {
            Ok(false) => send_by_the_outbox(bot, &grant, &rode).await,
            Ok(true) => true,
            Err(_) => false,
        };
    }
    send::end(bot, grant, Vec::new(), dialog).await;
    is_sent
}

/// Puts it into the outbox, and sends it from there: a failure that passes leaves it there.
/// False: the storage is away.
async fn send_by_the_outbox(bot: &Bot, grant: &Grant, rode: &Outgoing) -> bool {
    let id = ReplyId {
        turn: grant.fence(),
        index: 0,
    };
    let body = serde_json::to_string(rode).unwrap_or_default();
    let why = "the answer that it rode in was lost";
    let storage = &*bot.storage;
    let kept = match replies::miss(storage, grant.dialog(), id, &body, why).await {
        Ok(()) => replies::retry(storage, id).await,
        Err(error) => Err(error),
    };
    if kept.is_ok() {
        // What cannot be sent now stays there.
        drop(send::send(bot, grant, vec![Unsent { id, body }]).await);
    }
    kept.is_ok()
}

/// What an update that was seen before is answered with: its stored answer. What rides in
/// that is not given any more when its user has had a newer turn since: it would come after
/// newer replies. (The platform asks again since it did not get it.)
pub(crate) async fn seen_in_order(bot: &Bot, update: &Update, seen: Seen) -> Answer {
    let channel = bot.channels.of(&update.dialog);
    let Some(action) = channel.rode(&seen.answer) else {
        return Answer::Seen(seen);
    };
    let rode = Outgoing::answering(update, action);
    match overtaken(bot, &update.dialog, &rode).await {
        Ok(false) => Answer::Seen(seen),
        Ok(true) => Answer::Seen(Seen {
            answer: channel.accepted(update),
            ..seen
        }),
        Err(error) => Answer::Busy(error.to_string()),
    }
}

/// Whether the turn of a reply that rode in its answer was overtaken by a newer one. Then
/// the reply is not lost but a dead one: an operator may have it sent.
async fn overtaken(
    bot: &Bot,
    dialog: &DialogKey,
    rode: &Outgoing,
) -> turnkey_storage::Result<bool> {
    let Some(turn) = replies::overtaken(&*bot.storage, dialog, &rode.update).await? else {
        return Ok(false);
    };
    // What rides is alone: nothing of that turn was ever in the outbox.
    let id = ReplyId { turn, index: 0 };
    let body = serde_json::to_string(rode).unwrap_or_default();
    let reason = "the answer that it rode in was lost, and its user has had a newer turn since";
    replies::miss(&*bot.storage, dialog, id, &body, reason).await?;
    let show = ["outbox", "show", &format!("{}.0", turn.0)];
    let show = bot.inbox.commands.line(&show);
    tracing::warn!("{dialog}: a reply comes too late to be given: {reason} ({show})");
    Ok(true)
}
