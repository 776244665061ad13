//! The [`Turn`] that a handler is given.
//!
//! Made and taken apart by `handlers/rust.rs`. What it can do stands in files of their own:
//! `hearing.rs`, `saying.rs`, `later.rs`, `asking.rs`, `own_sql.rs`, `coming_back.rs`,
//! `quick_messages.rs`. Invariant: nothing that a handler does here
//! takes effect before its turn is committed, but for [`Turn::ask`], [`Turn::download`] and
//! [`Turn::draft`], which call the platform at once, and [`Turn::step`].

use std::cell::{Cell, OnceCell};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use turnkey_storage::{DialogKey, Grant, Statement, Storage, replies};

use crate::author::drafts::Drafts;
use crate::author::error::{Error, Result};
use crate::author::list::List;
use crate::author::message::{Action, NewCallback, Outgoing, TimerChange, Update};
use crate::author::newer::Newer;
use crate::author::overlap::OverlapChange;
use crate::author::platform::Platform;
use crate::author::steps::{self, Steps, Used};

/// Replies and other actions of one turn. More is a handler that loops.
pub const MAX_REPLIES: usize = 1000;

/// The event of an update that says that a user cannot be reached.
pub(crate) const UNREACHABLE: &str = "unreachable";

/// A reply that was given up.
///
/// ```
/// use turnkey::{Action, Turn};
///
/// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
///     for dead in turn.dead_replies().await? {
///         if let Action::Reply(reply) = dead.action {
///             turn.reply(format!("I could not send you this: {}", reply.text));
///         }
///     }
///     Ok(())
/// }
/// # turnkey::App::new(handle);
/// ```
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
    /// The names of a turn's steps differ; one whose body failed may be tried again. Once
    /// the first result is kept the update is in the inbox, its platform is answered, and a
    /// caller of `POST /http` waits through the attempts; a failure before that, the body's own
    /// for one, is answered to that caller with 503, and is not tried again. The commit takes
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
