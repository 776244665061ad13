//! The begin requests of this process that were not answered yet.
//!
//! An entry is made by [`QueuePlace::take`] and answered by a lane (`phases.rs`), at once or when
//! the engine's keeper finds that the lock was handed over. Invariant: code that takes an entry
//! out answers it or gives up its row; if a lock is granted to an entry that is gone, the
//! cancel that was sent when it went releases the lock. Bounds: those of the caller's turns in
//! flight.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::shared::{Job, Shared, Stage, Waiter, Waiters};
use crate::{Arrival, Begun, DialogKey, Error, Fence, Result};

/// A waiter is looked for in the tables this long after it was queued, in case
/// the word that it was served got lost.
pub(crate) const LOOK_AFTER: Duration = Duration::from_millis(400);

/// A begin that somebody waits for. Dropping it gives the place up.
pub(crate) struct QueuePlace {
    shared: Arc<Shared>,
    ticket: i64,
}

impl QueuePlace {
    pub(crate) fn take(
        shared: &Arc<Shared>,
        dialog: DialogKey,
        update: Option<String>,
        arrived: Arrival,
    ) -> (Self, oneshot::Receiver<Result<Begun>>) {
        let (to, receiver) = oneshot::channel();
        let ticket = shared.next_ticket();
        let begin = Job::Begin {
            ticket,
            dialog: dialog.clone(),
        };
        let waiter = Waiter {
            dialog,
            update,
            arrived: arrived.unix_us(),
            to,
            stage: Stage::Fresh,
        };
        shared.waiters().insert(ticket, waiter);
        shared.submit(begin);
        let place = QueuePlace {
            shared: shared.clone(),
            ticket,
        };
        (place, receiver)
    }

    /// Its entry is gone already.
    pub(crate) fn answered(self) {
        drop(self);
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        let waiter = self.shared.waiters().remove(&self.ticket);
        if let Some(waiter) = waiter
            && waiter.stage != Stage::Fresh
        {
            self.shared.submit(Job::Cancel {
                ticket: self.ticket,
                dialog: waiter.dialog,
            });
        }
    }
}

impl Shared {
    /// No code that can panic runs under this mutex.
    pub(crate) fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock was handed to one of our waiters.
    pub(crate) fn granted(&self, ticket: i64, fence: i64) {
        let mut waiters = self.waiters();
        let Some(waiter) = waiters.get_mut(&ticket) else {
            return; // Given up: its cancel gives the lock back.
        };
        if waiter.stage == Stage::Reading {
            return;
        }
        waiter.stage = Stage::Reading;
        let read = Job::Read {
            ticket,
            dialog: waiter.dialog.clone(),
            fence: Fence(fence as u64),
        };
        drop(waiters);
        self.submit(read);
    }

    /// Those that have been queued for a while.
    #[cfg(feature = "postgres")]
    pub(crate) fn queued(&self) -> Vec<i64> {
        let queued = self.queued_for(LOOK_AFTER);
        queued.into_iter().map(|(ticket, _)| ticket).collect()
    }

    /// Those that have been queued for so long.
    pub(crate) fn queued_for(&self, time: Duration) -> Vec<(i64, DialogKey)> {
        self.waiters()
            .iter()
            .filter(|(_, w)| matches!(w.stage, Stage::Queued(at) if at.elapsed() >= time))
            .map(|(ticket, w)| (*ticket, w.dialog.clone()))
            .collect()
    }

    /// A queued waiter whose row is gone: this process was taken for dead.
    pub(crate) fn lost_place(&self, ticket: i64) {
        let mut waiters = self.waiters();
        if !matches!(waiters.get(&ticket), Some(w) if matches!(w.stage, Stage::Queued(_))) {
            return;
        }
        if let Some(waiter) = waiters.remove(&ticket) {
            drop(waiters);
            let lost = format!(
                "the place in the queue was lost with the connection to {}",
                self.engine
            );
            drop(waiter.to.send(Err(Error::Unavailable(lost))));
        }
    }

    /// The server has been away for too long: nobody needs to wait any more.
    pub(crate) fn give_up(&self) {
        let mut waiters = self.waiters();
        let tickets: Vec<i64> = waiters
            .iter()
            .filter(|(_, w)| matches!(w.stage, Stage::Fresh | Stage::Queued(_)))
            .map(|(ticket, _)| *ticket)
            .collect();
        let gone: Vec<(i64, Waiter)> = tickets
            .into_iter()
            .filter_map(|ticket| Some((ticket, waiters.remove(&ticket)?)))
            .collect();
        drop(waiters);
        for (ticket, waiter) in gone {
            if waiter.stage != Stage::Fresh {
                self.submit(Job::Cancel {
                    ticket,
                    dialog: waiter.dialog,
                });
            }
            drop(waiter.to.send(Err(self.not_there())));
        }
    }
}
