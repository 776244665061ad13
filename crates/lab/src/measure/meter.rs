//! The turns and latencies of one process of a run.
//!
//! Filled by an engine's load, sent to the laboratory as JSON, added up there. Bound:
//! [`SLOTS`] of the time series, whatever the length of a run.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::super::order::{Loaded, Slot, Transactions, Window};
use crate::error::Error;

/// The longest latency that is told from a longer one: ten minutes.
const LONGEST: u64 = 600_000_000_000;

/// Parts of the window in a time series, at most.
const SLOTS: u64 = 600;

/// Nanoseconds of a part, at least.
const SHORTEST_SLOT: u64 = 100_000_000;

/// An empty histogram of nanoseconds, with three significant digits.
pub(crate) fn histogram() -> crate::error::Result<Histogram<u64>> {
    with_digits(3)
}

/// An empty histogram, with two digits: what is kept of a run.
pub(crate) fn coarse_histogram() -> crate::error::Result<Histogram<u64>> {
    with_digits(2)
}

fn with_digits(digits: u8) -> crate::error::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST, digits)
        .map_err(|e| Error::Start(format!("no histogram: {e}")))
}

/// What a histogram holds, as (nanoseconds, count).
fn recorded(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram
        .iter_recorded()
        .map(|step| (step.value_iterated_to(), step.count_at_value()))
        .collect()
}

/// Nanoseconds of one part of a window's time series.
pub(crate) fn slot_of(window: &Window) -> u64 {
    ((window.until - window.from) / SLOTS).max(SHORTEST_SLOT)
}

/// One kind of transaction of a workload.
struct Kind {
    name: String,
    latencies: Histogram<u64>,
    found: Transactions,
}

/// What one process has done so far.
pub(crate) struct Meter {
    window: Window,
    latencies: Histogram<u64>,
    turns: u64,
    acknowledged: u64,
    uncertain: u64,
    due: Option<u64>,
    not_begun: u64,
    errors: BTreeMap<String, u64>,
    counts: Option<(u64, u64)>,
    series: Vec<Slot>,
    slot: u64,
    kinds: Vec<Kind>,
    in_force: BTreeMap<String, String>,
}

impl Meter {
    pub(crate) fn new(window: Window) -> crate::error::Result<Self> {
        Self::of_kinds(window, &[])
    }

    /// One that tells kinds of transactions apart.
    pub(crate) fn of_kinds(window: Window, names: &[String]) -> crate::error::Result<Self> {
        let slot = slot_of(&window);
        let slots = (window.until - window.from).div_ceil(slot) as usize;
        let kinds = names.iter().map(|name| {
            Ok(Kind {
                name: name.clone(),
                latencies: histogram()?,
                found: Transactions::default(),
            })
        });
        Ok(Meter {
            window,
            latencies: histogram()?,
            turns: 0,
            acknowledged: 0,
            uncertain: 0,
            due: None,
            not_begun: 0,
            errors: BTreeMap::new(),
            counts: None,
            series: vec![Slot::default(); slots],
            slot,
            kinds: kinds.collect::<crate::error::Result<_>>()?,
            in_force: BTreeMap::new(),
        })
    }

    /// Whether the window is over.
    pub(crate) fn is_over(&self) -> bool {
        super::now() >= self.window.until
    }

    pub(crate) fn window(&self) -> Window {
        self.window
    }

    /// A turn was acknowledged just now. What is still under way at the end of the
    /// window counts for the latencies, not for the speed: a turn that starves must
    /// show in the maximum.
    pub(crate) fn acknowledge(&mut self, began: u64) {
        self.acknowledge_at(began, super::now());
    }

    /// A turn was acknowledged at a moment that somebody else has seen.
    pub(crate) fn acknowledge_at(&mut self, began: u64, ended: u64) {
        self.acknowledged += 1;
        if ended < self.window.from {
            return;
        }
        self.turns += u64::from(ended < self.window.until);
        let latency = ended.saturating_sub(began).max(1);
        self.latencies.saturating_record(latency);
        let slot = (ended - self.window.from) / self.slot;
        if let Some(slot) = self.series.get_mut(slot as usize) {
            slot.turns += 1;
            slot.longest = slot.longest.max(latency);
        }
    }

    /// A transaction of a workload was acknowledged just now; `kind` is its place among
    /// the names.
    pub(crate) fn acknowledge_kind(&mut self, kind: usize, began: u64) {
        let now = super::now();
        self.acknowledge_at(began, now);
        if let Some(kind) = self.kinds.get_mut(kind) {
            kind.found.acknowledged += 1;
            if now >= self.window.from {
                kind.latencies
                    .saturating_record(now.saturating_sub(began).max(1));
                kind.found.turns += u64::from(now < self.window.until);
            }
        }
    }

