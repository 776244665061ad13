//! The single writer: the one connection that writes the file, behind a queue.
//!
//! SQLite lets one connection write at a time. Instead of having processes
//! fight for that right, each sends its requests here over a Unix socket. The
//! writer takes all that is waiting, runs it in one transaction, syncs once and
//! then answers everyone; while it syncs, the next batch gathers. That is group
//! commit without a timer and without added delay.
//!
//! Run by [`Writer::run`], in a process or a thread of its own. Invariants:
//!
//! * An answer that says "durable", and a stored answer or unsent reply read
//!   from the file, leaves only after the commit of its batch.
//! * A grant leaves at once: whatever its holder does becomes durable later
//!   than what the grant was based on, or not at all.
//! * The lock table is in memory; its rows in the file are written with each
//!   batch and show the holders at that commit.
//! * After a failed commit or sync the writer ends ([`Error::Poisoned`]) and is
//!   replaced; it never retries a sync. A full disk is the exception: the batch
//!   is undone, everyone in it is told, and the writer goes on.
//!
//! Bounds: [`MAX_BATCH`] requests in a transaction, [`MAX_OUTPUT`] bytes to a
//! worker that does not read, [`LAZY`] for a transaction that only holds locks,
//! [`RECOVERY_WAIT`] for workers that outlived an earlier writer.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use foldhash::HashMap;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::checkpoint::Checkpointer;
use super::locks::{Granted, LockTable, Requested, RowChange};
use super::pragmas;
use super::protocol::{self, CommitRequest, Request, Response};
use super::statements::{Committed, Statements};
use crate::{DialogKey, Error, Fence, Owner, Result, Sync};

/// Requests in one transaction, and what was read with the last of them: a read is
/// executed whole. A cap costs nothing in speed and bounds how long
/// the first request of a batch waits.
const MAX_BATCH: usize = 512;

/// Bytes waiting for a worker that does not read its socket (it is stopped, or
/// its machine swaps). Beyond it the connection is closed and its locks are freed.
const MAX_OUTPUT: usize = 64 << 20;

/// How long a transaction with nothing in it but locks stays open for the commits
/// that will follow. It saves a lone user a third of the syncs.
const LAZY: Duration = Duration::from_millis(20);

/// How long a new writer waits for the workers that were connected to the one
/// before it. One that does not come back in this time loses its locks.
const RECOVERY_WAIT: Duration = Duration::from_secs(2);

/// How long a stopping writer waits for its workers to hang up.
const STOP_WAIT: Duration = Duration::from_secs(30);

/// The longest sleep between two reports to the monitor.
const IDLE: Duration = Duration::from_millis(500);

/// Bytes taken from a socket at a time.
const READ: usize = 256 << 10;

/// What a writer has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriterStats {
    /// Turns committed.
    pub turns: u64,
    /// Transactions committed.
    pub commits: u64,
    /// Calls of fsync or fdatasync: one for each commit under [`Sync::Full`],
    /// two for each checkpoint.
    pub syncs: u64,
    /// Checkpoints run.
    pub checkpoints: u64,
    /// Bytes in the write-ahead log after the last commit.
    pub log_bytes: u64,
    /// Updates that wait for a dialog's lock.
    pub waiting: u64,
}

/// What a writer needs to know.
pub struct Writer {
    /// The database file.
    pub database: PathBuf,
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
        let conn = pragmas::open_writer(&self.database, self.sync)?;
        let unusable = |e: &rusqlite::Error| pragmas::cannot_open(&self.database, e);
        let generation = new_generation(&conn).map_err(|e| unusable(&e))?;
        let statements = Statements::prepare(&conn).map_err(|e| unusable(&e))?;
        statements.guard().map_err(|e| unusable(&e))?;
        // 2^40 grants in a writer's life, 2^23 lives of writers in a file's.
        let mut locks = LockTable::new(Fence(generation << 40));
        for (dialog, fence) in statements.locks().map_err(|e| unusable(&e))? {
            locks.note_saved(&dialog, fence);
        }
        let unsent = statements.count_unsent().map_err(|e| unusable(&e))?;
        let checkpointer = Checkpointer::new(&conn).map_err(|e| unusable(&e))?;
        let recovery = (!self.expected.is_empty()).then(|| Recovery {
            expected: self.expected,
            deadline: Instant::now() + RECOVERY_WAIT,
        });
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(poisoned)?;
        let mut running = Running {
            conn: &conn,
            statements,
            checkpointer,
            locks,
            unsent,
            syncs_per_commit: u64::from(self.sync == Sync::Full),
            connections: HashMap::default(),
            next_token: FIRST_CONNECTION,
            epoll,
            listener: self.listener,
            batch: Batch::default(),
            batch_number: 0,
            recovery,
            full_until: None,
            stopping: None,
            stats: WriterStats::default(),
            monitor: self.monitor,
            scratch: vec![0; READ],
            changes: Vec::new(),
            ready: Vec::new(),
        };
        let served = running.serve(stop);
        drop(running);
        if let Err(failure) = served {
            // After a failed write or sync, not even the checkpoint that SQLite
            // runs when the last connection closes.
            conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)
                .map_err(poisoned)?;
            return Err(failure);
        }
        Checkpointer::finish(&conn).map_err(poisoned)?;
        conn.close().map_err(|(_, e)| poisoned(e))
    }
}

