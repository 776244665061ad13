//! Questions to people in another dialog: `Turn::ask_in`.
//!
//! `outcome.rs` has the buttons of a [`question`] carry a token in place of the author's data, and
//! sends it as `relay.rs` sends all that is said to others. `turn.rs` knows a press by the start of
//! that data ([`is_press`]) and has it [`handled`] here: no handler runs in the dialog where it was
//! pressed. One transaction takes the callback and puts the update of whoever asked into the inbox;
//! then the commit of the press brings a toast, and the question without its buttons. A press that
//! is handled again, since its worker died in between, ends the same way. Invariants: only who is in
//! the conversation that was asked can answer, and the first press counts. Bound: [`MAX_LABEL`].

use turnkey_storage::callbacks::{self, Callback, Taken};
use turnkey_storage::{DialogKey, Grant};

use crate::author::error::{Error, Result};
use crate::author::message::{
    Action, Called, Delay, Kind, Press, Presser, Reply, Target, Token, Update, Use,
};
use crate::channels::Channel;
use crate::handlers::{Returned, RunEnd};
use crate::shared::clock::unix_ms;
use crate::turn::calling::{self, Asked};
use crate::turn::context::Bot;
use crate::turn::relay;

/// How the data of their buttons begins; an author's is never to.
const PREFIX: &str = "turnkey:";

/// Characters of a label that are said again.
const MAX_LABEL: usize = 60;

/// UTF-16 units of a text under a file that are sure to fit again.
const CAPTION: usize = 1000;

const CLOSED: &str = "This question is no longer open.";

/// A question that a turn has for another dialog.
pub(super) struct Question {
    pub(super) to: DialogKey,
    pub(super) reply: Reply,
    pub(super) name: String,
    pub(super) valid: Option<Delay>,
}

/// The question as it is sent, and the callback that its buttons are for.
///
/// # Errors
/// It cannot be asked: why, in a sentence.
pub(super) fn question(
    bot: &Bot,
    update: &Update,
    asked: Question,
) -> std::result::Result<(Reply, Callback), String> {
    let Question {
        to,
        reply,
        name,
        valid,
    } = asked;
    if !bot.hears.hears(Kind::Button) {
        return Err("a question needs its buttons: let the bot hear the kind button".to_owned());
    }
    let token = Token::for_buttons()?;
    let question = with_token(&reply, &token)?;
    // Where it cannot go at all, `relay.rs` says why.
    let channel = bot.channels.named(&to.channel);
    if let Some(channel) = channel.filter(|channel| channel.can_send())
        && channel.fit(&question)?.len() != 1
    {
        return Err("a question is one message; this one would be several".to_owned());
    }
    let address = channel.map(|channel| channel.address(&to.user_id));
    let asked = Asked {
        address: address.unwrap_or_default(),
        channel: to.channel,
        question: reply,
    };
    let hash = token.hash(Use::Button);
    let callback = calling::row(update, name, valid, hash, Some(asked))?;
    Ok((question, callback))
}

/// The same with the token and a number in place of each button's data.
fn with_token(reply: &Reply, token: &Token) -> std::result::Result<Reply, String> {
    let mut question = reply.clone();
    let mut buttons = 0;
    for button in question.buttons.iter_mut().flatten() {
        if let Press::Data(data) = &mut button.press {
            *data = format!("{PREFIX}{}:{buttons}", token.secret());
            buttons += 1;
        }
    }
    match buttons {
        0 => Err("a question needs a button that has data".to_owned()),
        _ => Ok(question),
    }
}

/// Whether a button of a question was pressed.
pub(super) fn is_press(update: &Update) -> bool {
    update.kind == Kind::Button && read(&update.text).is_some()
}

fn read(data: &str) -> Option<(Token, usize)> {
    let (token, number) = data.strip_prefix(PREFIX)?.split_once(':')?;
    Some((Token::read(token)?, number.parse().ok()?))
}

/// The button of this number: its label, and the author's data.
fn button(question: &Reply, number: usize) -> Option<(&str, &str)> {
    let buttons = question.buttons.iter().flatten();
    let mut with_data = buttons.filter_map(|button| match &button.press {
        Press::Data(data) => Some((button.label.as_str(), data.as_str())),
        _ => None,
    });
    with_data.nth(number)
}

/// What the turn of a press leaves: the state as it was, and what is shown. And whose turn is due.
pub(super) async fn handled(
    bot: &Bot,
    update: &Update,
    state: Option<String>,
    grant: Grant,
) -> (Returned, Option<DialogKey>) {
    let (outcome, asker) = match pressed(bot, update).await {
        Ok((actions, asker)) => (Ok(relay::unchanged(state.as_deref(), actions)), asker),
        Err(error) => (Err(error), None),
    };
    let returned = Returned {
        state,
        grant,
        outcome: RunEnd::Ended(outcome),
    };
    (returned, asker)
}

