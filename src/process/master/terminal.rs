//! The terminal that the program was started from, if any.
//!
//! Used by the master to tell the two meanings of SIGHUP apart: a window that was
//! closed, or a wish for new settings. `/dev/tty` is held open (and is closed on
//! exec): once its terminal is gone every question about it fails.

use std::fs::File;

use nix::sys::termios::tcgetattr;

/// The controlling terminal.
pub(super) struct Terminal(Option<File>);

impl Terminal {
    /// Looks once, at the start. Under `nohup` there is none: whoever asked for a
    /// program that survives its terminal gets one.
    pub(super) fn find() -> Self {
        Terminal(if is_hangup_ignored() {
            None
        } else {
            File::open("/dev/tty").ok()
        })
    }

    /// Whether there was one and it was closed.
    pub(super) fn is_gone(&self) -> bool {
        self.0.as_ref().is_some_and(|tty| tcgetattr(tty).is_err())
    }
}

/// Whether this process was started with SIGHUP ignored: the bit of signal 1 in
/// proc(5)'s SigIgn.
fn is_hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}
