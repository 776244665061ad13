//! The single writer: the one connection that writes the file, behind a queue.
//!
//! SQLite lets one connection write at a time. Instead of competing for the write lock,
//! processes send their requests here over a Unix socket. The writer takes all waiting
//! requests, runs them in one transaction, syncs once and then answers everyone; while it
//! syncs, the next batch gathers and executes. That is group commit without a timer; the
//! only added delay is [`COMPANY`], where one or two would have a sync for themselves.
//!
//! Run by [`Writer::run`], in a process or a thread of its own. Invariants:
//!
//! * An answer that says "durable", a stored answer, an unsent reply or an update of
//!   the inbox read from the file, leaves only after the commit of its batch and, under
//!   [`Sync::Full`], a sync that began after it.
//! * A grant leaves at once: whatever its holder writes becomes durable later than the data
//!   that the grant was based on, or not at all.
//! * The lock table is in memory; its rows in the file are written with each
//!   batch and show the holders at that commit.
//! * After a failed commit or sync the writer exits ([`Error::Poisoned`]) and is replaced; it
//!   never retries a sync. A full disk and a deferred foreign key without a target are the
//!   exceptions: the batch is rolled back, everyone in it is told, and the writer goes on.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the loop |
//! | `opening.rs` | the first write, while other programs write |
//! | `peers.rs` | the workers' connections |
//! | `requests.rs` | executes requests |
//! | `turns.rs` | executes the requests of turns |
//! | `alone.rs` | transactions of a caller's own |
//! | `batch.rs` | the transaction: open, commit, roll back |
//! | `syncer.rs` | the sync of a batch, while the next one executes |
//! | `taken.rs` | when the file, or the socket, is taken away while open |
//! | `recovery.rs` | taking over from a writer that died |
//!
//! Bounds: [`MAX_BATCH`] requests in a transaction, [`LAZY`] for one that only
//! holds locks; more in the files.

mod alone;
mod batch;
mod opening;
mod peers;
mod recovery;
mod requests;
mod syncer;
mod taken;
mod turns;

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::sqlite::checkpoint::{self, Checkpointer};
use crate::sqlite::locks::{Granted, LockTable, RowChange};
use crate::sqlite::pragmas;
use crate::sqlite::presence::Presence;
use crate::sqlite::spin::Spinner;
use crate::sqlite::statements::Statements;
use crate::sqlite::{FileId, Files};
use crate::{Error, Fence, OpenError, Owner, Result, Sync};

use self::alone::Alone;
use self::batch::Batch;
use self::opening::{new_generation, once_writable};
use self::peers::Peer;
use self::recovery::Recovery;
use self::syncer::Syncer;
use self::taken::Loss;
pub use self::taken::Taken;
use self::turns::Waiting;

/// Requests in one transaction, and what was read with the last of them: a read is
/// executed whole. A cap costs nothing in speed and bounds how long
/// the first request of a batch waits.
const MAX_BATCH: usize = 512;

/// How long a transaction with nothing in it but locks stays open for the commits
/// that will follow. It saves a lone user a third of the syncs.
const LAZY: Duration = Duration::from_millis(20);

/// How long the writer looks again and again for the commit of a turn that it has just
/// let begin, instead of sleeping; everyone else goes first. Waking up an idle processor
/// takes about as long: a lone user's turn became a tenth faster, its processor time a
/// tenth less (median of four runs of 2 s, taken in turn).
const SPIN: Duration = Duration::from_micros(100);

/// Up to so many are few: grants in a batch, whose commits it is worth to look for again and
/// again; answers after one, whose receivers are likely to ask again at once.
const LONE: usize = 2;

/// How long a sync that has one or two answers waits for those who were answered last: most ask
/// again at once, and share the sync. With two processes of one turn each this took a turn from
/// 0.88 to 0.99 syncs to 0.51, its p50 from 340 to 410 us to 240 to 260 (three runs in turn).
const COMPANY: Duration = Duration::from_micros(60);

/// How long a stopping writer waits for its workers to hang up. They have a grace
/// time of their own, and their master, while it lives, cuts off both.
const STOP_WAIT: Duration = Duration::from_secs(600);

/// The longest sleep between two reports to the monitor.
const IDLE: Duration = Duration::from_millis(500);

/// Bytes taken from a socket at a time.
const READ: usize = 256 << 10;

