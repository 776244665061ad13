//! What the master knows of one child, and when it starts another in its place.
//!
//! The other side of it is in `worker/` and `writer.rs`: two sides, two types.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use turnkey_storage::Owner;

use crate::control::{DRAIN, READY};

/// A child that lived for less may be one that cannot live.
const SHORT_LIFE: Duration = Duration::from_secs(10);

/// Delay before the third start in a row of a child that lives shortly; doubled
/// for each further one. The second start is at once: whatever killed the first
/// may have been a chance.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The longest delay. Requests wait for a writer for ten seconds, so one must be
/// tried well within that; requests of a dead worker are lost anyway.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
const LONGEST_WRITER_DELAY: Duration = Duration::from_secs(1);

/// Short lives in a row after which a place is hopeless: with the delays, less
/// than a minute of trying.
const HOPELESS: u32 = 12;

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Worker(usize),
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Role::Writer => f.write_str("writer"),
            Role::Worker(index) => write!(f, "worker {index}"),
        }
    }
}

/// A running child.
pub(super) struct ChildHandle {
    pub(super) pid: Pid,
    /// The number of this life, by which the storage knows it.
    pub(super) owner: Owner,
    pub(super) ready: bool,
    pub(super) started: Instant,
    /// Our end of its lifeline; it sees when we are gone.
    pub(super) control: UnixStream,
}

impl ChildHandle {
    pub(super) fn new(pid: Pid, owner: Owner, control: UnixStream) -> Self {
        ChildHandle {
            pid,
            owner,
            ready: false,
            started: Instant::now(),
            control,
        }
    }

    /// Tells it to finish what it has and leave.
    pub(super) fn drain(&mut self) {
        if let Err(error) = self.control.write_all(&[DRAIN]) {
            // It is dead, and will be reaped in a moment.
            tracing::debug!("process {} is gone already: {error}", self.pid);
        }
    }

    /// Kills it.
    pub(super) fn kill(&self) {
        if let Err(error) = kill(self.pid, Signal::SIGKILL) {
            tracing::debug!("process {} is gone already: {error}", self.pid);
        }
    }

    /// Reads what it says. False when its end of the line is closed.
    pub(super) fn listen(&mut self) -> bool {
        let mut bytes = [0; 16];
        loop {
            match self.control.read(&mut bytes) {
                Ok(0) => return false,
                Ok(count) => self.ready |= bytes[..count].contains(&READY),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return e.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}

/// A child's place: it outlives the children that fill it.
pub(super) struct Place {
    pub(super) role: Role,
    pub(super) child: Option<ChildHandle>,
    /// When the next child is due, if there is none.
    pub(super) due: Instant,
    /// Short lives in a row.
    short_lives: u32,
    /// A child of this place was ready once.
    pub(super) was_ready: bool,
}

impl Place {
    pub(super) fn new(role: Role) -> Self {
        Place {
            role,
            child: None,
            due: Instant::now(),
            short_lives: 0,
            was_ready: false,
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.child.as_ref().is_some_and(|child| child.ready)
    }

    /// The child ended: decides when the next one starts.
    pub(super) fn bury(&mut self, child: &ChildHandle) -> Duration {
        if child.started.elapsed() >= SHORT_LIFE {
            self.short_lives = 0;
        }
        self.short_lives += 1;
        let longest = match self.role {
            Role::Writer => LONGEST_WRITER_DELAY,
            Role::Worker(_) => LONGEST_DELAY,
        };
        let delay = match self.short_lives {
            0 | 1 => Duration::ZERO,
            n => (FIRST_DELAY * 2_u32.saturating_pow(n - 2)).min(longest),
        };
        self.due = Instant::now() + delay;
        delay
    }

    /// Its children die again and again.
    pub(super) fn is_hopeless(&self) -> bool {
        self.short_lives >= HOPELESS
    }
}
