//! Chance that can be repeated: a seed gives the same drill.

use std::time::Duration;

/// SplitMix64 (<https://prng.di.unimi.it/splitmix64.c>).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From nothing to all of a time.
    pub(super) fn part_of(&mut self, time: Duration) -> Duration {
        let part = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        time.mul_f64(part)
    }

    /// One of so many.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % (bound.max(1) as u64)) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_between_and_a_seed_repeats_them() {
        let time = Duration::from_millis(100);
        let parts = |seed| -> Vec<Duration> {
            let mut random = Random::new(seed);
            (0..1000).map(|_| random.part_of(time)).collect()
        };
        assert_eq!(parts(5), parts(5));
        assert_ne!(parts(5), parts(6));
        assert!(parts(5).iter().all(|part| *part < time));
        assert!(parts(5).iter().any(|part| *part > time / 2));
        assert_eq!(Random::new(1).below(0), 0);
    }
}
