//! What the master knows about one child, and about the place that it and its successors fill.
//!
//! The child's own side is in `life.rs`. Bounds: [`LONGEST_WORDS`] of a child's last words.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use turnkey_storage::Owner;

use crate::process::lifeline::{DRAIN, LAST_WORDS, LEAVE, READY};

/// A child that lived for less may be one that cannot live.
const SHORT_LIFE: Duration = Duration::from_secs(10);

/// A child that lived for so long was healthy: what was before is forgotten.
const HEALTHY: Duration = Duration::from_secs(60);

/// Before the next start after a short life; doubled for each further one in a row,
/// give or take a fifth, so that places do not beat in time.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// The longest delay. Requests wait for a writer for ten seconds, so one must be
/// tried well within that; requests of a dead worker are lost anyway.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
const LONGEST_WRITER_DELAY: Duration = Duration::from_secs(1);

/// Short lives within [`HEALTHY`] after which a place is hopeless. Without a writer
/// nothing goes, so it is given up later.
const HOPELESS: usize = 5;
const HOPELESS_WRITER: usize = 12;

/// Ends that are remembered.
const MOST_REMEMBERED: usize = 16;

/// Bytes of a child's last words that are kept.
const LONGEST_WORDS: usize = 4096;

/// What a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Worker(usize),
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Role::Writer => f.write_str("writer"),
            Role::Worker(index) => write!(f, "worker {index}"),
        }
    }
}

/// Where a child is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not said yet that it serves.
    Starting,
    Serving,
    /// It was told to finish what it has.
    Leaving,
}

/// A running child.
pub(super) struct ChildHandle {
    pub(super) pid: Pid,
    pub(super) role: Role,
    /// A worker's slot on the scoreboard. Two children of one place may live at
    /// once, so it is not the place's number.
    pub(super) slot: usize,
    /// The number of this life, by which the storage knows it.
    pub(super) owner: Owner,
    pub(super) stage: Stage,
    pub(super) started: Instant,
    /// Our end of its lifeline; it sees when we are gone.
    lifeline: UnixStream,
    /// It may still say something.
    pub(super) is_heard: bool,
    words: Option<Vec<u8>>,
    /// A leaving one is cut off then.
    pub(super) leave_by: Option<Instant>,
    /// It was told to end at once, and is killed then.
    pub(super) kill_at: Option<Instant>,
    /// By us.
    pub(super) killed: bool,
    /// Requests on the slot's counter at which it is replaced.
    pub(super) most_requests: Option<u64>,
    /// When it is replaced.
    pub(super) replace_at: Option<Instant>,
}

impl ChildHandle {
    pub(super) fn new(
        pid: Pid,
        role: Role,
        slot: usize,
        owner: Owner,
        lifeline: UnixStream,
    ) -> Self {
        ChildHandle {
            pid,
            role,
            slot,
            owner,
            stage: Stage::Starting,
            started: Instant::now(),
            lifeline,
            is_heard: true,
            words: None,
            leave_by: None,
            kill_at: None,
            killed: false,
            most_requests: None,
            replace_at: None,
        }
    }

    pub(super) fn is_worker(&self) -> bool {
        self.role != Role::Writer
    }

    pub(super) fn lifeline(&self) -> &UnixStream {
        &self.lifeline
    }

    /// Tells it to finish what it has and leave: the program stops.
    pub(super) fn drain(&mut self, leave_by: Option<Instant>) {
        self.tell(DRAIN, leave_by);
    }

    /// The same while others serve on.
    pub(super) fn leave(&mut self, leave_by: Instant) {
        self.tell(LEAVE, Some(leave_by));
    }

    fn tell(&mut self, word: u8, leave_by: Option<Instant>) {
        self.stage = Stage::Leaving;
        self.leave_by = leave_by;
        if let Err(error) = self.lifeline.write_all(&[word]) {
            // It is dead, and will be reaped in a moment.
            tracing::debug!("process {} is gone already: {error}", self.pid);
        }
    }

    /// Tells a worker to say what it has in hand and end at once; after `patience`
    /// it is killed. A writer has nothing to say.
    pub(super) fn abort(&mut self, patience: Duration) {
        if self.kill_at.is_some() {
            return;
        }
        self.kill_at = Some(Instant::now() + patience);
        if self.is_worker() {
            self.signal(Signal::SIGABRT);
        }
    }

    /// Kills it.
    pub(super) fn kill(&mut self) {
        self.killed = true;
        self.kill_at = None;
        self.signal(Signal::SIGKILL);
    }

    fn signal(&self, signal: Signal) {
        if let Err(error) = kill(self.pid, signal) {
            tracing::debug!("process {} is gone already: {error}", self.pid);
        }
    }

