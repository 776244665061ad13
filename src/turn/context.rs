//! What the turns of a worker share.
//!
//! Made by the worker after its fork, passed to everything that runs or starts a turn. Bound:
//! [`Limits::turns`] turns in flight.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use turnkey_storage::Storage;

use crate::author::dialog_by::DialogBy;
use crate::author::every::Declared;
use crate::author::message::Hears;
use crate::author::overlap::Overlaps;
use crate::author::user_lock::UserLock;
use crate::channels::Channels;
use crate::handlers::AnyHandler;
use crate::shared::met::Met;
use crate::shared::rate::Limiter;
use crate::shared::scoreboard::{Field, Slot};
use crate::turn::receipt::Inbox;

/// How long an accepted update waits for the lock; past it `recovery.rs` sees to it.
pub(super) const ACCEPTED_WAIT: Duration = Duration::from_secs(3600);

/// What a worker's turns share.
pub(crate) struct Bot {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) inbox: Inbox,
    pub(crate) handler: Box<dyn AnyHandler>,
    /// Whom an update that is given up is told.
    pub(crate) given_up: GivenUp,
    pub(crate) channels: Rc<Channels>,
    /// The author's, taken before the storage's.
    pub(crate) user_lock: Option<Box<dyn UserLock>>,
    pub(crate) limits: Limits,
    pub(crate) history: bool,
    /// The kinds of update that the handler hears.
    pub(crate) hears: Hears,
    /// What has a state of its own in a group.
    pub(crate) dialog_by: DialogBy,
    /// What becomes of messages that come shortly after each other.
    pub(crate) overlap: Overlaps,
    /// The bot's own schedules.
    pub(crate) every: Vec<Declared>,
    /// When the database was migrated from one state a user: see `inherited.rs`.
    pub(crate) inherits: OnceCell<Option<i64>>,
    /// How much is taken of whom.
    pub(crate) limiter: Limiter,
    /// Whose names the database has.
    pub(crate) met: Met,
    /// This worker's counters; `InFlight` is its number of turns.
    pub(crate) slot: Slot,
    /// Bytes of bodies that are being read.
    pub(crate) body_bytes: Cell<usize>,
    /// The worker is leaving: what cannot be sent at once stays in the outbox.
    pub(crate) draining: watch::Receiver<bool>,
}

/// Whom an update that is given up is told.
pub(crate) enum GivenUp {
    Nobody,
    /// The handler itself.
    Handler,
    /// What the author wrote for that.
    Other(Box<dyn AnyHandler>),
}

/// How much and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Turns in flight in a worker; one more is answered "busy".
    pub(crate) turns: usize,
    /// How long an update waits behind earlier ones of its dialog.
    pub(crate) lock_wait: Duration,
    /// Users see that the bot is typing.
    pub(crate) typing: bool,
    /// How long a handler may take.
    pub(crate) turn_timeout: Duration,
    /// Attempts at an update before it goes to the dead letters.
    pub(crate) attempts: u32,
    /// Attempts at a reply before it is a dead reply.
    pub(crate) reply_attempts: u32,
    /// How old a reply may be that fails.
    pub(crate) reply_age: Duration,
}

/// A place among the turns in flight.
pub(crate) struct InFlight(pub(super) Rc<Bot>);

impl InFlight {
    pub(super) fn enter(bot: &Rc<Bot>) -> Option<Self> {
        if bot.slot.get(Field::InFlight) >= bot.limits.turns as u64 {
            return None;
        }
        bot.slot.add(Field::InFlight, 1);
        Some(InFlight(bot.clone()))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.slot.subtract(Field::InFlight, 1);
    }
}