/// What a writer has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// It serves: the file is open.
    pub serving: bool,
    /// Turns committed.
    pub turns: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Calls of fsync or fdatasync: under [`Sync::Full`] one for each commit that
    /// answers somebody; two or three, counted as three, each time that the log was gone
    /// over beside the commits, and two for the rest of it.
    pub syncs: u64,
    /// Checkpoints done, as far as readers let them.
    pub checkpoints: u64,
    /// Bytes in the write-ahead log after the last commit.
    pub log_bytes: u64,
    /// Updates that wait for a dialog's lock.
    pub waiting: u64,
    /// Commits that waited for the disk.
    pub waits: u64,
    /// How long they did, all together.
    pub wait_time: Duration,
    /// Another program holds the file's write lock.
    pub is_held_up: bool,
    /// The file was taken away while it is open.
    pub taken: Option<Taken>,
}

/// What a writer needs to know.
pub struct Writer {
    /// The database, and the socket's name.
    pub files: Files,
    /// The file that it is: another one under its name is refused. None: whichever has the
    /// name now.
    pub file: Option<FileId>,
    /// How durable a commit is.
    pub sync: Sync,
    /// Where workers connect, bound and listening. It outlives a writer, so a
    /// worker that reconnects waits in its queue instead of being refused.
    pub listener: UnixListener,
    /// Workers that were connected to the writer before this one.
    pub expected: Vec<Owner>,
    /// Called after each batch and at least every half second: a heartbeat.
    pub monitor: Box<dyn FnMut(&WriterStats) + Send>,
}

impl Writer {
    /// Serves until `stop` becomes readable (or its other end is closed) and the
    /// workers have hung up.
    ///
    /// # Errors
    /// [`Error::Poisoned`]: the caller must end this process (or thread) and
    /// start another writer. [`Error::Open`]: the file cannot be used.
    pub fn run(self, stop: BorrowedFd<'_>) -> Result<()> {
        self.run_until(stop, AtStop::Wait)
    }

    /// As [`Self::run`], for workers that go on without it: it does not wait for them.
    pub(crate) fn run_and_leave(self, stop: BorrowedFd<'_>) -> Result<()> {
        self.run_until(stop, AtStop::Leave)
    }

    fn run_until(mut self, stop: BorrowedFd<'_>, at_stop: AtStop) -> Result<()> {
        // The syncs of a full one are ours: see `syncer.rs`.
        let database = self.files.database.clone();
        let now = FileId::of(&database).ok();
        if self.file.is_some() && now != self.file {
            return Err(Error::Open(
                OpenError::new(format!(
                    "{} is not the file that it was when the bot started",
                    database.display()
                ))
                .remedy("stop the bot, put the right one in its place, start it again"),
            ));
        }
        let conn = pragmas::open_writer(&database, Sync::Normal)?;
        let unusable = |e: &rusqlite::Error| pragmas::cannot_open(&database, e);
        let mut none_yet = WriterStats::default();
        let generation = once_writable(
            &database,
            || new_generation(&conn),
            |held| {
                none_yet.is_held_up = held;
                (self.monitor)(&none_yet);
            },
        )
        .map_err(|e| unusable(&e))?;
        none_yet.is_held_up = false;
        checkpoint::shorten(&conn, &database)?;
        let mut statements = Statements::prepare(&conn).map_err(|e| unusable(&e))?;
        statements.guard().map_err(|e| unusable(&e))?;
        // 2^40 grants in a writer's life, 2^22 lives of writers in a file's: the bit
        // above says that a state was forgotten.
        let mut locks = LockTable::new(Fence(generation << 40));
        for (dialog, fence) in statements.locks().map_err(|e| unusable(&e))? {
            locks.note_saved(&dialog, fence);
        }
        let unsent = statements.count_unsent().map_err(|e| unusable(&e))?;
        let mut inbox = statements.has_inbox().map_err(|e| unusable(&e))?;
        if inbox {
            once_writable(
                &database,
                || statements.clear_inbox(),
                |_| (self.monitor)(&none_yet),
            )
            .map_err(|e| unusable(&e))?;
            inbox = statements.has_inbox().map_err(|e| unusable(&e))?;
        }
        let checkpointer = Checkpointer::start(&conn, &database)?;
        let syncer = match self.sync {
            Sync::Full => Some(Syncer::start(&database)?),
            Sync::Normal => None,
        };
        let presence = Presence::note(&database, now).map_err(|missing| {
            Error::Open(
                OpenError::new(format!("{missing}")).remedy("stop the bot and start it again"),
            )
        })?;
        taken::clear_dead_socket(&self.files);
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(poisoned)?;
        let mut running = Running {
            conn: &conn,
            statements,
            checkpointer,
            locks,
            unsent,
            inbox,
            syncer,
            syncs: 0,
            connections: HashMap::default(),
            next_token: FIRST_CONNECTION,
            epoll,
            listener: self.listener,
            socket_again: None,
            socket_failed: false,
            files: self.files,
            presence,
            looked: Instant::now(),
            loss: None,
            batch: Batch::default(),
            batch_number: 0,
            alone: Alone::default(),
            at_stop,
            recovery: Recovery::from(self.expected),
            full_until: None,
            stopping: None,
            stats: WriterStats {
                serving: true,
                ..WriterStats::default()
            },
            monitor: self.monitor,
            spinner: Spinner::new(),
            company: Spinner::of_at_most(COMPANY),
            scratch: vec![0; READ],
            changes: Vec::new(),
            ready: Vec::new(),
        };
        let mut served = running.serve(stop);
        if at_stop == AtStop::Leave {
            if served.is_ok() {
                served = running.close_door();
            }
            if matches!(served, Ok(()) | Err(Error::Undone(_))) {
                served = running.say_leaving().and(served);
            }
        }
        let is_lost = running.loss.is_some();
        let checkpointer = running.end();
        if served.is_err() || is_lost {
            // After a failed write or sync, not even the checkpoint that SQLite runs when
            // the last connection closes; nor while another file has our names, which it
            // would remove.
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
                .map_err(poisoned)?;
            return served;
        }
        checkpointer.finish(&conn).map_err(poisoned)?;
        conn.close().map_err(|(_, e)| poisoned(e))
    }
}

