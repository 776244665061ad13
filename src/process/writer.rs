//! The writer as a process or thread of this program.
//!
//! Forked by the master, or started as a thread by `process/single.rs`;
//! [`turnkey_storage::sqlite::Writer`] does the work. Here it gets a slot of the scoreboard.

use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use turnkey_storage::sqlite::{FileId, Files, Writer, WriterStats};
use turnkey_storage::{Owner, Result, Sync};

use crate::shared::lines;
use crate::shared::scoreboard::{Field, Slot};
use crate::shared::taken;

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
        lines::flow();
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
        slot.set(Field::Taken, stats.taken.map_or(0, taken::to_word));
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
