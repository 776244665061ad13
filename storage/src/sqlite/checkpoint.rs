//! When and how the write-ahead log is copied into the database.
//!
//! Called by [`super::writer`] after it has answered. In two steps, so that nobody
//! waits for a copy of 16 MiB:
//!
//! 1. A thread with its own connection goes over the log and copies, while the writer goes on
//!    committing. PASSIVE: it waits for nobody and nobody waits for it. SQLite syncs the log
//!    before it copies, and the database only after a pass that reached the last commit of all,
//!    which one beside a busy writer never does; so the thread syncs the database itself.
//! 2. Little was committed meanwhile. The writer copies that itself, between two batches, and
//!    SQLite syncs the database: now all is copied, and the next commit restarts the log.
//!
//! Without the second step the log grows without end, since the thread is never quite done;
//! without the first, every checkpoint is a pause of tens of milliseconds, and without its sync
//! so is the second step: it would sync all that the passes have written. Only these two make
//! checkpoints, one at a time.
//!
//! Durability does not hang on the thread's sync: SQLite syncs the database in any case before
//! the log restarts. But after a sync that failed, a later one may say that all is well, so an
//! error of it ends the writer like any other.
//!
//! The log can restart only at a moment when no reader uses its last pages. If reads keep
//! overlapping it grows to [`LOG_CAP`]; then new reads wait until the writer has reset it.
//!
//! Bounds: [`MAX_PASSES`] of the thread before a second step; the log's size, except
//! while another program keeps a read transaction open.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};

use super::kept_open;
use super::names;
use super::pragmas::{self, CHECKPOINT_BYTES, LOG_CAP};
use crate::{Error, Result, Sync};

/// Pages that are few enough for the writer to copy between two batches. With 64, and
/// twice the passes, p99.9 was the same.
const FEW: u64 = 256;

/// The thread goes over the log so often before the writer takes the rest, be it few
/// pages or not: each time there is less.
///
/// 1,000,000 dialogs, 2 processes with 64 turns in flight each, full sync, 2 cores; four
/// runs of 8 s each:
///
/// | passes | the thread syncs | 1,000 turns/s | p99, ms | p99.9, ms | max, ms |
/// | --- | --- | --- | --- | --- | --- |
/// | 3 | no | 29 to 36 | 77 to 92 | 93 to 106 | 97 to 109 |
/// | 8 | yes | 29 to 35 | 12 to 14 | 15 to 31 | 17 to 49 |
const MAX_PASSES: u32 = 8;

/// After a full disk, again when the log has grown by this many bytes.
const RETRY_BYTES: u64 = 1 << 20;

/// When readers kept a log that is too large from being emptied, again after this.
const RETRY: Duration = Duration::from_millis(20);

/// Syncs of a pass, at most: the log, the database by SQLite if the pass reached the last
/// commit, the database by the thread.
const SYNCS_OF_A_PASS: u64 = 3;

/// Syncs of the writer's copy: the log, then the database.
const SYNCS: u64 = 2;

thread_local! {
    /// Pages in the log after this thread's last commit. The hook is a plain
    /// function, so it has nowhere else to leave them.
    static LOG_PAGES: Cell<u64> = const { Cell::new(0) };
}

/// What the thread is to do.
enum Order {
    /// Go over the log once.
    Pass,
    /// Something else with its connection.
    Work(Box<dyn FnOnce(&Connection) + Send>),
}

/// How a pass ended.
type Passed = std::result::Result<u64, Failure>;

/// Why a pass failed.
enum Failure {
    Copy(rusqlite::Error),
    Sync(io::Error),
}

/// The writer's side.
pub(crate) struct Checkpointer {
    page_size: u64,
    /// Bytes of log at which the next one is due.
    due: u64,
    /// When it may be tried again, after readers were in the way.
    not_before: Option<Instant>,
    /// Bytes of log when it was last looked at.
    last: u64,
    /// How often the thread went over the log, while it is at it.
    passes: u32,
    /// Pages of the log that are copied, by the last pass's word.
    copied: u64,
    /// Checkpoints done, as far as readers let them.
    pub(crate) checkpoints: u64,
    /// What they synced, at most: a pass that copies nothing syncs nothing.
    pub(crate) syncs: u64,
    orders: Option<Sender<Order>>,
    /// For each pass, the pages of the log that are copied.
    answers: Receiver<Passed>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts the thread.
    pub(crate) fn start(conn: &Connection, database: &Path) -> Result<Self> {
        let file = kept_open::of(database)
            .map_err(|e| Error::open(format!("cannot open {}: {e}", database.display())))?;
        Self::with_file(conn, database, file)
    }

