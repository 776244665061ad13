//! The master: forks the writer (SQLite only) and the workers, watches them, obeys
//! signals.
//!
//! Called by `cli/run.rs`. One thread, no runtime, no database: one loop over a signalfd, a
//! lifeline to each child, and the next deadline; one event, one action. Invariants: it never
//! starts a thread, so it may fork at any time (`sys::fork` refuses otherwise); children never
//! see the terminal's SIGINT, the master alone decides; a dead child is replaced, with a
//! growing delay if it dies young; when the master is gone the children notice and exit.
//! Bounds: `--grace` for a stop, `--worker-timeout` for a silent child, [`MAX_WORKERS`].
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the loop |
//! | `start.rs`, `prepare.rs` | everything before the loop; preparing the database |
//! | `obey.rs` | what each signal does |
//! | `stop.rs` | a stop, from beginning to end |
//! | `supervise.rs`, `watch.rs` | starts and ends of children; checks on running ones |
//! | `reload.rs` | workers are replaced one by one |
//! | `upgrade.rs`, `program.rs`, `predecessor.rs` | another program takes over, and being that program |
//! | `child.rs`, `given.rs`, `life.rs` | a child as the master sees it, what it is given, and its own side |
//! | `terminal.rs` | the terminal |

mod child;
mod given;
mod life;
mod obey;
mod predecessor;
mod prepare;
mod program;
mod reload;
mod start;
mod stop;
mod supervise;
mod terminal;
mod upgrade;
mod watch;

use std::os::fd::{AsFd, RawFd};
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use turnkey_storage::Owner;

use self::child::{ChildHandle, Place, Role, Stage};
use self::predecessor::Predecessor;
use self::program::Program;
use self::reload::Rolling;
use self::start::Started;
use self::terminal::Terminal;
use self::upgrade::{Alive, Upgrade};
use self::watch::Watch;
use crate::config::{Config, MAX_WORKERS};
use crate::handlers::Author;
use crate::net::listener::Listener;
use crate::net::tls;
use crate::operator::banner::Cut;
use crate::process::database;
use crate::process::exit;
use crate::process::lock_note::LockNote;
use crate::process::logfile::LogProcess;
use crate::process::sockets;
use crate::process::startup::Served;
use crate::process::systemd;
use crate::shared::lines;
use crate::shared::lines::say;
use crate::shared::scoreboard::Scoreboard;
use turnkey_storage::Database;
use turnkey_text::numbers::counted;

/// Slots on the scoreboard: each worker may have a successor beside it, and some
/// that still leave.
const SLOTS: usize = 3 * MAX_WORKERS;

/// The longest sleep of the loop.
const TICK: Duration = Duration::from_secs(1);

/// The same while it has something to say that nobody reads.
const FLOW: Duration = Duration::from_millis(50);

/// Reads the settings again, as at the start.
pub(crate) type Reread = Box<dyn Fn() -> crate::StartResult<Config>>;

/// Where the master is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    /// Workers finish.
    StoppingWorkers,
    /// The writer finishes, until then.
    StoppingWriter(Instant),
    /// Everyone was told to end at once.
    Forced,
    /// All children have left the database to a successor that changes it.
    Yielded,
}

pub(crate) struct Master {
    config: Config,
    reread: Reread,
    /// Taken by the one child that needs it.
    author: Option<Author>,
    /// What the author's program had open before: for workers.
    brought: Vec<RawFd>,
    /// For the first lines.
    served: Served,
    database: Database,
    listeners: Vec<Listener>,
    /// The sockets outlive this program: the init system has them, too.
    sockets_stay: bool,
    /// None when the database needs no writer; then there is no place for one.
    writer_listener: Option<UnixListener>,
    /// Open as long as a writer of this program may live.
    alive: Alive,
    scoreboard: Scoreboard,
    signals: SignalFd,
    terminal: Terminal,
    /// The log's, if it goes to a file.
    log_process: LogProcess,
    program: Program,
    places: Vec<Place>,
    children: Vec<ChildHandle>,
    /// The workers that the next writer waits for.
    expected: Vec<Owner>,
    phase: Phase,
    rolling: Rolling,
    upgrade: Option<Upgrade>,
    predecessor: Option<Predecessor>,
    watch: Watch,
    /// What is told to commands that signal this program.
    lock_note: LockNote,
    /// What workers seal sessions of HTTPS with: the same in all of them.
    tickets: tls::Tickets,
    /// The number of the next child's life.
    next_owner: u64,
    stop_asked: Option<Instant>,
    /// When something was last said about a stop.
    told: Instant,
    started: Instant,
    code: u8,
    cut: Cut,
}

/// Runs a bot with this many workers until it is stopped.
///
/// # Errors
/// It cannot start.
pub(crate) fn run(
    config: Config,
    reread: Reread,
    author: Author,
    workers: usize,
) -> crate::StartResult<ExitCode> {
    let mut master = match start::start(config, reread, author, workers)? {
        Started::Master(master) => master,
        Started::Ended(code) => return Ok(ExitCode::from(code)),
    };
    let code = match catch_unwind(AssertUnwindSafe(|| master.supervise())) {
        Ok(Err(error)) if master.phase == Phase::Starting => Err(error),
        Ok(Ok(code)) => Ok(code),
        // Its end is what the children notice.
        Ok(Err(error)) => {
            say!("error: the master cannot go on: {error}");
            Ok(exit::BUG)
        }
        // The hook has printed what it said.
        Err(_) => Ok(exit::BUG),
    };
    let is_broken = code.as_ref().is_ok_and(|code| *code == exit::BUG);
    master.end(is_broken);
    code.map(ExitCode::from)
}

