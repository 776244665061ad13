//! Upgrade: after SIGUSR2 the program file that this one was started from is started again,
//! with the same sockets, and takes over. This is the old program's side; the new one's is
//! `predecessor.rs`.
//!
//! ```text
//! old: fork, exec ──► new: takes sockets and the file's lock, forks workers
//! old's writer serves the new workers, too
//! old ◄── READY    new: all workers serve
//! old: its workers finish and leave, then its writer is ended
//! new: sees that, starts its own writer on the same socket
//! ```
//!
//! The four rules (tableflip's): no old code runs after an upgrade; the new program has
//! [`READY_WAIT`] to start; a new program that fails to start changes nothing; one upgrade at a
//! time. **One writer at a time**: every process that may be a writer of the old program holds
//! the write end of a pipe, and the new program waits until it is closed; this works whichever
//! process is killed when. Requests that the old writer did not answer are sent again to the
//! next, as after its death, and fences rise with each writer. If the database needs
//! migrations, the new program says so ([`YIELD`]); then all of the old one's children exit
//! first, connections wait in the sockets' queue meanwhile, and the old master starts its
//! children again if the new one fails.

use std::convert::Infallible;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpid, pipe2};

use super::child::Stage;
use super::predecessor::{Legacy, Serving};
use super::{Master, Phase};
use crate::process::exit;
use crate::process::lifeline::{READY, YIELD};
use crate::process::sys::{self, Forked};
use crate::process::systemd;
use crate::shared::lines;
use crate::shared::lines::say;
use crate::shared::scoreboard::Shared;

/// How long the new program has until it serves.
const READY_WAIT: Duration = Duration::from_secs(30);

/// A pipe that is open for writing as long as a writer of this program may live. The
/// master and its writers hold the first end.
pub(super) struct Alive(pub(super) Option<OwnedFd>, OwnedFd);

impl Alive {
    pub(super) fn new() -> crate::StartResult<Self> {
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        Ok(Alive(Some(write), read))
    }
}

/// An upgrade under way, as the old program sees it.
pub(super) struct Upgrade {
    pid: Pid,
    line: UnixStream,
    is_heard: bool,
    deadline: Instant,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// It has not said anything yet.
    Starting,
    /// It waits for us to leave the database.
    Waiting,
    /// It serves, since then.
    Serving(Instant),
}

impl Upgrade {
    pub(super) fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.is_heard
            .then(|| PollFd::new(self.line.as_fd(), PollFlags::POLLIN))
    }
}

impl Master {
    /// Starts the program file anew beside this program.
    pub(super) fn start_upgrade(&mut self) {
        if self.phase != Phase::Serving || self.upgrade.is_some() || self.predecessor.is_some() {
            return self.upgrade_refused("not now; one at a time, and only while it serves.");
        }
        if !self.database.is_in_place() {
            return self.upgrade_refused(
                "the database's file was taken away; a new program would take another one for it.",
            );
        }
        if getpid().as_raw() == 1 {
            return self
                .upgrade_refused("as process 1 this program is the container; start another one.");
        }
        self.scoreboard.share(Shared::Others, 1);
        match self.exec_successor() {
            Ok(upgrade) => {
                let path = self.program.path().display();
                say!("Upgrading: {path} starts as process {}.", upgrade.pid);
                self.upgrade = Some(upgrade);
            }
            Err(error) => self.upgrade_failed(&error.to_string()),
        }
    }

    fn upgrade_refused(&mut self, why: &str) {
        say!("Upgrade: {why}");
        self.note(|note| note.failed(why));
    }

