//! Signals from the start on: they are read synchronously, so no signal handler ever interrupts
//! anything.
//!
//! Called by the master, which reads them from a signalfd in its loop and obeys
//! (`process/master/obey.rs`), and by `process/single.rs`, whose runtime receives them. Until
//! then a Ctrl-C simply ends the program. Invariant: they are blocked before there is anything
//! to clean up.

use std::sync::OnceLock;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::sys;

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
pub(crate) fn before_the_start() -> crate::StartResult<()> {
    Ok(sys::leave_on(ending())?)
}

/// From here on a signal waits until the loop looks.
pub(crate) fn watch() -> crate::StartResult<SignalFd> {
    let mask = hold(&SIGNALS)?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    Ok(SignalFd::with_flags(&mask, flags)?)
}

/// Blocks these signals and takes back what [`before_the_start`] did: whoever unblocks
/// them has handlers of its own.
///
/// # Errors
/// What the system says.
pub(crate) fn hold(signals: &[Signal]) -> crate::StartResult<SigSet> {
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
pub(crate) fn is_stop(signal: u32) -> bool {
    matches!(
        Signal::try_from(signal as i32),
        Ok(Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)
    )
}
