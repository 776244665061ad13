//! Starts and ends of children.
//!
//! A dead child is replaced: by the rules of `child.rs` when it died young, after [`TERM_WAIT`]
//! when somebody asked it to exit. When no child of a kind can be kept alive, the program gives
//! up.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use turnkey_storage::Owner;

use super::child::{ChildHandle, Role, Stage};
use super::life;
use super::watch::out_of_memory;
use super::{Master, Phase, SLOTS};
use crate::author::start_error::StartError;
use crate::process::exit;
use crate::process::sys::{self, Forked};
use crate::shared::scoreboard::{Field, Slot};

/// Before a child that could not be forked is tried again.
const FORK_AGAIN: Duration = Duration::from_secs(1);

/// A worker that left on SIGTERM is replaced after this: an init system that stops a
/// service signals every process, and the master's may come a moment later.
const TERM_WAIT: Duration = Duration::from_millis(200);

/// How a child ended.
enum End {
    Code(u8),
    Signal(Signal),
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            End::Code(code) => write!(f, "exited with code {code}"),
            End::Signal(signal) => write!(f, "was ended by {signal}"),
        }
    }
}

impl Master {
    /// Starts the children that are due: the writer first.
    pub(super) fn start_due(&mut self) -> crate::StartResult<()> {
        for index in 0..self.places.len() {
            let place = &self.places[index];
            let role = place.role;
            let of_before = self.predecessor.as_ref().is_some_and(|p| p.writes());
            let wanted = match (self.phase, role) {
                // One writer at a time: neither one that leaves, nor a predecessor's.
                (_, Role::Writer) if of_before || self.writer_lives() => false,
                (Phase::Starting, Role::Worker(_)) => self.has_writer(),
                // Turns in flight still need it.
                (Phase::Starting | Phase::Serving, _) | (Phase::StoppingWorkers, Role::Writer) => {
                    true
                }
                _ => false,
            };
            if wanted && place.due <= Instant::now() && self.child_of(role).is_none() {
                self.start(role)?;
            }
        }
        Ok(())
    }

    fn writer_lives(&self) -> bool {
        self.children.iter().any(|child| !child.is_worker())
    }

    /// Starts a child; its process id, if it could be. What it takes may be lacking
    /// for a moment (memory, files, processes): then it is tried again, save at the
    /// very start.
    pub(super) fn start(&mut self, role: Role) -> crate::StartResult<Option<Pid>> {
        debug_assert!(
            role != Role::Writer || !self.writer_lives(),
            "one writer at a time"
        );
        let owner = Owner(self.next_owner);
        self.next_owner += 1;
        match self.fork_child(role, owner) {
            Ok(child) => {
                let pid = child.pid;
                tracing::debug!("started {role} as process {pid}");
                self.children.push(child);
                Ok(Some(pid))
            }
            Err(error) if self.phase == Phase::Starting => {
                Err(StartError::from(error).after(&format!("cannot start the {role}: ")))
            }
            Err(error) => {
                tracing::error!("cannot start the {role}, trying again: {error}");
                if let Some(place) = self.places.iter_mut().find(|place| place.role == role) {
                    place.due = Instant::now() + FORK_AGAIN;
                }
                Ok(None)
            }
        }
    }

    fn fork_child(&mut self, role: Role, owner: Owner) -> std::io::Result<ChildHandle> {
        let number = self.free_slot();
        self.open_slot(role, number).start_life();
        self.expected = match role {
            Role::Writer => self.living_workers(),
            Role::Worker(_) => Vec::new(),
        };
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let master = getpid();
        match sys::fork()? {
            Forked::Master(pid) => Ok(ChildHandle::new(pid, role, number, owner, ours)),
            Forked::Child => {
                drop(ours);
                match self.give(master, role, number, owner, theirs) {
                    Some(given) => life::live(given),
                    None => sys::exit_child(exit::BUG.into()),
                }
            }
        }
    }

    /// The first worker's slot that nobody uses. There are more of them than children
    /// may live: should all be taken, two share one and are counted as one.
    fn free_slot(&self) -> usize {
        let is_free = |number: &usize| {
            let taken = |child: &ChildHandle| child.is_worker() && child.slot == *number;
            !self.children.iter().any(taken)
        };
        (0..SLOTS).find(is_free).unwrap_or(SLOTS - 1)
    }

    fn open_slot(&self, role: Role, number: usize) -> Slot {
        match role {
            Role::Writer => self.scoreboard.writer(),
            Role::Worker(_) => self.scoreboard.open(number),
        }
    }

    pub(super) fn slot_of(&self, child: &ChildHandle) -> Slot {
        match child.role {
            Role::Writer => self.scoreboard.writer(),
            Role::Worker(_) => self.scoreboard.worker(child.slot),
        }
    }

    /// A child serves: sets when it is to be replaced.
    pub(super) fn note_ready(&mut self, pid: Pid) {
        let Some(at) = self.children.iter().position(|child| child.pid == pid) else {
            return;
        };
        let slot = self.slot_of(&self.children[at]);
        let child = &mut self.children[at];
        if child.is_worker() {
            // Not all at once: give or take a tenth.
            let some = 0.9 + 0.2 * fastrand::f64();
            let requests = self.config.max_requests;
            child.most_requests = requests
                .map(|most| slot.get(Field::Requests) + ((most as f64 * some) as u64).max(1));
            let age = self.config.max_age;
            child.replace_at = age.map(|age| Instant::now() + age.mul_f64(some));
        }
        self.note_rolled(pid);
        self.tell_health();
    }

