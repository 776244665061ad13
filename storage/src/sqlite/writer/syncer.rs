//! Syncs the log on a thread of its own, while the next batch executes.
//!
//! Part of the writer's loop, under [`Sync::Full`]. The connection commits without a sync
//! (`PRAGMA synchronous = NORMAL`); the answers of the batch wait until this thread has synced
//! the log's file. One sync covers all that was written before it. At most one sync is under
//! way, and no commit meanwhile: so a failed sync leaves only one batch unanswered.
//!
//! [`Sync::Full`]: crate::Sync::Full

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::poisoned;
use crate::Result;
use crate::sqlite::names;

pub(super) struct Syncer {
    log: File,
    /// Each word is an order.
    orders: Option<Sender<()>>,
    outcomes: Receiver<io::Result<Duration>>,
    /// Readable when there is an outcome.
    done: Arc<EventFd>,
    under_way: bool,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Opens the log of a database whose connection has written to it. Closing this
    /// file drops no lock of SQLite's: those are on the other two files.
    pub(super) fn start(database: &Path) -> Result<Self> {
        let path = names::beside(database, "-wal");
        let log = File::open(&path).map_err(poisoned)?;
        // Its name is saved, too: whoever made the log may have been killed before SQLite saved it.
        // Where the directory cannot be read, SQLite does not save names either.
        drop(names::sync_directory(&path));
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let done = EventFd::from_flags(flags).map_err(poisoned)?;
        let done = Arc::new(done);
        let (orders, ordered) = channel();
        let (outcome, outcomes) = channel();
        let (file, ring) = (log.try_clone().map_err(poisoned)?, done.clone());
        let thread = std::thread::spawn(move || {
            while ordered.recv().is_ok() {
                let synced = timed(&file);
                if ring.write(1).is_err() || outcome.send(synced).is_err() {
                    return;
                }
            }
        });
        Ok(Syncer {
            log,
            orders: Some(orders),
            outcomes,
            done,
            under_way: false,
            thread: Some(thread),
        })
    }

    /// Syncs on this thread: when nobody could use the time, that is cheaper.
    /// How long it took.
    pub(super) fn now(&self) -> Result<Duration> {
        timed(&self.log).map_err(poisoned)
    }

    pub(super) fn order(&mut self) -> Result<()> {
        self.under_way = true;
        let thread = self.orders.as_ref();
        thread
            .and_then(|orders| orders.send(()).ok())
            .ok_or_else(|| poisoned("the syncing thread ended"))
    }

    pub(super) fn under_way(&self) -> bool {
        self.under_way
    }

    /// Waits for the sync that is under way; how long that took on the disk.
    ///
    /// # Errors
    /// [`Error::Poisoned`](crate::Error::Poisoned) when it failed.
    pub(super) fn finish(&mut self) -> Result<Duration> {
        let outcome = self.outcomes.recv().map_err(poisoned)?;
        self.under_way = false;
        self.done.read().map_err(poisoned)?;
        outcome.map_err(poisoned)
    }
}

fn timed(file: &File) -> io::Result<Duration> {
    let begun = Instant::now();
    file.sync_data()?;
    Ok(begun.elapsed())
}

impl AsFd for Syncer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.done.as_fd()
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing left to say.
            let _ = thread.join();
        }
    }
}