impl Master {
    fn supervise(&mut self) -> crate::StartResult<u8> {
        loop {
            self.start_due()?;
            self.announce();
            self.watch_over();
            self.tickets.advance(Instant::now());
            if let Some(tls) = &self.config.tls {
                tls::kept::look(tls);
            }
            self.roll()?;
            self.look_at_upgrade();
            if let Some(code) = self.proceed() {
                return Ok(code);
            }
            self.wait()?;
            self.obey_signals();
            self.listen();
            self.reap();
            self.log_process.keep();
        }
    }

    /// Leaves what the children, or a successor, still use.
    fn end(self, is_broken: bool) {
        if is_broken {
            // The children finish, and need the database until then.
            std::mem::forget(self.database);
        } else if self.is_succeeded() {
            // The database and its socket are the successor's. Dropping our share of the
            // file's lock would open it for both of us.
            std::mem::forget(self.database);
        } else {
            sockets::remove_admin(&self.listeners);
            self.database.leave();
        }
    }

    fn workers(&self) -> impl Iterator<Item = &Place> {
        self.places
            .iter()
            .filter(|place| place.role != Role::Writer)
    }

    /// The child that fills a place, if there is one: not one that leaves.
    fn child_of(&self, role: Role) -> Option<&ChildHandle> {
        self.children
            .iter()
            .find(|child| child.role == role && child.stage != Stage::Leaving)
    }

    fn is_served(&self, role: Role) -> bool {
        self.children
            .iter()
            .any(|child| child.role == role && child.stage == Stage::Serving)
    }

    fn is_stopping(&self) -> bool {
        !matches!(self.phase, Phase::Starting | Phase::Serving)
    }

    /// Whether a writer serves: ours, or a predecessor's.
    fn has_writer(&self) -> bool {
        let of_before = self.predecessor.as_ref().is_some_and(Predecessor::writes);
        self.writer_listener.is_none() || of_before || self.is_served(Role::Writer)
    }

    /// Says that the bot serves, once it does.
    fn announce(&mut self) {
        if self.phase != Phase::Starting
            || !self.has_writer()
            || !self.workers().all(|place| self.is_served(place.role))
        {
            return;
        }
        self.phase = Phase::Serving;
        let workers = counted(self.workers().count() as u64, "worker");
        self.served.announce(&self.config, &workers, &self.database);
        systemd::ready(&format!("serving with {workers}"));
        // Before the old program is told: it may have something to say until then.
        self.note(|note| note.serves = true);
        if let Some(before) = &self.predecessor {
            before.tell_ready();
        }
    }

    /// Notes something for the commands that signal this program: see `process/lock_note.rs`.
    fn note(&mut self, change: impl FnOnce(&mut LockNote)) {
        change(&mut self.lock_note);
        if !self.is_succeeded() {
            database::note(&self.database, &self.lock_note);
        }
    }

    /// Hears what the children say, and the programs before and after this one.
    fn listen(&mut self) {
        let mut ready = Vec::new();
        for child in &mut self.children {
            if child.listen() {
                ready.push(child.pid);
            }
        }
        for pid in ready {
            self.note_ready(pid);
        }
        self.listen_to_others();
    }

    /// Sleeps until something happens or falls due.
    fn wait(&self) -> crate::StartResult<()> {
        let now = Instant::now();
        let mut next = now + self.watch.tick(TICK);
        if lines::flow() {
            next = next.min(now + FLOW);
        }
        for place in &self.places {
            // A worker that is due and not started waits for the writer.
            if place.due > now && self.child_of(place.role).is_none() {
                next = next.min(place.due);
            }
        }
        for child in &self.children {
            let ends = [child.leave_by, child.kill_at, child.replace_at];
            for due in ends.into_iter().flatten().filter(|due| *due > now) {
                next = next.min(due);
            }
        }
        if let Phase::StoppingWriter(deadline) = self.phase {
            next = next.min(deadline);
        }
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        for child in self.children.iter().filter(|child| child.is_heard) {
            fds.push(PollFd::new(child.lifeline().as_fd(), PollFlags::POLLIN));
        }
        if let Some(upgrade) = &self.upgrade {
            fds.extend(upgrade.poll_fd());
        }
        if let Some(before) = &self.predecessor {
            fds.extend(before.poll_fds());
        }
        match poll(&mut fds, poll_timeout(next.saturating_duration_since(now))) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

/// Rounded up: a wait of 0.4 ms must not become a busy loop of 0 ms.
fn poll_timeout(wait: Duration) -> PollTimeout {
    PollTimeout::try_from(wait.as_micros().div_ceil(1000) as i32).unwrap_or(PollTimeout::MAX)
}
