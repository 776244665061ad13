//! A stop, from beginning to end.
//!
//! Order: new connections are refused (unless the sockets outlive the program); workers accept
//! what is in the queue, finish, send and exit; the writer commits, copies its log and exits;
//! the last line says what was lost. Bounds: `--grace` for the workers, [`WRITER_GRACE`] for
//! the writer, [`LAST_MOMENT`] to report what is cut off.

use std::time::{Duration, Instant};

use turnkey_storage::sqlite::Taken;

use super::child::{Role, Stage};
use super::{Master, Phase};
use crate::net::listener::Purpose;
use crate::operator::banner::{self};
use crate::process::exit;
use crate::process::sockets;
use crate::process::systemd;
use crate::shared::lines::say;
use crate::shared::scoreboard::{Field, Shared};
use crate::shared::taken::taken;
use turnkey_text::numbers::counted;

/// What the writer gets for its last commit and checkpoint after the workers
/// have left or were cut off.
pub(super) const WRITER_GRACE: Duration = Duration::from_secs(5);

/// How long a worker that is cut off has to tell what it had in hand.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// A child that does not serve yet has nothing in hand.
const STARTING_GRACE: Duration = Duration::from_secs(1);

/// Between two lines about what a stop waits for.
const TELL: Duration = Duration::from_secs(2);

/// Requests that are named at the end.
const NAMED: usize = 5;

impl Master {
    /// Asks everyone to finish.
    pub(super) fn stop(&mut self) {
        self.note_stop();
        self.abandon_upgrade();
        if self.is_stopping() {
            // A successor has taken over: this program leaves anyway.
            say!("Stopping. Press Ctrl-C again to force.");
            return;
        }
        // One that has just left may not be known to have: then the door would stay open.
        self.listen_to_others();
        let grace = self.config.grace;
        say!(
            "Stopping: {}, at most {} s. Press Ctrl-C again to force.",
            self.in_hand(),
            grace.as_secs_f32(),
        );
        systemd::stopping("stopping", grace + WRITER_GRACE);
        if !self.sockets_stay && self.scoreboard.shared(Shared::Others) == 0 {
            sockets::refuse_newcomers(&self.listeners);
        }
        self.keep_admin();
        let leave_by = Instant::now() + grace;
        for child in self.children.iter_mut().filter(|child| child.is_worker()) {
            match child.stage {
                Stage::Starting => child.drain(Some(leave_by.min(Instant::now() + STARTING_GRACE))),
                Stage::Serving => child.drain(Some(leave_by)),
                Stage::Leaving => child.leave_by = Some(leave_by),
            }
        }
        self.told = Instant::now();
        self.phase = Phase::StoppingWorkers;
    }

    /// The stop can be watched: operators are answered until the last worker leaves.
    fn keep_admin(&mut self) {
        self.listeners.retain(|l| l.purpose == Purpose::Admin);
    }

    /// Stops at once. Turns that were not committed did not happen.
    pub(super) fn force(&mut self, code: u8) {
        self.note_stop();
        self.abandon_upgrade();
        self.code = code;
        if self.phase == Phase::Forced {
            return;
        }
        say!("Forced: cutting off {}.", self.in_hand());
        self.keep_admin();
        for child in &mut self.children {
            child.abort(LAST_MOMENT);
        }
        self.phase = Phase::Forced;
    }

    /// Stops by its own decision.
    pub(super) fn give_up(&mut self, code: u8) {
        self.stop();
        self.code = code;
    }

    /// `12 turns in flight, 3 replies to send`.
    pub(super) fn in_hand(&self) -> String {
        let turns = counted(self.scoreboard.sum(Field::InFlight), "turn");
        match self.scoreboard.sum(Field::Sending) {
            0 => format!("{turns} in flight"),
            replies => format!("{turns} in flight, {} to send", counted(replies, "reply")),
        }
    }

    /// Cuts off children whose time is over.
    pub(super) fn end_overdue(&mut self) {
        let now = Instant::now();
        for child in &mut self.children {
            if child.leave_by.is_some_and(|end| now >= end) {
                child.abort(LAST_MOMENT);
            }
            if child.kill_at.is_some_and(|end| now >= end) {
                child.kill();
            }
        }
    }

