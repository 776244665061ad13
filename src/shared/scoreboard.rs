//! Counters that every process of a bot can read: a map shared by all of them,
//! made before the first fork.
//!
//! One slot for each child, written by that child alone, so a plain store is enough and no
//! process can hold up another. A replacement goes on counting where the last child in its slot
//! stopped. After the slots come the words that all workers share: budgets of outgoing calls
//! (`pacing.rs`), limits of incoming requests (`rate.rs`), newer updates of dialogs
//! (`arrivals.rs`), whose names the database has (`met.rs`), and the figures of the last day
//! (`trends.rs`).
//!
//! A slot has numbers ([`Field`]), a histogram (`scoreboard/histogram.rs`: of turns in a
//! worker's, of syncs in the writer's), the longest-waiting update (`scoreboard/longest.rs`), a
//! worker's handler processes (`scoreboard/groups.rs`), the updates that its handler does not hear
//! (`scoreboard/unheard.rs`), and its turns by kind and channel (`scoreboard/tallies.rs`). Read by the master, by workers to
//! balance connections, and by `admin/`.

mod groups;
mod histogram;
mod longest;
mod tallies;
mod unheard;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

pub(crate) use self::groups::{Groups, MAX_HANDLERS};
pub(crate) use self::histogram::{BUCKETS, Histogram, percentile, upper_bound};
pub(crate) use self::longest::Longest;
pub(crate) use self::tallies::Tallies;
pub(crate) use self::unheard::Unheard;
use crate::shared::arrivals::{self, Arrivals};
use crate::shared::clock::{monotonic_ms, unix_ms};
use crate::shared::met::{self, Met};
use crate::shared::pacing::{self, Pacer};
use crate::shared::rate::{self, Limiter};
use crate::shared::trends::{self, Trends};

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
    /// Replies of turns that are committed and not sent yet.
    Sending,
    /// Replies that a platform refused for good.
    Refused,
    /// Its process id; 0 without a child.
    Pid,
    /// When its child was started: milliseconds since 1970; 0 without a child.
    Started,
    /// Children of this slot that ended without being asked to.
    Crashes,
    /// How often a platform said "too many" (429 and its like).
    TooMany,
    /// Updates that were given up, and are dead letters since.
    Buried,
    /// Updates that went to the inbox, since their turn took long.
    Inboxed,
    /// Replies that were given up, and are dead replies since.
    BuriedReplies,
    /// 1 while another program holds the file's write lock (the writer's).
    HeldUp,
    /// The file was taken away while it is open: see `shared/taken.rs`. It stays when the writer
    /// has ended.
    Taken,
    /// Ticks of schedules that were left out, since the one before was not done.
    LeftOut,
    /// None, and always last: how many there are.
    Count,
}

const _: () = assert!(Field::Count as usize <= FIELDS, "give FIELDS more room");

/// What the whole program shares.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shared {
    /// Workers' slots that were ever used: the first so many.
    Slots,
    /// 1 while the sockets are another program's, too: during an upgrade.
    Others,
    /// When the map was made: milliseconds since 1970.
    Since,
    /// When the newest backup was made: milliseconds since 1970, 0 for never. The first
    /// worker's.
    BackupAt,
    /// Backups that failed. The first worker's.
    BackupFailures,
    /// 1 once Telegram has given updates in this run. The first worker's, as the next.
    TelegramWorked,
    /// The same of VK.
    VkWorked,
    /// What leads from the machine's clock to ours, and to the wall's: see
    /// `turnkey_storage::clock`, which alone writes here.
    ClockOurs,
    ClockWall,
    /// What forms of the status page carry, in two halves: drawn when the map is made.
    FormKey,
    FormKeyRest,
    /// None, and always last: how many there are.
    Count,
}

const _: () = assert!(
    Shared::Count as usize <= SLOT,
    "more than a slot has room for"
);

/// Words of a slot for [`Field`]s.
const FIELDS: usize = 32;

/// Words of a slot: whole cache lines, so that no two children share one.
const SLOT: usize =
    (FIELDS + histogram::WORDS + longest::WORDS + groups::WORDS + unheard::WORDS + tallies::WORDS)
        .next_multiple_of(8);

/// Where each part begins behind the slots, and how many words there are of all.
const RATE: usize = pacing::WORDS;
const ARRIVALS: usize = RATE + rate::WORDS;
const MET: usize = ARRIVALS + arrivals::WORDS;
const TRENDS: usize = MET + met::WORDS;
const BEHIND: usize = TRENDS + trends::WORDS;

/// What is no child's: [`Shared`].
const MASTER: usize = 0;

