//! How long things took, in buckets on a log scale, in the shared map.
//!
//! Four buckets for each doubling, from 32 µs to 134 s: a percentile is off by an eighth at
//! most. One process counts, without waiting; any may read. Readers may see a count before its
//! sum: each figure is right by itself, but they are not one snapshot.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Below 2 to this power of microseconds everything is one bucket.
const FIRST_POWER: u32 = 5;

/// From 2 to this power of microseconds on, too.
const LAST_POWER: u32 = 27;

/// Buckets: one below, four for each doubling, one above.
pub(crate) const BUCKETS: usize = 4 * (LAST_POWER - FIRST_POWER) as usize + 2;

/// Words in the map: the buckets, their sum in microseconds, the longest time.
pub(super) const WORDS: usize = BUCKETS + 2;

const SUM: usize = BUCKETS;
const MOST: usize = BUCKETS + 1;

/// In the map.
#[derive(Clone, Copy)]
pub(crate) struct Histogram {
    words: &'static [AtomicU64],
}

impl Histogram {
    pub(super) fn new(words: &'static [AtomicU64]) -> Self {
        Histogram { words }
    }

    /// Counts something that took so long.
    pub(crate) fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        // One process writes here, so what was read is still so.
        let raise = |word: &AtomicU64, by| word.store(word.load(Relaxed).wrapping_add(by), Relaxed);
        raise(&self.words[bucket(us)], 1);
        raise(&self.words[SUM], us);
        if self.words[MOST].load(Relaxed) < us {
            self.words[MOST].store(us, Relaxed);
        }
    }

    /// The count of each bucket.
    pub(crate) fn counts(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|n| self.words[n].load(Relaxed))
    }

    /// The sum of all, in microseconds.
    pub(crate) fn sum_us(&self) -> u64 {
        self.words[SUM].load(Relaxed)
    }

    /// The longest time there ever was, in microseconds.
    pub(crate) fn most_us(&self) -> u64 {
        self.words[MOST].load(Relaxed)
    }
}

fn bucket(us: u64) -> usize {
    let power = us.checked_ilog2().unwrap_or(0);
    if power < FIRST_POWER {
        return 0;
    }
    if power >= LAST_POWER {
        return BUCKETS - 1;
    }
    let quarter = (us >> (power - 2)) & 3;
    1 + 4 * (power - FIRST_POWER) as usize + quarter as usize
}

/// What a bucket's times are below, in microseconds; none for the last.
pub(crate) fn upper_bound(bucket: usize) -> Option<u64> {
    if bucket + 1 >= BUCKETS {
        return None;
    }
    let (power, quarter) = (bucket as u32 / 4, bucket as u64 % 4);
    Some((1 << (FIRST_POWER + power)) + (quarter << (FIRST_POWER + power - 2)))
}

/// The time that this share took no longer than, in seconds: within its bucket as if
/// all were spread evenly.
pub(crate) fn percentile(counts: &[u64; BUCKETS], share: f64) -> Option<f64> {
    let all: u64 = counts.iter().sum();
    if all == 0 {
        return None;
    }
    let wanted = all as f64 * share;
    let mut below = 0.0;
    let bound = |n: usize| upper_bound(n).map(|us| us as f64 / 1e6);
    for (n, count) in counts.iter().enumerate() {
        let count = *count as f64;
        if count > 0.0 && below + count >= wanted {
            let from = n.checked_sub(1).and_then(bound).unwrap_or(0.0);
            // Nothing is known of the last bucket but that it is longer.
            let to = bound(n).unwrap_or(from);
            return Some(from + (to - from) * (wanted - below) / count);
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_is_below_its_bound_and_not_below_the_one_before() {
        for us in (0..5000).chain((12..40).flat_map(|p| [(1 << p) - 1, 1 << p, (1 << p) + 1])) {
            let n = bucket(us);
            assert!(upper_bound(n).is_none_or(|bound| us < bound), "{us} in {n}");
            if n > 0 {
                assert!(us >= upper_bound(n - 1).unwrap(), "{us} in {n}");
            }
        }
        assert_eq!(upper_bound(0), Some(32));
        assert_eq!(upper_bound(BUCKETS - 2), Some(1 << LAST_POWER));
    }

    #[test]
    fn what_is_counted_adds_up() {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        let histogram = Histogram::new(Vec::leak(words));
        for ms in [1, 2, 3, 500] {
            histogram.record(Duration::from_millis(ms));
        }
        histogram.record(Duration::MAX);
        assert_eq!(histogram.counts().iter().sum::<u64>(), 5);
        assert_eq!(histogram.counts()[BUCKETS - 1], 1);
        assert_eq!(histogram.most_us(), u64::MAX);
    }

    #[test]
    fn percentiles_are_within_an_eighth() {
        let mut counts = [0; BUCKETS];
        assert_eq!(percentile(&counts, 0.5), None);
        // 100 of 1 ms to 2 ms, and one of a second.
        for us in 0..100 {
            let us = 1000 + us * 10;
            let n = (0..BUCKETS).find(|n| upper_bound(*n).is_none_or(|b| us < b));
            counts[n.unwrap()] += 1;
        }
        let slow = (0..BUCKETS).find(|n| upper_bound(*n).is_none_or(|b| 1_000_000 < b));
        counts[slow.unwrap()] += 1;
        let p50 = percentile(&counts, 0.5).unwrap();
        assert!((0.00135..0.00165).contains(&p50), "{p50}");
        let p999 = percentile(&counts, 0.999).unwrap();
        assert!((0.85..1.15).contains(&p999), "{p999}");
    }
}
