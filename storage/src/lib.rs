//! Storage engines for one-turn-at-a-time work on per-user state.
//!
//! A *dialog* is one user on one channel. A *turn* handles one of its updates
//! and is made of three calls, which are the whole contract of [`Storage`]:
//!
//! 1. [`begin`](Storage::begin): wait for the dialog's lock, learn whether this
//!    update was handled before, read the state;
//! 2. [`commit`](Storage::commit): state, update id, answer, replies, updates for other dialogs
//!    and the author's own SQL in one transaction, durable when the call returns;
//! 3. [`end`](Storage::end): forget the replies that were sent, give the lock back.
//!
//! What every engine promises (`tests/conformance/` holds them to it):
//!
//! * **Order.** Turns of a dialog run one at a time, first come, first served.
//!   Turns of different dialogs never wait for each other's handlers.
//! * **Durability.** What `commit` acknowledged survives: under [`Sync::Full`] a
//!   power cut, under [`Sync::Normal`] the death of any process.
//! * **Nothing early.** `begin` may return a state whose commit is not durable yet, since the
//!   holder of the lock can only commit after it. Data that a caller would pass on to the
//!   outside, a stored answer or an unsent reply, is only handed out once it is durable.
//! * **Fencing.** Each grant has a [`Fence`]; a commit under a lock that was taken away returns
//!   [`Error::Stale`] and changes nothing.
//! * **Once.** A commit that is sent again (its answer was lost) is recognised by
//!   its update id and fence, and does not take effect twice.
//!
//! The engine for SQLite is in [`sqlite`]: a single-writer queue with group
//! commit, shared by any number of processes of one machine. The engines for
//! PostgreSQL, feature `postgres`, and for MySQL and MariaDB, feature `mysql`, are in
//! `postgres` and `mysql`: row locks, for many machines.
//! [`copy`] moves everything from one database to another.

mod address;
pub mod admin;
pub mod broadcasts;
pub mod callbacks;
pub mod clock;
pub mod copy;
mod database;
pub mod dead;
mod done;
mod error;
pub mod inbox;
mod inspect;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod lanes;
pub mod marks;
pub mod messages;
mod migration;
#[cfg(feature = "jiff")]
mod moments;
#[cfg(feature = "mysql")]
pub mod mysql;
pub mod overlaps;
mod own;
pub mod pauses;
pub mod people;
pub mod person;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod reasons;
mod remedy;
pub mod replies;
pub mod retention;
mod row;
pub mod schedules;
pub mod sqlite;
pub mod standby;
pub mod steps;
pub mod taken;
pub mod timers;
pub mod tools;
mod value;
mod write;

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use address::Address;
pub use database::Database;
pub use error::{Error, Result};
pub use inbox::Pending;
pub use inspect::{DialogLine, Finding};
pub use remedy::{About, OpenError, Remedy};
/// What [`read`](sqlite::SharedDatabase::read) hands out.
pub use rusqlite;
pub use value::{Column, FromValue, Params, Row, Statement, Value};
pub(crate) use write::Guarded;
pub use write::{Outcome, Write};

/// The future of a [`Storage`] call.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One user on one channel: what locks, state and order belong to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DialogKey {
    /// The channel's name, such as `telegram`.
    pub channel: String,
    /// The user, as the channel names them.
    pub user_id: String,
}

impl DialogKey {
    /// Makes a key of its two parts.
    pub fn new(channel: impl Into<String>, user_id: impl Into<String>) -> Self {
        DialogKey {
            channel: channel.into(),
            user_id: user_id.into(),
        }
    }
}

impl std::fmt::Display for DialogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.channel, self.user_id)
    }
}

/// One life of one worker. Never a process id: those are reused, and in a
/// container they are always the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(pub u64);

/// The number of a grant. It rises with every grant of a database, across restarts,
/// so of two holders of a dialog the later one has the larger fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// How far an acknowledged commit has got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sync {
    /// On the disk: it survives a power cut.
    #[default]
    Full,
    /// In the operating system: it survives the death of the program.
    Normal,
}

/// When an update arrived. It orders the queue for a dialog's lock, also when a turn has
/// to begin again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The order within a machine: CLOCK_MONOTONIC in nanoseconds, one clock for all its
    /// processes, and [`BEFORE_BOOT`] more.
    pub(crate) order: u64,
    /// Microseconds since 1970, by [`clock`]: the order within the inbox and between
    /// machines.
    unix_us: i64,
}