fn new_generation(conn: &Connection) -> rusqlite::Result<u64> {
    conn.execute(
        "INSERT INTO turnkey_generation (started_at) VALUES (?1)",
        [crate::unix_ms()],
    )?;
    let generation = conn.last_insert_rowid();
    conn.execute(
        "DELETE FROM turnkey_generation WHERE number < ?1",
        [generation],
    )?;
    Ok(generation as u64)
}

fn poisoned(error: impl std::fmt::Display) -> Error {
    Error::Poisoned(error.to_string())
}

const LISTENER: u64 = 0;
const STOP: u64 = 1;
const FIRST_CONNECTION: u64 = 2;

/// One worker.
struct Peer {
    stream: UnixStream,
    /// Known after its first message.
    owner: Option<Owner>,
    /// Requests it sends again because an earlier writer did not answer them.
    resends: usize,
    /// Bytes of a frame that has not arrived whole.
    input: Vec<u8>,
    /// Answers that may leave.
    output: Vec<u8>,
    /// Answers that wait for the commit of the batch.
    held_back: Vec<u8>,
    /// Registered for writability.
    blocked: bool,
}

/// What a waiter is remembered by.
struct Waiting {
    token: u64,
    request: u64,
    update: Option<String>,
}

/// A request whose answer waits for the commit.
struct HeldBack {
    token: u64,
    request: u64,
    /// The grant that its answer carries.
    grant: Option<(DialogKey, Fence)>,
}

/// The transaction under way.
#[derive(Default)]
struct Batch {
    /// Since when there is one.
    open: Option<Instant>,
    requests: usize,
    turns: u64,
    held_back: Vec<HeldBack>,
    /// Something in it must reach the disk before it is answered.
    must_commit: bool,
}

struct Recovery {
    expected: Vec<Owner>,
    deadline: Instant,
}

struct Running<'c> {
    conn: &'c Connection,
    statements: Statements<'c>,
    checkpointer: Checkpointer,
    locks: LockTable<Waiting>,
    /// Rows in the outbox; while it is 0, a begin need not look there.
    unsent: u64,
    syncs_per_commit: u64,
    connections: HashMap<u64, Peer>,
    next_token: u64,
    epoll: Epoll,
    listener: UnixListener,
    batch: Batch,
    batch_number: u64,
    recovery: Option<Recovery>,
    /// After a full disk, until when not to try again for locks alone.
    full_until: Option<Instant>,
    /// Until when to wait for workers to hang up.
    stopping: Option<Instant>,
    stats: WriterStats,
    monitor: Box<dyn FnMut(&WriterStats) + Send>,
    scratch: Vec<u8>,
    changes: Vec<RowChange>,
    /// Grants that fell due inside another request's execution.
    ready: Vec<Granted<Waiting>>,
}