/// What a writer that is told to stop does about its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtStop {
    /// It waits for them to hang up.
    Wait,
    /// It leaves: they have, or find, another writer.
    Leave,
}

fn poisoned(error: impl std::fmt::Display) -> Error {
    Error::Poisoned(error.to_string())
}

const LISTENER: u64 = 0;
const STOP: u64 = 1;
const SYNCED: u64 = 2;
const SOCKET_AGAIN: u64 = 3;
const FIRST_CONNECTION: u64 = 4;

struct Running<'c> {
    conn: &'c Connection,
    statements: Statements<'c>,
    checkpointer: Checkpointer,
    locks: LockTable<Waiting>,
    /// Rows in the outbox; while it is 0, a begin need not look there.
    unsent: u64,
    /// There is something in the inbox: while it is empty it costs nothing.
    inbox: bool,
    /// None when commits need not reach the disk.
    syncer: Option<Syncer>,
    /// Syncs of commits.
    syncs: u64,
    connections: HashMap<u64, Peer>,
    next_token: u64,
    epoll: Epoll,
    listener: UnixListener,
    /// In its place, when somebody removed its name.
    socket_again: Option<UnixListener>,
    socket_failed: bool,
    files: Files,
    presence: Presence,
    /// When the files were last looked for.
    looked: Instant,
    /// Since the file was taken away.
    loss: Option<Loss>,
    batch: Batch,
    batch_number: u64,
    alone: Alone,
    at_stop: AtStop,
    recovery: Option<Recovery>,
    /// After a full disk, until when not to try again for locks alone.
    full_until: Option<Instant>,
    /// Until when to wait for workers to hang up.
    stopping: Option<Instant>,
    stats: WriterStats,
    monitor: Box<dyn FnMut(&WriterStats) + Send>,
    /// After a commit of few turns: their workers are likely to ask again at once.
    spinner: Spinner,
    /// Before a sync of few answers: others are likely to share it.
    company: Spinner,
    scratch: Vec<u8>,
    changes: Vec<RowChange>,
    /// Grants that fell due inside another request's execution.
    ready: Vec<Granted<Waiting>>,
}

