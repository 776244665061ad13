//! What the master does on each signal: the table of docs/OPERATING.md, in code.
//!
//! Signals are blocked from before the database is touched and read from a signalfd
//! in the master's loop: no handler ever runs in the middle of something.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::{Master, Phase, sys};
use crate::process::exit;
use crate::shared::lines;
use crate::shared::lines::say;

/// A second Ctrl-C within this time is the first one, delivered twice.
const SAME_CTRL_C: Duration = Duration::from_millis(50);

/// Signals that the master acts on.
const SIGNALS: [Signal; 10] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGCHLD,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// Whether this program was started with SIGHUP ignored, as by nohup(1): found out before
/// anything is changed.
static IGNORES_HANG_UP: OnceLock<bool> = OnceLock::new();

/// Whoever asked for a program that survives its terminal gets one.
pub(crate) fn ignores_hang_up() -> bool {
    *IGNORES_HANG_UP.get_or_init(|| sys::is_ignored(Signal::SIGHUP))
}

/// Those that end the program, also before it serves.
fn ending() -> impl Iterator<Item = Signal> {
    let all = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    let survives = ignores_hang_up();
    all.into_iter()
        .filter(move |signal| *signal != Signal::SIGHUP || !survives)
}

/// Until [`watch`]: a Ctrl-C ends the program, which has nothing to finish yet.
///
/// # Errors
/// What the system says.
pub(crate) fn before_the_start() -> crate::Result<()> {
    Ok(sys::leave_on(ending())?)
}

/// From here on a signal waits until the loop looks.
pub(super) fn watch() -> crate::Result<SignalFd> {
    let mask = hold(&SIGNALS)?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    Ok(SignalFd::with_flags(&mask, flags)?)
}

/// Blocks these signals and takes back what [`before_the_start`] did: whoever unblocks
/// them has handlers of its own.
///
/// # Errors
/// What the system says.
pub(crate) fn hold(signals: &[Signal]) -> crate::Result<SigSet> {
    let mask: SigSet = signals.iter().copied().collect();
    mask.thread_block()?;
    // An ignored SIGHUP stays so, for the program of an upgrade, too; one that is blocked
    // is read all the same.
    for signal in ending() {
        sys::restore(signal)?;
    }
    Ok(mask)
}

/// Whether one of the signals that stop the program has come.
pub(super) fn is_stop(signal: u32) -> bool {
    matches!(
        Signal::try_from(signal as i32),
        Ok(Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)
    )
}

impl Master {
    /// Reads what has come.
    pub(super) fn obey_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if let Ok(signal) = Signal::try_from(signal.ssi_signo as i32) {
                self.obey(signal);
            }
        }
    }

    fn obey(&mut self, signal: Signal) {
        match signal {
            Signal::SIGINT => match self.stop_asked {
                Some(first) if first.elapsed() >= SAME_CTRL_C => self.force(exit::INTERRUPTED),
                Some(_) => {}
                None => self.stop(),
            },
            // A second one changes nothing: an init system and the program that
            // started this one may both send it, and the grace time bounds the stop.
            Signal::SIGTERM if self.stop_asked.is_none() => self.stop(),
            Signal::SIGHUP if self.stop_asked.is_some() => {}
            Signal::SIGHUP if self.terminal.is_gone() => self.stop(),
            Signal::SIGHUP => self.reload(),
            Signal::SIGQUIT => self.force(exit::QUIT),
            Signal::SIGTTIN => self.resize(1),
            Signal::SIGTTOU => self.resize(-1),
            Signal::SIGUSR1 => self.reopen_log(),
            Signal::SIGUSR2 => self.start_upgrade(),
            _ => {} // SIGCHLD: the children are looked at in any case. SIGWINCH.
        }
    }

    /// The log file is opened anew.
    fn reopen_log(&self) {
        lines::reopen();
        if self.config.log_file.is_some() {
            tracing::info!("the log goes on here");
        }
    }

    /// One worker more or less.
    fn resize(&mut self, by: isize) {
        if self.phase != Phase::Serving {
            return;
        }
        let now = self.wanted_workers();
        let wanted = now.saturating_add_signed(by);
        if self.set_workers(wanted) {
            say!("Workers: {now} before, {wanted} from now on.");
        } else {
            say!(
                "Workers: still {now}; 1 to {} are possible.",
                super::MAX_WORKERS
            );
        }
    }

    /// When a stop was asked for is what tells a second Ctrl-C from the first.
    pub(super) fn note_stop(&mut self) {
        self.stop_asked.get_or_insert_with(Instant::now);
    }
}