    fn with_file(conn: &Connection, database: &Path, file: &'static File) -> Result<Self> {
        let unusable = |e: &rusqlite::Error| pragmas::cannot_open(database, e);
        LOG_PAGES.set(0); // An earlier writer may have run on this thread.
        conn.wal_hook(Some(|_, pages| {
            LOG_PAGES.set(pages.unsigned_abs().into());
            Ok(())
        }));
        let page_size = conn
            .pragma_query_value(None, "page_size", |row| row.get::<_, u32>(0))
            .map_err(|e| unusable(&e))?;
        let second = pragmas::open_writer(database, Sync::Normal)?;
        // Closing the last connection is the writer's, and it may have failed.
        second
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
            .map_err(|e| unusable(&e))?;
        // SQLite opens the log with the first read, by its name: here, while it has it.
        second
            .query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))
            .map_err(|e| unusable(&e))?;
        let (orders, ordered) = channel();
        let (answer, answers) = channel();
        let thread = std::thread::spawn(move || {
            while let Ok(order) = ordered.recv() {
                match order {
                    Order::Work(work) => work(&second),
                    Order::Pass if answer.send(pass(&second, file)).is_err() => return,
                    Order::Pass => {}
                }
            }
        });
        Ok(Checkpointer {
            page_size: page_size.into(),
            due: CHECKPOINT_BYTES,
            not_before: None,
            last: 0,
            passes: 0,
            copied: 0,
            checkpoints: 0,
            syncs: 0,
            orders: Some(orders),
            answers,
            thread: Some(thread),
        })
    }

    /// Bytes of log after the last commit.
    pub(crate) fn log_bytes(&self) -> u64 {
        LOG_PAGES.get() * self.page_size
    }

    /// Has the log copied if it is due, and copies the rest when it can be done. A
    /// full disk only puts it off: what is in the log is safe there.
    ///
    /// # Errors
    /// [`Error::Poisoned`] after a failed write or sync: the caller must stop using
    /// the connection.
    pub(crate) fn run_if_due(&mut self, conn: &Connection) -> Result<()> {
        let size = self.log_bytes();
        if size < std::mem::replace(&mut self.last, size) {
            self.due = CHECKPOINT_BYTES; // The log began anew.
        }
        if self.passes == 0 {
            return if size < self.due || self.not_before.is_some_and(|t| Instant::now() < t) {
                Ok(())
            } else {
                self.order_pass()
            };
        }
        let copied = match self.answers.try_recv() {
            Err(TryRecvError::Empty) => return Ok(()),
            Err(TryRecvError::Disconnected) => return Err(thread_ended()),
            Ok(Err(Failure::Copy(error))) => return self.put_off(size, error),
            Ok(Err(Failure::Sync(error))) => {
                return Err(Error::Poisoned(format!("syncing the database: {error}")));
            }
            Ok(Ok(pages)) => pages,
        };
        self.syncs += SYNCS_OF_A_PASS;
        let rest = LOG_PAGES.get().saturating_sub(copied);
        let further = copied > std::mem::replace(&mut self.copied, copied);
        if rest > FEW && further && self.passes < MAX_PASSES {
            return self.order_pass();
        }
        let size = if size > LOG_CAP {
            match empty(conn) {
                Ok(true) => LOG_PAGES.set(0),
                Ok(false) => {}
                Err(error) => return self.put_off(size, error),
            }
            self.log_bytes()
        } else {
            if rest > 0
                && let Err(error) = checkpoint(conn, "PASSIVE")
            {
                return self.put_off(size, error);
            }
            size
        };
        self.syncs += SYNCS;
        self.checkpoints += 1;
        self.wait_for_more(size);
        if size > LOG_CAP {
            // Readers overlap. New ones wait (see `readers.rs`), so soon there is none.
            self.due = size;
            self.not_before = Some(Instant::now() + RETRY);
        }
        Ok(())
    }

    fn order_pass(&mut self) -> Result<()> {
        self.passes += 1;
        let thread = self.orders.as_ref().ok_or_else(thread_ended)?;
        thread.send(Order::Pass).map_err(|_| thread_ended())
    }

    /// Has the thread do something with its connection, after what it is at.
    ///
    /// # Errors
    /// [`Error::Poisoned`]: it has ended.
    pub(crate) fn with_connection(
        &self,
        work: impl FnOnce(&Connection) + Send + 'static,
    ) -> Result<()> {
        let thread = self.orders.as_ref().ok_or_else(thread_ended)?;
        thread
            .send(Order::Work(Box::new(work)))
            .map_err(|_| thread_ended())
    }

    /// Whether [`Self::run_if_due`] would copy something, or hear of a copy.
    pub(crate) fn is_due(&self) -> bool {
        self.passes > 0 || self.log_bytes() >= self.due
    }

    /// While a reader keeps the log from beginning anew: again when as much again
    /// was written, not at every commit.
    fn wait_for_more(&mut self, size: u64) {
        self.passes = 0;
        self.copied = 0;
        self.not_before = None;
        self.due = size + CHECKPOINT_BYTES;
    }

    fn put_off(&mut self, size: u64, error: rusqlite::Error) -> Result<()> {
        if !is_full(&error) {
            return Err(Error::Poisoned(error.to_string()));
        }
        tracing::error!("the disk is full: the log cannot be copied into the database");
        self.wait_for_more(size);
        self.due = size + RETRY_BYTES; // Room may be made at any time.
        Ok(())
    }

    /// Copies everything and empties the log, at the very end.
    pub(crate) fn finish(mut self, conn: &Connection) -> rusqlite::Result<()> {
        self.end_thread();
        match checkpoint(conn, "TRUNCATE") {
            // The next start copies it.
            Err(e) if is_full(&e) => Ok(()),
            done => done.map(drop),
        }
    }

    /// Waits for a pass that is under way.
    fn end_thread(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, its checkpoint is done by the next start.
            let _ = thread.join();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.end_thread();
    }
}

