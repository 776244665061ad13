//! What a person sees while it runs: one line that changes on a terminal, one line a
//! round elsewhere. On stderr, so that `--json` stays clean.

use std::io::{IsTerminal, Write};

use super::results::Round;
use turnkey_report::say;

/// How far a drill has got.
pub(super) struct Progress {
    total: usize,
    done: usize,
    faulty: usize,
    shown: bool,
    terminal: bool,
}

impl Progress {
    pub(super) fn new(total: usize, shown: bool) -> Self {
        Progress {
            total,
            done: 0,
            faulty: 0,
            shown,
            terminal: shown && std::io::stderr().is_terminal(),
        }
    }

    /// A round begins.
    pub(super) fn show(&self, what: &str) {
        if !self.terminal {
            return;
        }
        let faulty = match self.faulty {
            0 => String::new(),
            number => format!(", {number} not clean"),
        };
        let line = format!("[{}/{}{faulty}] {what} …", self.done + 1, self.total);
        let mut out = std::io::stderr().lock();
        drop(write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()));
    }

    /// Takes the line away.
    pub(super) fn clear(&self) {
        if self.terminal {
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }

    /// A round has ended.
    pub(super) fn ended(&mut self, round: &Round) {
        self.done += 1;
        self.faulty += usize::from(!round.is_clean());
        if !self.shown {
            return;
        }
        let verdict = match round.problems.first() {
            None => "clean".to_owned(),
            Some(problem) => format!("NOT CLEAN: {problem}"),
        };
        let left = match round.left_after_s {
            Some(seconds) => format!("left after {seconds:.2} s"),
            None => "did not leave".to_owned(),
        };
        let [(cut, of), (cut_later, of_later)] = round.cut_of();
        say!(
            "{}/{}  {}, {}: cut {cut} of {of} under way at the signal, {cut_later} of {of_later} later; {left}; {verdict}",
            self.done,
            self.total,
            round.scenario,
            round.load,
        );
    }
}
