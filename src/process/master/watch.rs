//! Checks on running children: which one gives no sign of life, which has served long enough;
//! and notifies the init system.
//!
//! Called once in each round of the master's loop. A child that hangs is told to log what it is
//! working on, and killed [`HANGING`] later. Bounds: `--worker-timeout`, `--max-requests`,
//! `--max-age`.

use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::child::Stage;
use super::{Master, Phase};
use crate::process::systemd;
use crate::shared::scoreboard::Field;
use turnkey_text::numbers::counted;

/// How long a worker that hangs has to tell what it has in hand.
const HANGING: Duration = Duration::from_millis(500);

/// The loop looks at least once a second. Has it not, the whole program was stopped
/// (Ctrl-Z) or the machine slept, and silence means nothing.
const PAUSE: Duration = Duration::from_secs(2);

/// What the master remembers for watching.
pub(super) struct Watch {
    looked: Instant,
    /// Silence counts from here at the earliest.
    since: Instant,
    /// The kernel's count of processes that it killed for memory.
    pub(super) out_of_memory: u64,
    /// How often the init system expects to hear of us, and when it last did.
    alive: Option<(Duration, Instant)>,
}

impl Watch {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Watch {
            looked: now,
            since: now,
            out_of_memory: out_of_memory(),
            alive: systemd::watchdog().map(|often| (often, now)),
        }
    }

    /// The longest sleep of the loop.
    pub(super) fn tick(&self, most: Duration) -> Duration {
        self.alive.map_or(most, |(often, _)| often.min(most))
    }
}

impl Master {
    /// Looks after the living: ends what is overdue or silent, has replaced what is
    /// old, and tells the init system that this loop runs.
    pub(super) fn watch_over(&mut self) {
        let now = Instant::now();
        if now.duration_since(self.watch.looked) > PAUSE {
            self.watch.since = now;
        }
        self.watch.looked = now;
        if let Some((often, last)) = &mut self.watch.alive
            && last.elapsed() >= *often
        {
            *last = now;
            systemd::alive();
        }
        self.end_overdue();
        self.end_silent();
        let mut old = Vec::new();
        for child in &mut self.children {
            let slot = self.scoreboard.worker(child.slot);
            let is_old = child
                .most_requests
                .is_some_and(|most| slot.get(Field::Requests) >= most)
                || child.replace_at.is_some_and(|at| now >= at);
            if is_old && child.stage == Stage::Serving {
                child.most_requests = None;
                child.replace_at = None;
                old.push(child.role);
            }
        }
        for role in old {
            tracing::info!("{role} has served long enough: another takes its place");
            self.rolling.add(role);
        }
    }

    /// Ends children that give no sign of life; their end is then noticed.
    fn end_silent(&mut self) {
        let limit = self.config.worker_timeout;
        let looked = self.watch.since.elapsed();
        for index in 0..self.children.len() {
            let child = &self.children[index];
            // Before its first sign of life its age counts.
            let silent = self
                .slot_of(child)
                .silent_for()
                .map_or(child.started.elapsed(), Duration::from_millis);
            let silent = silent.min(looked);
            if silent <= limit || child.kill_at.is_some() || child.killed || is_debugged(child.pid)
            {
                continue;
            }
            tracing::error!(
                "{} (process {}) gave no sign of life for {} s: ended (see --worker-timeout)",
                child.role,
                child.pid,
                silent.as_secs()
            );
            self.children[index].abort(HANGING);
        }
    }

    /// For `systemctl status`.
    pub(super) fn tell_health(&self) {
        if self.phase != Phase::Serving {
            return;
        }
        let all = self.workers().count();
        let serving = self
            .workers()
            .filter(|place| self.is_served(place.role))
            .count();
        if serving == all {
            systemd::status(&format!("serving with {}", counted(all as u64, "worker")));
        } else {
            systemd::status(&format!("degraded {serving}/{all}"));
        }
    }
}

/// Whether a debugger holds the process: then it is silent because somebody looks at
/// it.
fn is_debugged(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let tracer = status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_some_and(|tracer| tracer.trim() != "0")
}

/// How many processes the kernel has killed for lack of memory; 0 when it does not say.
pub(super) fn out_of_memory() -> u64 {
    let counters = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count = counters
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}
