//! The writer as a process or thread of this program.
//!
//! Forked by the master, or started as a thread by `single.rs`; the work itself
//! is [`turnkey_storage::sqlite::Writer`]'s. Here it gets a place on the
//! scoreboard.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use turnkey_storage::sqlite::{FileId, Files, Taken, Writer, WriterStats};
use turnkey_storage::{Owner, Result, Sync};

use crate::shared::scoreboard::{Field, Slot};

/// Words of the scoreboard from here on are the number of a rescued file.
const NUMBERS: u64 = 4;

/// Serves until `stop` becomes readable or is closed, and the workers have left.
/// `ready` is called once the file is open. `file` is the one that the program started
/// with.
///
/// # Errors
/// As [`Writer::run`].
pub(crate) fn run(
    (files, file): (&Files, Option<FileId>),
    sync: Sync,
    listener: UnixListener,
    expected: Vec<Owner>,
    slot: Slot,
    stop: impl AsFd,
    ready: impl FnOnce() + Send + 'static,
) -> Result<()> {
    // The counts of this slot's earlier lives.
    let base = [
        (Field::Turns, slot.get(Field::Turns)),
        (Field::Commits, slot.get(Field::Commits)),
        (Field::Syncs, slot.get(Field::Syncs)),
        (Field::Checkpoints, slot.get(Field::Checkpoints)),
    ];
    let mut ready = Some(ready);
    slot.introduce();
    let mut timed = (0, Duration::ZERO);
    let monitor = move |stats: &WriterStats| {
        slot.beat();
        if stats.serving
            && let Some(ready) = ready.take()
        {
            ready();
        }
        let now = [stats.turns, stats.commits, stats.syncs, stats.checkpoints];
        for ((field, before), now) in base.iter().zip(now) {
            slot.set(*field, before + now);
        }
        // Called after each batch, so it is one that is new.
        let (count, time) = (stats.waits - timed.0, stats.wait_time - timed.1);
        for _ in 0..count {
            slot.histogram().record(time / count as u32);
        }
        timed = (stats.waits, stats.wait_time);
        slot.set(Field::LogBytes, stats.log_bytes);
        slot.set(Field::Waiting, stats.waiting);
        slot.set(Field::HeldUp, stats.is_held_up.into());
        slot.set(Field::Taken, stats.taken.map_or(0, to_word));
    };
    Writer {
        files: files.clone(),
        file,
        sync,
        listener,
        expected,
        monitor: Box::new(monitor),
    }
    .run(stop.as_fd())
}

/// What the writer said last of a file that was taken away; none while it is in its place.
pub(crate) fn taken(slot: Slot) -> Option<Taken> {
    match slot.get(Field::Taken) {
        0 => None,
        1 => Some(Taken::Saving),
        2 => Some(Taken::NotKept),
        3 => Some(Taken::InPlace),
        more => Some(Taken::Kept((more - NUMBERS) as u32)),
    }
}

fn to_word(taken: Taken) -> u64 {
    match taken {
        Taken::Saving => 1,
        Taken::NotKept => 2,
        Taken::InPlace => 3,
        Taken::Kept(number) => NUMBERS + u64::from(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::scoreboard::Scoreboard;

    #[test]
    fn what_became_of_a_file_is_read_as_it_was_written() {
        let words = (0..Scoreboard::words(1)).map(|_| std::sync::atomic::AtomicU64::new(0));
        let slot = Scoreboard::new(Vec::leak(words.collect())).writer();
        assert_eq!(taken(slot), None);
        for state in [
            Taken::Saving,
            Taken::NotKept,
            Taken::InPlace,
            Taken::Kept(1),
            Taken::Kept(u32::MAX),
        ] {
            slot.set(Field::Taken, to_word(state));
            assert_eq!(taken(slot), Some(state));
        }
    }
}
