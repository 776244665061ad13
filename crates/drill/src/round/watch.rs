//! After the signal: until the server is gone, or it is known that it goes on.
//!
//! Bounds: the limits of the plan.

use std::collections::HashSet;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Done, Drill, LOOK};
use crate::family::Process;
use crate::scenario::Scenario;
use crate::sockets::is_listening;
use crate::witness;

/// After the end of the first process: when others are counted.
const EARLY: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_secs(2);

/// For new workers after a signal that asks for them, beyond `--after`.
const PATIENCE: Duration = Duration::from_secs(3);

impl Drill<'_> {
    pub(super) fn since_signal(&self) -> Duration {
        let signal = self.moments.signal.unwrap_or_default();
        Duration::from_micros(self.load.now().saturating_sub(signal))
    }

    pub(super) fn look_at_the_port(&mut self) {
        if self.seen.stopped_listening.is_none() && !is_listening(self.port) {
            self.seen.stopped_listening = Some(self.load.now());
        }
    }

    /// Until all processes are gone or the limit; whether the round goes on.
    pub(super) fn watch_it_stop(&mut self) -> turnkey_report::Result<bool> {
        let kills = self.case.scenario == Scenario::KillMaster;
        let mut is_alone = false;
        loop {
            let wait = if self.seen.left.is_some() {
                Duration::ZERO
            } else {
                LOOK
            };
            if let Some(left) = self.session.left(wait) {
                self.seen.left = Some(self.load.moment(left.at));
            }
            self.look_at_the_port();
            if self.case.scenario == Scenario::DoubleCtrlC
                && self.moments.second.is_none()
                && self.seen.left.is_none()
                && self.since_signal() >= self.plan.gap
            {
                self.moments.second = Some(self.load.now());
                self.session.press_ctrl_c()?;
            }
            let is_late = self
                .plan
                .stop_timeout
                .is_some_and(|t| self.since_signal() >= t);
            if is_late && self.seen.killed_at.is_none() && self.seen.gone.is_none() {
                self.seen.killed_at = Some(self.load.now());
                self.session.family.kill_all();
            }
            if let Some(left) = self.seen.left {
                let since = Duration::from_micros(self.load.now() - left);
                is_alone = self.session.family.members().is_empty();
                if is_alone && self.seen.gone.is_none() {
                    self.seen.gone = Some(self.load.now());
                }
                if since >= EARLY && self.seen.left_early == 0 && since < EARLY + 10 * LOOK {
                    self.seen.left_early = self.session.family.members().len();
                }
                // Whose master is killed may finish what they have.
                let enough = if kills { self.plan.limit } else { LATE };
                if (is_alone && since >= EARLY) || since >= enough {
                    break;
                }
                // Orphans that serve on would be loaded for ever.
                if since >= LATE {
                    self.load.finish();
                }
                if self.stop.sleep(LOOK) {
                    return Ok(false);
                }
            } else if self.since_signal() >= self.plan.limit {
                self.seen.killed = true;
                // What is cut by our own SIGKILL is not the server's doing: what is under
                // way may end by itself, within its own time limit.
                if !self.let_the_load_end() {
                    return Ok(false);
                }
                break;
            }
            if self.stop.asked() {
                return Ok(false);
            }
        }
        if !is_alone && !self.seen.killed {
            self.seen.left_behind = self.session.family.members();
        }
        self.load.finish();
        Ok(true)
    }

    /// The load goes on until it is known whether the server does; then it is stopped.
    pub(super) fn watch_it_go_on(&mut self, done: &Done) -> turnkey_report::Result<bool> {
        let needed = self.case.scenario.needs_a_successor();
        loop {
            if self.stop.sleep(LOOK) {
                return Ok(false);
            }
            if let Some(deed) = &mut self.deed {
                // Whatever it starts or stops, and wherever: it is over when it says so.
                match deed.ended() {
                    Some(at) if at.elapsed() >= self.plan.after => break,
                    _ => continue,
                }
            }
            if self.seen.successor.is_none() && self.is_succeeded(done) {
                self.seen.successor = Some(self.load.now());
            }
            let since = self.since_signal();
            let limit = match needed {
                true => self.plan.replace_limit,
                false => self.plan.after + PATIENCE,
            };
            let known = self.seen.successor.is_some();
            if since >= self.plan.after && (known || since >= limit) {
                break;
            }
            if !is_listening(self.port) && self.session.family.members().is_empty() {
                self.seen.gone_though_it_should_stay = true;
                self.seen.gone = Some(self.load.now());
                self.seen.left = self.seen.gone;
                self.load.finish();
                return Ok(true);
            }
        }
        if !self.let_the_load_end() {
            return Ok(false);
        }
        match self.session.is_ours() {
            true => self.end_it(done),
            false => Ok(true),
        }
    }

    /// No new requests; whether those under way have ended before somebody stopped the drill.
    fn let_the_load_end(&self) -> bool {
        self.load.finish();
        while !self.load.is_over() {
            if self.stop.sleep(LOOK) {
                return false;
            }
        }
        true
    }

    /// Whether a process that was not there has taken a connection.
    fn is_succeeded(&mut self, done: &Done) -> bool {
        let new: Vec<Process> = self
            .session
            .family
            .members()
            .into_iter()
            .filter(|process| !done.members.contains(&(process.pid, process.began)))
            .collect();
        if new.is_empty() {
            return false;
        }
        let pids: Vec<i32> = new.iter().map(|process| process.pid).collect();
        witness::is_taken_by(&self.aim, &pids)
    }

    /// SIGTERM to whoever leads, once nobody asks anything any more.
    fn end_it(&mut self, done: &Done) -> turnkey_report::Result<bool> {
        let members = self.session.family.members();
        let pids: HashSet<i32> = members.iter().map(|process| process.pid).collect();
        self.seen.told_to_leave = Some(self.load.now());
        for process in members
            .iter()
            .filter(|process| !pids.contains(&process.parent))
        {
            self.session.family.signal(process, Signal::SIGTERM);
        }
        // One that hangs and was never replaced could not even hear of it.
        if let Some(worker) = &done.worker {
            self.session.family.signal(worker, Signal::SIGCONT);
        }
        loop {
            self.look_at_the_port();
            let left = self.session.left(Duration::ZERO);
            let first = left.is_some();
            if first && self.session.family.members().is_empty() {
                self.seen.gone = Some(self.load.now());
                // After an upgrade, the first process left long ago.
                self.seen.left = self.seen.gone;
                return Ok(true);
            }
            let told = self.seen.told_to_leave.unwrap_or_default();
            if Duration::from_micros(self.load.now() - told) >= self.plan.limit {
                self.seen.killed = !first;
                self.seen.left_behind = match first {
                    true => self.session.family.members(),
                    false => Vec::new(),
                };
                return Ok(true);
            }
            if self.stop.sleep(LOOK) {
                return Ok(false);
            }
        }
    }
}
