//! What a [`Turn`] has for others who come back: addresses that they post to, questions that they
//! answer.
//!
//! Done by `turn/calling.rs` and `turn/asking.rs` with the turn's commit.

use crate::author::error::{Error, Result};
use crate::author::message::{Action, Delay, NewCallback, Reply, Token, address};
use crate::author::turn::Turn;

/// What others are to come back with.
impl<S> Turn<S> {
    /// A one-time address under `--public-url`, for a payment provider, say, or a long job: who
    /// posts to it starts a turn of [`Kind::Callback`](crate::Kind::Callback) in this dialog, whose [`Turn::called`] has
    /// the name and what was posted. It is open once this turn is committed, for seven days.
    ///
    /// Whoever has the address may post to it: give it to nobody else. At most 100 are open in a
    /// dialog; a name has 1 to 64 bytes.
    ///
    /// # Errors
    /// The bot has no address of its own: `--public-url`.
    ///
    /// ```
    /// use turnkey::{Kind, Turn};
    ///
    /// async fn shop(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match turn.called() {
    ///         Some(called) => turn.reply(format!("Paid: {}", called.body["amount"])),
    ///         None => {
    ///             let address = turn.callback("paid")?;
    ///             // The provider's interface: it posts there when it has the money.
    ///             let link = payment_link(7, &address).await?;
    ///             turn.reply(format!("Please pay: {link}"));
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # async fn payment_link(_: u32, _: &str) -> turnkey::Result<String> { Ok(String::new()) }
    /// # turnkey::App::new(shop);
    /// ```
    pub fn callback(&self, name: impl Into<String>) -> Result<String> {
        self.open_callback(name.into(), None)
    }

    /// As [`callback`](Turn::callback), open for so long, at most a year: `"2d"`.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// let address = turn.callback_valid("paid", "2d")?;
    /// turn.reply(format!("Pay within two days; the shop tells me at {address}"));
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    ///
    /// # Errors
    /// As [`callback`](Turn::callback).
    pub fn callback_valid(
        &self,
        name: impl Into<String>,
        valid: impl Into<Delay>,
    ) -> Result<String> {
        self.open_callback(name.into(), Some(valid.into()))
    }

    fn open_callback(&self, name: String, valid: Option<Delay>) -> Result<String> {
        let base = self.platform.callbacks().ok_or_else(|| {
            Error::msg(
                "turn.callback needs the address under which this bot is reached: set --public-url",
            )
        })?;
        let token = Token::for_address().map_err(Error::msg)?;
        let address = address(base, &token);
        self.callbacks.push(NewCallback { name, token, valid });
        Ok(address)
    }

    /// Asks something of another dialog, such as the bot's owner: the first press of one of the
    /// question's buttons, by whoever is in that conversation, comes back as a turn of
    /// [`Kind::Callback`](crate::Kind::Callback) in this dialog, whose [`Turn::called`] has the name, the data of the
    /// button and who pressed it. The question loses its buttons then. It is part of this turn's
    /// transaction, as [`send_to`](Turn::send_to); it may be answered for seven days.
    ///
    /// A question is one message and has a button with data, as in [`Reply::button`](crate::Reply::button). It counts to
    /// the 100 callbacks that are open in this dialog. The other dialog has no turn of the
    /// handler's.
    ///
    /// ```
    /// use turnkey::{Kind, Reply, Turn};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match turn.called() {
    ///         Some(called) if called.button.as_deref() == Some("yes") => turn.reply("You are in."),
    ///         Some(_) => turn.reply("Sorry, no."),
    ///         None => {
    ///             let question = Reply::from(format!("Let {} in?", turn.user_id()));
    ///             let question = question.button("Yes", "yes").button("No", "no");
    ///             turn.ask_in("telegram", "4242", question, "let in");
    ///             turn.reply("I have asked the owner.");
    ///         }
    ///     }
    ///     Ok(())
    /// }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn ask_in(
        &self,
        channel: impl Into<String>,
        user: impl Into<String>,
        question: impl Into<Reply>,
        name: impl Into<String>,
    ) {
        self.actions.push(Action::AskIn {
            channel: channel.into(),
            user: user.into(),
            question: question.into(),
            name: name.into(),
            valid: None,
        });
    }

    /// As [`ask_in`](Turn::ask_in); it may be answered for so long, at most a year: `"2d"`.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # use turnkey::Reply;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// let question = Reply::from("May Ann have the day off?").button("Yes", "yes").button("No", "no");
    /// turn.ask_in_valid("telegram", "4242", question, "day off", "12h");
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn ask_in_valid(
        &self,
        channel: impl Into<String>,
        user: impl Into<String>,
        question: impl Into<Reply>,
        name: impl Into<String>,
        valid: impl Into<Delay>,
    ) {
        self.actions.push(Action::AskIn {
            channel: channel.into(),
            user: user.into(),
            question: question.into(),
            name: name.into(),
            valid: Some(valid.into()),
        });
    }
}
