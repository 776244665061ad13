//! Turns of a handler without a process: what users say goes in, what they are told comes out.
//!
//! For authors' tests. Invariants: state, SQL and steps take the way that they take in a bot,
//! through JSON and the SQLite engine; a turn that fails changes nothing and is this call's
//! error; nobody is tried again unless the test says so. Bound: ten seconds for a turn.
//! `running.rs` runs the turns, `left.rs` has what they leave for later.

use std::collections::{BTreeMap, HashMap};
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use turnkey_storage::{Commit, LockAfter, Params, Row, Statement};

use self::left::{Question, Set};
use super::platform::Fake;
use super::said::Said;
use super::storage::Own;
use crate::author::dialog_by::DialogBy;
use crate::author::error::{Error, Result};
use crate::author::message::{DialogKey, Kind, Update};
use crate::author::steps::Steps;
use crate::author::turn::Turn;
use crate::handlers::AnyHandler;
use crate::handlers::rust::Typed;

/// Runs a handler once, without a process: a user who has this state writes this text. What is
/// more than one message is a [`Conversation`].
///
/// ```
/// use turnkey::{Turn, testing};
///
/// async fn count(turn: &mut Turn<u64>) -> turnkey::Result<()> {
///     turn.state += 1;
///     turn.reply(format!("{}: {}", turn.state, turn.text()));
///     Ok(())
/// }
///
/// # fn main() -> turnkey::Result<()> {
/// let said = testing::say(count, 6, "hi")?;
/// assert_eq!((said.text().as_str(), said.state), ("7: hi", 7));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// The handler's; what [`Conversation::say`] has.
pub fn say<S, F>(handler: F, state: S, text: &str) -> Result<Said<S>>
where
    S: Default + Serialize + DeserializeOwned + 'static,
    F: AsyncFn(&mut Turn<S>) -> Result<()> + 'static,
{
    let mut conversation = Conversation::new(handler);
    conversation.set_state("ann", &state)?;
    conversation.say("ann", text)
}

/// A handler that some users talk to, without a process. It blocks: for a plain `#[test]`.
///
/// ```
/// use serde_json::json;
/// use turnkey::testing::Conversation;
/// use turnkey::Turn;
///
/// async fn tea(turn: &mut Turn<()>) -> turnkey::Result<()> {
///     match turn.timer() {
///         Some(timer) => turn.reply(format!("Your {} is ready.", timer.name)),
///         None => turn.after("4m", turn.text().to_owned(), json!(null)),
///     }
///     Ok(())
/// }
///
/// # fn main() -> turnkey::Result<()> {
/// let mut bot = Conversation::new(tea);
/// assert_eq!(bot.say("ann", "tea")?.timers, ["tea"]);
/// let said = bot.fire("ann", "tea")?;
/// assert_eq!(said.text(), "Your tea is ready.");
/// # Ok(())
/// # }
/// ```
pub struct Conversation<S> {
    handler: Box<dyn AnyHandler>,
    channel: String,
    dialog_by: DialogBy,
    migrations: Vec<String>,
    platform: Rc<Fake>,
    /// Updates so far: the next one's id.
    count: u64,
    timers: HashMap<DialogKey, BTreeMap<String, Set>>,
    /// The update that opened the callback of an address, and its name.
    callbacks: HashMap<String, (Arc<Update>, String)>,
    /// The oldest first.
    questions: Vec<Question>,
    last: Option<Last>,
    // In this order they are dropped: the writer waits until the storage's tasks, which are the
    // runtime's, have hung up.
    world: Option<(LocalSet, Runtime)>,
    own: Option<Own>,
    state: PhantomData<fn() -> S>,
}

/// The last update, for one more attempt.
struct Last {
    update: Arc<Update>,
    attempt: u32,
    steps: Rc<Steps>,
    is_done: bool,
    /// The timer that it is, which waits until this has been handled.
    timer: Option<String>,
}

