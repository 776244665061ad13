//! The counters of the last minute, sampled once a second: the basis of rates and percentiles. (The
//! charts are those of `shared/trends.rs`.)
//!
//! Each worker keeps its own, in memory, from the shared scoreboard; so all report the same,
//! except that a young worker knows less of the past. Bounds: [`LOOKS`] samples of about a
//! kilobyte and a half.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::shared::scoreboard::{BUCKETS, Field, Scoreboard, percentile};
use crate::shared::trends::Sample;

/// Between two looks.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// Looks that are kept.
const LOOKS: usize = 61;

/// Looks that a rate is taken over.
const RATE: usize = 5;

/// Looks that percentiles are taken over.
const RECENT: usize = 60;

/// The counters at one moment.
#[derive(Clone)]
pub(super) struct Look {
    at: Instant,
    /// Those that the charts show, too.
    pub(super) sample: Sample,
    requests: u64,
    sync_times: [u64; BUCKETS],
}

impl Look {
    pub(super) fn now(board: Scoreboard) -> Self {
        let writer = board.writer();
        Look {
            at: Instant::now(),
            sample: Sample {
                turns: board.sum(Field::Turns),
                commits: writer.get(Field::Commits),
                in_flight: board.sum(Field::InFlight),
                waiting: writer.get(Field::Waiting),
                turn_times: turn_times(board),
            },
            requests: board.sum(Field::Requests),
            sync_times: writer.histogram().counts(),
        }
    }
}

/// The turns of all workers.
pub(super) fn turn_times(board: Scoreboard) -> [u64; BUCKETS] {
    board.workers().fold([0; BUCKETS], |mut sum, slot| {
        for (all, one) in sum.iter_mut().zip(slot.histogram().counts()) {
            *all += one;
        }
        sum
    })
}

/// See the module's page.
#[derive(Default)]
pub(super) struct History {
    looks: RefCell<VecDeque<Look>>,
}

/// How long things took, in seconds; none when there were none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    /// How many there were in the last minute.
    pub(crate) count: u64,
    pub(crate) p50: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
}

/// How much a second, over the last few.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rates {
    pub(super) turns: f64,
    pub(super) commits: f64,
    pub(super) requests: f64,
    pub(super) turn_times: Percentiles,
    pub(super) sync_times: Percentiles,
}

impl History {
    pub(super) fn push(&self, look: Look) {
        let mut looks = self.looks.borrow_mut();
        if looks.len() == LOOKS {
            looks.pop_front();
        }
        looks.push_back(look);
    }

    pub(super) fn rates(&self, now: &Look) -> Rates {
        let looks = self.looks.borrow();
        let back = |n: usize| looks.get(looks.len().saturating_sub(n));
        let mut rates = Rates::default();
        if let Some(before) = back(RATE) {
            let per_second = |from: u64, to: u64| rate(before.at, now.at, from, to);
            rates.turns = per_second(before.sample.turns, now.sample.turns);
            rates.commits = per_second(before.sample.commits, now.sample.commits);
            rates.requests = per_second(before.requests, now.requests);
        }
        if let Some(before) = back(RECENT) {
            rates.turn_times = percentiles(&before.sample.turn_times, &now.sample.turn_times);
            rates.sync_times = percentiles(&before.sync_times, &now.sync_times);
        }
        rates
    }
}

fn rate(since: Instant, until: Instant, from: u64, to: u64) -> f64 {
    let seconds = until.saturating_duration_since(since).as_secs_f64();
    match seconds > 0.05 {
        true => to.saturating_sub(from) as f64 / seconds,
        false => 0.0,
    }
}

/// Of what was counted between two looks.
fn percentiles(before: &[u64; BUCKETS], now: &[u64; BUCKETS]) -> Percentiles {
    let counts: [u64; BUCKETS] = std::array::from_fn(|n| now[n].saturating_sub(before[n]));
    let of = |share| percentile(&counts, share);
    Percentiles {
        count: counts.iter().sum(),
        p50: of(0.5),
        p90: of(0.9),
        p99: of(0.99),
        p999: of(0.999),
    }
}
