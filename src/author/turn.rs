//! The [`Turn`] that a handler is given.
//!
//! Made and taken apart by `handlers/rust.rs`. Invariant: nothing that a handler does here
//! takes effect before its turn is committed, but for [`Turn::ask`], [`Turn::download`] and
//! [`Turn::draft`], which call the platform at once, and [`Turn::step`].

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use turnkey_storage::{DialogKey, Grant, Params, Row, Statement, Storage, replies};

use crate::author::drafts::Drafts;
use crate::author::error::{Error, Result};
use crate::author::list::List;
use crate::author::message::{
    Action, Called, Chat, Contact, Delay, File, FileKind, Kind, Location, NewCallback, Outgoing,
    Reply, Rpc, Sender, Target, Timer, TimerChange, Update, When,
};
use crate::author::newer::Newer;
use crate::author::overlap::OverlapChange;
use crate::author::platform::Platform;
use crate::author::steps::{self, Steps, Used};

/// Replies and other actions of one turn. More is a handler that loops.
pub const MAX_REPLIES: usize = 1000;

/// The event of an update that says that a user cannot be reached.
pub(crate) const UNREACHABLE: &str = "unreachable";

/// A reply that was given up.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DeadReply {
    /// What was to be done.
    pub action: Action,
    /// Why it was not, the last time.
    pub error: String,
    /// When it was given up, in milliseconds since 1970.
    pub died: i64,
}

/// One update of one user, with the user's state. What a handler changes here
/// takes effect when it returns `Ok`, all at once, or not at all.
///
/// What a turn has to say may hold what it was told:
///
/// ```
/// use turnkey::Turn;
///
/// #[derive(Default, serde::Serialize, serde::Deserialize)]
/// struct Note {
///     last: String,
/// }
///
/// async fn echo(turn: &mut Turn<Note>) -> turnkey::Result<()> {
///     turn.reply(turn.text());
///     turn.execute("INSERT INTO note VALUES (?1, ?2)", (turn.user_id(), turn.text()));
///     match turn.button() {
///         Some(data) => turn.reply(format!("You pressed {data}.")),
///         None => turn.reply(turn.state.last.as_str()),
///     }
///     turn.state.last = turn.text().to_owned();
///     Ok(())
/// }
/// # turnkey::App::new(echo);
/// ```
pub struct Turn<S> {
    /// The user's state. For a new user it is `S::default()`.
    pub state: S,
    pub(crate) update: Arc<Update>,
    pub(crate) attempt: u32,
    pub(crate) is_last_attempt: bool,
    /// Why this update is given up, if this turn is about that.
    pub(crate) given_up: Option<Rc<str>>,
    pub(crate) actions: List<Action>,
    pub(crate) statements: List<Statement>,
    pub(crate) timers: List<TimerChange>,
    pub(crate) overlap: Cell<Option<OverlapChange>>,
    pub(crate) callbacks: List<NewCallback>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) grant: Grant,
    pub(crate) platform: Rc<dyn Platform>,
    pub(crate) newer: Newer,
    pub(crate) drafts: OnceCell<Drafts>,
    pub(crate) steps: Rc<Steps>,
    /// The names of steps that this attempt has used.
    pub(crate) used: Used,
}

/// What came in.
impl<S> Turn<S> {
    /// The update's text, caption or button data.
    pub fn text(&self) -> &str {
        &self.update.text
    }

    /// What sort of update it is. [`App::hears`](crate::App::hears) says which a handler is
    /// given.
    pub fn kind(&self) -> Kind {
        self.update.kind
    }

    /// The text with its formatting in markup: [`Update::markup`].
    pub fn markup(&self) -> String {
        self.update.markup()
    }

    /// The command that the text is, without slash and bot's name: `start` for `/start`,
    /// `/start ref_42` (who opened `t.me/BOT?start=ref_42`) and, in groups, `/start@BOT`;
    /// none for any other text.
    pub fn command(&self) -> Option<&str> {
        self.update.command().map(|(command, _)| command)
    }

