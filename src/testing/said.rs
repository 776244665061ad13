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

    /// The texts of the replies, each with a line of its own.
    pub fn text(&self) -> String {
        let texts = self.replies().into_iter().map(|reply| reply.text.as_str());
        texts.collect::<Vec<_>>().join("\n")
    }
}
