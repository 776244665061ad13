//! What is due later, for the status: timers and the bot's own schedules.
//!
//! Made of what `queues.rs` has asked the database. Bound: [`SCHEDULES`] schedules are shown.

use serde::{Deserialize, Serialize};
use turnkey_storage::schedules::{COUNTED, Overview};

/// Schedules that are told of; the others are in `timers list cron NAME`.
pub(super) const SCHEDULES: u32 = 20;

/// What is due later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Later {
    /// The next two are counted up to this.
    pub(crate) counted: u64,
    /// Timers that wait, schedules among them.
    pub(crate) waiting: u64,
    /// Those that should have fired seconds ago.
    pub(crate) overdue: u64,
    /// When the first is due.
    pub(crate) next_ms: Option<i64>,
    /// Ticks of schedules that were left out, since the one before was not done.
    pub(crate) left_out: u64,
    /// The bot's own, those due first at the front.
    pub(crate) schedules: Vec<Ticks>,
}

/// A schedule of the bot's own.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ticks {
    pub(crate) name: String,
    /// The cron expression and the zone.
    pub(crate) schedule: String,
    pub(crate) next_ms: i64,
}

impl Later {
    pub(super) fn of(overview: &Overview, left_out: u64) -> Self {
        let ticks = overview.own.iter().map(|timer| Ticks {
            name: timer.name.clone(),
            schedule: timer.schedule.clone().unwrap_or_default(),
            next_ms: timer.due,
        });
        Later {
            counted: COUNTED,
            waiting: overview.waiting,
            overdue: overview.overdue,
            next_ms: overview.next,
            left_out,
            schedules: ticks.collect(),
        }
    }
}
