//! The new program's side of an upgrade: what it gets from the old one, and when the old one is
//! gone. The old side, and the order of steps, is in `upgrade.rs`.
//!
//! File descriptors are passed by number, in an environment variable that names the target
//! process. Invariants: each number is taken over once; a second writer is not started before
//! every possible writer of the old program has closed the pipe that they all hold.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;
use nix::unistd::getpid;
use serde::{Deserialize, Serialize};
use turnkey_storage::Database;

use super::poll_timeout;
use crate::author::start_error::StartError;
use crate::config::{Config, Listen};
use crate::net::listener::{Listener, Purpose};
use crate::process::database;
use crate::process::lifeline::{READY, YIELD};
use crate::process::startup::Found;
use crate::process::{signals, sys};

/// How long the new program waits for the old one's children to leave the database:
/// their grace time is the old program's setting.
const YIELD_WAIT: Duration = Duration::from_secs(600);

/// Where the new program finds what it is given.
pub(super) const VARIABLE: &str = "TURNKEY_UPGRADE";

/// What the old program leaves open for the new one, by number.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Legacy {
    /// The process that this is meant for: its children inherit the environment.
    pub(super) pid: i32,
    pub(super) listeners: Vec<(Purpose, RawFd)>,
    pub(super) sockets_stay: bool,
    /// What they are for.
    pub(super) serving: Serving,
    pub(super) line: RawFd,
    pub(super) alive: RawFd,
    pub(super) lock: Option<RawFd>,
    pub(super) writer: Option<RawFd>,
    pub(super) database: Option<PathBuf>,
}

/// What a program's sockets are for.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Serving {
    /// None when nobody is listened to.
    public: Option<Listen>,
    tls: bool,
    admin: Option<Listen>,
}

impl Serving {
    pub(super) fn of(config: &Config) -> Self {
        Serving {
            public: config.listens().then(|| config.listen.clone()),
            tls: config.tls.is_some(),
            admin: config.admin.as_ref().map(|admin| admin.listen.clone()),
        }
    }
}

/// The program that this one takes over from.
pub(super) struct Predecessor {
    legacy: Legacy,
    line: UnixStream,
    alive: OwnedFd,
    /// Its master is gone.
    has_left: bool,
    /// A writer of its may live.
    writes: bool,
}

impl Predecessor {
    /// None when this program was started in the ordinary way.
    ///
    /// # Errors
    /// [`StartError::Refused`] when what it was given is not there.
    pub(super) fn find() -> crate::StartResult<Option<Self>> {
        let Ok(text) = std::env::var(VARIABLE) else {
            return Ok(None);
        };
        let Ok(legacy) = serde_json::from_str::<Legacy>(&text) else {
            return Ok(None);
        };
        // A program that a handler starts has inherited the variable, nothing else.
        if legacy.pid != getpid().as_raw() {
            return Ok(None);
        }
        let line = UnixStream::from(adopt(legacy.line)?);
        line.set_nonblocking(true)?;
        Ok(Some(Predecessor {
            line,
            alive: adopt(legacy.alive)?,
            has_left: false,
            writes: legacy.writer.is_some(),
            legacy,
        }))
    }

    /// What it leaves us: its sockets, and the database with its share of the file's lock.
    ///
    /// # Errors
    /// [`StartError::Refused`]: the settings are for others.
    pub(super) fn leave(&mut self, config: &Config) -> crate::StartResult<Found> {
        Ok(Found {
            listeners: self.take_listeners(config)?,
            sockets_stay: self.legacy.sockets_stay,
            database: Some(self.take_database(config)?),
        })
    }

