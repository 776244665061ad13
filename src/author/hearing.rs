//! What a [`Turn`] has of what came in: a view of its update, without a copy.

use crate::author::message::{
    Called, Chat, Contact, File, FileKind, Kind, Location, Rpc, Sender, Timer, Update,
};
use crate::author::turn::Turn;

/// What came in.
impl<S> Turn<S> {
    /// The update's text, caption or button data.
    ///
    /// ```
    /// use turnkey::{Turn, testing};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     turn.reply(format!("You said {}.", turn.text()));
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let said = testing::say(handle, (), "tea")?;
    /// assert_eq!(said.text(), "You said tea.");
    /// # Ok(())
    /// # }
    /// ```
    pub fn text(&self) -> &str {
        &self.update.text
    }

    /// What sort of update it is. [`App::hears`](crate::App::hears) says which a handler is
    /// given.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # use turnkey::Kind;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// match turn.kind() {
    ///     Kind::Opened | Kind::Joined => turn.reply("Welcome!"),
    ///     Kind::Left => {} // they blocked the bot
    ///     _ => turn.reply(turn.text()),
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn kind(&self) -> Kind {
        self.update.kind
    }

    /// The text with its formatting in markup: [`Update::markup`].
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// // "2 * 3 is **six**", where the user made the last word bold.
    /// turn.reply(turnkey::Reply::markup(turn.markup()));
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn markup(&self) -> String {
        self.update.markup()
    }

    /// The command that the text is, without slash and bot's name: `start` for `/start`,
    /// `/start ref_42` (who opened `t.me/BOT?start=ref_42`) and, in groups, `/start@BOT`;
    /// none for any other text.
    ///
    /// ```
    /// use turnkey::{Turn, testing};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match turn.command() {
    ///         Some("start") => turn.reply(format!("Sent by {}", turn.argument())),
    ///         Some(_) => turn.reply("I do not know this one."),
    ///         None => {}
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let said = testing::say(handle, (), "/start ref_42")?;
    /// assert_eq!(said.text(), "Sent by ref_42");
    /// # Ok(())
    /// # }
    /// ```
    pub fn command(&self) -> Option<&str> {
        self.update.command().map(|(command, _)| command)
    }

    /// What stands behind a command: `ref_42` in `/start ref_42`; empty if nothing does.
    ///
    /// ```
    /// use turnkey::{Turn, testing};
    ///
    /// async fn handle(turn: &mut Turn<String>) -> turnkey::Result<()> {
    ///     if turn.command() == Some("remember") {
    ///         turn.state = turn.argument().to_owned();
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let said = testing::say(handle, String::new(), "/remember the milk")?;
    /// assert_eq!(said.state, "the milk");
    /// # Ok(())
    /// # }
    /// ```
    pub fn argument(&self) -> &str {
        self.update.command().map_or("", |(_, argument)| argument)
    }

    /// The data of the button that was pressed; none if it was not a button.
    ///
    /// ```
    /// use turnkey::{Turn, testing};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match turn.button() {
    ///         Some("tea") => turn.reply("Here you are."),
    ///         Some(_) => turn.reply("That is no longer on offer."),
    ///         None => turn.reply(turnkey::Reply::from("Tea?").button("Yes", "tea")),
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = testing::Conversation::new(handle);
    /// assert_eq!(bot.press("ann", "tea")?.text(), "Here you are.");
    /// # Ok(())
    /// # }
    /// ```
    pub fn button(&self) -> Option<&str> {
        self.update.button()
    }

    /// What another system asks for; none for what a user did.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// // curl localhost:8080/rpc/telegram/42 -d '{"jsonrpc":"2.0","method":"paid","params":{"eur":30}}'
    /// if let Some(rpc) = turn.rpc() {
    ///     turn.reply(format!("{}: {}", rpc.method, rpc.params["eur"]));
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn rpc(&self) -> Option<Rpc> {
        self.update.rpc()
    }

    /// The timer that is due, if this turn is about one: [`Kind::Timer`].
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// match turn.timer() {
    ///     Some(timer) => turn.reply(format!("Your {} is ready.", timer.data["sort"])),
    ///     None => turn.after("4m", "tea", serde_json::json!({ "sort": turn.text() })),
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn timer(&self) -> Option<Timer> {
        self.update.timer()
    }

    /// What came back, if this turn is about that: who posted to the address of
    /// [`Turn::callback`], or pressed a button of [`Turn::ask_in`]. Of [`Kind::Callback`].
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// match turn.called() {
    ///     Some(called) if called.button.as_deref() == Some("yes") => turn.reply("You are in."),
    ///     Some(called) => turn.reply(format!("{}: {}", called.name, called.body)),
    ///     None => {}
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn called(&self) -> Option<Called> {
        self.update.called()
    }

    /// The files that the user sent, photos included.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// for file in turn.files() {
    ///     let name = file.name.as_deref().unwrap_or("a file");
    ///     turn.reply(format!("{name}, {} bytes", file.size.unwrap_or(0)));
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn files(&self) -> &[File] {
        &self.update.files
    }

