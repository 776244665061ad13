//! What a person sees while it runs: one line that changes on a terminal, one line a
//! run elsewhere. On stderr, so that `--json` stays clean.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::plan::{Case, Plan};
use super::results::{Run, case_name};
use turnkey_report::figures::{thousands, time};
use turnkey_report::say;

const BAR: usize = 20;

/// Columns that the changing line may take.
const WIDTH: usize = 100;

/// How far a laboratory has got.
pub(crate) struct Progress {
    total: usize,
    done: usize,
    begun: Instant,
    /// When the last run ended.
    ended: Instant,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(total: usize) -> Self {
        Progress {
            total,
            done: 0,
            begun: Instant::now(),
            ended: Instant::now(),
            terminal: std::io::stderr().is_terminal(),
        }
    }

    fn left(&self) -> Option<Duration> {
        let so_far = self.ended.duration_since(self.begun);
        let each = so_far / u32::try_from(self.done).ok().filter(|done| *done > 0)?;
        let rest = each * u32::try_from(self.total - self.done).ok()?;
        Some(rest.saturating_sub(self.ended.elapsed()))
    }

    /// A run, in short.
    pub(crate) fn name(&self, plan: &Plan, case: &Case, repeat: usize) -> String {
        let situation = case.situation();
        let mut text = case_name(plan.name(case.engine), &situation);
        if plan.state_bytes.len() > 1 {
            text += &format!(", {} bytes", situation.state_bytes);
        }
        text + &format!(", repeat {repeat}")
    }

    /// Something goes on in this run.
    pub(crate) fn show(&self, what: &str) {
        if !self.terminal {
            return;
        }
        let full = BAR * self.done / self.total.max(1);
        let left = self
            .left()
            .map(|left| format!("  about {} left", words(left)))
            .unwrap_or_default();
        let line = format!(
            "[{}{}] {}/{}  {}{left}",
            "#".repeat(full),
            "-".repeat(BAR - full),
            self.done,
            self.total,
            what,
        );
        let line: String = line.chars().take(WIDTH).collect();
        let mut out = std::io::stderr().lock();
        drop(write!(out, "\r\x1b[K{line}").and_then(|()| out.flush()));
    }

    /// A run has ended.
    pub(crate) fn ended(&mut self, what: &str, run: &Run) {
        self.done += 1;
        self.ended = Instant::now();
        self.clear();
        if let Some(sentence) = &run.failed {
            say!("FAILED {what}: {sentence}");
        } else if !self.terminal {
            say!(
                "{}/{}  {what}: {} turns/s, p99 {}",
                self.done,
                self.total,
                thousands(run.turns_per_second),
                time(run.latency_us.p99),
            );
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&self) {
        if self.terminal {
            drop(write!(std::io::stderr(), "\r\x1b[K"));
        }
    }
}

/// A time as people say it.
pub(crate) fn words(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 90.0 {
        format!("{:.0} s", seconds.ceil())
    } else if seconds < 5400.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_words() {
        let words = |seconds| super::words(Duration::from_secs(seconds));
        assert_eq!(
            [words(5), words(200), words(9000)],
            ["5 s", "3 min", "2.5 h"]
        );
    }
}