    /// What stands behind a command: `ref_42` in `/start ref_42`; empty if nothing does.
    pub fn argument(&self) -> &str {
        self.update.command().map_or("", |(_, argument)| argument)
    }

    /// The data of the button that was pressed; none if it was not a button.
    pub fn button(&self) -> Option<&str> {
        self.update.button()
    }

    /// What another system asks for; none for what a user did.
    pub fn rpc(&self) -> Option<Rpc> {
        self.update.rpc()
    }

    /// The timer that is due, if this turn is about one: [`Kind::Timer`].
    pub fn timer(&self) -> Option<Timer> {
        self.update.timer()
    }

    /// What came back, if this turn is about that: who posted to the address of
    /// [`Turn::callback`], or pressed a button of [`Turn::ask_in`]. Of [`Kind::Callback`].
    pub fn called(&self) -> Option<Called> {
        self.update.called()
    }

    /// The files that the user sent, photos included.
    pub fn files(&self) -> &[File] {
        &self.update.files
    }

    /// The photos that the user sent.
    pub fn photos(&self) -> impl Iterator<Item = &File> {
        let is_photo = |file: &&File| file.kind == FileKind::Photo;
        self.update.files.iter().filter(is_photo)
    }

    /// The place that the user sent.
    pub fn location(&self) -> Option<&Location> {
        self.update.location.as_ref()
    }

    /// The telephone number that the user sent.
    pub fn contact(&self) -> Option<&Contact> {
        self.update.contact.as_ref()
    }

    /// The user, as the channel names them.
    pub fn user_id(&self) -> &str {
        self.update.user_id()
    }

    /// What this dialog is called: the user, or, in a group, what
    /// [`App::dialog_by`](crate::App::dialog_by) says. [`Turn::send_to`] takes it.
    pub fn dialog_id(&self) -> &str {
        &self.update.dialog.user_id
    }

    /// The user's name, user name and language, as far as the platform tells.
    pub fn sender(&self) -> Option<&Sender> {
        self.update.sender.as_ref()
    }

    /// The conversation; none where a platform has only private ones.
    pub fn chat(&self) -> Option<&Chat> {
        self.update.chat.as_ref()
    }

    /// The channel's name, such as `telegram`.
    pub fn channel(&self) -> &str {
        &self.update.dialog.channel
    }

    /// The whole update, the platform's own JSON included.
    pub fn update(&self) -> &Update {
        &self.update
    }

    /// The messages that this turn handles, in order: one, unless
    /// [`App::overlap`](crate::App::overlap) makes one turn of several. Then [`Turn::text`] has
    /// their texts, each with a line of its own, and [`Turn::files`] all files (with
    /// [`Overlap::Latest`](crate::Overlap::Latest): those of the newest).
    pub fn updates(&self) -> &[Update] {
        self.update.updates()
    }

    /// Which attempt at this update this is, from 1. After an error, a panic, a time-out
    /// or the death of the process the same update is tried again, up to
    /// `--max-attempts` times: a handler that calls something costly can do less then.
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

/// What goes out, after the commit and in order.
impl<S> Turn<S> {
    /// Queues a reply. It is sent after the turn is committed, in order.
    pub fn reply(&self, reply: impl Into<Reply>) {
        self.actions.push(Action::Reply(reply.into()));
    }

    /// Puts another text, other buttons or another file in the place of the message that
    /// this dialog named so ([`Reply::named`]), in this turn or an earlier one. It must fit
    /// one message. A message that is gone is reported in the log, and no error.
    pub fn edit(&self, message: impl Into<Target>, reply: impl Into<Reply>) {
        self.actions.push(Action::Edit {
            message: message.into(),
            reply: reply.into(),
        });
    }

    /// As [`edit`](Turn::edit), the message whose button was pressed.
    pub fn edit_pressed(&self, reply: impl Into<Reply>) {
        self.edit(Target::This, reply);
    }

    /// Takes away the message that this dialog named so. One that is gone is reported in
    /// the log, and no error.
    pub fn delete(&self, message: impl Into<Target>) {
        self.actions.push(Action::Delete {
            message: message.into(),
        });
    }

