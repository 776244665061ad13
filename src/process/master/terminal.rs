//! The terminal that the program was started from, if any.
//!
//! Used by the master to tell the two meanings of SIGHUP apart: a closed terminal window, or a
//! reload. `/dev/tty` is held open (close-on-exec): once the terminal is gone, every call on it
//! fails.

use std::fs::File;

use nix::sys::termios::tcgetattr;

use crate::process::signals;

/// The controlling terminal.
pub(super) struct Terminal(Option<File>);

impl Terminal {
    /// Looks once, at the start. Under `nohup` there is none: whoever asked for a
    /// program that survives its terminal gets one.
    pub(super) fn find() -> Self {
        Terminal(if signals::ignores_hang_up() {
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
