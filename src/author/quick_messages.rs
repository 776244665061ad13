//! What a [`Turn`] has for messages that come shortly after each other: whether something newer is
//! there, and what becomes of those of its dialog.
//!
//! Obeyed by `newer.rs`, and by `turn/gathering.rs` with the turn's commit.

use crate::author::error::{Error, Result};
use crate::author::overlap::Overlap;
use crate::author::turn::Turn;

/// What comes while the handler works.
impl<S> Turn<S> {
    /// Resolves once the user has sent something newer in this dialog, to whichever worker: a
    /// handler that is busy for long can look for itself whether it goes on. What it returns then
    /// is this turn's end all the same; the newer update has a turn of its own.
    ///
    /// It does not resolve on a channel whose caller waits for the answer (`http`), nor for
    /// timers, callbacks, and what other dialogs and systems say. In another box of the bot an update counts once it is
    /// in the inbox, at the latest after `--ack-after`. To have the handler called again with
    /// both, there is [`Overlap::Interrupt`](crate::Overlap::Interrupt).
    ///
    /// ```
    /// use turnkey::Turn;
    ///
    /// # async fn ask_the_model(text: String) -> String { text }
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     let answer = ask_the_model(turn.text().to_owned());
    ///     tokio::select! {
    ///         answer = answer => turn.reply(answer),
    ///         () = turn.newer() => turn.reply("Let me read that first."),
    ///     }
    ///     Ok(())
    /// }
    /// # turnkey::App::new(handle);
    /// ```
    pub fn newer(&self) -> impl Future<Output = ()> + Unpin + use<S> {
        let (newer, storage, update) = (self.newer, self.storage.clone(), self.update.clone());
        Box::pin(async move { newer.came(&*storage, &update).await })
    }

    /// Whether [`Turn::newer`] would resolve now, for a handler that looks between two steps of
    /// its work. At the first look what came before may not be known yet; from then on it is.
    ///
    /// ```
    /// # use turnkey::Turn;
    /// # async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    /// for part in ["one", "two", "three"] {
    ///     if turn.has_newer().await? {
    ///         break; // they have changed their mind
    ///     }
    ///     turn.reply(part);
    /// }
    /// # Ok(())
    /// # }
    /// # turnkey::App::new(handle);
    /// ```
    ///
    /// # Errors
    /// The storage is away.
    pub async fn has_newer(&self) -> Result<bool> {
        let has_come = self.newer.has_come(&*self.storage, &self.update).await;
        has_come.map_err(Error::Storage)
    }
}

/// What becomes of quick messages.
impl<S> Turn<S> {
    /// From the end of this turn on, what becomes of messages of this dialog that come shortly
    /// after each other; `None` is again what [`App::overlap`](crate::App::overlap) says. It is
    /// part of this turn's transaction, and holds until it is said anew, or the dialog is
    /// forgotten.
    ///
    /// ```
    /// use turnkey::{Overlap, Turn};
    ///
    /// async fn talk(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match turn.command() {
    ///         Some("dictate") => turn.overlap(Overlap::burst(10_000)),
    ///         Some("done") => turn.overlap(None),
    ///         _ => turn.reply(turn.updates().len().to_string()),
    ///     }
    ///     Ok(())
    /// }
    /// # turnkey::App::new(talk);
    /// ```
    pub fn overlap(&self, overlap: impl Into<Option<Overlap>>) {
        let overlap = overlap.into().into();
        self.overlap.set(Some(overlap));
    }
}
