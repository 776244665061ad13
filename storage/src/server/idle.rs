//! The author's connections of a process: opened when they are needed, kept when they
//! are free.
//!
//! Used by each engine's `author.rs`. Bound: as many at a time as there are permits.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::closed;
use crate::{Error, Result};

/// Before a connection that was lost is replaced.
pub(crate) const RECONNECT: Duration = Duration::from_millis(100);

/// Attempts at a turn that was chosen to give way in a deadlock.
pub(crate) const ATTEMPTS: u32 = 5;

/// What is told after the last one.
pub(crate) fn in_a_circle() -> Error {
    Error::Statement("its statements wait in a circle with those of other turns".to_owned())
}

/// Connections of one kind.
#[derive(Debug)]
pub(crate) struct Idle<C> {
    /// One for each connection there may be.
    free: Semaphore,
    idle: Mutex<Vec<C>>,
}

impl<C> Idle<C> {
    pub(crate) fn new(most: usize) -> Self {
        Idle {
            free: Semaphore::new(most),
            idle: Mutex::default(),
        }
    }

    /// The right to use one, in line.
    pub(crate) async fn permit(&self) -> Result<SemaphorePermit<'_>> {
        self.free.acquire().await.map_err(|_| closed())
    }

    /// One that is kept and not stale; the stale before it are dropped.
    pub(crate) fn take(&self, is_stale: impl Fn(&C) -> bool) -> Option<C> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        std::iter::from_fn(|| idle.pop()).find(|conn| !is_stale(conn))
    }

    pub(crate) fn put_back(&self, conn: C) {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(conn);
    }
}