    /// Reads what it says. True when it serves from now on.
    pub(super) fn listen(&mut self) -> bool {
        let mut bytes = [0; 256];
        let mut ready = false;
        while self.is_heard {
            match self.lifeline.read(&mut bytes) {
                Ok(0) => self.is_heard = false,
                Ok(count) => ready |= self.hear(&bytes[..count]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.is_heard = false,
            }
        }
        if ready && self.stage == Stage::Starting {
            self.stage = Stage::Serving;
            return true;
        }
        false
    }

    fn hear(&mut self, bytes: &[u8]) -> bool {
        let mut ready = false;
        for byte in bytes {
            match (&mut self.words, *byte) {
                (Some(words), byte) if words.len() < LONGEST_WORDS => words.push(byte),
                (Some(_), _) => {}
                (None, READY) => ready = true,
                (None, LAST_WORDS) => self.words = Some(Vec::new()),
                (None, _) => {}
            }
        }
        ready
    }

    /// What it said at its end.
    pub(super) fn last_words(&mut self) -> String {
        let words = self.words.take().unwrap_or_default();
        String::from_utf8_lossy(&words).into_owned()
    }
}

/// A child's place: it outlives the children that fill it.
pub(super) struct Place {
    pub(super) role: Role,
    /// When the next child is due, if there is none.
    pub(super) due: Instant,
    /// Ends of short lives in a row, the last ones.
    short_lives: VecDeque<Instant>,
}

impl Place {
    pub(super) fn new(role: Role) -> Self {
        Place {
            role,
            due: Instant::now(),
            short_lives: VecDeque::new(),
        }
    }

    /// Its child ended after so long: decides when the next one starts.
    pub(super) fn bury(&mut self, lived: Duration) -> Duration {
        let now = Instant::now();
        if lived >= HEALTHY {
            self.short_lives.clear();
        }
        let delay = if lived >= SHORT_LIFE {
            Duration::ZERO
        } else {
            self.short_lives.push_back(now);
            if self.short_lives.len() > MOST_REMEMBERED {
                self.short_lives.pop_front();
            }
            debug_assert!(self.short_lives.len() <= MOST_REMEMBERED);
            let lives = self.short_lives.len() as u32;
            match self.role {
                // Everybody waits for it, and what killed it may have been a chance.
                Role::Writer if lives == 1 => Duration::ZERO,
                Role::Writer => doubled(lives - 2).min(LONGEST_WRITER_DELAY),
                Role::Worker(_) => jitter(doubled(lives - 1)).min(LONGEST_DELAY),
            }
        };
        self.due = now + delay;
        delay
    }

    /// Its children die again and again.
    pub(super) fn is_hopeless(&self) -> bool {
        let recent = |end: &&Instant| end.elapsed() < HEALTHY;
        let most = match self.role {
            Role::Writer => HOPELESS_WRITER,
            Role::Worker(_) => HOPELESS,
        };
        self.short_lives.iter().filter(recent).count() > most
    }
}

fn doubled(times: u32) -> Duration {
    FIRST_DELAY.saturating_mul(2_u32.saturating_pow(times.min(16)))
}

/// Give or take a fifth.
fn jitter(delay: Duration) -> Duration {
    delay.mul_f64(0.8 + 0.4 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_limit_and_start_anew_after_health() {
        let mut place = Place::new(Role::Worker(0));
        let mut last = Duration::ZERO;
        for n in 0..8 {
            assert_eq!(place.is_hopeless(), n > 5);
            let delay = place.bury(Duration::from_secs(1));
            let expected = FIRST_DELAY * 2_u32.pow(n);
            let range = expected.mul_f64(0.79)..expected.mul_f64(1.21);
            assert!(
                range.contains(&delay) || delay == LONGEST_DELAY,
                "{delay:?}"
            );
            last = last.max(delay);
        }
        assert!(last <= LONGEST_DELAY);
        assert_eq!(place.bury(SHORT_LIFE), Duration::ZERO, "at once");
        assert!(place.is_hopeless(), "ten seconds are not health");
        assert_eq!(place.bury(HEALTHY), Duration::ZERO);
        assert!(!place.is_hopeless());
        assert!(place.bury(Duration::ZERO) < FIRST_DELAY * 2);
    }

    #[test]
    fn a_writer_is_replaced_at_once() {
        let mut place = Place::new(Role::Writer);
        assert_eq!(place.bury(Duration::ZERO), Duration::ZERO);
        assert_eq!(place.bury(Duration::ZERO), FIRST_DELAY);
        for _ in 0..20 {
            assert!(place.bury(Duration::ZERO) <= LONGEST_WRITER_DELAY);
        }
        assert!(place.is_hopeless());
    }
}
