//! The writer's SQL in one thread: what the file can do when nobody queues.
//!
//! Runs `turnkey_storage`'s own statements, so it cannot differ from the writer. A
//! turn's latency is that of its batch.

use super::super::measure::{self, Meter};
use super::super::order::{Load, Window};
use super::super::state::{self, Random};
use super::{CEILING_BATCH, ours};
use turnkey_storage::sqlite::ceiling::{self, Counts, Turn};
use turnkey_storage::{Commit, DialogKey, Error, sqlite};

/// Users made in one transaction.
const FILLING: u64 = 1000;

pub(super) fn fill(load: &Load) -> crate::error::Result<()> {
    sqlite::trial::set(load.pragmas.clone());
    sqlite::prepare(&load.path(), load.sync.storage(), &[]).map_err(crate::error::Error::start)?;
    ceiling::run(&load.path(), load.sync.storage(), |batch| {
        let mut user = 0;
        while user < load.users {
            let end = (user + FILLING).min(load.users);
            let dialogs: Vec<DialogKey> = (user..end).map(ours::dialog).collect();
            let writes: Vec<_> = (user..end)
                .map(|user| {
                    move |_: Option<&str>| {
                        ours::commit(format!("fill-{user}"), state::padded(0, load.state_bytes))
                    }
                })
                .collect();
            let turns: Vec<Turn<'_>> = dialogs
                .iter()
                .zip(&writes)
                .map(|(dialog, write)| (dialog, write as &dyn Fn(Option<&str>) -> Commit))
                .collect();
            batch(&turns)?;
            user = end;
        }
        Ok(())
    })
    .map_err(crate::error::Error::start)
}

pub(super) fn turns(
    load: &Load,
    start: impl FnOnce() -> crate::error::Result<Window>,
) -> crate::error::Result<Meter> {
    sqlite::trial::set(load.pragmas.clone());
    let mut failure = None;
    let measured = ceiling::run(&load.path(), load.sync.storage(), |batch| {
        let meter = start().and_then(Meter::new);
        let mut meter = match meter {
            Ok(meter) => meter,
            Err(error) => {
                failure = Some(error);
                return Err(Error::Stale);
            }
        };
        let mut random = Random::new(load.seed);
        let window = meter.window();
        let (mut before, mut after) = (None, Counts::default());
        while !meter.is_over() {
            let began = measure::now();
            let dialogs: Vec<DialogKey> = (0..CEILING_BATCH)
                .map(|_| ours::dialog(random.below(load.users)))
                .collect();
            let writes: Vec<_> = (0..CEILING_BATCH)
                .map(|n| {
                    move |read: Option<&str>| {
                        // A state that is none of ours shows in the final sum.
                        let state = state::next(read, load.state_bytes).unwrap_or_default();
                        ours::commit(format!("{began}.{n}"), state)
                    }
                })
                .collect();
            let turns: Vec<Turn<'_>> = dialogs
                .iter()
                .zip(&writes)
                .map(|(dialog, write)| (dialog, write as &dyn Fn(Option<&str>) -> Commit))
                .collect();
            let counts = batch(&turns)?;
            for _ in 0..CEILING_BATCH {
                meter.acknowledge(began);
            }
            let now = measure::now();
            if now >= window.from && now < window.until {
                before.get_or_insert(after);
                after = counts;
            } else if now < window.from {
                after = counts;
            }
        }
        let before = before.unwrap_or(after);
        meter.counts(after.commits - before.commits, after.syncs - before.syncs);
        Ok(meter)
    });
    match failure {
        Some(error) => Err(error),
        None => measured.map_err(crate::error::Error::start),
    }
}