/// Nanoseconds, 146 years: what arrived before the machine started has its order too.
const BEFORE_BOOT: u64 = 1 << 62;

impl Arrival {
    /// This moment.
    pub fn now() -> Self {
        use nix::time::{ClockId, clock_gettime};
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| {
            t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64
        });
        Arrival {
            order: BEFORE_BOOT + monotonic,
            unix_us: clock::now_us(),
        }
    }

    /// An update that arrived at this moment of the wall clock, in microseconds since
    /// 1970. It keeps exactly this place in the order of the inbox.
    pub fn at(unix_us: i64) -> Self {
        let now = Arrival::now();
        let age_ns = now.unix_us.saturating_sub(unix_us).saturating_mul(1000);
        Arrival {
            order: now.order.saturating_add_signed(age_ns.saturating_neg()),
            unix_us,
        }
    }

    /// Microseconds since 1970.
    pub fn unix_us(self) -> i64 {
        self.unix_us
    }
}

/// A request for a dialog's lock.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Whose turn it is.
    pub dialog: DialogKey,
    /// The update's id within its channel; none to only send what an earlier
    /// turn left unsent.
    pub update: Option<String>,
    /// When the update arrived: earlier ones are served earlier.
    pub arrived: Arrival,
    /// How long to wait for the lock; past it the answer is [`Error::Busy`].
    pub wait: Duration,
}

/// The answer to [`Begin`].
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived; a box would cost every turn an allocation"
)]
#[derive(Debug)]
pub enum Begun {
    /// The update was committed before, and all its replies were sent: repeat the answer.
    Seen(Seen),
    /// The dialog's lock.
    Granted(Granted),
}

impl Begun {
    /// The lock, unless there is nothing to do but repeat an answer.
    pub fn granted(self) -> Option<Granted> {
        match self {
            Begun::Granted(granted) => Some(granted),
            Begun::Seen(_) => None,
        }
    }
}

/// A lock, and what a turn needs to know.
#[derive(Debug)]
pub struct Granted {
    /// The lock.
    pub grant: Grant,
    /// What was answered to this update before, if it was: then `unsent` has replies that
    /// go first.
    pub seen: Option<Seen>,
    /// The dialog's state; none for a new dialog.
    pub state: Option<String>,
    /// Replies of earlier turns that were never marked as sent, in order.
    pub unsent: Vec<Unsent>,
    /// The oldest update of this dialog in the inbox that arrived before this one: it
    /// goes first, due or not. With no `update` in [`Begin`]: the oldest of all, if it
    /// is due.
    pub earlier: Option<Pending>,
}

/// The trace of an update that was handled before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The digest its commit carried.
    pub digest: Vec<u8>,
    /// The answer its commit carried.
    pub answer: Vec<u8>,
}

/// The place of a reply: the turn that made it and its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyId {
    /// The fence of the turn that committed the reply.
    pub turn: Fence,
    /// Its index among that turn's replies, from 0.
    pub index: u32,
}

/// A committed reply that was not marked as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent {
    /// Its place.
    pub id: ReplyId,
    /// What the commit carried.
    pub body: String,
}

/// What a turn leaves behind: all of it, or none.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// The update's id within its channel. It must be unique for each update:
    /// where a platform gives none, the caller makes one up.
    pub update: String,
    /// A digest of the update, to tell another one under the same id; may be empty.
    pub digest: Vec<u8>,
    /// What to answer when the same update comes again.
    pub answer: Vec<u8>,
    /// The new state, as JSON text.
    pub state: String,
    /// Replies still to be sent, in order.
    pub replies: Vec<String>,
    /// The author's own statements, run in order before the rest.
    pub statements: Vec<Statement>,
    /// A line for the dialog's history, as JSON text, if one is kept.
    pub history: Option<String>,
    /// What becomes of the dialog's lock.
    pub lock: LockAfter,
    /// Where the update came from.
    pub origin: Origin,
    /// Updates for other dialogs, or for this one, which enter the inbox with this commit. One
    /// that is there already, or was handled before, is left alone.
    pub relays: Vec<Pending>,
    /// What else changes in our own tables with this commit.
    pub changes: Vec<Change>,
}

/// A change of our own tables that comes about with a turn's commit, or not at all. Made by
/// the modules whose tables they are, such as [`inbox::handled`].
#[derive(Clone, Debug)]
pub struct Change(pub(crate) Statement);

/// What becomes of a dialog's lock when a call has done its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LockAfter {
    /// Its holder goes on, such as with replies to send.
    #[default]
    Kept,
    /// It goes to the next in line, in the same step.
    GivenBack,
}

