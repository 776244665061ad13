//! [`Said`]: what a turn of a conversation has left.
//!
//! Made by `conversation.rs`, read by authors' tests.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::author::message::{Action, Reply};

/// What a turn left.
///
/// ```
/// use turnkey::{Turn, testing};
///
/// async fn handle(turn: &mut Turn<u32>) -> turnkey::Result<()> {
///     turn.state += 1;
///     turn.after("4m", "tea", serde_json::json!(null));
///     turn.reply("In four minutes.");
///     Ok(())
/// }
///
/// # fn main() -> turnkey::Result<()> {
/// let said = testing::say(handle, 0, "tea")?;
/// assert_eq!((said.state, said.text().as_str()), (1, "In four minutes."));
/// assert_eq!(said.timers, ["tea"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Said<S> {
    /// The user's state from now on.
    pub state: S,
    /// All that is to be done, in order: replies, edits, calls, what is said to others.
    pub actions: Vec<Action>,
    /// The results that the turn has kept with [`Turn::step`](crate::Turn::step), by the steps' names.
    pub steps: BTreeMap<String, Value>,
    /// The names of the timers and schedules of this dialog that wait now.
    pub timers: Vec<String>,
    /// What was shown with [`Turn::draft`](crate::Turn::draft) meanwhile.
    pub drafts: Vec<String>,
}

impl<S> Said<S> {
    /// The replies to the user, in order.
    pub fn replies(&self) -> Vec<&Reply> {
        let all = self.actions.iter().filter_map(|action| match action {
            Action::Reply(reply) => Some(reply),
            _ => None,
        });
        all.collect()
    }

    /// What is said to others and asked of them ([`Turn::send_to`](crate::Turn::send_to),
    /// [`Turn::ask_in`](crate::Turn::ask_in)): to this one, on whichever channel, in order.
    ///
    /// ```
    /// use turnkey::{Turn, testing};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     turn.send_to("telegram", "42", format!("They say: {}", turn.text()));
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let said = testing::say(handle, (), "Help!")?;
    /// assert_eq!(said.sent_to("42")[0].text, "They say: Help!");
    /// # Ok(())
    /// # }
    /// ```
    pub fn sent_to(&self, user: &str) -> Vec<&Reply> {
        let to = user;
        let all = self.actions.iter().filter_map(|action| match action {
            Action::SendTo { user, reply, .. } if user == to => Some(reply),
            Action::AskIn { user, question, .. } if user == to => Some(question),
            _ => None,
        });
        all.collect()
    }

    /// What is put in the place of messages ([`Turn::edit`](crate::Turn::edit),
    /// [`Turn::edit_pressed`](crate::Turn::edit_pressed)), in order.
    ///
    /// ```
    /// use turnkey::{Turn, testing};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     turn.edit("cart", "Two in your cart");
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let said = testing::say(handle, (), "one more")?;
    /// assert_eq!(said.edits()[0].text, "Two in your cart");
    /// # Ok(())
    /// # }
    /// ```
    pub fn edits(&self) -> Vec<&Reply> {
        let all = self.actions.iter().filter_map(|action| match action {
            Action::Edit { reply, .. } => Some(reply),
            _ => None,
        });
        all.collect()
    }

    /// The texts of the replies, each with a line of its own.
    pub fn text(&self) -> String {
        let texts = self.replies().into_iter().map(|reply| reply.text.as_str());
        texts.collect::<Vec<_>>().join("\n")
    }
}
