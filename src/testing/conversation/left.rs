//! What a conversation's turns leave, and how it comes: timers, callbacks, questions to others.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Conversation;
use crate::author::error::{Error, Result};
use crate::author::message::{
    Action, DialogKey, Kind, NewCallback, Reply, TimerChange, Update, When, address,
};
#[cfg(doc)]
use crate::author::turn::Turn;
use crate::shared::clock::unix_ms;
use crate::testing::platform::CALLBACKS;
use crate::testing::said::Said;

/// A timer or schedule that waits.
pub(super) struct Set {
    /// The update whose turn has set it: its dialog is the timer's.
    by: Arc<Update>,
    when: When,
    data: Value,
}

/// A question that [`Turn::ask_in`] has asked, and nobody has answered.
pub(super) struct Question {
    /// The update that asked it: its dialog's turn the answer is.
    asker: Arc<Update>,
    name: String,
    /// Who is asked.
    channel: String,
    user: String,
    reply: Reply,
}

impl<S> Conversation<S>
where
    S: Default + Serialize + DeserializeOwned + 'static,
{
    /// A timer of this user is due, or a schedule, which stays. No clock is moved: the data
    /// says that it is due now. If its turn fails, [`again`](Conversation::again) is the next
    /// attempt, as the program makes one; the timer stays until its turn has ended well.
    ///
    /// ```
    /// use turnkey::{Turn, testing::Conversation};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match turn.timer() {
    ///         Some(timer) => turn.reply(format!("Your {}.", timer.name)),
    ///         None => turn.every("0 9 * * MON", "Europe/Vienna", "digest", serde_json::json!(null)),
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(handle);
    /// bot.say("ann", "every Monday")?;
    /// assert_eq!(bot.fire("ann", "digest")?.text(), "Your digest.");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Conversation::say`]; the user has no timer of this name, and which there are.
    pub fn fire(&mut self, user: &str, name: &str) -> Result<Said<S>> {
        let dialog = DialogKey::new(&self.channel, user);
        let timers = self.timers.entry(dialog).or_default();
        let Some(Set { by, when, data }) = timers.get(name) else {
            let there: Vec<_> = timers.keys().collect();
            return Err(Error::msg(format!(
                "{user} has no timer {name:?}; there are {there:?}"
            )));
        };
        let due = json!({ "name": name, "due": unix_ms(), "data": data });
        let stays = matches!(when, When::Every { .. });
        let by = by.clone();
        let update = self.event(&by, Kind::Timer, name, &due)?;
        self.start(update, (!stays).then(|| name.to_owned()))
    }

    /// Somebody posts JSON to an address that [`Turn::callback`] gave.
    ///
    /// ```
    /// use turnkey::{Turn, testing::Conversation};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match turn.called() {
    ///         Some(called) => turn.reply(format!("{} euros", called.body["eur"])),
    ///         None => turn.reply(turn.callback("paid")?),
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(handle);
    /// let address = bot.say("ann", "pay")?.text();
    /// assert_eq!(bot.call(&address, serde_json::json!({ "eur": 30 }))?.text(), "30 euros");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Conversation::say`]; no callback is open there.
    pub fn call(&mut self, address: &str, body: Value) -> Result<Said<S>> {
        let Some((opener, name)) = self.callbacks.remove(address) else {
            return Err(Error::msg(format!("no callback is open at {address:?}")));
        };
        let called = json!({
            "name": name, "at": unix_ms(), "body": body, "media_type": "application/json",
        });
        let update = self.event(&opener, Kind::Callback, &name, &called)?;
        self.start(update, None)
    }

    /// Somebody presses the button that carries this data, of the oldest question that
    /// [`Turn::ask_in`] has asked them and that has it: the turn of whoever asked.
    ///
    /// ```
    /// use turnkey::{Reply, Turn, testing::Conversation};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match turn.called() {
    ///         Some(called) => turn.reply(format!("They said {}.", called.button.unwrap_or_default())),
    ///         None => {
    ///             let question = Reply::from("Let Ann in?").button("Yes", "yes").button("No", "no");
    ///             turn.ask_in("telegram", "4242", question, "let in");
    ///         }
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(handle);
    /// bot.say("ann", "May I come in?")?;
    /// assert_eq!(bot.answer("4242", "yes")?.text(), "They said yes.");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Conversation::say`]; nobody has asked them that.
    pub fn answer(&mut self, user: &str, data: &str) -> Result<Said<S>> {
        let has = |question: &Question| {
            let mut buttons = question.reply.buttons.iter().flatten();
            question.user == user && buttons.any(|button| button.data() == Some(data))
        };
        let Some(place) = self.questions.iter().position(has) else {
            return Err(Error::msg(format!(
                "{user} was asked no question with a button {data:?}"
            )));
        };
        let question = self.questions.remove(place);
        let called = json!({
            "name": question.name, "at": unix_ms(), "button": data,
            "by": { "channel": question.channel, "dialog": user, "user": user },
        });
        let update = self.event(&question.asker, Kind::Callback, &question.name, &called)?;
        self.start(update, None)
    }

    /// What comes of something that a turn for this update has left.
    fn event(&mut self, of: &Update, kind: Kind, name: &str, raw: &Value) -> Result<Update> {
        Ok(Update {
            kind,
            user: of.user.clone(),
            sender: of.sender.clone(),
            chat: of.chat.clone(),
            address: of.address.clone(),
            within: of.within.clone(),
            raw: serde_json::to_vec(raw)?.into(),
            dialog: of.dialog.clone(),
            ..self.update("", name)
        })
    }

    /// Keeps what a turn for this update has left.
    pub(super) fn keep(
        &mut self,
        update: &Arc<Update>,
        timers: Vec<TimerChange>,
        callbacks: Vec<NewCallback>,
        actions: &[Action],
    ) {
        let there = self.timers.entry(update.dialog.clone()).or_default();
        for change in timers {
            match change {
                TimerChange::Cancel { name } => drop(there.remove(&name)),
                TimerChange::Set { name, when, data } => {
                    let by = update.clone();
                    there.insert(name, Set { by, when, data });
                }
            }
        }
        for new in callbacks {
            let at = address(CALLBACKS, &new.token);
            self.callbacks.insert(at, (update.clone(), new.name));
        }
        for action in actions {
            if let Action::AskIn {
                channel,
                user,
                question,
                name,
                ..
            } = action
            {
                self.questions.push(Question {
                    asker: update.clone(),
                    name: name.clone(),
                    channel: channel.clone(),
                    user: user.clone(),
                    reply: question.clone(),
                });
            }
        }
    }
}