    /// Moves a stop on; the exit code when all is over.
    pub(super) fn proceed(&mut self) -> Option<u8> {
        match self.phase {
            Phase::Yielded if self.stop_asked.is_some() && self.upgrade.is_none() => self.finish(),
            Phase::Starting | Phase::Serving | Phase::Yielded => None,
            Phase::StoppingWorkers => {
                if self.children.iter().any(|child| child.is_worker()) || self.must_wait() {
                    self.tell_progress();
                    return None;
                }
                self.stop_writer();
                self.phase = Phase::StoppingWriter(Instant::now() + WRITER_GRACE);
                self.proceed()
            }
            Phase::StoppingWriter(deadline) => {
                if self.children.is_empty() {
                    return self.finish();
                }
                let is_saving = taken(self.scoreboard.writer()) == Some(Taken::Saving);
                if Instant::now() >= deadline && is_saving {
                    // One that hangs is ended by `watch.rs`.
                    say!("Still stopping: what the database's open file holds is being saved.");
                    systemd::more_time(2 * WRITER_GRACE);
                    self.phase = Phase::StoppingWriter(Instant::now() + WRITER_GRACE);
                } else if Instant::now() >= deadline {
                    tracing::error!(
                        "the writer does not end: killed; what it acknowledged is safe"
                    );
                    self.kill_writer();
                    self.phase = Phase::StoppingWriter(Instant::now() + WRITER_GRACE);
                }
                None
            }
            Phase::Forced if self.children.is_empty() => self.finish(),
            Phase::Forced => None,
        }
    }

    /// Asks the writer to leave when the workers have. A successor's workers stay,
    /// and send again to their own writer what this one does not answer.
    fn stop_writer(&mut self) {
        if self.is_succeeded() {
            return self.kill_writer();
        }
        for child in &mut self.children {
            if child.role == Role::Writer {
                child.drain(None);
            }
        }
    }

    fn kill_writer(&mut self) {
        for child in &mut self.children {
            if child.role == Role::Writer {
                child.kill();
            }
        }
    }

    /// Says from time to time what is waited for.
    fn tell_progress(&mut self) {
        if self.told.elapsed() < TELL {
            return;
        }
        self.told = Instant::now();
        let ends = self.children.iter().filter_map(|child| child.leave_by);
        let rest = ends.max().map_or(Duration::ZERO, |end| {
            end.saturating_duration_since(Instant::now())
        });
        systemd::more_time(rest + WRITER_GRACE);
        say!(
            "Still stopping: {}, at most {:.0} s more.",
            self.in_hand(),
            rest.as_secs_f32()
        );
    }

    /// A worker ended before it had finished.
    pub(super) fn note_cut(&mut self, in_flight: u64, words: &str) {
        let mut lines = words.lines();
        let requests = lines.next().and_then(|count| count.parse().ok());
        self.cut.count += in_flight.max(requests.unwrap_or(0));
        let room = NAMED.saturating_sub(self.cut.names.len());
        let names = lines.take(room).map(str::to_owned);
        self.cut.names.extend(names);
        if self.cut.count > 0 {
            self.code = self.code.max(exit::CUT);
        }
    }

    fn finish(&mut self) -> Option<u8> {
        debug_assert!(self.children.is_empty(), "nothing lives on after the end");
        if self.yields() {
            self.phase = Phase::Yielded;
            self.give_time_to_change();
            return None;
        }
        if let Some(pid) = self.successor() {
            say!("Process {pid} serves from now on.");
        }
        let asked = self.stop_asked.unwrap_or(self.started);
        let took = self.handed_over().unwrap_or(asked).elapsed();
        let has_writer = self.writer_listener.is_some();
        banner::goodbye(self.scoreboard, has_writer, &self.cut, took);
        if banner::is_lost(self.scoreboard) {
            self.code = self.code.max(exit::CUT);
        }
        Some(self.code)
    }
}
