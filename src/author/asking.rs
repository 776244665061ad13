//! What a [`Turn`] asks or shows at once, and what became of earlier replies.
//!
//! Nothing of this is part of the turn's transaction.

use crate::author::drafts::Drafts;
use crate::author::error::{Error, Result};
use crate::author::message::{File, Kind};
use crate::author::turn::{DeadReply, Turn, UNREACHABLE, dead_replies};

/// What is asked at once.
impl<S> Turn<S> {
    /// Calls a method of the platform now and returns its result, such as Telegram's
    /// `getChatMember`. It is no part of the turn: what it changes stays changed if the
    /// turn fails, and happens again when the turn is tried again.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// let whom = serde_json::json!({ "chat_id": -100, "user_id": turn.user_id() });
    /// let member = turn.ask("getChatMember", whom).await?;
    /// if member["status"] == "member" {
    ///     turn.reply("You are one of us.");
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    ///
    /// # Errors
    /// The platform refuses, is away, or does not answer within 10 seconds.
    pub async fn ask(
        &self,
        method: impl Into<String>,
        params: serde_json::Value,
    ) -> Result<serde_json::Value> {
        self.platform
            .ask(&self.update, method.into(), params)
            .await
            .map_err(Error::msg)
    }

    /// Fetches a file that the user sent, at most `limit` bytes of it.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// if let Some(file) = turn.files().first().cloned() {
    ///     let bytes = turn.download(&file, 5 << 20).await?; // 5 MiB at most
    ///     turn.reply(format!("{} bytes", bytes.len()));
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    ///
    /// # Errors
    /// It is larger, is not there any more, or the platform is away.
    pub async fn download(&self, file: &File, limit: usize) -> Result<Vec<u8>> {
        self.platform
            .download(&self.update.dialog.channel, file, limit)
            .await
            .map_err(Error::msg)
    }

    /// As [`download`](Turn::download), into a file of the box that does not exist yet, piece
    /// by piece: as large as `limit` allows, whatever memory there is. The bytes written.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// if let Some(file) = turn.files().first().cloned() {
    ///     // A name of our own: the user's is no path that can be trusted.
    ///     let path = format!("/srv/films/{}.mp4", turn.update().id);
    ///     let size = turn.download_to(&file, path, 2 << 30).await?;
    ///     turn.reply(format!("{size} bytes are kept."));
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    ///
    /// # Errors
    /// Likewise; or the file cannot be written. Then it is removed.
    pub async fn download_to(
        &self,
        file: &File,
        path: impl AsRef<std::path::Path>,
        limit: u64,
    ) -> Result<u64> {
        self.platform
            .download_to(
                &self.update.dialog.channel,
                file,
                path.as_ref().to_owned(),
                limit,
            )
            .await
            .map_err(Error::msg)
    }
}

/// What is shown while the handler works.
impl<S> Turn<S> {
    /// Shows a text that still grows, such as a language model's answer so far; a later one
    /// takes its place, and the turn's reply takes the last one's. Call it as often as you
    /// like: the newest is shown every second and a half. Best effort: it is never stored,
    /// and nothing happens on platforms that show no drafts. On VK it is a message: without a
    /// reply it is deleted.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn next_word() -> Option<String> { None }
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// let mut text = String::new();
    /// while let Some(word) = next_word().await {
    ///     text.push_str(&word);
    ///     turn.draft(text.as_str());
    /// }
    /// turn.reply(text);
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn draft(&self, text: impl Into<String>) {
        let text = text.into();
        match self.drafts.get() {
            Some(drafts) => drafts.show(text),
            None => {
                let (platform, update) = (self.platform.clone(), self.update.clone());
                // There is none, so it takes this one.
                drop(self.drafts.set(Drafts::start(platform, update, text)));
            }
        }
    }
}

/// What became of earlier replies.
impl<S> Turn<S> {
    /// Why nothing reaches this user any more, if that is what this turn is about: of
    /// [`Kind::Left`], after a platform refused a reply since the user blocked the bot or is
    /// gone. What is said in such a turn is most likely refused, too.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// if let Some(why) = turn.unreachable() {
    ///     turn.execute("DELETE FROM subscribers WHERE user_id = ?1", turn.user_id());
    ///     println!("{} is gone: {why}", turn.user_id());
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn unreachable(&self) -> Option<&str> {
        let update = &self.update;
        (update.kind == Kind::Left && update.event == UNREACHABLE).then_some(&update.text)
    }

    /// Replies of this dialog that were given up, the oldest first; at most [`MAX_REPLIES`](crate::MAX_REPLIES).
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// for dead in turn.dead_replies().await? {
    ///     turn.reply(format!("There is something that I could not send you: {}", dead.error));
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    ///
    /// # Errors
    /// The storage is away.
    pub async fn dead_replies(&self) -> Result<Vec<DeadReply>> {
        dead_replies(&*self.storage, &self.update.dialog).await
    }
}