async fn pressed(bot: &Bot, update: &Update) -> Result<(Vec<Action>, Option<DialogKey>)> {
    let channel = bot.channels.of(&update.dialog);
    let closed = || Ok((vec![toast(channel, CLOSED.to_owned())], None));
    let Some((token, number)) = read(&update.text) else {
        return closed();
    };
    let hash = token.hash(Use::Button);
    let found = callbacks::find(&*bot.storage, &hash);
    let Some(callback) = found.await.map_err(Error::Storage)? else {
        return closed();
    };
    let mut label = String::new();
    let bring = |called: &mut Called, asked: Option<&Asked>| {
        if let Some((said, data)) = asked.and_then(|asked| button(&asked.question, number)) {
            label = short(said);
            called.button = Some(data.to_owned());
            called.by = Some(Presser::of(update));
        }
    };
    let (pending, asked) = calling::fired(&callback, bring).map_err(Error::msg)?;
    // A button of a question that was forwarded elsewhere is none of theirs.
    let Some(asked) = asked.filter(|asked| {
        !label.is_empty()
            && asked.channel == update.dialog.channel
            && asked.address == update.address
    }) else {
        return closed();
    };
    let by = format!("{number} {}", update.id);
    let now = unix_ms() as i64;
    let taken = callbacks::take(&*bot.storage, &callback.hash, &by, &pending, now);
    Ok(match taken.await.map_err(Error::Storage)? {
        Taken::ByThis => {
            let mut actions = vec![toast(channel, format!("✓ {label}"))];
            actions.extend(answered(channel, update, &asked.question, &label));
            (actions, Some(pending.dialog))
        }
        Taken::ByOther(by) => {
            let number = by.split(' ').next().and_then(|number| number.parse().ok());
            let was = number.and_then(|number| button(&asked.question, number));
            let said = match was {
                Some((label, _)) => format!("This was answered before: {}", short(label)),
                None => "This was answered before.".to_owned(),
            };
            (vec![toast(channel, said)], None)
        }
        Taken::TooLate | Taken::Unknown => return closed(),
    })
}

fn short(label: &str) -> String {
    label.chars().take(MAX_LABEL).collect()
}

/// Words for whoever pressed: over the chat, or said.
fn toast(channel: &dyn Channel, text: String) -> Action {
    let toast = Action::Toast {
        text: text.clone(),
        alert: false,
    };
    match channel.can(&toast) {
        Ok(()) => toast,
        Err(_) => Reply::plain(text).into(),
    }
}

/// The question with what was chosen in place of its buttons, where the platform can edit.
fn answered(
    channel: &dyn Channel,
    update: &Update,
    question: &Reply,
    label: &str,
) -> Option<Action> {
    if update.message.is_empty() {
        return None;
    }
    let styled = question.styled().ok()?;
    let mut rest = Reply {
        spans: styled.spans,
        buttons: question.buttons.clone(),
        ..Reply::plain(styled.text)
    };
    for row in &mut rest.buttons {
        row.retain(|button| !matches!(button.press, Press::Data(_)));
    }
    rest.buttons.retain(|row| !row.is_empty());
    let mut chosen = rest.clone();
    if !chosen.text.is_empty() {
        chosen.text.push_str("\n\n");
    }
    chosen.text.push_str("✓ ");
    chosen.text.push_str(label);
    let is_long = question.has_content() && chosen.text.encode_utf16().count() > CAPTION;
    let fitting = [chosen, rest]
        .into_iter()
        .skip(usize::from(is_long))
        .find(|reply| channel.fit_edit(reply).is_ok())?;
    let edit = Action::Edit {
        message: Target::This,
        reply: fitting,
    };
    channel.can(&edit).is_ok().then_some(edit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::author::message::Button;

    fn question() -> Reply {
        Reply::from("Let Ann in?")
            .row([
                Button::new("Yes", "yes"),
                Button::link("Who?", "https://e.org"),
            ])
            .button("No", "n".repeat(200))
    }

    fn press(data: &str) -> Update {
        let mut update = Update::new(DialogKey::new("telegram", "8"), "u", data, "".into());
        update.kind = Kind::Button;
        update
    }

    #[test]
    fn buttons_carry_a_token_and_their_number() {
        let token = Token::for_buttons().unwrap();
        let asked = with_token(&question(), &token).unwrap();
        let data: Vec<&str> = (0..).map_while(|n| Some(button(&asked, n)?.1)).collect();
        assert_eq!(data.len(), 2);
        for (number, data) in data.iter().enumerate() {
            // What Telegram takes.
            assert!(data.len() <= 64, "{data}");
            assert!(is_press(&press(data)));
            assert_eq!(read(data), Some((token.clone(), number)));
        }
        assert_eq!(asked.buttons[0][1], question().buttons[0][1]);
        assert_eq!(button(&question(), 0), Some(("Yes", "yes")));
        assert_eq!(button(&question(), 2), None);
        let refused = with_token(&Reply::from("hi").row([Button::link("a", "b")]), &token);
        assert!(refused.is_err_and(|why| why.contains("a button that has data")));
    }

    #[test]
    fn what_else_is_pressed_is_the_handlers() {
        for data in [
            "",
            "yes",
            "turnkey:",
            "turnkey:x:1",
            "turnkey:abcdefghijklmnopqrstuv:x",
        ] {
            assert!(!is_press(&press(data)), "{data}");
        }
        let mut written = press("turnkey:abcdefghijklmnopqrstuv:0");
        assert!(is_press(&written));
        written.kind = Kind::Message;
        assert!(!is_press(&written));
    }
}
