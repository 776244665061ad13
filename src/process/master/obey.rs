//! What the master does on each signal: the table of docs/OPERATING.md, in code.
//!
//! Called once in each round of the loop. How signals get here is `process/signals.rs`.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{Master, Phase};
use crate::process::exit;
use crate::shared::lines;
use crate::shared::lines::say;

/// A second Ctrl-C within this time is the first one, delivered twice.
const SAME_CTRL_C: Duration = Duration::from_millis(50);

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
