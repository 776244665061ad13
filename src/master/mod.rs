//! The master: forks the writer (SQLite only) and the workers, watches them, obeys
//! signals.
//!
//! Called by `cli/run.rs`. One thread, no runtime, no database: one loop over a
//! signalfd, a lifeline to each child, and the next deadline; one event, one
//! action. Invariants: it never starts a thread, so it may fork at any time
//! (`sys::fork` refuses otherwise); children never see the terminal's SIGINT,
//! the master alone decides; a dead child is replaced, with a growing delay if
//! it dies young; when the master is gone the children notice and leave.
//! Bounds: `--grace` for a stop, `--worker-timeout` for a silent child.

mod child;
pub(crate) mod listeners;
mod process;
pub(crate) mod sys;

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use turnkey_storage::Owner;

use self::child::{ChildHandle, Place, Role};
use self::sys::Forked;
use crate::app::Author;
use crate::channels::check_names;
use crate::config::Config;
use crate::database::Database;
use crate::error::Error;
use crate::exit;
use crate::notices::{self, say};
use crate::scoreboard::{Field, Scoreboard, Slot};

/// A second Ctrl-C within this time is the first one, delivered twice.
const SAME_CTRL_C: Duration = Duration::from_millis(50);

/// What the writer gets for its last commit and checkpoint after the workers
/// have left or were cut off.
const WRITER_GRACE: Duration = Duration::from_secs(5);

/// How much longer than the grace time a worker lives if no master cuts it off.
const ORPHAN_GRACE: Duration = Duration::from_secs(1);

/// Before a child that could not be forked is tried again.
const FORK_AGAIN: Duration = Duration::from_secs(1);

/// Signals that the master acts on.
const SIGNALS: [Signal; 5] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGCHLD,
];

/// Where the master is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Serving,
    /// Workers finish; the time at which they are cut off.
    StoppingWorkers(Instant),
    /// The writer finishes.
    StoppingWriter(Instant),
}

pub(crate) struct Master<'a> {
    config: &'a Config,
    /// Taken by the one child that needs it.
    author: Option<Author>,
    /// The names of the author's channels.
    own_channels: Vec<String>,
    database: Database,
    listeners: Vec<TcpListener>,
    /// None when the database needs no writer; then there is no place for one.
    writer_listener: Option<UnixListener>,
    scoreboard: Scoreboard,
    signals: SignalFd,
    places: Vec<Place>,
    phase: Phase,
    /// The number of the next child's life.
    next_owner: u64,
    stop_asked: Option<Instant>,
    started: Instant,
    code: u8,
    /// Everyone was killed: there is nothing left to write.
    forced: bool,
    /// Turns that were cut off.
    cut: u64,
}

/// Runs a bot with this many workers until it is stopped.
///
/// # Errors
/// [`Error::Start`] when it cannot start.
pub(crate) fn run(config: &Config, author: Author, workers: usize) -> crate::Result<ExitCode> {
    check_names(&author.channels)?;
    let listeners = listeners::open(config)?;
    let database = Database::take(config)?;
    // From here on a Ctrl-C waits until the loop looks.
    let mask: SigSet = SIGNALS.into_iter().collect();
    mask.thread_block()?;
    let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    if let Some(code) = prepare(&database, &author)? {
        return Ok(ExitCode::from(code));
    }
    let writer_listener = database.bind()?;
    let words = sys::shared_words(Scoreboard::words(workers))?;
    let mut places = Vec::new();
    if writer_listener.is_some() {
        places.push(Place::new(Role::Writer));
    }
    places.extend((0..workers).map(|index| Place::new(Role::Worker(index))));
    let mut master = Master {
        config,
        own_channels: author
            .channels
            .iter()
            .map(|(name, _)| name.clone())
            .collect(),
        author: Some(author),
        database,
        listeners,
        writer_listener,
        scoreboard: Scoreboard::new(words),
        signals,
        places,
        phase: Phase::Starting,
        next_owner: first_owner(),
        stop_asked: None,
        started: Instant::now(),
        code: exit::CLEAN,
        forced: false,
        cut: 0,
    };
    let code = master.supervise();
    master.database.leave();
    code.map(ExitCode::from)
}