/// The writer's slot; workers follow.
const WRITER: usize = 1;

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
        (workers + 2) * SLOT + BEHIND
    }

    /// Over that many words. Once, before the first fork.
    pub(crate) fn new(words: &'static [AtomicU64]) -> Self {
        let scoreboard = Scoreboard { words };
        Limiter::seed(scoreboard.limits());
        if scoreboard.shared(Shared::Since) == 0 {
            scoreboard.share(Shared::Since, unix_ms());
            for half in [Shared::FormKey, Shared::FormKeyRest] {
                let drawn = RandomState::new().build_hasher().finish();
                scoreboard.share(half, drawn);
            }
        }
        scoreboard
    }

    pub(crate) fn writer(&self) -> Slot {
        self.slot(WRITER)
    }

    pub(crate) fn worker(&self, index: usize) -> Slot {
        self.slot(WRITER + 1 + index)
    }

    /// The slots of all workers there ever were. The map has room for many more,
    /// and nobody looks at that.
    pub(crate) fn workers(&self) -> impl Iterator<Item = Slot> {
        (0..self.shared(Shared::Slots) as usize).map(|index| self.worker(index))
    }

    pub(crate) fn shared(&self, field: Shared) -> u64 {
        self.slot(MASTER).words[field as usize].load(Relaxed)
    }

    /// Where [`Scoreboard::shared`] looks.
    pub(crate) fn word(&self, field: Shared) -> &'static AtomicU64 {
        &self.words[MASTER * SLOT + field as usize]
    }

    /// Only the master writes here, save what is said to be somebody else's.
    pub(crate) fn share(&self, field: Shared, value: u64) {
        self.slot(MASTER).words[field as usize].store(value, Relaxed);
    }

    /// A worker is about to use this slot.
    pub(crate) fn open(&self, index: usize) -> Slot {
        if self.shared(Shared::Slots) <= index as u64 {
            self.share(Shared::Slots, index as u64 + 1);
        }
        self.worker(index)
    }

    /// The budgets that all workers share.
    pub(crate) fn pacer(&self) -> Pacer {
        Pacer::new(self.behind(0, pacing::WORDS))
    }

    /// The limits of what is taken of whom, as they are set: updates of one user,
    /// requests from one address, a second.
    pub(crate) fn limiter(&self, user: Option<u32>, address: Option<u32>) -> Limiter {
        Limiter::new(self.limits(), user, address)
    }

    fn limits(&self) -> &'static [AtomicU64] {
        self.behind(RATE, rate::WORDS)
    }

    /// Who wants to know of newer updates, and whether some came.
    pub(crate) fn arrivals(&self) -> Arrivals {
        Arrivals::new(self.behind(ARRIVALS, arrivals::WORDS))
    }

    /// Whose names the database has.
    pub(crate) fn met(&self) -> Met {
        Met::new(self.behind(MET, met::WORDS))
    }

    /// The figures of the last day.
    pub(crate) fn trends(&self) -> Trends {
        Trends::new(self.behind(TRENDS, trends::WORDS))
    }

    /// The words of a part behind the slots.
    fn behind(&self, start: usize, words: usize) -> &'static [AtomicU64] {
        let slots = self.words.len() - BEHIND;
        &self.words[slots + start..][..words]
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

    /// A new child takes the slot over.
    pub(crate) fn start_life(&self) {
        self.end_life();
        self.add(Field::Lives, 1);
    }

    /// Called in the child itself.
    pub(crate) fn introduce(&self) {
        self.set(Field::Pid, std::process::id().into());
        self.set(Field::Started, unix_ms());
    }

    /// How long things took: turns in a worker's slot, syncs in the writer's.
    pub(crate) fn histogram(&self) -> Histogram {
        Histogram::new(&self.words[FIELDS..FIELDS + histogram::WORDS])
    }

    /// Which of its updates has waited longest.
    pub(crate) fn longest(&self) -> Longest {
        let start = FIELDS + histogram::WORDS;
        Longest::new(&self.words[start..start + longest::WORDS])
    }

    /// Its handler processes.
    pub(crate) fn groups(&self) -> Groups {
        let start = FIELDS + histogram::WORDS + longest::WORDS;
        Groups::new(&self.words[start..start + groups::WORDS])
    }

    /// Its updates that the handler does not hear.
    pub(crate) fn unheard(&self) -> Unheard {
        let start = FIELDS + histogram::WORDS + longest::WORDS + groups::WORDS;
        Unheard::new(&self.words[start..start + unheard::WORDS])
    }

    /// Its turns by kind and channel.
    pub(crate) fn tallies(&self) -> Tallies {
        let start = FIELDS + histogram::WORDS + longest::WORDS + groups::WORDS + unheard::WORDS;
        Tallies::new(&self.words[start..start + tallies::WORDS])
    }

    /// Its child is dead: what was "now" is zero again.
    pub(crate) fn end_life(&self) {
        self.longest().clear();
        for gauge in [
            Field::Pid,
            Field::Started,
            Field::Heartbeat,
            Field::Accepting,
            Field::Connections,
            Field::InFlight,
            Field::Sending,
            Field::Waiting,
        ] {
            self.set(gauge, 0);
        }
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
