//! [`App`], the author's entry point: turns a handler into a program with the whole command
//! line.

use std::process::ExitCode;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::author::dialog_by::DialogBy;
use crate::author::error::Result;
use crate::author::every::Every;
use crate::author::message::{Hears, Kind};
use crate::author::overlap::{Overlap, Overlaps};
use crate::author::turn::Turn;
use crate::author::user_lock::{LockFactory, UserLock};
use crate::channels::{Channel, Factory};
use crate::handlers::rust::{Typed, With};
use crate::handlers::{AnyHandler, Author};

/// A bot: a handler and what it needs.
///
/// ```
/// use turnkey::{App, Turn};
///
/// async fn handle(turn: &mut Turn<u64>) -> turnkey::Result<()> {
///     turn.state += 1;
///     turn.reply(format!("{}: {}", turn.state, turn.text()));
///     Ok(())
/// }
///
/// # fn run() -> std::process::ExitCode {
/// App::new(handle).run()
/// # }
/// ```
pub struct App {
    author: Author,
}

impl App {
    /// A bot that handles every update with `handler`. The state `S` is any type
    /// that serde can store, one value for each user.
    ///
    /// `handler` is an `async fn`, or an async closure where it needs values of yours that are
    /// there before the start. What a worker makes for itself, such as an HTTP client, it is
    /// given by [`App::with`].
    ///
    /// ```
    /// use turnkey::{App, Turn};
    ///
    /// async fn handle(turn: &mut Turn<u64>, greeting: &str) -> turnkey::Result<()> {
    ///     turn.state += 1;
    ///     turn.reply(format!("{greeting} for the {}. time", turn.state));
    ///     Ok(())
    /// }
    ///
    /// let greeting = String::from("Hello");
    /// let app = App::new(async move |turn: &mut Turn<u64>| handle(turn, &greeting).await);
    /// # drop(app);
    /// ```
    pub fn new<S, F>(handler: F) -> Self
    where
        S: Default + Serialize + DeserializeOwned + 'static,
        F: AsyncFn(&mut Turn<S>) -> Result<()> + 'static,
    {
        Self::of(Box::new(Typed::new(handler)))
    }

    /// As [`App::new`]; the handler is also given what `make` makes: an HTTP client, a cache,
    /// a connection. Each worker makes its own, after the fork and before its first turn, in its
    /// runtime.
    ///
    /// ```
    /// use turnkey::{App, Turn};
    ///
    /// # struct Client;
    /// # impl Client {
    /// #     fn new() -> Self { Client }
    /// #     async fn get(&self, _: &str) -> turnkey::Result<String> { Ok(String::new()) }
    /// # }
    /// async fn weather(turn: &mut Turn<()>, client: &Client) -> turnkey::Result<()> {
    ///     turn.reply(client.get(turn.text()).await?);
    ///     Ok(())
    /// }
    ///
    /// let app = App::with(|| Client::new(), weather);
    /// # drop(app);
    /// ```
    pub fn with<S, C, M, F>(make: M, handler: F) -> Self
    where
        S: Default + Serialize + DeserializeOwned + 'static,
        C: 'static,
        M: Fn() -> C + 'static,
        F: AsyncFn(&mut Turn<S>, &C) -> Result<()> + 'static,
    {
        Self::try_with(move || Ok(make()), handler)
    }

    /// As [`App::with`], where `make` may fail: its error ends the start. Say what is missing
    /// and how to set it.
    ///
    /// ```
    /// use turnkey::{App, Error, Turn};
    ///
    /// struct Shop {
    ///     key: String,
    /// }
    ///
    /// fn shop() -> turnkey::Result<Shop> {
    ///     let key = std::env::var("SHOP_KEY").map_err(|_| Error::msg("set SHOP_KEY to the shop's key"))?;
    ///     Ok(Shop { key })
    /// }
    ///
    /// async fn order(turn: &mut Turn<()>, shop: &Shop) -> turnkey::Result<()> {
    ///     turn.reply(format!("A key of {} bytes", shop.key.len()));
    ///     Ok(())
    /// }
    ///
    /// let app = App::try_with(shop, order);
    /// # drop(app);
    /// ```
    pub fn try_with<S, C, M, F>(make: M, handler: F) -> Self
    where
        S: Default + Serialize + DeserializeOwned + 'static,
        C: 'static,
        M: Fn() -> Result<C> + 'static,
        F: AsyncFn(&mut Turn<S>, &C) -> Result<()> + 'static,
    {
        Self::of(Box::new(With::new(make, handler)))
    }