/// Creates or migrates the database in a child that ends, so that nothing of
/// SQLite is left in the master when it forks. The exit code, should it fail.
fn prepare(database: &Database, author: &Author) -> crate::Result<Option<u8>> {
    match sys::fork()? {
        Forked::Child => {
            let code = match database.prepare(&author.migrations) {
                Ok(()) => exit::CLEAN,
                Err(error) => {
                    say!("error: {error}");
                    exit::BAD_START
                }
            };
            sys::exit_child(code.into())
        }
        Forked::Master(pid) => loop {
            match waitpid(pid, None) {
                Ok(WaitStatus::Exited(_, 0)) => return Ok(None),
                Ok(WaitStatus::Exited(_, code)) => {
                    return Ok(Some(u8::try_from(code).unwrap_or(exit::BUG)));
                }
                Ok(status) => {
                    return Err(Error::Start(format!(
                        "preparing the database ended badly ({status:?}); see the lines above"
                    )));
                }
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e.into()),
            }
        },
    }
}

/// Numbers of lives never repeat, not even across restarts of the program.
fn first_owner() -> u64 {
    let ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64);
    // 41 bits of milliseconds, 22 for the lives of a run: within an i64.
    (ms << 22) | 1
}

impl Master<'_> {
    fn supervise(&mut self) -> crate::Result<u8> {
        loop {
            self.start_due()?;
            self.announce();
            self.replace_silent();
            if let Some(code) = self.proceed() {
                return Ok(code);
            }
            self.wait()?;
            while let Ok(Some(signal)) = self.signals.read_signal() {
                self.obey(signal.ssi_signo);
            }
            self.listen();
            self.reap();
        }
    }

    /// Starts the children that are due: the writer first.
    fn start_due(&mut self) -> crate::Result<()> {
        for index in 0..self.places.len() {
            let place = &self.places[index];
            let wanted = match (self.phase, place.role) {
                (Phase::Starting, Role::Worker(_)) => self
                    .places
                    .iter()
                    .all(|place| place.role != Role::Writer || place.is_ready()),
                (Phase::Starting | Phase::Serving, _) => true,
                // Turns in flight still need it.
                (Phase::StoppingWorkers(_), Role::Writer) => !self.forced,
                _ => false,
            };
            if wanted && place.child.is_none() && place.due <= Instant::now() {
                self.start(index)?;
            }
        }
        Ok(())
    }

    /// Starts a child. What it takes may be lacking for a moment (memory, files,
    /// processes): then it is tried again, save at the very start.
    fn start(&mut self, index: usize) -> crate::Result<()> {
        let role = self.places[index].role;
        let owner = Owner(self.next_owner);
        self.next_owner += 1;
        match self.fork_child(role, owner) {
            Ok(child) => {
                tracing::debug!("started {role} as process {}", child.pid);
                self.places[index].child = Some(child);
            }
            Err(error) if self.phase == Phase::Starting => {
                return Err(Error::Start(format!("cannot start the {role}: {error}")));
            }
            Err(error) => {
                tracing::error!("cannot start the {role}, trying again: {error}");
                self.places[index].due = Instant::now() + FORK_AGAIN;
            }
        }
        Ok(())
    }

    fn fork_child(&mut self, role: Role, owner: Owner) -> std::io::Result<ChildHandle> {
        self.slot(role).start_life();
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let master = getpid();
        match sys::fork()? {
            Forked::Master(pid) => Ok(ChildHandle::new(pid, owner, ours)),
            Forked::Child => {
                drop(ours);
                self.be_child(master, role, owner, theirs)
            }
        }
    }

    fn slot(&self, role: Role) -> Slot {
        match role {
            Role::Writer => self.scoreboard.writer(),
            Role::Worker(index) => self.scoreboard.worker(index),
        }
    }

    fn workers(&self) -> impl Iterator<Item = &Place> {
        self.places
            .iter()
            .filter(|place| place.role != Role::Writer)
    }

    /// Says that the bot serves, once it does.
    fn announce(&mut self) {
        if self.phase != Phase::Starting || !self.places.iter().all(Place::is_ready) {
            return;
        }
        self.phase = Phase::Serving;
        let workers = self.workers().count();
        let workers = format!("{workers} worker{}", if workers == 1 { "" } else { "s" });
        let bound = self.listeners.first().map(TcpListener::local_addr);
        notices::announce(
            self.config,
            &self.own_channels,
            bound.and_then(Result::ok),
            &workers,
            &self.database,
        );
    }

    /// Kills children that give no sign of life; their end is then noticed.
    fn replace_silent(&mut self) {
        let limit = self.config.worker_timeout.as_millis() as u64;
        for place in &self.places {
            let slot = self.slot(place.role);
            let Some(child) = &place.child else { continue };
            // Before its first sign of life its age counts.
            let silent = slot
                .silent_for()
                .unwrap_or(child.started.elapsed().as_millis() as u64);
            if silent > limit {
                tracing::error!(
                    "{} gave no sign of life for {} s: killed (see --worker-timeout)",
                    place.role,
                    silent / 1000
                );
                child.kill();
            }
        }
    }

    /// Moves a stop on; the exit code when all is over.
    fn proceed(&mut self) -> Option<u8> {
        let now = Instant::now();
        match self.phase {
            Phase::Starting | Phase::Serving => None,
            Phase::StoppingWorkers(deadline) => {
                if self
                    .places
                    .iter()
                    .all(|p| p.role == Role::Writer || p.child.is_none())
                {
                    for place in &mut self.places {
                        if let (Role::Writer, Some(writer)) = (place.role, &mut place.child) {
                            writer.drain();
                        }
                    }
                    self.phase = Phase::StoppingWriter(now + WRITER_GRACE);
                    return self.proceed();
                }
                if now >= deadline {
                    self.cut_workers();
                    self.phase = Phase::StoppingWorkers(now + WRITER_GRACE);
                }
                None
            }
            Phase::StoppingWriter(deadline) => {
                if self.places.iter().all(|place| place.child.is_none()) {
                    self.say_goodbye();
                    return Some(self.code);
                }
                if now >= deadline {
                    tracing::error!(
                        "the writer does not end: killed; what it acknowledged is safe"
                    );
                    self.kill_all();
                    self.phase = Phase::StoppingWriter(now + WRITER_GRACE);
                }
                None
            }
        }
    }

    /// Sleeps until something happens or falls due.
    fn wait(&self) -> crate::Result<()> {
        let mut next = Instant::now() + Duration::from_secs(1); // Signs of life.
        for place in self.places.iter().filter(|place| place.child.is_none()) {
            // A worker that is due and not started waits for the writer.
            if place.due > Instant::now() {
                next = next.min(place.due);
            }
        }
        if let Phase::StoppingWorkers(deadline) | Phase::StoppingWriter(deadline) = self.phase {
            next = next.min(deadline);
        }
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        for child in self.places.iter().filter_map(|place| place.child.as_ref()) {
            // Once it is ready, a line that is closed would be reported without
            // end; its death comes as a signal.
            if !child.ready {
                fds.push(PollFd::new(child.control.as_fd(), PollFlags::POLLIN));
            }
        }
        let wait = next.saturating_duration_since(Instant::now());
        let wait = PollTimeout::try_from(wait.as_micros().div_ceil(1000) as i32)
            .unwrap_or(PollTimeout::ZERO);
        match poll(&mut fds, wait) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn obey(&mut self, signal: u32) {
        match Signal::try_from(signal as i32) {
            Ok(Signal::SIGINT) => match self.stop_asked {
                Some(first) if first.elapsed() >= SAME_CTRL_C => self.force(exit::INTERRUPTED),
                Some(_) => {}
                None => self.stop(),
            },
            // SIGHUP: the terminal was closed.
            Ok(Signal::SIGTERM | Signal::SIGHUP) if self.stop_asked.is_none() => self.stop(),
            Ok(Signal::SIGQUIT) => self.force(exit::QUIT),
            _ => {} // SIGCHLD: the children are looked at in any case.
        }
    }

    /// Asks everyone to finish.
    fn stop(&mut self) {
        self.stop_asked = Some(Instant::now());
        self.phase = Phase::StoppingWorkers(Instant::now() + self.config.grace);
        let turns = self.scoreboard.sum(Field::InFlight);
        say!(
            "Stopping: {turns} turn{} in flight, at most {} s. Press Ctrl-C again to force.",
            if turns == 1 { "" } else { "s" },
            self.config.grace.as_secs_f32(),
        );
        listeners::refuse_newcomers(&self.listeners);
        self.listeners.clear();
        for place in &mut self.places {
            if let (Role::Worker(_), Some(child)) = (place.role, &mut place.child) {
                child.drain();
            }
        }
    }

    /// Stops at once. Turns that were not committed did not happen.
    fn force(&mut self, code: u8) {
        self.code = code;
        self.kill_all();
        self.forced = true;
        self.stop_asked = Some(Instant::now());
        self.phase = Phase::StoppingWorkers(Instant::now() + WRITER_GRACE);
    }

    fn cut_workers(&self) {
        for place in self.places.iter().filter(|p| p.role != Role::Writer) {
            if let Some(child) = &place.child {
                child.kill();
            }
        }
    }

    fn kill_all(&self) {
        for child in self.places.iter().filter_map(|p| p.child.as_ref()) {
            child.kill();
        }
    }

    /// Hears what the children say.
    fn listen(&mut self) {
        for place in &mut self.places {
            if let Some(child) = &mut place.child
                && !child.ready
                && child.listen()
                && child.ready
            {
                place.was_ready = true;
            }
        }
    }

    /// Buries dead children, and any stranger that init's duty brought us.
    fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => {
                    self.bury(pid, Some(code), &format!("exited with code {code}"));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    self.bury(pid, None, &format!("was ended by {signal}"));
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// A child ended: notes what it left, and when the next one is due.
    fn bury(&mut self, pid: Pid, code: Option<i32>, how: &str) {
        let Some(place) = self
            .places
            .iter_mut()
            .find(|p| p.child.as_ref().is_some_and(|child| child.pid == pid))
        else {
            return;
        };
        let Some(child) = place.child.take() else {
            return;
        };
        let role = place.role;
        if code == Some(exit::START_OVER.into()) {
            // Nothing is wrong with it, nor with what comes after it.
            place.due = Instant::now();
            tracing::debug!("{role} starts over");
            return;
        }
        if code == Some(exit::BAD_START.into()) && self.stop_asked.is_none() {
            // A platform does not know the token: no other child would fare better.
            tracing::debug!("{role} {how}");
            self.give_up(exit::BAD_START);
            return;
        }
        let delay = place.bury(&child);
        let was_ready = place.was_ready;
        if let Role::Worker(index) = role {
            // Nothing of it is in flight any more.
            let slot = self.scoreboard.worker(index);
            if self.stop_asked.is_some() && code != Some(exit::CLEAN.into()) {
                self.cut += slot.get(Field::InFlight);
                self.code = self.code.max(exit::CUT);
            }
            slot.set(Field::InFlight, 0);
            slot.set(Field::Connections, 0);
            slot.set(Field::Accepting, 0);
        }
        if self.stop_asked.is_some() {
            return;
        }
        if !was_ready {
            // It said why.
            tracing::error!("{role} {how} before it served");
            self.give_up(exit::CANNOT_START);
            return;
        }
        tracing::error!(
            "{role} (process {pid}) {how}; starting another{}",
            if delay.is_zero() {
                String::new()
            } else {
                format!(" in {} s", delay.as_secs_f32())
            }
        );
        let hopeless = match role {
            Role::Writer => self
                .places
                .iter()
                .any(|place| place.role == Role::Writer && place.is_hopeless()),
            Role::Worker(_) => self.workers().all(Place::is_hopeless),
        };
        if hopeless {
            tracing::error!("{role}s die as soon as they are started: giving up");
            self.give_up(exit::CRASH_LOOP);
        }
    }

    /// Stops by its own decision.
    fn give_up(&mut self, code: u8) {
        self.stop();
        self.code = code;
    }

    fn say_goodbye(&self) {
        let cut = match self.cut {
            0 => String::new(),
            n => format!(", {n} cut off"),
        };
        let asked = self.stop_asked.unwrap_or(self.started).elapsed();
        say!(
            "Stopped: {}{cut}, after {:.1} s.",
            notices::totals(self.scoreboard, self.writer_listener.is_some()),
            asked.as_secs_f32()
        );
    }
}
