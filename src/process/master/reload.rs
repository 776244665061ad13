//! Workers are replaced one by one: after SIGHUP, or because one has served long enough. A new
//! one is ready before the old one is told to exit, so there is always a worker that accepts
//! requests.
//!
//! Invariants: one replacement at a time; a new worker that does not serve within
//! [`READY_WAIT`] is killed, and the old one stays. Settings are read as at the start (command
//! line, environment, file); sockets and files that are already open stay.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::child::{ChildHandle, Place, Role, Stage};
use super::{Master, Phase};
use crate::config::{Config, MAX_WORKERS, Processes};
use crate::net::tls;
use crate::operator::backup;
use crate::process::systemd;
use crate::shared::lines::say;
use turnkey_text::numbers::counted;

/// How long a new worker has until it serves.
const READY_WAIT: Duration = Duration::from_secs(30);

/// What an attempt that failed says to a worker that would not start.
const SLOW: &str = "the new worker did not serve in time";

/// Workers that are to be replaced.
#[derive(Default)]
pub(super) struct Rolling {
    queue: VecDeque<Role>,
    current: Option<Current>,
    reload: Option<Reload>,
    /// SIGHUP came while one was under way.
    again: bool,
}

/// A new worker that is to take an old one's place.
struct Current {
    role: Role,
    pid: Pid,
    deadline: Instant,
}

struct Reload {
    /// The settings before, should the first new worker not start.
    before: Box<Config>,
    /// Workers that there shall be.
    workers: usize,
    replaced: usize,
    begun: Instant,
}

impl Rolling {
    /// Has a worker replaced, after those that wait already.
    pub(super) fn add(&mut self, role: Role) {
        if !self.queue.contains(&role) {
            self.queue.push_back(role);
        }
    }
}

impl Master {
    /// Reads the settings again and has every worker replaced.
    pub(super) fn reload(&mut self) {
        if self.phase != Phase::Serving || self.upgrade.is_some() {
            say!("Reload: not now.");
            return self.note(|note| note.failed("not now; only while it serves"));
        }
        if self.rolling.reload.is_some() {
            self.rolling.again = true;
            return;
        }
        systemd::reloading();
        let mut new = match (self.reread)() {
            Ok(new) => new,
            Err(error) => return self.reload_failed(&error.to_string()),
        };
        let Processes::Workers(count) = new.processes else {
            return self.reload_failed("--single-process takes a restart");
        };
        // Also one that follows from other settings: workers would have no socket.
        if new.updater != self.config.updater {
            return self.reload_failed(&format!(
                "with these settings updates arrive by {} instead of {}, which takes a restart",
                new.updater.name(),
                self.config.updater.name()
            ));
        }
        let fixed = new.keep_fixed(&self.config);
        // A bad pair would only mean that the one before is served on; but whoever asks for
        // a reload wants the new one.
        let pair = new.tls.as_ref().map_or(Ok(()), tls::must_read);
        if let Err(error) = backup::check(&new).and(pair) {
            return self.reload_failed(&error.to_string());
        }
        if !fixed.is_empty() {
            say!(
                "Reload: a new {} takes a restart; the old one stays.",
                fixed.join(", ")
            );
        }
        // SIGTTIN and SIGTTOU stand until another number is set.
        let workers = if new.processes == self.config.processes {
            self.wanted_workers()
        } else {
            count
        };
        say!(
            "Reloading: {} replaced one by one.",
            counted(self.wanted_workers() as u64, "worker")
        );
        let before = std::mem::replace(&mut self.config, new);
        self.rolling.reload = Some(Reload {
            before: Box::new(before),
            workers,
            replaced: 0,
            begun: Instant::now(),
        });
        let roles: Vec<Role> = self.workers().map(|place| place.role).collect();
        for role in roles {
            self.rolling.add(role);
        }
    }

    fn reload_failed(&mut self, why: &str) {
        let workers = counted(self.wanted_workers() as u64, "worker");
        say!("Reload failed, the old settings and {workers} stay: {why}");
        systemd::ready("reload failed, the old settings stay");
        self.note(|note| note.failed(why));
    }

