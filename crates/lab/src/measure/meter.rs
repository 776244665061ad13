//! The turns and latencies of one process of a run.
//!
//! Filled by an engine's load, sent to the laboratory as JSON, added up there.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::super::order::{Loaded, Window};
use crate::error::Error;

/// The longest latency that is told from a longer one: ten minutes.
const LONGEST: u64 = 600_000_000_000;

/// An empty histogram of nanoseconds, with three significant digits.
pub(crate) fn histogram() -> crate::error::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, LONGEST, 3)
        .map_err(|e| Error::Start(format!("no histogram: {e}")))
}

/// What one process has done so far.
pub(crate) struct Meter {
    window: Window,
    latencies: Histogram<u64>,
    turns: u64,
    acknowledged: u64,
    uncertain: u64,
    errors: BTreeMap<String, u64>,
    counts: Option<(u64, u64)>,
}

impl Meter {
    pub(crate) fn new(window: Window) -> crate::error::Result<Self> {
        Ok(Meter {
            window,
            latencies: histogram()?,
            turns: 0,
            acknowledged: 0,
            uncertain: 0,
            errors: BTreeMap::new(),
            counts: None,
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
        let now = super::now();
        self.acknowledged += 1;
        if now >= self.window.from {
            self.latencies
                .saturating_record(now.saturating_sub(began).max(1));
            self.turns += u64::from(now < self.window.until);
        }
    }

    /// Nobody knows whether a turn was committed.
    pub(crate) fn uncertain(&mut self) {
        self.uncertain += 1;
    }

    pub(crate) fn error(&mut self, kind: impl Into<String>) {
        *self.errors.entry(kind.into()).or_default() += 1;
    }

    /// Transactions and syncs of the window, where the process counts them.
    pub(crate) fn counts(&mut self, commits: u64, syncs: u64) {
        self.counts = Some((commits, syncs));
    }

    pub(crate) fn into_loaded(self) -> Loaded {
        Loaded {
            turns: self.turns,
            acknowledged: self.acknowledged,
            uncertain: self.uncertain,
            errors: self.errors,
            latencies: self
                .latencies
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
            commits: self.counts.map(|(commits, _)| commits),
            syncs: self.counts.map(|(_, syncs)| syncs),
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

    #[test]
    fn only_the_window_counts_but_late_turns_show() {
        let now = super::super::now();
        let second = 1_000_000_000;
        let window = |from, until| Window {
            begin: 0,
            from,
            until,
        };
        let mut early = Meter::new(window(now + 100 * second, now + 200 * second)).unwrap();
        early.acknowledge(now);
        let early = early.into_loaded();
        assert_eq!((early.turns, early.acknowledged), (0, 1));
        assert!(early.latencies.is_empty());

        let mut late = Meter::new(window(1, 2)).unwrap();
        late.acknowledge(now - 5 * second);
        late.error("SQLITE_BUSY");
        let late = late.into_loaded();
        assert_eq!((late.turns, late.acknowledged), (0, 1));
        assert!(late.latencies[0].0 >= 5 * second);
        assert_eq!(late.errors["SQLITE_BUSY"], 1);
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