    /// Its sockets.
    ///
    /// # Errors
    /// [`StartError::Refused`]: the settings are for others. A socket is what it was bound as:
    /// what was meant for this machine must not be reached from elsewhere, nor the other way.
    fn take_listeners(&mut self, config: &Config) -> crate::StartResult<Vec<Listener>> {
        let (before, now) = (&self.legacy.serving, Serving::of(config));
        if before.public != now.public && !self.legacy.sockets_stay || before.tls != now.tls {
            return Err(StartError::Refused(
                "an upgrade keeps the address, and HTTPS or not; stop the bot to change them"
                    .to_owned(),
            ));
        }
        if before.admin != now.admin {
            // The old sockets go; new ones are bound.
            self.legacy
                .listeners
                .retain(|(purpose, _)| *purpose != Purpose::Admin);
        }
        let mut listeners = Vec::new();
        for (purpose, number) in std::mem::take(&mut self.legacy.listeners) {
            listeners.push(Listener::adopt(purpose, adopt(number)?)?);
        }
        Ok(listeners)
    }

    fn take_database(&mut self, config: &Config) -> crate::StartResult<Database> {
        let lock = self.legacy.lock.take().map(adopt).transpose()?;
        match (lock, self.legacy.database.take()) {
            (Some(lock), Some(path)) => database::inherit(config, &path, lock),
            _ => database::take(config),
        }
    }

    pub(super) fn take_writer_listener(&mut self) -> crate::StartResult<Option<UnixListener>> {
        let writer = self.legacy.writer.take().map(adopt).transpose()?;
        Ok(writer.map(UnixListener::from))
    }

    /// Whether a writer of the old program may live.
    pub(super) fn writes(&self) -> bool {
        self.writes
    }

    pub(super) fn tell_ready(&self) {
        self.tell(READY);
    }

    fn tell(&self, word: u8) {
        if let Err(error) = (&self.line).write_all(&[word]) {
            tracing::debug!("the old program is gone already: {error}");
        }
    }

    /// Has everybody leave the database. False when a signal came first.
    pub(super) fn ask_to_yield(&mut self, signals: &SignalFd) -> crate::StartResult<bool> {
        self.tell(YIELD);
        if !wait_for_end(&self.alive, signals, YIELD_WAIT)? {
            return Ok(false);
        }
        self.writes = false;
        Ok(true)
    }

    /// Looks whether it is still there; true once nothing of it is.
    pub(super) fn look(&mut self) -> bool {
        self.has_left |= is_over(&self.line);
        self.writes &= !is_over(&self.alive);
        self.has_left && !self.writes
    }

    pub(super) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let mut fds = Vec::new();
        if !self.has_left {
            fds.push(PollFd::new(self.line.as_fd(), PollFlags::empty()));
        }
        if self.writes {
            fds.push(PollFd::new(self.alive.as_fd(), PollFlags::empty()));
        }
        fds
    }
}

fn adopt(number: RawFd) -> crate::StartResult<OwnedFd> {
    sys::adopt(number).map_err(|e| {
        StartError::Refused(format!("what the old program left open is not there: {e}"))
    })
}

/// Whether the other end of a pipe or socket is closed.
fn is_over(file: impl AsFd) -> bool {
    let mut fds = [PollFd::new(file.as_fd(), PollFlags::empty())];
    let over = PollFlags::POLLHUP | PollFlags::POLLERR;
    poll(&mut fds, PollTimeout::ZERO).is_ok()
        && fds[0]
            .revents()
            .is_some_and(|events| events.intersects(over))
}

/// Waits until a file is closed at its other end. False when a signal came first.
///
/// # Errors
/// It takes too long.
fn wait_for_end(file: impl AsFd, signals: &SignalFd, limit: Duration) -> crate::StartResult<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let rest = deadline.saturating_duration_since(Instant::now());
        let mut fds = [
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(file.as_fd(), PollFlags::empty()),
        ];
        match poll(&mut fds, poll_timeout(rest)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        let over = fds[1]
            .revents()
            .is_some_and(|e| e.intersects(PollFlags::POLLHUP | PollFlags::POLLERR));
        if over {
            return Ok(true);
        }
        while let Ok(Some(signal)) = signals.read_signal() {
            if signals::is_stop(signal.ssi_signo) {
                return Ok(false);
            }
        }
        if rest.is_zero() {
            return Err(StartError::Refused(
                "the old program did not leave the database in time".to_owned(),
            ));
        }
    }
}