    /// Shows a few words over the chat to the user who pressed a button.
    pub fn toast(&self, text: impl Into<String>) {
        self.actions.push(Action::Toast {
            text: text.into(),
            alert: false,
        });
    }

    /// As [`toast`](Turn::toast), in a window that the user must close.
    pub fn alert(&self, text: impl Into<String>) {
        self.actions.push(Action::Toast {
            text: text.into(),
            alert: true,
        });
    }

    /// Calls any method of the platform, such as Telegram's `sendInvoice`, in order with
    /// the replies and tried again like them. Where the method sends to a chat and the
    /// parameters name none, it is this one.
    pub fn call(&self, method: impl Into<String>, params: serde_json::Value) {
        self.actions.push(Action::Call {
            method: method.into(),
            params,
            name: None,
        });
    }

    /// As [`call`](Turn::call); the message that it sends has this name from now on.
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

/// What is to be done later.
impl<S> Turn<S> {
    /// Sets a timer of this dialog: once that time has passed since the end of this turn, a turn
    /// of [`Kind::Timer`] runs, whose [`Turn::timer`] has the name and the data. It is part of
    /// this turn's transaction, and survives restarts; what was due while nothing ran is due at
    /// the next start. One of the same name is replaced.
    ///
    /// At most 100 timers for a dialog, 64 bytes for a name, 64 KiB for the data, ten years: more
    /// fails the turn.
    ///
    /// ```
    /// use turnkey::{Kind, Turn};
    ///
    /// async fn tea(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match turn.kind() {
    ///         Kind::Timer => turn.reply("Your tea is ready."),
    ///         _ => turn.after("4m", "tea", serde_json::json!({ "sort": "green" })),
    ///     }
    ///     Ok(())
    /// }
    /// # turnkey::App::new(tea);
    /// ```
    pub fn after(&self, delay: impl Into<Delay>, name: impl Into<String>, data: serde_json::Value) {
        self.timers.push(TimerChange::Set {
            name: name.into(),
            when: When::After(delay.into()),
            data,
        });
    }

    /// As [`after`](Turn::after), at a moment of the wall clock; one that is past is due at once.
    pub fn at(
        &self,
        moment: std::time::SystemTime,
        name: impl Into<String>,
        data: serde_json::Value,
    ) {
        let since = moment.duration_since(std::time::UNIX_EPOCH);
        let moment = since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        });
        self.timers.push(TimerChange::Set {
            name: name.into(),
            when: When::At(moment),
            data,
        });
    }

    /// Sets a timer that comes again and again, until it is [cancelled](Turn::cancel): at the
    /// moments of a cron expression of five fields (minute, hour, day of the month, month, day of
    /// the week) in a time zone. Otherwise as [`after`](Turn::after), whose limits it has. What
    /// is neither a schedule nor a zone, and a schedule that never comes, such as on the 31st of
    /// February, fails the turn.
    ///
    /// Where the zone's clock is set, each moment still comes once. What came while nothing ran
    /// comes once at the next start. While one tick's turn waits or runs, further ones are left
    /// out. The guide says more: [`timers`](crate::guide::timers).
    ///
    /// ```
    /// use turnkey::{Kind, Turn};
    ///
    /// async fn digest(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     match turn.timer() {
    ///         Some(timer) => turn.reply(format!("Your {}.", timer.name)),
    ///         None => turn.every("0 9 * * MON", "Europe/Vienna", "digest", serde_json::json!(null)),
    ///     }
    ///     Ok(())
    /// }
    /// # turnkey::App::new(digest);
    /// ```
    pub fn every(
        &self,
        cron: impl Into<String>,
        zone: impl Into<String>,
        name: impl Into<String>,
        data: serde_json::Value,
    ) {
        self.timers.push(TimerChange::Set {
            name: name.into(),
            when: When::Every {
                cron: cron.into(),
                zone: zone.into(),
            },
            data,
        });
    }

    /// Takes a timer or schedule of this dialog away, if there is one of this name.
    pub fn cancel(&self, name: impl Into<String>) {
        self.timers.push(TimerChange::Cancel { name: name.into() });
    }
}

