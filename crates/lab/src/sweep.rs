//! A sweep of rates: where an engine falls behind what is due.
//!
//! Called by `summary.rs`; the chart is `report/load.rs`.

use super::results::{Knee, Median, Situation};

/// The part of what is due that has to be completed within the window. Not all of it: what
/// is due in its last moments may end after it.
pub(crate) const KEPT_UP: f64 = 0.98;

/// The knee of each engine in each situation that was measured at several rates.
pub(crate) fn knees(medians: &[Median]) -> Vec<Knee> {
    let without_rate = |row: &Median| Situation {
        rate: None,
        ..row.situation.clone()
    };
    let mut knees: Vec<Knee> = Vec::new();
    for row in medians.iter().filter(|row| row.situation.rate.is_some()) {
        let here = without_rate(row);
        let is_known = |knee: &Knee| knee.engine == row.engine && knee.situation == here;
        if knees.iter().any(is_known) {
            continue;
        }
        let mut all: Vec<&Median> = medians
            .iter()
            .filter(|other| {
                other.engine == row.engine
                    && other.situation.rate.is_some()
                    && without_rate(other) == here
            })
            .collect();
        if all.len() < 2 {
            continue;
        }
        all.sort_by_key(|other| other.situation.rate);
        let keeps_up = |row: &&&Median| row.completed_share.is_some_and(|share| share >= KEPT_UP);
        let kept = all.iter().take_while(keeps_up).count();
        knees.push(Knee {
            engine: row.engine.clone(),
            situation: here,
            kept_up: kept.checked_sub(1).and_then(|n| all[n].situation.rate),
            fell_behind: all.get(kept).and_then(|row| row.situation.rate),
            p99_us: kept.checked_sub(1).map(|n| all[n].latency_us.p99),
        });
    }
    knees
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rate: u64, share: f64) -> Median {
        Median {
            engine: "sqlite".to_owned(),
            situation: Situation {
                rate: Some(rate),
                ..Situation::default()
            },
            completed_share: Some(share),
            ..Median::default()
        }
    }

    #[test]
    fn the_knee_is_before_the_first_rate_that_is_not_kept() {
        // One that is kept again by chance does not count.
        let rows = [at(4000, 0.7), at(1000, 1.0), at(2000, 0.99), at(8000, 0.98)];
        let knees = knees(&rows);
        assert_eq!(knees.len(), 1);
        assert_eq!(
            (knees[0].kept_up, knees[0].fell_behind),
            (Some(2000), Some(4000))
        );
        assert_eq!(super::knees(&rows[..1]), []);
        let none = super::knees(&[at(1, 0.1), at(2, 0.1)]);
        assert_eq!((none[0].kept_up, none[0].fell_behind), (None, Some(1)));
        let all = super::knees(&[at(1, 1.0), at(2, 1.0)]);
        assert_eq!((all[0].kept_up, all[0].fell_behind), (Some(2), None));
    }
}