/// Where the update of a turn came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Straight from its platform.
    #[default]
    Arrival,
    /// Out of the inbox, which the turn's commit takes it out of.
    Inbox,
}

/// A dialog's lock, held. Dropping it gives the lock back.
#[derive(Debug)]
pub struct Grant {
    dialog: DialogKey,
    fence: Fence,
    version: u64,
    open: bool,
    release: std::sync::Weak<dyn Release>,
}

/// Gives a lock back when its [`Grant`] is dropped.
trait Release: Send + std::marker::Sync + std::fmt::Debug {
    fn release(&self, dialog: DialogKey, fence: Fence);
}

impl Grant {
    /// The dialog.
    pub fn dialog(&self) -> &DialogKey {
        &self.dialog
    }

    /// The number of this grant.
    pub fn fence(&self) -> Fence {
        self.fence
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let Some(release) = self.release.upgrade() {
            release.release(self.dialog.clone(), self.fence);
        }
    }
}

/// An engine. See the crate's page for what every one of them promises.
///
/// This trait is sealed: it is called, not implemented, outside of this crate. What is kept
/// beside the turns (the inbox, dead letters, pauses …) rests on more than these calls. A
/// bot that is to be tested has SQLite in a temporary directory.
pub trait Storage: own::Own + Send + std::marker::Sync {
    /// Takes the dialog's lock and reads what a turn needs.
    ///
    /// # Errors
    /// [`Error::Busy`] when the wait ran out or too many wait already;
    /// [`Error::Unavailable`] when the storage could not be reached;
    /// [`Error::Full`] when there is a stored answer or an unsent reply to show
    /// and the disk has no room for the lock that goes with it.
    fn begin(&self, begin: Begin) -> BoxFuture<'_, Result<Begun>>;

    /// Makes a turn durable.
    ///
    /// # Errors
    /// [`Error::Stale`]: the lock was lost, run the turn again.
    /// [`Error::Seen`]: the update was committed meanwhile under another dialog.
    /// [`Error::Statement`]: the author's SQL failed; nothing was changed.
    /// [`Error::Full`], [`Error::Unavailable`]: try later; in the second case
    /// the commit may still take effect.
    fn commit<'a>(&'a self, grant: &'a mut Grant, commit: Commit) -> BoxFuture<'a, Result<()>>;

    /// Marks replies as sent, while the lock is kept.
    ///
    /// # Errors
    /// As [`commit`](Storage::commit)'s [`Error::Full`] and [`Error::Unavailable`].
    fn sent<'a>(&'a self, grant: &'a Grant, replies: Vec<ReplyId>) -> BoxFuture<'a, Result<()>>;

    /// Marks replies as sent and gives the lock back.
    ///
    /// # Errors
    /// As [`sent`](Storage::sent); the lock is given back all the same.
    fn end(&self, grant: Grant, replies: Vec<ReplyId>) -> BoxFuture<'_, Result<()>>;

    /// Asks a question of the author's own tables, outside any transaction. With
    /// a grant, everything that earlier turns of the dialog committed is seen.
    ///
    /// # Errors
    /// [`Error::Statement`] when the query is wrong or writes.
    fn query<'a>(
        &'a self,
        grant: Option<&'a Grant>,
        query: Statement,
    ) -> BoxFuture<'a, Result<Vec<Row>>>;

    /// Up to `limit` dialogs that have unsent replies and no turn under way.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    fn dialogs_with_unsent(&self, limit: u32) -> BoxFuture<'_, Result<Vec<DialogKey>>>;

    /// Whether a turn could be committed now. It asks whoever writes, as a commit does,
    /// and changes nothing; questions are answered also where nothing can be written.
    /// Readiness asks once a second at most. An engine in which whoever answers a question
    /// also takes a commit need not say more.
    ///
    /// # Errors
    /// [`Error::Unavailable`] with the reason, [`Error::Full`]. It may also take long: the
    /// caller sets the limit.
    fn write_ready(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// This bit of a dialog's version says that its state was forgotten; versions without it
/// are fences.
pub(crate) const FORGOTTEN: u64 = 1 << 62;

/// The state as its caller knows it.
pub(crate) fn unless_forgotten(version: u64, state: Option<String>) -> Option<String> {
    state.filter(|_| version & FORGOTTEN == 0)
}

/// Milliseconds since 1970, for columns that people read.
pub(crate) fn unix_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as i64)
}
