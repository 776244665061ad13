//! The results of a turn whose handler returned `Ok`: a commit, and the replies to send then.
//!
//! Called by `turn.rs` between handle and commit.

use std::borrow::Cow;

use turnkey_storage::callbacks::Callback;
use turnkey_storage::inbox::Pending;
use turnkey_storage::timers::Timer;
use turnkey_storage::{Commit, DialogKey, LockAfter, Origin, schedules};

use crate::author::error::Error;
use crate::author::message::{Action, Chat, ChatKind, Kind, Outgoing, Reply, Target, Update};
use crate::author::turn::MAX_REPLIES;
use crate::channels::Plan;
use crate::handlers::Handled;
use crate::shared::scrub::scrub;
use crate::turn::asking::{self, Question};
use crate::turn::context::Bot;
use crate::turn::past::Past;
use crate::turn::receipt::Receipt;
use crate::turn::{calling, gathering, names, relay, timing};

/// Whose results they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// The handler's, which has done with the update.
    Handler,
    /// Of whoever is told that the update is given up. It may be tried again one day, and given
    /// up again.
    GivenUp,
}

/// What a turn for this update leaves behind, and what is sent then.
/// The timers that are set with the commit come with it.
pub(super) async fn prepare(
    bot: &Bot,
    receipt: &Receipt<'_>,
    update: &Update,
    handled: Handled,
    of: Of,
) -> crate::Result<(Commit, Vec<Outgoing>, Vec<Timer>)> {
    let mut handled = handled;
    let (relays, asked) = relays(bot, update, &mut handled.actions, of).map_err(Error::msg)?;
    let channel = bot.channels.of(&update.dialog);
    for action in &mut handled.actions {
        names::check(action).map_err(Error::msg)?;
        resolve(action, update, channel.can_send()).map_err(Error::msg)?;
    }
    let name = &update.dialog.channel;
    if name == schedules::CHANNEL && !handled.actions.is_empty() {
        return Err(Error::msg(format!(
            "the channel {name:?} has nobody to reply to; say it to a dialog with turn.send_to"
        )));
    }
    let of_itself = matches!(update.kind, Kind::Timer | Kind::Callback);
    if of_itself && !handled.actions.is_empty() && !channel.can_send() {
        return Err(Error::msg(format!(
            "{}, and a {} has none",
            relay::nobody(name),
            update.kind.name()
        )));
    }
    // Where the answer has left nothing can ride in it.
    let planned = match receipt.is_accepted() && !receipt.waits_for_answer() {
        false => bot.channels.plan(update, &handled.actions),
        true => bot.channels.plan_accepted(update, &handled.actions),
    };
    let Plan { answer, send } = planned.map_err(Error::msg)?;
    if send.len() > MAX_REPLIES {
        return Err(Error::msg(format!(
            "its replies make {} messages; {MAX_REPLIES} is the limit",
            send.len()
        )));
    }
    let (mut changes, set) = timing::changes(bot, update, handled.timers).await?;
    if let Some(said) = handled.overlap {
        changes.extend(gathering::changes(bot, &update.dialog, said));
    }
    changes.extend(calling::changes(bot, update, handled.callbacks, asked).await?);
    let history = if bot.history {
        let past = Past::of(receipt, update, handled.actions);
        Some(serde_json::to_string(&past)?)
    } else {
        None
    };
    let answering = |action| Outgoing::answering(update, action);
    let outgoing: Vec<_> = send.into_iter().map(answering).collect();
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
        relays,
        changes,
    };
    Ok((commit, outgoing, set))
}

/// Takes out what is said to other dialogs: the updates that bring it there, and the callbacks of
/// the questions among it.
///
/// # Errors
/// There is nobody to send it to, or the platform would never take it: which, and why.
fn relays(
    bot: &Bot,
    update: &Update,
    actions: &mut Vec<Action>,
    of: Of,
) -> std::result::Result<(Vec<Pending>, Vec<Callback>), String> {
    let (mut rows, mut asked): (Vec<Pending>, Vec<Callback>) = Default::default();
    let mut own = Vec::with_capacity(actions.len());
    for (index, mut action) in std::mem::take(actions).into_iter().enumerate() {
        without_secrets(&mut action);
        let refuse = |why: String| format!("reply {}: {why}", index + 1);
        let (to, reply) = match action {
            Action::SendTo {
                channel,
                user,
                reply,
            } => (DialogKey::new(channel, user), reply),
            Action::AskIn {
                channel,
                user,
                question,
                name,
                valid,
            } => {
                let to = DialogKey::new(channel, user);
                let question = Question {
                    to: to.clone(),
                    reply: question,
                    name,
                    valid,
                };
                let (reply, callback) = asking::question(bot, update, question).map_err(refuse)?;
                asked.push(callback);
                (to, reply)
            }
            other => {
                own.push(other);
                continue;
            }
        };
        let id = match of {
            Of::Handler => relay::id(update, index),
            Of::GivenUp => relay::id_given_up(update, index),
        };
        let mut row = relay::row(&bot.channels, to, id, &reply).map_err(refuse)?;
        // Of one microsecond the ids would decide, and 10 is before 9 there.
        if let Some(last) = rows.last() {
            row.arrived = row.arrived.max(last.arrived + 1);
        }
        rows.push(row);
    }
    *actions = own;
    Ok((rows, asked))
}

