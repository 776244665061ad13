//! The results of a turn whose handler returned `Ok`: a commit, and the replies to send then.
//!
//! Called by `turn.rs` between handle and commit.

use std::borrow::Cow;

use turnkey_storage::{Commit, LockAfter, Origin};

use crate::author::error::Error;
use crate::author::message::{Outgoing, Reply};
use crate::author::turn::MAX_REPLIES;
use crate::channels::Plan;
use crate::handlers::Handled;
use crate::shared::scrub::scrub;
use crate::turn::context::Bot;
use crate::turn::receipt::Receipt;

/// What a turn leaves behind, and what is sent then.
pub(super) fn prepare(
    bot: &Bot,
    receipt: &Receipt<'_>,
    handled: Handled,
) -> crate::Result<(Commit, Vec<Outgoing>)> {
    let update = &*receipt.update;
    let mut handled = handled;
    handled.replies.iter_mut().for_each(without_secrets);
    let planned = match receipt.is_accepted() {
        false => bot.channels.plan(update, &handled.replies),
        // The answer has left: nothing can ride in it.
        true => bot.channels.plan_accepted(update, &handled.replies),
    };
    let Plan { answer, send } = planned.map_err(Error::msg)?;
    if send.len() > MAX_REPLIES {
        return Err(Error::msg(format!(
            "its replies make {} messages; {MAX_REPLIES} is the limit",
            send.len()
        )));
    }
    let history = if bot.history {
        Some(serde_json::to_string(&serde_json::json!({
            "update_id": update.id.0,
            "text": update.text,
            "replies": handled.replies,
        }))?)
    } else {
        None
    };
    let one = |reply| Outgoing {
        to: update.address.clone(),
        within: update.within.clone(),
        update: update.id.0.clone(),
        reply,
    };
    let outgoing: Vec<_> = send.into_iter().map(one).collect();
    let commit = Commit {
        update: update.id.0.clone(),
        digest: update.digest.clone(),
        answer,
        state: handled.state,
        replies: outgoing
            .iter()
            .map(serde_json::to_string)
            .collect::<Result<_, _>>()?,
        statements: handled.statements,
        history,
        lock: match outgoing.is_empty() {
            true => LockAfter::GivenBack,
            false => LockAfter::Kept,
        },
        origin: match receipt.is_accepted() {
            true => Origin::Inbox,
            false => Origin::Arrival,
        },
        relays: Vec::new(),
    };
    Ok((commit, outgoing))
}

/// A reply is no place for a secret: it may tell a user of an error, with an address in
/// it. A picture's address and a button's data are not read, and left as they are.
fn without_secrets(reply: &mut Reply) {
    let labels = reply.buttons.iter_mut().map(|button| &mut button.label);
    for text in std::iter::once(&mut reply.text).chain(labels) {
        if let Cow::Owned(clean) = scrub(text) {
            *text = clean;
        }
    }
}