/// What is not to be done again.
impl<S> Turn<S> {
    /// Does something that costs, such as a payment, and keeps its result at once: a later
    /// attempt at this update is given the result, and does not run the body. The body runs at
    /// least once: it runs again if the process dies before the result is kept. The result is
    /// what JSON holds. What the body fails with is not kept, and is this error.
    ///
    /// ```
    /// use turnkey::Turn;
    ///
    /// # async fn pay(_: u32) -> turnkey::Result<String> { Ok(String::new()) }
    /// # async fn ship(_: &str) -> turnkey::Result<u64> { Ok(1) }
    /// async fn order(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     let receipt = turn.step("charge", pay(30)).await?;
    ///     // If this fails, the next attempt does not pay again.
    ///     let parcel = turn.step("ship", async { ship(&receipt).await }).await?;
    ///     turn.reply(format!("Parcel {parcel} is on its way."));
    ///     Ok(())
    /// }
    /// # turnkey::App::new(order);
    /// ```
    ///
    /// The names of a turn's steps differ; one whose body failed may be tried again. With its
    /// first step the update is in the inbox, and its platform is answered. The commit takes
    /// the steps away; an update that is given up keeps them, for `turnkey dead retry`. Of a
    /// turn that handles several messages the steps belong to all of them.
    ///
    /// # Errors
    /// The body's; a name that was used before; more than 100 steps, 64 bytes of a name, 64 KiB
    /// of a result, or 1 MiB of all; the storage is away, or the inbox is full.
    #[track_caller]
    pub fn step<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        body: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        let place = std::panic::Location::caller();
        steps::run(&self.steps, &self.used, place, name, body)
    }
}

/// What is asked at once.
impl<S> Turn<S> {
    /// Calls a method of the platform now and returns its result, such as Telegram's
    /// `getChatMember`. It is no part of the turn: what it changes stays changed if the
    /// turn fails, and happens again when the turn is tried again.
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
    pub fn unreachable(&self) -> Option<&str> {
        let update = &self.update;
        (update.kind == Kind::Left && update.event == UNREACHABLE).then_some(&update.text)
    }

    /// Replies of this dialog that were given up, the oldest first; at most [`MAX_REPLIES`].
    ///
    /// # Errors
    /// The storage is away.
    pub async fn dead_replies(&self) -> Result<Vec<DeadReply>> {
        dead_replies(&*self.storage, &self.update.dialog).await
    }
}

/// See [`Turn::dead_replies`].
pub(crate) async fn dead_replies(
    storage: &dyn Storage,
    dialog: &DialogKey,
) -> Result<Vec<DeadReply>> {
    let dead = replies::dead_of(storage, dialog, MAX_REPLIES as u32).await;
    let dead = dead.map_err(Error::Storage)?;
    let read = |dead: replies::DeadReply| {
        let outgoing: Outgoing = serde_json::from_str(&dead.body)?;
        Ok(DeadReply {
            action: outgoing.action,
            error: dead.error,
            died: dead.died,
        })
    };
    dead.into_iter().map(read).collect()
}

/// Tables of the author's own.
impl<S> Turn<S> {
    /// Adds a statement of your own to the turn's transaction: it takes effect
    /// with the new state, or neither does. Parameters are `?1`, `?2` …; a tuple,
    /// an array or a `Vec` of values. Tables of your own are made by
    /// [`App::migrations`](crate::App::migrations).
    ///
    /// It runs at the end of the turn; should it fail then, the turn fails.
    pub fn execute(&self, sql: impl Into<String>, params: impl Params) {
        self.statements.push(Statement::new(sql, params));
    }

    /// Asks a question of your own tables. All earlier turns of this user are
    /// seen, statements queued in this one are not yet.
    ///
    /// # Errors
    /// When the query is wrong, writes, or takes longer than five seconds.
    pub async fn query(&self, sql: impl Into<String>, params: impl Params) -> Result<Vec<Row>> {
        self.storage
            .query(Some(&self.grant), Statement::new(sql, params))
            .await
            .map_err(Error::Storage)
    }
}