    fn exec_successor(&mut self) -> crate::StartResult<Upgrade> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        match sys::fork()? {
            Forked::Master(pid) => Ok(Upgrade {
                pid,
                line: ours,
                is_heard: true,
                deadline: Instant::now() + READY_WAIT,
                progress: Progress::Starting,
            }),
            Forked::Child => {
                lines::forget();
                let failed = match self.exec(&theirs) {
                    Ok(never) => match never {},
                    Err(error) => error,
                };
                say!(
                    "error: cannot start {}: {failed}",
                    self.program.path().display()
                );
                sys::exit_child(exit::BAD_START.into())
            }
        }
    }

    /// Becomes the new program. Signals stay blocked until it reads them.
    fn exec(&self, line: &UnixStream) -> crate::StartResult<Infallible> {
        let lock = self.database.lock();
        let legacy = Legacy {
            pid: getpid().as_raw(),
            listeners: self
                .listeners
                .iter()
                .map(|l| (l.purpose, l.as_raw_fd()))
                .collect(),
            sockets_stay: self.sockets_stay,
            serving: Serving::of(&self.config),
            line: line.as_raw_fd(),
            alive: self.alive.1.as_raw_fd(),
            lock: lock.as_ref().map(|lock| lock.as_fd().as_raw_fd()),
            writer: self.writer_listener.as_ref().map(AsRawFd::as_raw_fd),
            database: self.database.files().map(|files| files.database.clone()),
        };
        let mut kept = vec![line.as_fd(), self.alive.1.as_fd()];
        kept.extend(self.listeners.iter().map(AsFd::as_fd));
        kept.extend(self.writer_listener.as_ref().map(AsFd::as_fd));
        kept.extend(lock.as_ref().map(AsFd::as_fd));
        for file in kept {
            fcntl(file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        let legacy = serde_json::to_string(&legacy).map_err(std::io::Error::from)?;
        self.program.exec(&legacy)
    }

    /// The new program, once it serves.
    pub(super) fn successor(&self) -> Option<Pid> {
        let upgrade = self.upgrade.as_ref()?;
        self.handed_over().map(|_| upgrade.pid)
    }

    pub(super) fn is_succeeded(&self) -> bool {
        self.handed_over().is_some()
    }

    pub(super) fn handed_over(&self) -> Option<Instant> {
        match self.upgrade.as_ref()?.progress {
            Progress::Serving(since) => Some(since),
            _ => None,
        }
    }

    /// Whether this program leaves the database, but not for good.
    pub(super) fn yields(&self) -> bool {
        let upgrade = self.upgrade.as_ref();
        upgrade.is_some_and(|upgrade| upgrade.progress == Progress::Waiting)
    }

    /// Everybody has left the database: from now on the time counts.
    pub(super) fn give_time_to_change(&mut self) {
        if let Some(upgrade) = &mut self.upgrade {
            upgrade.deadline = Instant::now() + READY_WAIT;
        }
    }

    /// Whether a stop still waits for a new program that was told to leave.
    pub(super) fn must_wait(&self) -> bool {
        self.stop_asked.is_some() && self.upgrade.is_some() && !self.is_succeeded()
    }

    /// A stop: a new program that does not serve yet is told to leave.
    pub(super) fn abandon_upgrade(&mut self) {
        if let Some(upgrade) = &self.upgrade
            && !matches!(upgrade.progress, Progress::Serving(_))
        {
            end(upgrade.pid, Signal::SIGTERM);
        }
    }

    /// Ends a new program that takes too long.
    pub(super) fn look_at_upgrade(&mut self) {
        if self.phase == Phase::Yielded
            && let Some(open) = self.alive.0.take()
        {
            drop(open); // The new program sees that everybody has left.
        }
        let Some(upgrade) = &self.upgrade else { return };
        let over = match upgrade.progress {
            Progress::Serving(_) => false,
            Progress::Waiting => self.phase == Phase::Yielded && Instant::now() >= upgrade.deadline,
            Progress::Starting => Instant::now() >= upgrade.deadline,
        };
        if over {
            end(upgrade.pid, Signal::SIGKILL);
        }
    }

    pub(super) fn listen_to_others(&mut self) {
        self.listen_to_successor();
        if let Some(before) = &mut self.predecessor
            && before.look()
        {
            self.predecessor = None;
            self.scoreboard.share(Shared::Others, 0);
            tracing::info!("the old program has left");
            // Only now is this one the init system's main process.
            if self.phase == Phase::Serving {
                systemd::ready("serving");
                self.tell_health();
            }
        }
    }

    fn listen_to_successor(&mut self) {
        let Some(upgrade) = &mut self.upgrade else {
            return;
        };
        let mut said = [0; 8];
        let count = match upgrade.line.read(&mut said) {
            Ok(0) => {
                upgrade.is_heard = false;
                return;
            }
            Ok(count) => count,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            Err(_) => {
                upgrade.is_heard = false;
                return;
            }
        };
        for word in &said[..count] {
            match *word {
                YIELD if upgrade.progress == Progress::Starting => {
                    upgrade.progress = Progress::Waiting;
                    say!(
                        "Upgrading: the database has to be changed; this program leaves it first."
                    );
                }
                READY => {
                    upgrade.progress = Progress::Serving(Instant::now());
                    systemd::main_process(upgrade.pid.as_raw());
                }
                _ => {}
            }
        }
        match upgrade.progress {
            Progress::Starting => {}
            Progress::Waiting | Progress::Serving(_) => self.hand_over(),
        }
    }

    /// The workers leave; the sockets stay open.
    fn hand_over(&mut self) {
        if self.phase == Phase::Yielded && self.is_succeeded() {
            // All of us have left already.
            self.phase = Phase::StoppingWorkers;
        }
        if self.phase != Phase::Serving {
            return;
        }
        if self.is_succeeded() {
            say!("Upgraded: finishing here with {}.", self.in_hand());
            self.listeners.clear();
        }
        let leave_by = Instant::now() + self.config.grace;
        for child in self.children.iter_mut().filter(|child| child.is_worker()) {
            if child.stage != Stage::Leaving {
                child.leave(leave_by);
            }
        }
        self.told = Instant::now();
        self.phase = Phase::StoppingWorkers;
    }

    /// A process ended: true if it was the new program.
    pub(super) fn bury_successor(&mut self, pid: Pid) -> bool {
        let Some(upgrade) = self.upgrade.take_if(|upgrade| upgrade.pid == pid) else {
            return false;
        };
        match upgrade.progress {
            Progress::Serving(_) => {
                tracing::error!("the new program (process {pid}) has ended");
                self.upgrade = Some(upgrade);
            }
            _ if self.stop_asked.is_some() => {}
            _ if Instant::now() >= upgrade.deadline => {
                self.upgrade_failed("the new program did not serve in time");
            }
            _ => self.upgrade_failed("the new program ended before it served"),
        }
        true
    }

    /// Goes on as before.
    fn upgrade_failed(&mut self, why: &str) {
        self.upgrade = None;
        self.scoreboard.share(Shared::Others, 0);
        say!("Upgrade failed, this program goes on: {why}");
        self.note(|note| note.failed(why));
        if !self.is_stopping() {
            return;
        }
        // It had made room for the new one.
        if self.alive.0.is_none() {
            match Alive::new() {
                Ok(alive) => self.alive = alive,
                Err(error) => tracing::error!("no pipe for the next upgrade: {error}"),
            }
        }
        for place in &mut self.places {
            place.due = Instant::now();
        }
        self.phase = Phase::Starting;
    }
}

fn end(pid: Pid, signal: Signal) {
    if let Err(error) = kill(pid, signal) {
        tracing::debug!("the new program is gone already: {error}");
    }
}