impl Running<'_> {
    /// Closes the workers' connections.
    fn end(self) -> Checkpointer {
        self.checkpointer
    }

    fn serve(&mut self, stop: BorrowedFd<'_>) -> Result<()> {
        self.listener.set_nonblocking(true).map_err(poisoned)?;
        self.watch(&self.listener, LISTENER)?;
        self.watch(stop, STOP)?;
        if let Some(syncer) = &self.syncer {
            self.watch(syncer, SYNCED)?;
        }
        self.keep_socket();
        (self.monitor)(&self.stats);
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let timeout = self.patience();
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(e) => return Err(poisoned(e)),
            };
            for event in &events[..count] {
                match event.data() {
                    LISTENER | SOCKET_AGAIN => self.accept_at(event.data())?,
                    STOP => {
                        self.epoll.delete(stop).map_err(poisoned)?;
                        self.stopping = Some(Instant::now() + STOP_WAIT);
                    }
                    SYNCED => self.finish_sync()?,
                    token => self.receive(token)?,
                }
            }
            self.finish_recovery()?;
            self.look_for_files()?;
            self.open_for_locks()?;
            self.follow_line()?;
            self.flush();
            // Nothing is waiting, but a worker may be about to ask and only lack the
            // processor: it goes first, once. On 2 busy cores this made batches
            // half as large again and a turn 7 to 12 % cheaper; on an idle machine
            // it costs nothing, since nobody takes the offer.
            if count == 0 && self.batch.must_commit && !self.batch.yielded && !self.syncing() {
                self.batch.yielded = true;
                std::thread::yield_now();
                continue;
            }
            if count == 0 && self.expects_commit() {
                std::thread::yield_now();
                continue;
            }
            if count == 0 && self.batch.must_commit && self.waits_for_company() {
                continue;
            }
            if count > 0 {
                self.spinner.came();
            } else if self.spinner.is_spinning() {
                self.spinner.give_way();
                continue;
            }
            // Nothing more is waiting, or the batch is large enough.
            if count == 0 || self.batch.requests >= MAX_BATCH {
                self.commit_if_due()?;
            }
            if let Some(deadline) = self.stopping
                && (self.at_stop == AtStop::Leave
                    || self.workers() == 0
                    || Instant::now() >= deadline)
            {
                self.end_alone()?;
                self.finish_sync()?;
                self.batch.must_commit = self.batch.open.is_some();
                self.commit_if_due()?;
                self.finish_sync()?;
                // What is open is copied into the file only if that is the one with the name.
                if self.is_in_place()? {
                    return Ok(());
                }
                self.follow_rescue()?;
                if !self.is_saving() {
                    (self.monitor)(&self.stats);
                    return Ok(());
                }
            }
        }
    }

    fn watch(&self, fd: impl AsFd, token: u64) -> Result<()> {
        self.epoll
            .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))
            .map_err(poisoned)
    }

    /// Whether a quick handler's commit is so near that sleeping costs more than
    /// looking again.
    fn expects_commit(&self) -> bool {
        !self.batch.must_commit
            && self.batch.grants <= LONE
            && !self.syncing()
            && self.batch.open.is_some_and(|since| since.elapsed() < SPIN)
    }

    /// Whether those who were answered last may come in time to share a sync.
    fn waits_for_company(&mut self) -> bool {
        let answers = self.batch.answers();
        let is_lonely = self.syncer.is_some() && !self.syncing() && (1..=LONE).contains(&answers);
        let mut peers = self.connections.values();
        let hopes = is_lonely && peers.any(|peer| peer.is_expected(COMPANY));
        let alone = *self.batch.when_due.get_or_insert_with(|| {
            if hopes {
                self.company.chance();
            }
            answers
        });
        match hopes {
            true if self.company.is_spinning() => self.company.give_way(),
            true => {}
            false => self.company.missed(),
        }
        if answers > alone {
            self.company.paid();
        }
        self.company.is_spinning()
    }

    /// How long to wait for the next request.
    fn patience(&self) -> EpollTimeout {
        let wait = match (self.batch.open, &self.recovery) {
            _ if let Some(wait) = self.alone.patience() => wait.min(IDLE),
            (Some(_), _) if self.syncing() => IDLE,
            (Some(_), _) if self.batch.must_commit || self.expects_commit() => Duration::ZERO,
            (Some(since), _) => LAZY.saturating_sub(since.elapsed()),
            (None, _) if self.spinner.is_spinning() => Duration::ZERO,
            (None, Some(recovery)) => recovery.deadline.saturating_duration_since(Instant::now()),
            (None, None) if self.stopping.is_some() => Duration::from_millis(20),
            (None, None) => IDLE,
        };
        // Rounded up: a wait of 0.4 ms must not become a busy loop of 0 ms.
        EpollTimeout::try_from(wait.as_micros().div_ceil(1000) as i32).unwrap_or(EpollTimeout::ZERO)
    }
}
