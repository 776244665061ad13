//! Prepares the database before the first worker is forked, in a short-lived child, so that
//! nothing of SQLite is left in the master when it forks.
//!
//! Called by `start.rs`. A Ctrl-C is obeyed here, too: the child gets [`PATIENCE`] to finish
//! its work, then it is killed. Migrations are transactions, but not on MySQL, where the child
//! gets [`LONG_PATIENCE`]. A second Ctrl-C does not wait.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::given::of_everybody;
use super::poll_timeout;
use super::predecessor::Predecessor;
use crate::author::start_error::StartError;
use crate::config::Config;
use crate::handlers::Author;
use crate::process::exit;
use crate::process::exit::LAST_LINES;
use crate::process::signals;
use crate::process::startup;
use crate::process::sys::{self, Forked};
use crate::shared::lines;
use crate::shared::lines::say;
use turnkey_storage::Database;

/// How long a stop waits for the child that prepares the database.
const PATIENCE: Duration = Duration::from_secs(2);

/// The same where half of a migration would stay.
const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// Of the child that looks: the database has to be changed.
const OUTDATED: u8 = 10;

/// How it went.
pub(super) enum Prepared {
    Done,
    /// It said why not; the exit code.
    Failed(u8),
    /// A signal came.
    Stopped,
}

/// Creates or migrates the database.
///
/// # Errors
/// When no child can be started, or it ends badly.
pub(super) fn prepare(
    config: &Config,
    database: &Database,
    author: &Author,
    signals: &SignalFd,
    predecessor: &mut Option<Predecessor>,
) -> crate::StartResult<Prepared> {
    // One writer at a time: while a predecessor serves the file, look only.
    if let (Some(before), true) = (&mut *predecessor, database.files().is_some()) {
        let look = || match try_and_look(config, database, author) {
            Ok(true) => exit::CLEAN,
            Ok(false) => OUTDATED,
            Err(error) => refused(&error),
        };
        match in_child(look, database, signals, PATIENCE)? {
            Prepared::Failed(OUTDATED) => {
                tracing::info!("the database has to be changed: the old program leaves it first");
                if !before.ask_to_yield(signals)? {
                    return Ok(Prepared::Stopped);
                }
            }
            other => return Ok(other),
        }
    }
    let change = || match startup::prepare(config, database, author) {
        Ok(()) => exit::CLEAN,
        Err(error) => refused(&error),
    };
    let patience = if database.prepares_in_transactions() {
        PATIENCE
    } else {
        LONG_PATIENCE
    };
    in_child(change, database, signals, patience)
}

/// Whether the handler starts, and the database needs no change.
fn try_and_look(config: &Config, database: &Database, author: &Author) -> crate::StartResult<bool> {
    author.try_out(config)?;
    Ok(database.is_current(&author.migrations)?)
}

fn refused(error: &StartError) -> u8 {
    say!("error: {error}");
    exit::of_start(error)
}

/// Runs something with the database in a child and waits for its end. The child has
/// nothing else of the master's.
fn in_child(
    job: impl FnOnce() -> u8,
    database: &Database,
    signals: &SignalFd,
    patience: Duration,
) -> crate::StartResult<Prepared> {
    let pid = match sys::fork()? {
        Forked::Master(pid) => pid,
        Forked::Child => {
            // Without a master nobody waits for it. Signals stay blocked: the
            // terminal's Ctrl-C is the master's.
            if let Err(error) = prctl::set_pdeathsig(Signal::SIGKILL) {
                tracing::debug!("no word of the master's death: {error}");
            }
            lines::forget();
            sys::close_others(&of_everybody(database));
            let code = job();
            lines::finish(LAST_LINES);
            sys::exit_child(code.into())
        }
    };
    let mut stop: Option<Instant> = None;
    loop {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
            Ok(_) if stop.is_some() => return Ok(Prepared::Stopped),
            Ok(WaitStatus::Exited(_, 0)) => return Ok(Prepared::Done),
            Ok(WaitStatus::Exited(_, code)) => {
                return Ok(Prepared::Failed(u8::try_from(code).unwrap_or(exit::BUG)));
            }
            Ok(status) => {
                return Err(StartError::Refused(format!(
                    "preparing the database ended badly ({status:?}); see the lines above"
                )));
            }
            Err(e) => return Err(e.into()),
        }
        // The child's end comes as a signal.
        let next = stop.map_or(Duration::from_secs(1), |until| {
            until.saturating_duration_since(Instant::now())
        });
        let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, poll_timeout(next)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
        let mut pressed = 0;
        while let Ok(Some(signal)) = signals.read_signal() {
            pressed += u32::from(signals::is_stop(signal.ssi_signo));
        }
        let over = stop.is_some_and(|until| pressed > 0 || Instant::now() >= until);
        if over {
            kill(pid, Signal::SIGKILL)?;
        } else if pressed > 0 {
            say!("Stopping: the database is being prepared. Press Ctrl-C again to force.");
            stop = Some(Instant::now() + patience);
        }
    }
}