/// Empties the log, if no reader is in the way: waits for none. Whether it did.
fn empty(conn: &Connection) -> rusqlite::Result<bool> {
    conn.busy_timeout(Duration::ZERO)?;
    let busy = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        row.get::<_, bool>(0)
    });
    conn.busy_timeout(pragmas::BUSY_TIMEOUT)?;
    busy.map(|busy| !busy)
}

/// Goes over the log once, and syncs what it has written.
fn pass(conn: &Connection, database: &File) -> Passed {
    let pages = checkpoint(conn, "PASSIVE").map_err(Failure::Copy)?;
    database.sync_data().map_err(Failure::Sync)?;
    Ok(pages)
}

/// Before a writer serves: a log that has grown too long, since writers were killed one after
/// another before they could copy it, is emptied. Each of them must read all of it first.
///
/// # Errors
/// [`Error::Poisoned`] after a failed write or sync.
pub(crate) fn shorten(conn: &Connection, database: &Path) -> Result<()> {
    let log = names::beside(database, "-wal");
    if std::fs::metadata(log).map_or(0, |log| log.len()) <= LOG_CAP {
        return Ok(());
    }
    match empty(conn) {
        Err(e) if !is_full(&e) => Err(Error::Poisoned(e.to_string())),
        // With readers or a full disk in the way it is shortened later.
        _ => Ok(()),
    }
}

/// Returns the pages of the log that are copied.
fn checkpoint(conn: &Connection, mode: &str) -> rusqlite::Result<u64> {
    conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
        row.get::<_, i64>(2).map(|pages| pages.max(0) as u64)
    })
}

fn thread_ended() -> Error {
    Error::Poisoned("the checkpointing thread ended".to_owned())
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has a log copied that is due; how that ended. `file` is what the thread syncs.
    fn copied(file: fn(&Path) -> io::Result<&'static File>) -> Result<u64> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bot.db");
        drop(Connection::open(&path).unwrap());
        let conn = pragmas::open_writer(&path, Sync::Normal).unwrap();
        conn.execute_batch("CREATE TABLE t (body BLOB)").unwrap();
        let file = file(&path).unwrap();
        let mut checkpointer = Checkpointer::with_file(&conn, &path, file).unwrap();
        conn.execute(
            "INSERT INTO t VALUES (zeroblob(?1))",
            [CHECKPOINT_BYTES as i64 + 1],
        )
        .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while checkpointer.checkpoints == 0 {
            assert!(Instant::now() < deadline, "no copy");
            checkpointer.run_if_due(&conn)?;
            std::thread::yield_now();
        }
        Ok(checkpointer.syncs)
    }

    #[test]
    fn what_a_pass_synced_is_counted() {
        // One pass, and the step of the writer.
        assert_eq!(copied(kept_open::of).unwrap(), SYNCS_OF_A_PASS + SYNCS);
    }

    #[test]
    fn a_pass_that_cannot_sync_ends_the_writer() {
        // What cannot be synced: it says so.
        let error = copied(|_| Ok(Box::leak(Box::new(File::open("/dev/null")?)))).unwrap_err();
        assert!(matches!(error, Error::Poisoned(_)), "{error}");
    }
}
