//! Counters that every process of a bot can read: a map shared by all of them,
//! made before the first fork.
//!
//! One slot for each child, written by that child alone, so a plain store is
//! enough and no process can hold up another. A replaced child goes on where the
//! last one in its slot stopped counting. Behind the slots is the room of the budgets
//! that all workers share (`pacing.rs`).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::time::{ClockId, clock_gettime};

use crate::pacing::{self, Pacer};

/// What a slot holds. Counters only rise, within the life of the master.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    /// Last sign of life: CLOCK_MONOTONIC in milliseconds; 0 while starting.
    Heartbeat,
    /// 1 while it accepts connections.
    Accepting,
    /// Open connections now.
    Connections,
    /// Turns in flight now.
    InFlight,
    /// Requests received.
    Requests,
    /// Connections accepted.
    Accepted,
    /// Turns committed (in the writer's slot: those of all workers).
    Turns,
    /// Turns that failed.
    Failed,
    /// Replies sent through a platform.
    Replies,
    /// Transactions of the writer.
    Commits,
    /// Syncs of the writer.
    Syncs,
    /// Checkpoints of the writer.
    Checkpoints,
    /// Bytes in the write-ahead log.
    LogBytes,
    /// Updates that wait for a dialog's lock.
    Waiting,
    /// How often this slot's child was started.
    Lives,
    /// Replies that a platform refused for good.
    Refused,
}

/// Words of a slot: whole cache lines, so that no two children share one.
const SLOT: usize = 32;

/// The writer's slot; workers follow.
const WRITER: usize = 0;

/// The whole map.
#[derive(Clone, Copy)]
pub(crate) struct Scoreboard {
    words: &'static [AtomicU64],
}

/// One child's part of it.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    words: &'static [AtomicU64],
}

impl Scoreboard {
    /// Words that a map for this many workers takes.
    pub(crate) const fn words(workers: usize) -> usize {
        (workers + 1) * SLOT + pacing::WORDS
    }

    pub(crate) fn new(words: &'static [AtomicU64]) -> Self {
        Scoreboard { words }
    }

    pub(crate) fn writer(&self) -> Slot {
        self.slot(WRITER)
    }

    pub(crate) fn worker(&self, index: usize) -> Slot {
        self.slot(WRITER + 1 + index)
    }

    pub(crate) fn workers(&self) -> impl Iterator<Item = Slot> {
        (0..self.slots() / SLOT - 1).map(|index| self.worker(index))
    }

    /// The budgets that all workers share.
    pub(crate) fn pacer(&self) -> Pacer {
        Pacer::new(&self.words[self.slots()..])
    }

    /// Words of all slots.
    fn slots(&self) -> usize {
        self.words.len() - pacing::WORDS
    }

    /// The sum of a field over all workers.
    pub(crate) fn sum(&self, field: Field) -> u64 {
        self.workers().map(|slot| slot.get(field)).sum()
    }

    fn slot(&self, index: usize) -> Slot {
        Slot {
            words: &self.words[index * SLOT..(index + 1) * SLOT],
        }
    }
}

impl Slot {
    pub(crate) fn get(&self, field: Field) -> u64 {
        self.words[field as usize].load(Relaxed)
    }

    pub(crate) fn set(&self, field: Field, value: u64) {
        self.words[field as usize].store(value, Relaxed);
    }

    pub(crate) fn add(&self, field: Field, count: u64) {
        self.words[field as usize].fetch_add(count, Relaxed);
    }

    /// A gauge goes down.
    pub(crate) fn subtract(&self, field: Field, count: u64) {
        self.words[field as usize].fetch_sub(count, Relaxed);
    }

    /// A new child takes the slot over: what was "now" is zero again.
    pub(crate) fn start_life(&self) {
        for gauge in [
            Field::Heartbeat,
            Field::Accepting,
            Field::Connections,
            Field::InFlight,
            Field::Waiting,
        ] {
            self.set(gauge, 0);
        }
        self.add(Field::Lives, 1);
    }

    /// A sign of life.
    pub(crate) fn beat(&self) {
        self.set(Field::Heartbeat, monotonic_ms());
    }

    /// Milliseconds since the last sign of life; none before the first.
    pub(crate) fn silent_for(&self) -> Option<u64> {
        match self.get(Field::Heartbeat) {
            0 => None,
            beat => Some(monotonic_ms().saturating_sub(beat)),
        }
    }
}

/// A clock that is the same in all processes and never set.
fn monotonic_ms() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(1, |t| {
        t.tv_sec() as u64 * 1000 + t.tv_nsec() as u64 / 1_000_000
    })
}