    /// The photos that the user sent: each is there once, in the largest size that there is.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// if let Some(photo) = turn.photos().next().cloned() {
    ///     let bytes = turn.download(&photo, 20 << 20).await?;
    ///     turn.reply(format!("A picture of {} bytes", bytes.len()));
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn photos(&self) -> impl Iterator<Item = &File> {
        let is_photo = |file: &&File| file.kind == FileKind::Photo;
        self.update.files.iter().filter(is_photo)
    }

    /// The place that the user sent.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// if let Some(place) = turn.location() {
    ///     turn.reply(format!("{:.3} degrees north, {:.3} east", place.latitude, place.longitude));
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn location(&self) -> Option<&Location> {
        self.update.location.as_ref()
    }

    /// The telephone number that the user sent.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// if let Some(contact) = turn.contact() {
    ///     // Anybody's number can be passed on: this one is the user's own.
    ///     let is_own = contact.user_id.as_deref() == Some(turn.user_id());
    ///     turn.reply(if is_own { "We shall call you." } else { "Your own, please." });
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn contact(&self) -> Option<&Contact> {
        self.update.contact.as_ref()
    }

    /// The user, as the channel names them.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// if (turn.channel(), turn.user_id()) == ("telegram", "4242") {
    ///     turn.reply("Good morning, boss.");
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn user_id(&self) -> &str {
        self.update.user_id()
    }

    /// What this dialog is called: the user, or, in a group, what
    /// [`App::dialog_by`](crate::App::dialog_by) says. [`Turn::send_to`] takes it.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// // Somebody else's turn can say something here, where this turn is.
    /// let here = turn.dialog_id().to_owned();
    /// turn.execute("INSERT INTO waiting (dialog) VALUES (?1)", here);
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn dialog_id(&self) -> &str {
        &self.update.dialog.user_id
    }

    /// The user's name, user name and language, as far as the platform tells.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// let name = turn.sender().map_or("you", |sender| &sender.name);
    /// turn.reply(format!("Hello, {name}!"));
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn sender(&self) -> Option<&Sender> {
        self.update.sender.as_ref()
    }

    /// The conversation; none where a platform has only private ones.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # use turnkey::ChatKind;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// let is_group = turn.chat().is_some_and(|chat| chat.kind == ChatKind::Group);
    /// if is_group {
    ///     turn.reply("Hello, everybody!");
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn chat(&self) -> Option<&Chat> {
        self.update.chat.as_ref()
    }

    /// The channel's name, such as `telegram`.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// if turn.channel() == "telegram" {
    ///     turn.call("sendDice", serde_json::json!({ "emoji": "🎲" }));
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn channel(&self) -> &str {
        &self.update.dialog.channel
    }

    /// The whole update, the platform's own JSON included.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// // What this crate has no word for is in the platform's own JSON.
    /// let update: serde_json::Value = serde_json::from_slice(turn.update().raw())?;
    /// if let Some(dice) = update["message"]["dice"]["value"].as_u64() {
    ///     turn.reply(format!("You threw a {dice}."));
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn update(&self) -> &Update {
        &self.update
    }

    /// The messages that this turn handles, in order: one, unless
    /// [`App::overlap`](crate::App::overlap) makes one turn of several. Then [`Turn::text`] has
    /// their texts, each with a line of its own, and [`Turn::files`] all files (with
    /// [`Overlap::Latest`](crate::Overlap::Latest): those of the newest).
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// let album: Vec<&str> = turn.updates().iter().map(|one| one.text.as_str()).collect();
    /// turn.reply(format!("{} messages: {album:?}", album.len()));
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn updates(&self) -> &[Update] {
        self.update.updates()
    }

    /// Which attempt at this update this is, from 1. After an error, a panic, a time-out
    /// or the death of the process the same update is tried again, up to
    /// `--max-attempts` times: a handler that calls something costly can do less then.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn answer(_: &str, _: &str) -> turnkey::Result<String> { Ok(String::new()) }
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// // Rather a simple answer than none.
    /// let model = if turn.attempt() < 3 { "large" } else { "small" };
    /// turn.reply(answer(model, turn.text()).await?);
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Whether this is the last attempt at this update: after another failure it is given up
    /// ([`App::given_up`](crate::App::given_up)). A handler may do less than all then, rather
    /// than nothing.
    ///
    /// ```
    /// use turnkey::Turn;
    ///
    /// # async fn forecast() -> turnkey::Result<String> { Ok(String::new()) }
    /// async fn weather(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match forecast().await {
    ///         Err(_) if turn.is_last_attempt() => turn.reply("I cannot see the sky today."),
    ///         forecast => turn.reply(forecast?),
    ///     }
    ///     Ok(())
    /// }
    /// # turnkey::App::new(weather);
    /// ```
    pub fn is_last_attempt(&self) -> bool {
        self.is_last_attempt
    }
}