    /// Moves the replacing on.
    pub(super) fn roll(&mut self) -> crate::StartResult<()> {
        if self.phase != Phase::Serving {
            self.rolling = Rolling::default();
            return Ok(());
        }
        if let Some(current) = &self.rolling.current {
            if Instant::now() >= current.deadline {
                let pid = current.pid;
                if let Some(child) = self.children.iter_mut().find(|child| child.pid == pid)
                    && !child.killed
                {
                    child.kill(); // Its end is noticed: see `note_not_rolled`.
                }
            }
            return Ok(());
        }
        debug_assert!(self.rolling.current.is_none(), "one at a time");
        while let Some(role) = self.rolling.queue.pop_front() {
            // A place without a worker gets one in any case, with these settings.
            if self.is_served(role)
                && let Some(pid) = self.start(role)?
            {
                self.rolling.current = Some(Current {
                    role,
                    pid,
                    deadline: Instant::now() + READY_WAIT,
                });
                return Ok(());
            }
        }
        if let Some(reload) = self.rolling.reload.take() {
            self.set_workers(reload.workers);
            let took = reload.begun.elapsed().as_secs_f32();
            let workers = counted(self.wanted_workers() as u64, "worker");
            say!("Reloaded: {workers}, {took:.1} s.");
            self.note(|note| note.reloads += 1);
            systemd::ready(&format!("serving with {workers}"));
        }
        if std::mem::take(&mut self.rolling.again) {
            self.reload();
        }
        Ok(())
    }

    /// A child serves: if it is the new one of a place, the old one leaves.
    pub(super) fn note_rolled(&mut self, pid: Pid) {
        let Some(current) = self.rolling.current.take_if(|current| current.pid == pid) else {
            return;
        };
        let leave_by = Instant::now() + self.config.grace;
        for child in &mut self.children {
            if child.role == current.role && child.pid != pid && child.stage != Stage::Leaving {
                child.leave(leave_by);
            }
        }
        if let Some(reload) = &mut self.rolling.reload {
            reload.replaced += 1;
        }
    }

    /// A child ended. True if it was to take an old one's place, which then stays.
    pub(super) fn note_not_rolled(&mut self, child: &ChildHandle, how: &str, words: &str) -> bool {
        let is_it = |current: &mut Current| current.pid == child.pid;
        if self.rolling.current.take_if(is_it).is_none() {
            return false;
        }
        let how = match words.trim() {
            _ if child.killed => SLOW.to_owned(),
            "" | "0" => how.to_owned(),
            words => format!("{how}: {}", words.replace('\n', "; ")),
        };
        self.rolling.queue.clear();
        match self.rolling.reload.take() {
            Some(reload) if reload.replaced == 0 => {
                self.config = *reload.before;
                self.reload_failed(&how);
            }
            Some(reload) => {
                let all = self.wanted_workers();
                say!(
                    "Reload failed half-way, {} of {all} workers have the new settings: {how}. Mend it and send SIGHUP again.",
                    reload.replaced
                );
                systemd::ready("reload failed half-way");
                self.note(|note| note.failed(&format!("half-way: {how}")));
            }
            None => tracing::error!("{how}; the old {} stays", child.role),
        }
        true
    }

    /// How many workers there shall be.
    pub(super) fn wanted_workers(&self) -> usize {
        self.workers().count()
    }

    /// Makes it so many. False if that is out of bounds.
    pub(super) fn set_workers(&mut self, count: usize) -> bool {
        if !(1..=MAX_WORKERS).contains(&count) {
            return false;
        }
        for index in self.wanted_workers()..count {
            self.places.push(Place::new(Role::Worker(index)));
        }
        let surplus = |role: Role| matches!(role, Role::Worker(index) if index >= count);
        self.places.retain(|place| !surplus(place.role));
        self.rolling.queue.retain(|role| !surplus(*role));
        self.rolling
            .current
            .take_if(|current| surplus(current.role));
        let leave_by = Instant::now() + self.config.grace;
        for child in &mut self.children {
            if surplus(child.role) && child.stage != Stage::Leaving {
                child.leave(leave_by);
            }
        }
        debug_assert_eq!(self.wanted_workers(), count, "each has one place");
        self.tell_health();
        true
    }
}