    /// Buries dead children, and any stranger that init's duty brought us.
    pub(super) fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => {
                    let code = u8::try_from(code).unwrap_or(exit::BUG);
                    self.bury(pid, &End::Code(code));
                }
                Ok(WaitStatus::Signaled(pid, signal, _)) => self.bury(pid, &End::Signal(signal)),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// A child ended: notes what it left, and when the next one is due.
    fn bury(&mut self, pid: Pid, end: &End) {
        if self.bury_successor(pid) || self.log_process.bury(pid) {
            return;
        }
        let Some(at) = self.children.iter().position(|child| child.pid == pid) else {
            return;
        };
        let mut child = self.children.swap_remove(at);
        child.listen();
        let words = child.last_words();
        let slot = self.slot_of(&child);
        let in_flight = slot.get(Field::InFlight);
        // Nothing of it is in flight any more, and nothing that it started goes on.
        slot.end_life();
        slot.groups().kill();
        let clean = matches!(end, End::Code(exit::CLEAN));
        if self.is_stopping() || child.stage == Stage::Leaving {
            if child.is_worker() && !clean && self.is_stopping() {
                self.note_cut(in_flight, &words);
            } else if child.is_worker() && !clean {
                let list = words.replace('\n', "; ");
                tracing::warn!(
                    "{}, which was replaced, {end}: {in_flight} turns cut off ({list})",
                    child.role
                );
            }
            if self.is_stopping() && child.role == Role::Writer && !clean {
                tracing::debug!("the writer {end}");
            }
            self.respawn_writer(&child, end);
            return;
        }
        if self.note_not_rolled(&child, &format!("{} {end}", child.role), &words) {
            return;
        }
        self.replace(&child, end, &words);
    }

    /// While workers finish, a writer that dies has a successor.
    fn respawn_writer(&mut self, child: &ChildHandle, end: &End) {
        if child.role == Role::Writer && self.phase == Phase::StoppingWorkers {
            tracing::error!("the writer {end}; starting another");
            if let Some(place) = self.places.iter_mut().find(|p| p.role == Role::Writer) {
                place.bury(child.started.elapsed());
            }
        }
    }

    /// Decides when another child takes a dead one's place.
    fn replace(&mut self, child: &ChildHandle, end: &End, words: &str) {
        let role = child.role;
        let Some(place) = self.places.iter_mut().find(|place| place.role == role) else {
            return; // SIGTTOU took its place away.
        };
        let now = Instant::now();
        match end {
            // Nothing is wrong with it, nor with what comes after it.
            End::Code(exit::START_OVER) => {
                place.due = now;
                tracing::debug!("{role} starts over");
                return;
            }
            End::Code(exit::CLEAN) | End::Signal(Signal::SIGTERM) if child.is_worker() => {
                place.due = now + TERM_WAIT;
                tracing::info!("{role} left on SIGTERM; another takes its place");
                return;
            }
            // A platform does not know the token: no other child would fare better.
            End::Code(exit::BAD_START) => {
                tracing::debug!("{role} {end}");
                self.give_up(exit::BAD_START);
                return;
            }
            _ => {}
        }
        let hint = self.explain(child, end);
        let words = match words.trim().replace('\n', "; ") {
            words if words.is_empty() || words == "0" => String::new(),
            words => format!(" ({words})"),
        };
        if child.stage == Stage::Starting && self.phase == Phase::Starting {
            tracing::error!("{role} {end} before it served{hint}{words}");
            self.give_up(exit::CANNOT_START);
            return;
        }
        let Some(place) = self.places.iter_mut().find(|place| place.role == role) else {
            return;
        };
        let delay = place.bury(child.started.elapsed());
        self.slot_of(child).add(Field::Crashes, 1);
        tracing::error!(
            "{role} (process {}) {end}{hint}{words}; starting another{}",
            child.pid,
            if delay.is_zero() {
                String::new()
            } else {
                format!(" in {:.1} s", delay.as_secs_f32())
            }
        );
        self.tell_health();
        let hopeless = match role {
            Role::Writer => self
                .places
                .iter()
                .any(|place| place.role == Role::Writer && place.is_hopeless()),
            Role::Worker(_) => self.workers().all(super::child::Place::is_hopeless),
        };
        if hopeless {
            tracing::error!("{role}s die as soon as they are started: giving up{words}");
            self.give_up(exit::CRASH_LOOP);
        }
    }

    /// What is known of a SIGKILL that is not ours.
    fn explain(&mut self, child: &ChildHandle, end: &End) -> &'static str {
        if !matches!(end, End::Signal(Signal::SIGKILL)) || child.killed {
            return "";
        }
        let now = out_of_memory();
        if now > self.watch.out_of_memory {
            self.watch.out_of_memory = now;
            return ": killed by the kernel, likely out of memory";
        }
        ": killed from outside"
    }
}