impl<S> Conversation<S>
where
    S: Default + Serialize + DeserializeOwned + 'static,
{
    /// With a handler, as [`App::new`](crate::App::new) takes it.
    ///
    /// ```
    /// use turnkey::{Turn, testing::Conversation};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     turn.reply(turn.text());
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(handle);
    /// assert_eq!(bot.say("ann", "hi")?.text(), "hi");
    /// # Ok(())
    /// # }
    /// ```
    pub fn new<F>(handler: F) -> Self
    where
        F: AsyncFn(&mut Turn<S>) -> Result<()> + 'static,
    {
        Conversation {
            handler: Box::new(Typed::new(handler)),
            channel: "test".to_owned(),
            dialog_by: DialogBy::default(),
            migrations: Vec::new(),
            platform: Rc::default(),
            count: 0,
            timers: HashMap::new(),
            callbacks: HashMap::new(),
            questions: Vec::new(),
            last: None,
            own: None,
            world: None,
            state: PhantomData,
        }
    }

    /// The channel's name in each turn from now on; `test` without this.
    ///
    /// ```
    /// use turnkey::{Turn, testing::Conversation};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     turn.reply(turn.channel());
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(handle).channel("telegram");
    /// assert_eq!(bot.say("42", "hi")?.text(), "telegram");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn channel(mut self, name: impl Into<String>) -> Self {
        self.channel = name.into();
        self
    }

    /// Whose state it is in a group, as [`App::dialog_by`](crate::App::dialog_by) takes it. The
    /// methods here take the dialog's name for a user in a group: without this, `7@-1007` is the
    /// user 7 in the group -1007.
    ///
    /// ```
    /// use turnkey::{Chat, DialogBy, Turn, testing::Conversation};
    ///
    /// async fn count(turn: &mut Turn<u32>) -> turnkey::Result<()> {
    ///     turn.state += 1;
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(count).dialog_by(DialogBy::Chat);
    /// let mut update = bot.update("7", "Hello, all!");
    /// update.chat = Some(Chat::group("-1007"));
    /// bot.send(update)?;
    /// assert_eq!((bot.state("-1007")?, bot.state("7")?), (1, 0));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn dialog_by(mut self, by: DialogBy) -> Self {
        self.dialog_by = by;
        self
    }

    /// Tables of the bot's own, as [`App::migrations`](crate::App::migrations) takes them. To be
    /// said before the first turn.
    ///
    /// ```
    /// use turnkey::{Turn, testing::Conversation};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     turn.execute("INSERT INTO notes (words) VALUES (?1)", turn.text());
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(handle).migrations(["CREATE TABLE notes (words TEXT)"]);
    /// bot.say("ann", "milk")?;
    /// let words: String = bot.query("SELECT words FROM notes", ())?[0].get(0)?;
    /// assert_eq!(words, "milk");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn migrations<T: Into<String>>(mut self, scripts: impl IntoIterator<Item = T>) -> Self {
        self.migrations = scripts.into_iter().map(Into::into).collect();
        self
    }

    /// What [`Turn::ask`] is answered: a function of the method and its parameters, whose error
    /// is the platform's refusal.
    ///
    /// ```
    /// use turnkey::{Turn, testing::Conversation};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     let member = turn.ask("getChatMember", serde_json::json!({ "user_id": 7 })).await?;
    ///     turn.reply(member["status"].as_str().unwrap_or("nobody"));
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(handle).answering(|method, _| match method {
    ///     "getChatMember" => Ok(serde_json::json!({ "status": "member" })),
    ///     _ => Err("no such method".to_owned()),
    /// });
    /// assert_eq!(bot.say("ann", "hi")?.text(), "member");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn answering<A>(self, answer: A) -> Self
    where
        A: Fn(&str, &Value) -> std::result::Result<Value, String> + 'static,
    {
        *self.platform.answer.borrow_mut() = Some(Box::new(answer));
        self
    }

    /// What [`Turn::download`] fetches for a file of this id or address.
    ///
    /// ```
    /// use turnkey::{Turn, testing::Conversation};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     if let Some(file) = turn.files().first() {
    ///         let bytes = turn.download(file, 1 << 20).await?;
    ///         turn.reply(format!("{} bytes", bytes.len()));
    ///     }
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(handle).file("v1", b"speech".to_vec());
    /// let mut update = bot.update("ann", "");
    /// let mut voice = turnkey::File::new(turnkey::FileKind::Voice);
    /// voice.id = Some("v1".to_owned());
    /// update.files.push(voice);
    /// assert_eq!(bot.send(update)?.text(), "6 bytes");
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn file(self, id: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        let mut files = self.platform.files.borrow_mut();
        files.insert(id.into(), bytes.into());
        drop(files);
        self
    }

    /// A user writes.
    ///
    /// # Errors
    /// The handler's: then nothing has changed. Or there is no temporary directory; or this
    /// thread is in an async runtime.
    pub fn say(&mut self, user: &str, text: &str) -> Result<Said<S>> {
        let update = self.update(user, text);
        self.send(update)
    }

    /// A user presses the button that carries this data.
    ///
    /// ```
    /// use turnkey::{Turn, testing::Conversation};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     turn.reply(turn.button().unwrap_or("nothing"));
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(handle);
    /// assert_eq!(bot.press("ann", "tea")?.text(), "tea");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Conversation::say`].
    pub fn press(&mut self, user: &str, data: &str) -> Result<Said<S>> {
        let kind = Kind::Button;
        let update = Update {
            kind,
            ..self.update(user, data)
        };
        self.send(update)
    }

    /// A message of a user, with an id that no other has: set what else comes with it (files, a
    /// place, a sender, another kind) and [send](Conversation::send) it.
    pub fn update(&mut self, user: &str, text: &str) -> Update {
        self.count += 1;
        let dialog = DialogKey::new(&self.channel, user);
        Update::new(dialog, self.count.to_string(), text, Bytes::new())
    }

    /// Anything that can come in.
    ///
    /// ```
    /// # fn main() -> turnkey::Result<()> {
    /// use turnkey::testing::Conversation;
    /// use turnkey::{File, FileKind, Turn};
    ///
    /// async fn album(turn: &mut Turn<usize>) -> turnkey::Result<()> {
    ///     turn.state += turn.photos().count();
    ///     Ok(())
    /// }
    ///
    /// let mut bot = Conversation::new(album);
    /// let mut update = bot.update("ann", "Us at the sea");
    /// update.files.push(File::new(FileKind::Photo));
    /// assert_eq!(bot.send(update)?.state, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Conversation::say`]; this update was handled before.
    pub fn send(&mut self, update: Update) -> Result<Said<S>> {
        let mut update = update;
        // What comes of a dialog itself is in it already.
        if update.user.is_empty() {
            self.dialog_by.apply(&mut update);
        }
        self.start(update, None)
    }

    fn start(&mut self, update: Update, timer: Option<String>) -> Result<Said<S>> {
        self.last = Some(Last {
            update: Arc::new(update),
            attempt: 1,
            steps: Rc::default(),
            is_done: false,
            timer,
        });
        self.attempt()
    }

    /// The last update once more, after its turn failed: as its next attempt, which is given
    /// what the steps of the ones before have kept.
    ///
    /// ```
    /// use turnkey::{Turn, testing::Conversation};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     if turn.attempt() == 1 {
    ///         return Err(turnkey::Error::msg("the shop is away"));
    ///     }
    ///     turn.reply("Done.");
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(handle);
    /// assert!(bot.say("ann", "buy").is_err());
    /// assert_eq!(bot.again()?.text(), "Done.");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Conversation::say`]; there is none, or its turn did not fail.
    pub fn again(&mut self) -> Result<Said<S>> {
        match &mut self.last {
            Some(last) if !last.is_done => last.attempt += 1,
            _ => return Err(Error::msg("the last turn has not failed")),
        }
        self.attempt()
    }

    /// Another system calls: what `POST /rpc/CHANNEL/USER` starts.
    ///
    /// ```
    /// use turnkey::{Turn, testing::Conversation};
    ///
    /// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
    ///     let rpc = turn.rpc().expect("another system called");
    ///     turn.reply(format!("{} {}", rpc.method, rpc.params["eur"]));
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(handle);
    /// let said = bot.rpc("ann", "paid", serde_json::json!({ "eur": 30 }))?;
    /// assert_eq!(said.text(), "paid 30");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Conversation::say`].
    pub fn rpc(&mut self, user: &str, method: &str, params: Value) -> Result<Said<S>> {
        let raw = serde_json::to_vec(&json!({ "method": method, "params": params }))?;
        let update = Update {
            kind: Kind::Rpc,
            raw: raw.into(),
            ..self.update(user, "")
        };
        self.send(update)
    }

    /// A user's state as the next turn will find it.
    ///
    /// ```
    /// use turnkey::{Turn, testing::Conversation};
    ///
    /// async fn handle(turn: &mut Turn<u32>) -> turnkey::Result<()> {
    ///     turn.state += 1;
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> turnkey::Result<()> {
    /// let mut bot = Conversation::new(handle);
    /// bot.set_state("ann", &6)?;
    /// bot.say("ann", "hi")?;
    /// assert_eq!(bot.state("ann")?, 7);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// It does not fit the type; as [`Conversation::say`].
    pub fn state(&mut self, user: &str) -> Result<S> {
        let granted = self.begin(user)?;
        match granted.state {
            Some(state) => Ok(serde_json::from_str(&state)?),
            None => Ok(S::default()),
        }
    }

    /// Gives a user a state, as an earlier turn would have left it.
    ///
    /// # Errors
    /// JSON cannot hold it; as [`Conversation::say`].
    pub fn set_state(&mut self, user: &str, state: &S) -> Result<()> {
        let state = serde_json::to_string(state)?;
        let mut granted = self.begin(user)?;
        let commit = Commit {
            update: format!("state {}", self.count),
            state,
            lock: LockAfter::GivenBack,
            ..Commit::default()
        };
        self.run(async |storage| storage.commit(&mut granted.grant, commit).await)?
            .map_err(Error::Storage)
    }

    /// A look at the bot's own tables.
    ///
    /// # Errors
    /// The query is wrong, or writes; as [`Conversation::say`].
    pub fn query(&mut self, sql: impl Into<String>, params: impl Params) -> Result<Vec<Row>> {
        let query = Statement::new(sql, params);
        self.run(async |storage| storage.query(None, query).await)?
            .map_err(Error::Storage)
    }
}

mod left;
mod running;
#[cfg(test)]
mod tests;