/// A reply is no place for a secret: it may tell a user of an error, with an address in
/// it. The addresses of files and buttons' data are not read, and left as they are.
fn without_secrets(action: &mut Action) {
    let reply = match action {
        Action::Reply(reply)
        | Action::Edit { reply, .. }
        | Action::SendTo { reply, .. }
        | Action::AskIn {
            question: reply, ..
        } => reply,
        Action::Toast { text, .. } => return clean(text),
        Action::Delete { .. } | Action::Call { .. } => return,
    };
    let Reply { text, buttons, .. } = reply;
    let labels = buttons.iter_mut().flatten().map(|button| &mut button.label);
    std::iter::once(text).chain(labels).for_each(clean);
}

fn clean(text: &mut String) {
    if let Cow::Owned(clean) = scrub(text) {
        *text = clean;
    }
}

/// What is to stand in the place of the pressed message is a reply where none was pressed: a bot
/// cannot change what a user wrote. It can change posts of a channel, what the owner of a
/// business account wrote, and its own message that a user has chosen inline.
pub(crate) fn reply_unless_pressed(action: &mut Action, update: &Update) {
    let is_channel = |chat: &Chat| chat.kind == ChatKind::Channel;
    let can_change = matches!(update.kind, Kind::Button | Kind::Business | Kind::Inline)
        || update.chat.as_ref().is_some_and(is_channel);
    if let Action::Edit {
        message: Target::This,
        reply,
    } = action
        && !can_change
    {
        *action = Action::Reply(std::mem::take(reply));
    }
}

/// "This message" is the one of this turn, whenever the action is sent. Where all rides in the
/// answer, whoever asked knows which one they mean.
///
/// # Errors
/// The turn has none.
fn resolve(
    action: &mut Action,
    update: &Update,
    is_sent: bool,
) -> std::result::Result<(), &'static str> {
    reply_unless_pressed(action, update);
    let message = &update.message;
    let target = match action {
        Action::Edit { message, .. } | Action::Delete { message } => Some(message),
        Action::Reply(reply) => reply.quote.as_mut(),
        _ => None,
    };
    match target {
        Some(target) if *target == Target::This && !message.is_empty() => {
            *target = Target::Message(message.clone());
            Ok(())
        }
        Some(Target::This) if is_sent => {
            Err("it edits, deletes or quotes the message of its turn, and this turn has none")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(kind: Kind, chat: ChatKind) -> Action {
        let mut update = Update::new(DialogKey::new("telegram", "7"), "1", "hi", "".into());
        update.message = "55".to_owned();
        update.kind = kind;
        update.chat = Some(Chat::new(chat, "9"));
        let mut action = Action::Edit {
            message: Target::This,
            reply: "new".into(),
        };
        resolve(&mut action, &update, true).unwrap();
        action
    }

    #[test]
    fn the_pressed_message_is_edited_and_without_a_press_it_is_a_reply() {
        let edit = Action::Edit {
            message: Target::Message("55".to_owned()),
            reply: "new".into(),
        };
        assert_eq!(resolved(Kind::Button, ChatKind::Private), edit);
        for kind in [Kind::Message, Kind::Timer, Kind::Callback, Kind::Rpc] {
            assert_eq!(resolved(kind, ChatKind::Private), Action::from("new"));
            assert_eq!(resolved(kind, ChatKind::Group), Action::from("new"));
        }
        // What a bot can change though it did not write it.
        assert_eq!(resolved(Kind::Business, ChatKind::Private), edit);
        assert_eq!(resolved(Kind::Message, ChatKind::Channel), edit);
    }
}
