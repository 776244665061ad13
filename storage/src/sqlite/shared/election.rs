//! Which process writes: whoever holds the lock on the file. The kernel gives it back when its
//! holder ends, however that was.
//!
//! Used by `mod.rs`. Each process that has the database open has a thread, which sleeps until
//! the connection to the writer is lost and then tries to get the lock. Whoever gets it runs the
//! writer, in that thread; the others connect to it. Bounds: [`OPENING`] for a holder of the lock
//! to begin to serve; [`HOPELESS`] writers that end in a row.
//!
//! Invariant: a process that has the file open in SQLite never closes it by another way, since
//! that would drop SQLite's locks. So what prepares the file opens it in SQLite alone: this process
//! may have it open already.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::sqlite::files::ShortPath;
use crate::sqlite::{FileId, FileLock, Files, Writer, is_current, prepare};
use crate::{Error, OpenError, Remedy, Result, Sync};

/// How long a new process waits for whoever holds the lock to serve.
const OPENING: Duration = Duration::from_secs(30);

/// Between two looks meanwhile, and between two writers of a process.
const PAUSE: Duration = Duration::from_millis(10);

/// Before a process that could not write tries again.
const FAILED: Duration = Duration::from_millis(500);

/// Writers that fail one after another before this process leaves the lock to others.
const HOPELESS: u32 = 5;

pub(super) struct Election {
    pub(super) files: Files,
    sync: Sync,
    /// The file that it was when it was opened.
    file: FileId,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// The connection to the writer was lost, or there is none.
    no_writer: bool,
    /// While this process writes, until it is told to stop, which closing this does.
    stop: Option<UnixStream>,
    failure: Option<Error>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for Election {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Election")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Election {
    /// Gets the lock and prepares the file, or finds somebody who serves it. The lock comes
    /// back if it was got.
    pub(super) fn prepare(
        files: Files,
        sync: Sync,
        migrations: &[String],
    ) -> Result<(Arc<Self>, Option<FileLock>)> {
        let database = &files.database;
        let deadline = Instant::now() + OPENING;
        let lock = loop {
            if let Some(lock) = files.try_lock()? {
                prepare(database, sync, migrations)?;
                break Some(lock);
            }
            if UnixStream::connect(&ShortPath::of(&files.socket).path).is_ok() {
                // Only a bot leaves a note, and before it serves.
                if !files.last_note()?.is_empty() {
                    return Err(Error::Open(
                        OpenError::new(format!(
                            "{} is in use by a running bot",
                            database.display()
                        ))
                        .remedy("stop the bot first")
                        .remedy(Remedy::AnotherFile),
                    ));
                }
                if is_current(database, migrations)? {
                    break None;
                }
                return Err(Error::Open(
                    OpenError::new(format!(
                        "{} is in use by a program that knows fewer migrations than this one",
                        database.display()
                    ))
                    .remedy("end all programs that have it open, then start this one first"),
                ));
            }
            if Instant::now() >= deadline {
                return Err(Error::NotYet(
                    OpenError::new(format!(
                        "{} is locked by a program that does not serve it",
                        database.display()
                    ))
                    .remedy("end it first"),
                ));
            }
            std::thread::sleep(PAUSE);
        };
        let file = FileId::of(database)
            .map_err(|e| Error::open(format!("{} is gone: {e}", database.display())))?;
        let election = Election {
            files,
            sync,
            file,
            state: Mutex::default(),
            wake: Condvar::new(),
        };
        Ok((Arc::new(election), lock))
    }

    /// Starts this process's thread.
    pub(super) fn start(self: &Arc<Self>, lock: Option<FileLock>) -> Result<()> {
        let election = self.clone();
        let thread = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || election.stand(lock))
            .map_err(|e| Error::Unavailable(format!("no thread for the writer: {e}")))?;
        self.lock().thread = Some(thread);
        Ok(())
    }

    /// No code that can panic runs under this mutex.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to the writer is lost.
    pub(super) fn no_writer(&self) {
        self.lock().no_writer = true;
        self.wake.notify_all();
    }

    pub(super) fn leads(&self) -> bool {
        self.lock().stop.is_some()
    }

    /// Why this process's last writer ended.
    pub(super) fn failure(&self) -> Option<Error> {
        self.lock().failure.clone()
    }

    /// Stops this process's writer, if it has one.
    pub(super) fn leave(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.stop = None;
        self.wake.notify_all();
    }

    /// The same, and waits until another can follow.
    pub(super) fn close(&self) {
        self.leave();
        let thread = self.lock().thread.take();
        if let Some(thread) = thread {
            // Its panic has been told.
            drop(thread.join());
        }
    }

    /// The thread: waits until there is no writer, and tries to become it.
    fn stand(&self, mut at_hand: Option<FileLock>) {
        loop {
            if at_hand.is_none() && self.wait_for_want() {
                return;
            }
            let lock = match at_hand.take() {
                Some(lock) => Ok(Some(lock)),
                None => self.files.try_lock(),
            };
            // None: somebody else was first.
            let written = lock.and_then(|lock| match lock {
                Some(lock) => self.write(&lock),
                None => Ok(()),
            });
            let mut state = self.lock();
            state.stop = None;
            if state.closed {
                return;
            }
            let mut pause = PAUSE;
            if let Err(error) = written {
                tracing::error!("this process cannot write: {error}");
                state.failure = Some(error);
                pause = FAILED; // Others may do better.
            }
            drop(
                self.wake
                    .wait_timeout_while(state, pause, |state| !state.closed),
            );
        }
    }

    /// True when the database was closed.
    fn wait_for_want(&self) -> bool {
        let mut state = self.lock();
        while !state.no_writer && !state.closed {
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.no_writer = false;
        state.closed
    }

    /// Runs writers, one after another, until one ends as asked.
    fn write(&self, lock: &FileLock) -> Result<()> {
        let listener = self.files.bind(lock)?;
        let mut failed = 0;
        let outcome = loop {
            let (ours, theirs) =
                UnixStream::pair().map_err(|e| Error::Unavailable(e.to_string()))?;
            {
                let mut state = self.lock();
                if state.closed {
                    break Ok(());
                }
                state.stop = Some(ours);
            }
            let writer = Writer {
                files: self.files.clone(),
                file: Some(self.file),
                sync: self.sync,
                listener: listener
                    .try_clone()
                    .map_err(|e| Error::Unavailable(e.to_string()))?,
                expected: Vec::new(),
                monitor: Box::new(|_| {}),
            };
            match caught(|| writer.run_and_leave(theirs.as_fd())) {
                Ok(()) => break Ok(()),
                Err(Error::Undone(reason)) => {
                    failed = 0;
                    tracing::warn!("the writer starts over: {reason}");
                }
                Err(Error::Poisoned(reason)) if failed < HOPELESS => {
                    failed += 1;
                    tracing::error!("the writer ended, starting another: {reason}");
                    std::thread::sleep(PAUSE);
                }
                Err(error) => break Err(error),
            }
        };
        // Before the lock is given back: the next one makes its own.
        if let Err(error) = self.files.remove_socket() {
            tracing::warn!("cannot remove {}: {error}", self.files.socket.display());
        }
        outcome
    }
}

/// All that a writer had is gone with it when it panics, and another may follow.
fn caught(run: impl FnOnce() -> Result<()>) -> Result<()> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(Error::Poisoned("the writer panicked".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_one_writer() {
        let ended = caught(|| panic!("as a writer may"));
        assert!(matches!(ended, Err(Error::Poisoned(_))), "{ended:?}");
    }
}