impl Running<'_> {
    fn serve(&mut self, stop: BorrowedFd<'_>) -> Result<()> {
        self.listener.set_nonblocking(true).map_err(poisoned)?;
        self.watch(&self.listener, LISTENER)?;
        self.watch(stop, STOP)?;
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
                    LISTENER => self.accept()?,
                    STOP => {
                        self.epoll.delete(stop).map_err(poisoned)?;
                        self.stopping = Some(Instant::now() + STOP_WAIT);
                    }
                    token => self.receive(token)?,
                }
            }
            self.finish_recovery()?;
            self.open_for_locks()?;
            self.flush();
            // Nothing more is waiting, or the batch is large enough.
            if count == 0 || self.batch.requests >= MAX_BATCH {
                self.commit_if_due()?;
            }
            if let Some(deadline) = self.stopping
                && (self.workers() == 0 || Instant::now() >= deadline)
            {
                self.batch.must_commit = self.batch.open.is_some();
                return self.commit_if_due();
            }
        }
    }

    fn watch(&self, fd: impl AsFd, token: u64) -> Result<()> {
        self.epoll
            .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))
            .map_err(poisoned)
    }

    /// How long to wait for the next request.
    fn patience(&self) -> EpollTimeout {
        let wait = match (self.batch.open, &self.recovery) {
            (Some(_), _) if self.batch.must_commit => Duration::ZERO,
            (Some(since), _) => LAZY.saturating_sub(since.elapsed()),
            (None, Some(recovery)) => recovery.deadline.saturating_duration_since(Instant::now()),
            (None, None) if self.stopping.is_some() => Duration::from_millis(20),
            (None, None) => IDLE,
        };
        // Rounded up: a wait of 0.4 ms must not become a busy loop of 0 ms.
        EpollTimeout::try_from(wait.as_micros().div_ceil(1000) as i32).unwrap_or(EpollTimeout::ZERO)
    }

    /// Connected workers; a tool that looks in is none.
    fn workers(&self) -> usize {
        self.connections
            .values()
            .filter(|peer| peer.owner.is_some_and(|owner| owner.0 != 0))
            .count()
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(poisoned(e)),
            };
            stream.set_nonblocking(true).map_err(poisoned)?;
            let token = self.next_token;
            self.next_token += 1;
            self.watch(&stream, token)?;
            self.connections.insert(
                token,
                Peer {
                    stream,
                    owner: None,
                    resends: 0,
                    input: Vec::new(),
                    output: Vec::new(),
                    held_back: Vec::new(),
                    blocked: false,
                },
            );
        }
    }

    /// Takes what a worker sent, and executes it.
    fn receive(&mut self, token: u64) -> Result<()> {
        let Some(peer) = self.connections.get_mut(&token) else {
            return Ok(());
        };
        match peer.stream.read(&mut self.scratch) {
            Ok(0) => return self.hang_up(token),
            Ok(count) => peer.input.extend_from_slice(&self.scratch[..count]),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(_) => return self.hang_up(token),
        }
        self.execute_input(token)
    }

    /// Executes the whole frames of a worker's input.
    fn execute_input(&mut self, token: u64) -> Result<()> {
        let Some(peer) = self.connections.get_mut(&token) else {
            return Ok(());
        };
        let input = std::mem::take(&mut peer.input);
        let mut used = 0;
        let outcome = self.execute_frames(token, &input, &mut used);
        if let Some(peer) = self.connections.get_mut(&token) {
            // Whole frames are the rule; then this keeps the allocation.
            peer.input = input;
            peer.input.drain(..used);
        }
        match outcome {
            Ok(()) => Ok(()),
            // A peer that sends nonsense is not one of ours.
            Err(Error::Open(reason)) => {
                tracing::error!("closing a connection to the writer: {reason}");
                self.hang_up(token)
            }
            Err(other) => Err(other),
        }
    }

    fn execute_frames(&mut self, token: u64, input: &[u8], used: &mut usize) -> Result<()> {
        let nonsense = |e: Error| Error::Open(e.to_string());
        while let Some((body, length)) = protocol::next_frame(&input[*used..]).map_err(nonsense)? {
            let known = self
                .connections
                .get(&token)
                .is_some_and(|peer| peer.owner.is_some());
            if known && self.recovery.is_some() {
                return Ok(()); // Executed in order, once all workers are back.
            }
            let (id, request) = Request::decode(body).map_err(nonsense)?;
            *used += length;
            if !known && !matches!(request, Request::Hello { .. }) {
                return Err(nonsense(poisoned("its first message was no greeting")));
            }
            self.execute(token, id, request, false)?;
        }
        Ok(())
    }

    /// Executes one request. `again`: it was sent to an earlier writer already.
    fn execute(&mut self, token: u64, id: u64, request: Request<'_>, again: bool) -> Result<()> {
        self.batch.requests += 1;
        match request {
            Request::Hello {
                version,
                owner,
                resends,
                held,
            } => self.greet(token, version, owner, resends, &held)?,
            Request::Begin {
                dialog,
                update,
                arrived,
            } => {
                let Some(owner) = self.connections.get(&token).and_then(|p| p.owner) else {
                    return Ok(());
                };
                let waiting = Waiting {
                    token,
                    request: id,
                    update: update.map(str::to_owned),
                };
                let update = waiting.update.clone();
                match self.locks.request(&dialog, owner, arrived, waiting) {
                    Requested::Granted(fence) => {
                        self.grant(&dialog, fence, token, id, update.as_deref())?;
                    }
                    Requested::Queued => {}
                    Requested::Refused => {
                        let busy = Error::Busy(format!(
                            "{} updates of this user wait already",
                            super::locks::MAX_WAITERS
                        ));
                        self.answer(token, id, &Response::Failed(busy));
                    }
                }
            }
            Request::Cancel { dialog, begin } => {
                let waiting = |w: &Waiting| w.token == token && w.request == begin;
                if self.locks.cancel(&dialog, waiting).is_some() {
                    let busy = Error::Busy("an earlier update of this user takes long".to_owned());
                    self.answer(token, begin, &Response::Failed(busy));
                }
            }
            Request::Commit(commit) => self.commit_turn(token, id, &commit, again)?,
            Request::Sent {
                dialog,
                fence,
                replies,
                end,
            } => {
                if replies.is_empty() {
                    self.answer(token, id, &Response::Done);
                } else {
                    self.open_batch()?;
                    let mut sent = Ok(0);
                    if let Some(row) = self.row_of(&dialog)? {
                        sent = self.statements.sent(row, &replies);
                    }
                    match sent {
                        Ok(gone) => {
                            self.unsent = self.unsent.saturating_sub(gone);
                            self.answer_after_commit(token, id, &Response::Done, None);
                        }
                        // The lock is given back all the same.
                        Err(e) => self.fail_batch(&e, Some((token, id)))?,
                    }
                }
                if end {
                    self.release(&dialog, fence);
                }
            }
            Request::Write { statements } => {
                self.open_batch()?;
                let answer = match self.statements.write(&statements) {
                    Ok(None) => Response::Done,
                    Ok(Some(reason)) => Response::Failed(Error::Statement(reason)),
                    Err(e) => return self.fail_batch(&e, Some((token, id))),
                };
                self.check_transaction(token, id, &answer)?;
                self.answer_after_commit(token, id, &answer, None);
            }
            Request::Barrier => {
                if self.batch.must_commit {
                    self.answer_after_commit(token, id, &Response::Done, None);
                } else {
                    self.answer(token, id, &Response::Done);
                }
            }
            Request::Unsent { limit } => {
                let mut dialogs = Vec::new();
                if self.unsent > 0 {
                    dialogs = self.statements.dialogs_with_unsent().map_err(poisoned)?;
                    dialogs.retain(|dialog| self.locks.holder(dialog).is_none());
                    dialogs.truncate(limit as usize);
                }
                self.answer(token, id, &Response::Dialogs(dialogs));
            }
            Request::Owners => {
                let owners = self.connections.values().filter_map(|p| p.owner).collect();
                self.answer(token, id, &Response::Owners(owners));
            }
        }
        self.grant_ready()
    }

    fn greet(
        &mut self,
        token: u64,
        version: u32,
        owner: Owner,
        resends: u32,
        held: &[(DialogKey, Fence)],
    ) -> Result<()> {
        if version != protocol::VERSION {
            return Err(Error::Open(format!(
                "it speaks version {version} of the protocol, this writer {}",
                protocol::VERSION
            )));
        }
        // Its old connection, if the news of its end comes after the new one.
        let old: Vec<u64> = self
            .connections
            .iter()
            .filter(|(t, peer)| **t != token && owner.0 != 0 && peer.owner == Some(owner))
            .map(|(t, _)| *t)
            .collect();
        for old in old {
            self.hang_up(old)?;
        }
        for (dialog, fence) in held {
            self.locks.restore(dialog, owner, *fence);
        }
        if let Some(peer) = self.connections.get_mut(&token) {
            peer.owner = Some(owner);
            peer.resends = resends as usize;
        }
        Ok(())
    }

    /// Once every worker of the last writer is back (or its time is up), executes
    /// what they sent again: what ended turns first, in the order of the grants,
    /// then the requests for locks, in the order of arrival.
    fn finish_recovery(&mut self) -> Result<()> {
        let Some(recovery) = &self.recovery else {
            return Ok(());
        };
        let back = |owner: &Owner| {
            self.connections
                .values()
                .any(|peer| peer.owner == Some(*owner) && whole_frames(&peer.input) >= peer.resends)
        };
        if !recovery.expected.iter().all(back) && Instant::now() < recovery.deadline {
            return Ok(());
        }
        self.recovery = None;
        let mut inputs = Vec::new();
        for (token, peer) in &mut self.connections {
            inputs.push((*token, std::mem::take(&mut peer.input)));
        }
        let mut requests = Vec::new();
        for (token, input) in &inputs {
            let mut used = 0;
            loop {
                match first_request(&input[used..]) {
                    Ok(Some((id, request, length))) => {
                        used += length;
                        requests.push((*token, id, request));
                    }
                    Ok(None) => break,
                    Err(reason) => {
                        tracing::error!("closing a connection to the writer: {reason}");
                        self.hang_up(*token)?;
                        break;
                    }
                }
            }
            if let Some(peer) = self.connections.get_mut(token) {
                peer.input = input[used..].to_vec();
            }
        }
        requests.sort_by_key(|(_, _, request)| match request {
            Request::Commit(commit) => (0, commit.fence.0),
            Request::Sent { fence, .. } => (0, fence.0),
            Request::Begin { arrived, .. } => (1, *arrived),
            _ => (2, 0),
        });
        tracing::info!(
            "took over from the last writer: {} locks held, {} requests sent again",
            self.locks.holders().count(),
            requests.len()
        );
        for (token, id, request) in requests {
            self.execute(token, id, request, true)?;
        }
        Ok(())
    }

    fn commit_turn(
        &mut self,
        token: u64,
        id: u64,
        turn: &CommitRequest<'_>,
        again: bool,
    ) -> Result<()> {
        self.open_batch()?;
        let holder = self
            .locks
            .holder(&turn.dialog)
            .filter(|holder| holder.fence == turn.fence)
            .copied();
        let committed = if holder.is_some() || again {
            // Sent again after a writer died: that the state is the one the
            // turn read is proof enough that nobody came in between.
            let row = holder.and_then(|holder| holder.row);
            match self.statements.commit_turn(turn, row) {
                Ok(committed) => committed,
                Err(e) => return self.fail_batch(&e, Some((token, id))),
            }
        } else {
            match self.statements.seen(&turn.dialog.channel, turn.update) {
                Ok(Some((fence, _))) if fence == turn.fence => Committed::Before,
                Ok(_) => Committed::Stale,
                Err(e) => return self.fail_batch(&e, Some((token, id))),
            }
        };
        let answer = match committed {
            Committed::Now(row) => {
                self.batch.turns += 1;
                self.unsent += turn.replies.len() as u64;
                if let Some(holder) = self.locks.holder_mut(&turn.dialog) {
                    holder.row = Some(row);
                }
                self.locks.note_commit(&turn.dialog, self.batch_number);
                Response::Done
            }
            Committed::Before => Response::Done,
            Committed::Stale => Response::Failed(Error::Stale),
            Committed::Seen => Response::Failed(Error::Seen),
            Committed::Refused(reason) => Response::Failed(Error::Statement(reason)),
        };
        self.check_transaction(token, id, &answer)?;
        if turn.end && matches!(answer, Response::Done) {
            self.release(&turn.dialog, turn.fence);
        }
        self.answer_after_commit(token, id, &answer, None);
        Ok(())
    }

    /// The author's SQL undid the whole batch (`INSERT OR ROLLBACK`, or a
    /// trigger's `RAISE(ROLLBACK)`). They are told; everyone else's requests go
    /// to the next writer, since what was done for them here is lost.
    fn check_transaction(&mut self, token: u64, id: u64, answer: &Response) -> Result<()> {
        if !self.statements.transaction_lost() {
            return Ok(());
        }
        let told = match answer {
            Response::Failed(_) => answer,
            _ => &Response::Failed(Error::Statement(
                "the statement rolled back the transaction".to_owned(),
            )),
        };
        self.answer(token, id, told);
        self.flush();
        Err(poisoned(
            "a statement of the author rolled back the whole batch",
        ))
    }

    /// A dialog's row, by its holder's note or by a search.
    fn row_of(&mut self, dialog: &DialogKey) -> Result<Option<i64>> {
        if let Some(row) = self.locks.holder(dialog).and_then(|holder| holder.row) {
            return Ok(Some(row));
        }
        let found = self.statements.dialog(dialog).map_err(poisoned)?;
        Ok(found.map(|found| found.row))
    }

    /// Answers a request for a lock that is now held.
    fn grant(
        &mut self,
        dialog: &DialogKey,
        fence: Fence,
        token: u64,
        request: u64,
        update: Option<&str>,
    ) -> Result<()> {
        self.open_batch()?;
        let seen = match update {
            Some(update) => self
                .statements
                .seen(&dialog.channel, update)
                .map_err(poisoned)?
                .map(|(_, seen)| seen),
            None => None,
        };
        let found = self.statements.dialog(dialog).map_err(poisoned)?;
        let mut unsent = Vec::new();
        let mut version = 0;
        let mut state = None;
        if let Some(found) = found {
            if self.unsent > 0 {
                unsent = self.statements.unsent(found.row).map_err(poisoned)?;
            }
            version = found.version;
            state = Some(found.state);
            if let Some(holder) = self.locks.holder_mut(dialog) {
                holder.row = Some(found.row);
            }
        }
        // What the holder would pass on to the outside must be durable first.
        let hold_back = seen.is_some() || !unsent.is_empty();
        let keep = seen.is_none() || !unsent.is_empty();
        let answer = Response::Begun {
            fence: keep.then_some(fence),
            version,
            open: self.locks.committed_in(dialog, self.batch_number),
            state,
            seen,
            unsent,
        };
        if hold_back {
            let grant = keep.then(|| (dialog.clone(), fence));
            self.answer_after_commit(token, request, &answer, grant);
        } else {
            self.answer(token, request, &answer);
        }
        if !keep {
            self.release(dialog, fence);
        }
        Ok(())
    }

    /// Gives a lock back; the next in line is served by [`Self::grant_ready`].
    fn release(&mut self, dialog: &DialogKey, fence: Fence) {
        self.ready.extend(self.locks.release(dialog, fence));
    }

    fn grant_ready(&mut self) -> Result<()> {
        while let Some(next) = self.ready.pop() {
            let Waiting {
                token,
                request,
                update,
            } = next.waiter;
            self.grant(&next.dialog, next.fence, token, request, update.as_deref())?;
        }
        Ok(())
    }

    /// A lock that was given back by a request that wrote nothing, or by the end
    /// of a connection, leaves the file too, and the table's memory with it.
    fn open_for_locks(&mut self) -> Result<()> {
        let full = self.full_until.is_some_and(|until| Instant::now() < until);
        if self.recovery.is_none() && self.locks.has_changes() && !full {
            self.open_batch()?;
        }
        Ok(())
    }

    fn open_batch(&mut self) -> Result<()> {
        if self.batch.open.is_some() {
            return Ok(());
        }
        self.statements.begin().map_err(poisoned)?;
        self.batch.open = Some(Instant::now());
        self.batch_number += 1;
        Ok(())
    }

    fn answer(&mut self, token: u64, request: u64, answer: &Response) {
        if let Some(peer) = self.connections.get_mut(&token) {
            answer.encode(request, &mut peer.output);
        }
    }

    fn answer_after_commit(
        &mut self,
        token: u64,
        request: u64,
        answer: &Response,
        grant: Option<(DialogKey, Fence)>,
    ) {
        self.batch.must_commit = true;
        if let Some(peer) = self.connections.get_mut(&token) {
            answer.encode(request, &mut peer.held_back);
            self.batch.held_back.push(HeldBack {
                token,
                request,
                grant,
            });
        }
    }

    fn commit_if_due(&mut self) -> Result<()> {
        self.batch.requests = 0;
        self.stats.waiting = self.locks.waiting() as u64;
        let due = self
            .batch
            .open
            .is_some_and(|since| self.batch.must_commit || since.elapsed() >= LAZY);
        if due {
            self.commit_batch()?;
            self.flush();
            // After the answers: whoever waits now waits for a later batch.
            let checkpointed = self.checkpointer.run_if_due(self.conn).map_err(poisoned)?;
            self.stats.checkpoints += u64::from(checkpointed);
            self.stats.syncs += 2 * u64::from(checkpointed);
        }
        (self.monitor)(&self.stats);
        Ok(())
    }

    fn commit_batch(&mut self) -> Result<()> {
        self.changes.clear();
        self.locks.row_changes(&mut self.changes);
        let statements = &mut self.statements;
        let outcome = self
            .changes
            .iter()
            .try_for_each(|change| statements.save_lock(change))
            .and_then(|()| statements.commit());
        if let Err(error) = outcome {
            return self.fail_batch(&error, None);
        }
        self.locks.rows_saved();
        self.stats.turns += self.batch.turns;
        self.stats.commits += 1;
        self.stats.syncs += self.syncs_per_commit;
        self.stats.log_bytes = self.checkpointer.log_bytes();
        for done in &self.batch.held_back {
            if let Some(peer) = self.connections.get_mut(&done.token) {
                peer.output.append(&mut peer.held_back);
            }
        }
        self.end_batch();
        Ok(())
    }

    fn end_batch(&mut self) {
        self.batch.open = None;
        self.batch.turns = 0;
        self.batch.must_commit = false;
        self.batch.held_back.clear();
    }

    /// Undoes the batch on a full disk and tells everyone in it, `current` too.
    /// Any other failure ends the writer.
    fn fail_batch(&mut self, error: &rusqlite::Error, current: Option<(u64, u64)>) -> Result<()> {
        if error.sqlite_error_code() != Some(rusqlite::ErrorCode::DiskFull) {
            return Err(poisoned(error));
        }
        self.statements.rollback().map_err(poisoned)?;
        self.full_until = Some(Instant::now() + IDLE);
        let refused = self.batch.held_back.len() + usize::from(current.is_some());
        if refused > 0 {
            tracing::error!("the disk is full: {refused} requests were undone and refused");
        }
        self.locks.forget_rows();
        self.unsent = self.statements.count_unsent().map_err(poisoned)?;
        let undone = std::mem::take(&mut self.batch.held_back);
        self.end_batch();
        for peer in self.connections.values_mut() {
            peer.held_back.clear();
        }
        for done in undone {
            self.answer(done.token, done.request, &Response::Failed(Error::Full));
            if let Some((dialog, fence)) = done.grant {
                self.release(&dialog, fence);
            }
        }
        if let Some((token, request)) = current {
            self.answer(token, request, &Response::Failed(Error::Full));
        }
        self.grant_ready()
    }

    /// Sends what may leave. A worker that does not read is cut off.
    fn flush(&mut self) {
        let mut dead = Vec::new();
        for (token, peer) in &mut self.connections {
            if peer.output.is_empty() {
                continue;
            }
            let blocked = match peer.stream.write(&peer.output) {
                Ok(count) => {
                    peer.output.drain(..count);
                    !peer.output.is_empty()
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                    true
                }
                // Its end is noticed by the next read.
                Err(_) => {
                    peer.output.clear();
                    false
                }
            };
            if blocked != peer.blocked {
                peer.blocked = blocked;
                let mut flags = EpollFlags::EPOLLIN;
                flags.set(EpollFlags::EPOLLOUT, blocked);
                let mut event = EpollEvent::new(flags, *token);
                if self.epoll.modify(&peer.stream, &mut event).is_err() {
                    dead.push(*token);
                }
            }
            if peer.output.len() > MAX_OUTPUT {
                dead.push(*token);
            }
        }
        for token in dead {
            if let Some(peer) = self.connections.get(&token) {
                tracing::error!("a worker does not read its answers: cut off");
                // The next read sees the end and frees its locks.
                if peer.stream.shutdown(std::net::Shutdown::Both).is_err() {
                    continue;
                }
            }
        }
    }

    /// A worker's connection ended: its locks go to the next in line.
    fn hang_up(&mut self, token: u64) -> Result<()> {
        let Some(peer) = self.connections.remove(&token) else {
            return Ok(());
        };
        if let Some(owner) = peer.owner.filter(|owner| owner.0 != 0) {
            let freed = self.locks.owner_gone(owner);
            self.ready.extend(freed);
            self.grant_ready()?;
        }
        Ok(())
    }
}

/// The first request of `input`, and how many bytes it took.
fn first_request(input: &[u8]) -> Result<Option<(u64, Request<'_>, usize)>> {
    let Some((body, length)) = protocol::next_frame(input)? else {
        return Ok(None);
    };
    Request::decode(body).map(|(id, request)| Some((id, request, length)))
}

fn whole_frames(mut input: &[u8]) -> usize {
    let mut count = 0;
    while let Ok(Some((_, length))) = protocol::next_frame(input) {
        input = &input[length..];
        count += 1;
    }
    count
}
