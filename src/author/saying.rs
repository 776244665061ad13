//! What a [`Turn`] has to say: replies and other actions, which are noted in the order in which they
//! are to be sent. Bound: `MAX_REPLIES`, which `turn/outcome.rs` sees to.

use crate::author::message::{Action, Reply, Target};
use crate::author::turn::Turn;

/// What goes out, after the commit and in order.
impl<S> Turn<S> {
    /// Queues a reply. It is sent after the turn is committed, in order.
    ///
    /// ```
    /// use turnkey::{Reply, Turn, testing};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     turn.reply("Plain text, shown as it is");
    ///     turn.reply(Reply::markup("**Tea** or coffee?").button("Tea", "tea").button("Coffee", "coffee"));
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let said = testing::say(handle, (), "hi")?;
    /// assert_eq!(said.replies().len(), 2);
    /// # Ok(())
    /// # }
    /// ```
    pub fn reply(&self, reply: impl Into<Reply>) {
        self.actions.push(Action::Reply(reply.into()));
    }

    /// Puts another text, other buttons or another file in the place of the message that
    /// this dialog named so ([`Reply::named`]), in this turn or an earlier one. It must fit
    /// one message. A message that is gone is reported in the log, and no error.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # use turnkey::Reply;
    /// # async fn handle(turn: &mut Turn<u32>) -> turnkey::Result<()> {
    /// turn.state += 1;
    /// let shown = format!("{} in your cart", turn.state);
    /// match turn.state {
    ///     1 => turn.reply(Reply::from(shown).named("cart")),
    ///     _ => turn.edit("cart", shown),
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn edit(&self, message: impl Into<Target>, reply: impl Into<Reply>) {
        self.actions.push(Action::Edit {
            message: message.into(),
            reply: reply.into(),
        });
    }

    /// As [`edit`](Turn::edit), the message whose button was pressed. In a turn without a press
    /// it is a reply.
    ///
    /// ```
    /// use turnkey::{Reply, Turn, testing::Conversation};
    ///
    /// /// Whether they pressed "Menu" or wrote /menu.
    /// async fn menu(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     turn.edit_pressed(Reply::from("What will it be?").button("Tea", "tea"));
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(menu);
    /// assert_eq!(bot.say("ann", "/menu")?.text(), "What will it be?");
    /// let said = bot.press("ann", "menu")?;
    /// assert_eq!((said.replies().len(), said.edits().len()), (0, 1));
    /// # Ok(())
    /// # }
    /// ```
    pub fn edit_pressed(&self, reply: impl Into<Reply>) {
        self.edit(Target::This, reply);
    }

    /// Takes away the message that this dialog named so. One that is gone is reported in
    /// the log, and no error.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// if turn.text() == "bye" {
    ///     turn.delete("menu"); // `Reply::named("menu")`
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn delete(&self, message: impl Into<Target>) {
        self.actions.push(Action::Delete {
            message: message.into(),
        });
    }

    /// Shows a few words over the chat to the user who pressed a button.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// if turn.button().is_some() {
    ///     turn.toast("Noted");
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn toast(&self, text: impl Into<String>) {
        self.actions.push(Action::Toast {
            text: text.into(),
            alert: false,
        });
    }

    /// As [`toast`](Turn::toast), in a window that the user must close.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// if turn.button() == Some("delete all") {
    ///     turn.alert("That cannot be undone.");
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn alert(&self, text: impl Into<String>) {
        self.actions.push(Action::Toast {
            text: text.into(),
            alert: true,
        });
    }

    /// Calls any method of the platform, such as Telegram's `sendInvoice`, in order with
    /// the replies and tried again like them. Where the method sends to a chat and the
    /// parameters name none, it is this one.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// let bill = serde_json::json!({
    ///     "title": "Tea", "description": "A pot", "payload": "tea", "currency": "XTR",
    ///     "prices": [{ "label": "Tea", "amount": 1 }],
    /// });
    /// turn.call("sendInvoice", bill);
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn call(&self, method: impl Into<String>, params: serde_json::Value) {
        self.actions.push(Action::Call {
            method: method.into(),
            params,
            name: None,
        });
    }

    /// As [`call`](Turn::call); the message that it sends has this name from now on.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// turn.call_named("dice", "sendDice", serde_json::json!({}));
    /// // In this turn or a later one:
    /// turn.delete("dice");
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn call_named(
        &self,
        name: impl Into<String>,
        method: impl Into<String>,
        params: serde_json::Value,
    ) {
        self.actions.push(Action::Call {
            method: method.into(),
            params,
            name: Some(name.into()),
        });
    }

    /// Says something to another dialog. It is part of this turn's transaction, and is sent
    /// in that dialog's order. `user` is what [`Turn::dialog_id`] is there: in
    /// private the user's id. There is no message to [`quote`](Reply::quote) there.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// turn.send_to("telegram", "4242", format!("{} asks: {}", turn.user_id(), turn.text()));
    /// turn.reply("I have passed it on.");
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn send_to(
        &self,
        channel: impl Into<String>,
        user: impl Into<String>,
        reply: impl Into<Reply>,
    ) {
        self.actions.push(Action::SendTo {
            channel: channel.into(),
            user: user.into(),
            reply: reply.into(),
        });
    }
}
