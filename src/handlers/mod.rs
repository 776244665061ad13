//! Runs the author's code: the contract that every kind of handler keeps, and a file for each
//! kind.
//!
//! Called by `turn/turn.rs`, which knows no state type and no language. Invariant: whatever a
//! handler does (fail, panic, take too long), the lock comes back; its results count only if it
//! returned `Ok`.

#[cfg(feature = "any-language")]
pub(crate) mod command;
pub(crate) mod rust;

use std::any::TypeId;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use turnkey_storage::{Grant, Statement, Storage};

use crate::author::dialog_by::DialogBy;
use crate::author::error::Result;
use crate::author::every::Every;
use crate::author::message::{Action, Hears, NewCallback, TimerChange, Update};
use crate::author::newer::Newer;
use crate::author::overlap::{OverlapChange, Overlaps};
use crate::author::platform::Platform;
use crate::author::start_error::{StartError, StartResult};
use crate::author::steps::Steps;
use crate::author::user_lock::LockFactory;
use crate::channels::Factory;
use crate::config::Config;
use crate::shared::scoreboard::Groups;

/// What the author of a bot brings.
pub(crate) struct Author {
    pub(crate) handler: Box<dyn AnyHandler>,
    pub(crate) migrations: Vec<String>,
    /// Channels of the author's own, by name.
    pub(crate) channels: Vec<(String, Factory)>,
    /// A user lock of the author's own.
    pub(crate) user_lock: Option<LockFactory>,
    /// The kinds of update that it hears, unless the handler says so itself.
    pub(crate) hears: Hears,
    /// What has a state in a group, unless the handler says so itself.
    pub(crate) dialog_by: DialogBy,
    /// What becomes of messages that come shortly after each other, likewise.
    pub(crate) overlap: Overlaps,
    /// The bot's own schedules, likewise.
    pub(crate) every: Vec<Every>,
    /// What is called when an update is given up; a handler in another language may want to be
    /// called itself.
    pub(crate) given_up: Option<Box<dyn AnyHandler>>,
}

impl Author {
    /// Whether its code can be started at all: see [`AnyHandler::try_out`].
    ///
    /// # Errors
    /// It cannot, and why.
    pub(crate) fn try_out(&self, config: &Config) -> StartResult {
        if let Some(given_up) = &self.given_up
            && given_up.state() != self.handler.state()
        {
            return Err(StartError::Refused(
                "the function of App::given_up has a turn of another state than the handler's: \
                 both are a user's"
                    .to_owned(),
            ));
        }
        self.handler.try_out(config)
    }
}

/// What a handler left when it returned `Ok`.
pub(crate) struct Handled {
    pub(crate) state: String,
    pub(crate) actions: Vec<Action>,
    pub(crate) statements: Vec<Statement>,
    pub(crate) timers: Vec<TimerChange>,
    /// What it says of quick messages of its dialog.
    pub(crate) overlap: Option<OverlapChange>,
    pub(crate) callbacks: Vec<NewCallback>,
}

/// What a handler is called with.
pub(crate) struct Call {
    pub(crate) update: Arc<Update>,
    /// From 1.
    pub(crate) attempt: u32,
    pub(crate) is_last_attempt: bool,
    /// Why the update is given up, if this call is about that.
    pub(crate) given_up: Option<Rc<str>>,
    /// JSON text; none for a new user.
    pub(crate) state: Option<String>,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) grant: Grant,
    pub(crate) timeout: Duration,
    pub(crate) platform: Rc<dyn Platform>,
    /// What earlier attempts have kept, and where this one has more kept.
    pub(crate) steps: Rc<Steps>,
    pub(crate) newer: Newer,
    pub(crate) interruption: Interruption,
}

/// What ends a handler's run before its own end.
#[derive(Default)]
pub(crate) struct Interruption {
    /// None if nothing does, or if that has happened.
    comes: Option<Pin<Box<dyn Future<Output = ()>>>>,
    has_come: bool,
}

impl Interruption {
    pub(crate) fn new(comes: impl Future<Output = ()> + 'static) -> Self {
        Interruption {
            comes: Some(Box::pin(comes)),
            has_come: false,
        }
    }

    #[cfg(feature = "any-language")]
    pub(crate) fn has_come(&self) -> bool {
        self.has_come
    }

    /// Resolves when it comes, and at once if it has.
    pub(crate) async fn comes(&mut self) {
        match &mut self.comes {
            Some(comes) => comes.await,
            None if self.has_come => {}
            None => std::future::pending().await,
        }
        (self.comes, self.has_come) = (None, true);
    }
}

/// How a handler's run ended.
pub(crate) enum RunEnd {
    /// By itself.
    Ended(Result<Handled>),
    /// Something newer came: it has no effect, and was no attempt.
    Interrupted,
}

/// What comes back: the lock and the state as it was, in any case.
pub(crate) struct Returned {
    pub(crate) state: Option<String>,
    pub(crate) grant: Grant,
    pub(crate) outcome: RunEnd,
}

/// What a handler says of itself when it starts; what it leaves out is the author's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) hears: Option<Hears>,
    pub(crate) dialog_by: Option<DialogBy>,
    pub(crate) overlap: Option<Overlaps>,
    pub(crate) every: Option<Vec<Every>>,
    /// It wants to be called when an update is given up.
    pub(crate) given_up: bool,
}

/// What a handler is started with, in a worker.
#[cfg_attr(
    not(feature = "any-language"),
    expect(dead_code, reason = "a handler in Rust needs nothing")
)]
pub(crate) struct Starting<'a> {
    pub(crate) config: &'a Config,
    /// The worker's place.
    pub(crate) worker: usize,
    /// It does what one worker does for all.
    pub(crate) is_first: bool,
    /// Where its processes are noted, for whoever outlives it.
    pub(crate) groups: Groups,
}

/// A handler of any kind.
pub(crate) trait AnyHandler {
    /// Runs a turn.
    fn call(&self, call: Call) -> Pin<Box<dyn Future<Output = Returned> + '_>>;

    /// The type of its state, where that is one of Rust's.
    fn state(&self) -> Option<TypeId> {
        None
    }

    /// Whether it can be started at all. Called once, before workers are forked, in a
    /// process without a runtime.
    ///
    /// # Errors
    /// It cannot, and why.
    fn try_out(&self, _config: &Config) -> StartResult {
        Ok(())
    }

    /// Makes it ready, in a worker that is about to serve. What it says of
    /// itself.
    ///
    /// # Errors
    /// It does not start, and why.
    fn start<'a>(
        &'a self,
        _starting: Starting<'a>,
    ) -> Pin<Box<dyn Future<Output = StartResult<Wishes>> + 'a>> {
        Box::pin(async { Ok(Wishes::default()) })
    }

    /// Why turns would only wait now, if that is so.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Lets it go, in a worker that has no turn in flight any more.
    fn stop(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(async {})
    }
}
