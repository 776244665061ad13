//! What may be said of runs: who starved, and which of two is the better one.
//!
//! Used by `summary.rs`, `effects.rs`, `compare.rs` and by what is shown to people.

use super::results::Verdict;
use super::stats::{self, Interval};

/// The engines that others are compared with in the table.
pub(crate) const BASES: [&str; 2] = ["sqlite-direct", "postgres"];

/// No way to run a bot: an upper bound, with one situation of its own.
pub(crate) const CEILING: &str = "sqlite-ceiling";

/// Below this part of an even share a process has starved.
pub(crate) const STARVED: f64 = 0.1;

/// Runs of a case below which no difference is claimed: of three and three that are alike,
/// all of one are above all of the other one time in ten.
pub(crate) const ENOUGH: usize = 4;

/// The slowest process's part of an even share, and how many have starved; nothing can
/// starve alone.
pub(crate) fn fairness(turns_of_processes: &[u64]) -> (Option<f64>, usize) {
    let all: u64 = turns_of_processes.iter().sum();
    if turns_of_processes.len() < 2 || all == 0 {
        return (None, 0);
    }
    let even = all as f64 / turns_of_processes.len() as f64;
    let shares = turns_of_processes.iter().map(|&turns| turns as f64 / even);
    let starved = shares.clone().filter(|share| *share < STARVED).count();
    (shares.reduce(f64::min), starved)
}

/// Which of two sets of runs is the faster one: that with the larger figures.
pub(crate) fn verdict(these: &[f64], those: &[f64]) -> Verdict {
    let of = |values: &[f64]| stats::interval(values, stats::median);
    of_intervals(these.len().min(those.len()), of(these), of(those))
}

/// The same where the intervals of the medians are known; `runs` of the one that has fewer.
pub(crate) fn of_intervals(
    runs: usize,
    these: Option<Interval>,
    those: Option<Interval>,
) -> Verdict {
    if runs < ENOUGH {
        return Verdict::TooFewRuns;
    }
    match these.zip(those) {
        Some((a, b)) if a.low > b.high => Verdict::Faster,
        Some((a, b)) if a.high < b.low => Verdict::Slower,
        _ => Verdict::NoDifferenceShown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_process_has_a_share() {
        assert_eq!(fairness(&[500]), (None, 0));
        assert_eq!(fairness(&[0, 0]), (None, 0));
        assert_eq!(fairness(&[100, 100]), (Some(1.0), 0));
        assert_eq!(fairness(&[1, 199]), (Some(0.01), 1));
        assert_eq!(fairness(&[119, 0, 0, 0]), (Some(0.0), 3));
        assert_eq!(fairness(&[150, 50]), (Some(0.5), 0));
    }

    #[test]
    fn a_difference_needs_repeats_that_do_not_overlap() {
        let a = [100.0, 101.0, 102.0, 103.0, 104.0];
        let b = [90.0, 95.0, 98.0, 99.0, 101.0];
        let c = [50.0, 51.0, 52.0, 53.0, 54.0];
        assert_eq!(verdict(&a, &b), Verdict::NoDifferenceShown);
        assert_eq!(verdict(&a, &c), Verdict::Faster);
        assert_eq!(verdict(&c, &a), Verdict::Slower);
        assert_eq!(verdict(&c[..3], &a), Verdict::TooFewRuns);
    }
}