    fn of(handler: Box<dyn AnyHandler>) -> Self {
        App {
            author: Author {
                handler,
                migrations: Vec::new(),
                channels: Vec::new(),
                user_lock: None,
                hears: Hears::default(),
                dialog_by: DialogBy::default(),
                overlap: Overlaps::default(),
                every: Vec::new(),
                given_up: None,
            },
        }
    }

    /// What is done when an update is given up: its last attempt has failed, or the handler's
    /// error said so ([`Error::give_up`](crate::Error::give_up)). What the function does with the
    /// turn takes effect as one transaction with the end of the update: its user is told once,
    /// whatever crashes. It is given the state as it was before the update, and why that was
    /// given up, in the words of the log. Should it fail itself, the update is given up all the
    /// same, and the log says so.
    ///
    /// Its state is the handler's; with another one the bot does not start. It may be an async
    /// closure, as the handler may: `async move |turn: &mut Turn<()>, error: &str| { … }`.
    ///
    /// A caller of `POST /http` is answered 503 when the first attempt fails, and decides whether
    /// to try again: nothing is given up then, and this does not run. Of an update that is in the
    /// inbox (with `Prefer: respond-async`, or once a [step](Turn::step) has kept a result) the
    /// caller gets what this replies; without this, 410.
    ///
    /// ```
    /// use turnkey::{App, Turn};
    ///
    /// # async fn book(turn: &mut Turn<()>) -> turnkey::Result<()> { turn.reply("Done."); Ok(()) }
    /// async fn sorry(turn: &mut Turn<()>, error: &str) -> turnkey::Result<()> {
    ///     turn.reply(format!("Sorry, I could not do this: {}", turn.text()));
    ///     turn.send_to("telegram", "4242", format!("{}: {error}", turn.user_id()));
    ///     Ok(())
    /// }
    ///
    /// let app = App::new(book).given_up(sorry);
    /// # drop(app);
    /// ```
    #[must_use]
    pub fn given_up<S, F>(mut self, given_up: F) -> Self
    where
        S: Default + Serialize + DeserializeOwned + 'static,
        F: AsyncFn(&mut Turn<S>, &str) -> Result<()> + 'static,
    {
        let handler = async move |turn: &mut Turn<S>| {
            let error = turn.given_up.clone();
            given_up(turn, error.as_deref().unwrap_or_default()).await
        };
        self.author.given_up = Some(Box::new(Typed::new(handler)));
        self
    }

    /// Tables of your own: SQL scripts, oldest first. Each is applied once to a
    /// database, in a transaction, when the program starts. Never change one
    /// that was released: add another.
    ///
    /// ```
    /// # use turnkey::{App, Turn};
    /// # async fn handle(_: &mut Turn<()>) -> turnkey::Result<()> { Ok(()) }
    ///
    /// let app = App::new(handle).migrations([
    ///     "CREATE TABLE orders (user_id VARCHAR(256) NOT NULL, item VARCHAR(100) NOT NULL)",
    ///     "ALTER TABLE orders ADD COLUMN paid INTEGER NOT NULL DEFAULT 0", // in a later release
    /// ]);
    /// # drop(app);
    /// ```
    #[must_use]
    pub fn migrations<T: Into<String>>(mut self, scripts: impl IntoIterator<Item = T>) -> Self {
        self.author.migrations = scripts.into_iter().map(Into::into).collect();
        self
    }

