//! What the callers, the lanes and the keeper of a process share: the lanes' queues and the
//! waiting turns.
//!
//! Made once for each storage by the engine's `connect`. Each dialog has its pair of lanes, one
//! for requests that take a lock and one for those that commit or release, so that a process's
//! requests of each kind for one dialog arrive in order. Bounds: a queue holds the requests of
//! the caller's turns in flight.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::wire::Turn;
use crate::{Begun, DialogKey, Error, Fence, LockAfter, Release, ReplyId, Result};

/// Who asked is told here.
pub(super) type To = oneshot::Sender<Result<()>>;

/// What a lane is asked.
pub(crate) enum Job {
    /// Only those without statements of the author's, and without relays.
    Commit(Box<Turn>, To),
    Sent {
        dialog: DialogKey,
        fence: Fence,
        replies: Vec<ReplyId>,
        lock: LockAfter,
        to: Option<To>,
    },
    Begin {
        ticket: i64,
        dialog: DialogKey,
    },
    Read {
        ticket: i64,
        dialog: DialogKey,
        fence: Fence,
    },
    Cancel {
        ticket: i64,
        dialog: DialogKey,
    },
}

pub(super) enum Order {
    Do(Job),
    /// Say when all before it is done.
    Tell(oneshot::Sender<()>),
}

impl Job {
    /// What must be durable before it is answered goes another way than what need
    /// not be: begins do not stand in line behind a sync.
    fn waits_for_the_disk(&self) -> bool {
        matches!(self, Job::Commit(..) | Job::Sent { .. })
    }

    pub(super) fn dialog(&self) -> &DialogKey {
        match self {
            Job::Commit(turn, _) => &turn.dialog,
            Job::Sent { dialog, .. }
            | Job::Begin { dialog, .. }
            | Job::Read { dialog, .. }
            | Job::Cancel { dialog, .. } => dialog,
        }
    }
}

/// What the callers, the lanes and the keeper of a process share.
pub(crate) struct Shared {
    /// As it is called in messages, such as `PostgreSQL`.
    pub(crate) engine: &'static str,
    pub(crate) owner: i64,
    pub(crate) waiting: Mutex<Waiters>,
    pub(crate) last_ticket: AtomicI64,
    /// This process is known to live: its locks are its own.
    pub(crate) up: watch::Sender<bool>,
    /// Why it is not known to live, as the keeper heard it last.
    pub(crate) trouble: Mutex<String>,
    /// A waiter was queued.
    pub(crate) queued: Notify,
    lanes: Vec<mpsc::UnboundedSender<Order>>,
    hasher: foldhash::fast::RandomState,
}

/// What a lane was asked and has not taken yet.
pub(crate) struct Queue(pub(super) mpsc::UnboundedReceiver<Order>);

impl Shared {
    pub(crate) fn new(engine: &'static str, owner: i64, lanes: usize) -> (Arc<Self>, Vec<Queue>) {
        let (lanes, queues) = (0..lanes)
            .map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                (sender, Queue(receiver))
            })
            .unzip();
        let shared = Arc::new(Shared {
            engine,
            owner,
            waiting: Mutex::default(),
            last_ticket: AtomicI64::new(0),
            up: watch::Sender::new(false),
            trouble: Mutex::default(),
            queued: Notify::new(),
            lanes,
            hasher: foldhash::fast::RandomState::default(),
        });
        (shared, queues)
    }

    pub(crate) fn submit(&self, job: Job) {
        let pair = self.hasher.hash_one(job.dialog()) as usize % (self.lanes.len() / 2);
        let lane = 2 * pair + usize::from(job.waits_for_the_disk());
        // A lane ends after this only: nobody is left to be told.
        drop(self.lanes[lane].send(Order::Do(job)));
    }

    /// Resolves when all that was asked before is done.
    pub(crate) async fn arrived(&self) -> Result<()> {
        let mut told = Vec::new();
        for lane in &self.lanes {
            let (sender, receiver) = oneshot::channel();
            drop(lane.send(Order::Tell(sender)));
            told.push(receiver);
        }
        for receiver in told {
            receiver.await.map_err(|_| closed())?;
        }
        Ok(())
    }
}

impl Shared {
    pub(super) fn next_ticket(&self) -> i64 {
        self.last_ticket.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Why the keeper has no session, as far as that is known.
    pub(super) fn away(&self) -> Error {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match trouble.as_str() {
            "" => self.not_there(),
            why => Error::Unavailable(format!("{}: {why}", self.engine)),
        }
    }

    /// The keeper's session ended, or could not be had.
    pub(crate) fn is_away(&self, why: Option<String>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        *trouble = why.unwrap_or_default();
    }

    pub(crate) fn not_there(&self) -> Error {
        Error::Unavailable(format!("the {} server does not answer", self.engine))
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Release for Shared {
    fn release(&self, dialog: DialogKey, fence: Fence) {
        self.submit(Job::Sent {
            dialog,
            fence,
            replies: Vec::new(),
            lock: LockAfter::GivenBack,
            to: None,
        });
    }
}

/// A begin without an answer.
pub(crate) struct Waiter {
    pub(crate) dialog: DialogKey,
    pub(crate) update: Option<String>,
    /// Microseconds since 1970.
    pub(crate) arrived: i64,
    pub(crate) to: oneshot::Sender<Result<Begun>>,
    pub(crate) stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not sent: the server knows nothing of it.
    Fresh,
    /// Sent, not answered.
    Sent,
    /// In the dialog's queue.
    Queued(Instant),
    /// Granted; what the turn needs to know is being read.
    Reading,
}

pub(crate) type Waiters = HashMap<i64, Waiter>;

pub(crate) fn closed() -> Error {
    Error::Unavailable("the storage was closed".to_owned())
}