    /// Nobody knows whether a turn was committed.
    pub(crate) fn uncertain(&mut self) {
        self.uncertain += 1;
    }

    pub(crate) fn uncertain_kind(&mut self, kind: usize) {
        self.uncertain += 1;
        if let Some(kind) = self.kinds.get_mut(kind) {
            kind.found.uncertain += 1;
        }
    }

    /// Of a schedule: the turns that were due in the window.
    pub(crate) fn due(&mut self, turns: u64) {
        self.due = Some(self.due.unwrap_or_default() + turns);
    }

    /// A turn was due and has not begun by the end: its latency is at least what it
    /// has waited.
    pub(crate) fn not_begun(&mut self, due: u64, now: u64) {
        self.not_begun += 1;
        self.latencies
            .saturating_record(now.saturating_sub(due).max(1));
    }

    pub(crate) fn error(&mut self, kind: impl Into<String>) {
        *self.errors.entry(kind.into()).or_default() += 1;
    }

    /// Transactions and syncs of the window, where the process counts them.
    pub(crate) fn counts(&mut self, commits: u64, syncs: u64) {
        self.counts = Some((commits, syncs));
    }

    /// The settings that the engine's connection has.
    pub(crate) fn in_force(&mut self, settings: BTreeMap<String, String>) {
        self.in_force = settings;
    }

    pub(crate) fn into_loaded(self) -> Loaded {
        let kinds = self.kinds.into_iter().map(|mut kind| {
            kind.found.latencies = recorded(&kind.latencies);
            (kind.name, kind.found)
        });
        Loaded {
            turns: self.turns,
            acknowledged: self.acknowledged,
            uncertain: self.uncertain,
            due: self.due,
            not_begun: self.not_begun,
            errors: self.errors,
            latencies: recorded(&self.latencies),
            commits: self.counts.map(|(commits, _)| commits),
            syncs: self.counts.map(|(_, syncs)| syncs),
            series: self.series,
            transactions: kinds.collect(),
            in_force: self.in_force,
        }
    }
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p99_9: f64,
    pub(crate) max: f64,
}

impl Percentiles {
    pub(crate) fn of(latencies: &Histogram<u64>) -> Self {
        let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Percentiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            max: latencies.max() as f64 / 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn window(from: u64, until: u64) -> Window {
        Window {
            begin: 0,
            from,
            until,
        }
    }

    #[test]
    fn only_the_window_counts_but_late_turns_show() {
        let now = super::super::now();
        let mut early = Meter::new(window(now + 100 * SECOND, now + 200 * SECOND)).unwrap();
        early.acknowledge(now);
        let early = early.into_loaded();
        assert_eq!((early.turns, early.acknowledged), (0, 1));
        assert!(early.latencies.is_empty());

        let mut late = Meter::new(window(1, 2)).unwrap();
        late.acknowledge(now - 5 * SECOND);
        late.error("SQLITE_BUSY");
        let late = late.into_loaded();
        assert_eq!((late.turns, late.acknowledged), (0, 1));
        assert!(late.latencies[0].0 >= 5 * SECOND);
        assert_eq!(late.errors["SQLITE_BUSY"], 1);
    }

    #[test]
    fn a_time_series_shows_when() {
        let mut meter = Meter::new(window(SECOND, 2 * SECOND)).unwrap();
        meter.acknowledge_at(SECOND, SECOND + 50_000_000);
        meter.acknowledge_at(SECOND, SECOND + 950_000_000);
        meter.acknowledge_at(SECOND, 3 * SECOND);
        let series = meter.into_loaded().series;
        assert_eq!(series.len(), 10);
        assert_eq!((series[0].turns, series[9].turns), (1, 1));
        assert_eq!(series[9].longest, 950_000_000);
    }

    #[test]
    fn histograms_add_up_and_their_percentiles_are_ordered() {
        let mut all = histogram().unwrap();
        for n in 1..=1000_u64 {
            all.record(n * 1000).unwrap();
        }
        let p = Percentiles::of(&all);
        assert!((p.p50 - 500.0).abs() < 1.0, "{p:?}");
        assert!(p.p50 < p.p90 && p.p90 < p.p99 && p.p99 < p.p99_9 && p.p99_9 <= p.max);
    }
}