    /// A channel of your own, served at `POST /NAME`. `make` is called in each worker,
    /// after the fork: connections are made there, never shared. The channel's
    /// [`Channel::name`] is the same name: `a` to `z`, digits, `-` and `_`.
    /// `examples/custom_channel.rs` has a whole one.
    ///
    /// An error of `make` ends the start: say what is missing and how to set it.
    ///
    /// ```
    /// # use turnkey::{App, Turn};
    /// # async fn handle(_: &mut Turn<()>) -> turnkey::Result<()> { Ok(()) }
    ///
    /// # use turnkey::{Bytes, Channel, HeaderMap, Outgoing, Received, Refusal, ReplyId, SendFuture};
    /// # struct Desk { secret: String }
    /// # impl Channel for Desk {
    /// #     fn name(&self) -> &'static str { "desk" }
    /// #     fn verify(&self, _: &HeaderMap, _: &[u8]) -> Result<(), Refusal> { Ok(()) }
    /// #     fn parse(&self, _: &HeaderMap, _: &Bytes) -> Result<Received, Refusal> { Ok(Received::Updates(vec![])) }
    /// #     fn send<'a>(&'a self, _: ReplyId, _: &'a Outgoing) -> SendFuture<'a> { Box::pin(async { Ok(Default::default()) }) }
    /// # }
    /// let app = App::new(handle).channel("desk", || {
    ///     let secret = std::env::var("DESK_SECRET")
    ///         .map_err(|_| turnkey::Error::msg("set DESK_SECRET to the desk's secret"))?;
    ///     Ok(Desk { secret })
    /// });
    /// # drop(app);
    /// ```
    #[must_use]
    pub fn channel<C, F>(mut self, name: impl Into<String>, make: F) -> Self
    where
        C: Channel + 'static,
        F: Fn() -> Result<C> + 'static,
    {
        let make: Factory = Box::new(move || Ok(Box::new(make()?) as Box<dyn Channel>));
        self.author.channels.push((name.into(), make));
        self
    }

    /// A user lock of your own, beside the database's: taken before each turn, given
    /// back after it on every path. For users who are also served by something else.
    /// `make` is called in each worker, after the fork.
    /// [`testing::check_user_lock`](crate::testing::check_user_lock) tries a lock out;
    /// `examples/custom_lock.rs` has a whole one.
    ///
    /// ```
    /// # use turnkey::{App, Turn};
    /// # async fn handle(_: &mut Turn<()>) -> turnkey::Result<()> { Ok(()) }
    ///
    /// # use turnkey::{DialogKey, Held, LockFuture, UserLock};
    /// /// A lock that another system keeps, too.
    /// struct Shared;
    ///
    /// impl UserLock for Shared {
    ///     fn acquire<'a>(&'a self, user: &'a DialogKey) -> LockFuture<'a> {
    ///         Box::pin(async move {
    ///             // Waits for the other system's lock of `user`; dropping what is given back frees it.
    ///             let held: Box<dyn Held> = Box::new(user.clone());
    ///             Ok(held)
    ///         })
    ///     }
    /// }
    ///
    /// let app = App::new(handle).user_lock(|| Ok(Shared));
    /// # drop(app);
    /// ```
    #[must_use]
    pub fn user_lock<L, F>(mut self, make: F) -> Self
    where
        L: UserLock + 'static,
        F: Fn() -> Result<L> + 'static,
    {
        let make: LockFactory = Box::new(move || Ok(Box::new(make()?) as Box<dyn UserLock>));
        self.author.user_lock = Some(make);
        self
    }

    /// Hears these kinds of update and no others. Without this a handler hears messages,
    /// pressed buttons, opened, joined and left. Platforms are asked for what is heard; what
    /// comes all the same is answered, and counted by kind on the status page.
    ///
    /// ```
    /// # use turnkey::{App, Turn};
    /// # async fn handle(_: &mut Turn<()>) -> turnkey::Result<()> { Ok(()) }
    ///
    /// use turnkey::Kind;
    ///
    /// let app = App::new(handle).hears([Kind::Message, Kind::Button, Kind::Edited]);
    /// # drop(app);
    /// ```
    #[must_use]
    pub fn hears(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        self.author.hears = Hears::only(kinds);
        self
    }

    /// What has a state and an order of its own in a group: by default each user in each
    /// group. A private conversation is its user's.
    ///
    /// ```
    /// # use turnkey::{App, Turn};
    /// # async fn handle(_: &mut Turn<()>) -> turnkey::Result<()> { Ok(()) }
    ///
    /// use turnkey::DialogBy;
    ///
    /// // One state, and one order, for all who play in a group.
    /// let app = App::new(handle).dialog_by(DialogBy::Chat);
    /// # drop(app);
    /// ```
    #[must_use]
    pub fn dialog_by(mut self, by: DialogBy) -> Self {
        self.author.dialog_by = by;
        self
    }

    /// What becomes of messages of one dialog that come shortly after each other: by default
    /// each is a turn of its own.
    ///
    /// ```
    /// # use turnkey::{App, Turn};
    /// # async fn handle(_: &mut Turn<()>) -> turnkey::Result<()> { Ok(()) }
    ///
    /// use turnkey::Overlap;
    ///
    /// // Five messages within a second and a half of each other are one turn.
    /// let app = App::new(handle).overlap(Overlap::burst(1500));
    /// # drop(app);
    /// ```
    #[must_use]
    pub fn overlap(mut self, overlap: Overlap) -> Self {
        self.author.overlap.everywhere(overlap);
        self
    }

    /// As [`App::overlap`], on this channel alone, such as `telegram`.
    ///
    /// ```
    /// use turnkey::{App, Overlap, Turn};
    ///
    /// # async fn handle(_: &mut Turn<()>) -> turnkey::Result<()> { Ok(()) }
    /// let app = App::new(handle)
    ///     .overlap(Overlap::Albums)
    ///     .overlap_on("telegram", Overlap::burst(1500));
    /// ```
    #[must_use]
    pub fn overlap_on(mut self, channel: impl Into<String>, overlap: Overlap) -> Self {
        self.author.overlap.set(channel.into(), overlap);
        self
    }

    /// Runs a turn of [`Kind::Timer`] again and again, at the moments of a cron expression (minute,
    /// hour, day of the month, month, day of the week) in a time zone: once each, however many
    /// workers and boxes there are. It is a turn of a dialog of its own, on the channel `cron` and
    /// of this name, so it has a state, and `turn.timer()` has the name. It has nobody to reply
    /// to: [`Turn::send_to`] says it to somebody. A schedule that is declared no more is gone at
    /// the next start. What is no schedule ends the start. A user's own schedule is
    /// [`Turn::every`]; the guide has all rules: [`timers`](crate::guide::timers).
    ///
    /// ```
    /// use turnkey::{App, Turn};
    ///
    /// async fn handle(turn: &mut Turn<u64>) -> turnkey::Result<()> {
    ///     if turn.channel() == "cron" {
    ///         turn.state += 1;
    ///         turn.send_to("telegram", "42", format!("Week {}.", turn.state));
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # let _ =
    /// App::new(handle).every("0 9 * * MON", "Europe/Vienna", "digest");
    /// ```
    #[must_use]
    pub fn every(
        mut self,
        cron: impl Into<String>,
        zone: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        self.author.every.push(Every {
            name: name.into(),
            cron: cron.into(),
            zone: zone.into(),
        });
        self
    }

    /// Obeys the command line, until the program is stopped. Why it does not start is
    /// written to stderr, and told by the exit code: see [`StartError`](crate::StartError).
    ///
    /// ```no_run
    /// # use turnkey::{App, Turn};
    /// # async fn handle(_: &mut Turn<()>) -> turnkey::Result<()> { Ok(()) }
    /// fn main() -> std::process::ExitCode {
    ///     App::new(handle).run() // `mybot run --workers 2`, `mybot --help`
    /// }
    /// ```
    pub fn run(self) -> ExitCode {
        crate::cli::main(self.author, Vec::new())
    }

    /// As [`App::run`], with commands beside ours, and with `run bot.py` where that is
    /// compiled in: for the program `turnkey`.
    #[doc(hidden)]
    pub fn run_with(self, extras: Vec<crate::cli::Extra>) -> ExitCode {
        crate::cli::main(self.author, extras)
    }
}
