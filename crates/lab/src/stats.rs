//! How sure a figure is: medians and their intervals, by resampling the repeats.
//!
//! Used by `summary.rs`, `effects.rs` and `compare.rs`. Deterministic: the same figures
//! give the same interval, so a report that is drawn again is the same report.
//! Bound: [`RESAMPLES`] for each interval.
//!
//! The interval is the *expanded* percentile bootstrap (Hesterberg, "What Teachers Should
//! Know About the Bootstrap", 2015, section 3.3: <https://arxiv.org/abs/1411.5279>): the
//! plain one is too narrow for few values, so its quantiles are moved outwards as Student's
//! t is wider than the normal distribution. With up to five repeats it is simply the lowest
//! and the highest.

use serde::{Deserialize, Serialize};

use super::state::Random;

/// Enough that the ends of an interval no longer move in the second digit.
const RESAMPLES: usize = 2000;

/// Of Student's t with 1, 2, … degrees of freedom, the 97.5th percentile; beyond, the
/// normal distribution's.
const T: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// Where the true value is, 95 times in a hundred.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Interval {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((values[values.len() / 2 - 1] + upper) / 2.0)
}

/// Of ratios, and only of those above 0.
pub(crate) fn geometric_mean(values: &[f64]) -> Option<f64> {
    let logs: f64 = values.iter().map(|value| value.ln()).sum();
    (!values.is_empty()).then(|| (logs / values.len() as f64).exp())
}

/// The interval of a statistic of these values; none for fewer than two: one run says
/// nothing about the next.
pub(crate) fn interval(
    values: &[f64],
    statistic: impl Fn(&[f64]) -> Option<f64>,
) -> Option<Interval> {
    bootstrap(values.len(), |random| statistic(&resampled(values, random)))
}

/// The interval of the ratio of two medians, `over` divided by `under`.
pub(crate) fn ratio_interval(over: &[f64], under: &[f64]) -> Option<Interval> {
    bootstrap(over.len().min(under.len()), |random| {
        let (over, under) = (resampled(over, random), resampled(under, random));
        let (over, under) = (median(&over)?, median(&under)?);
        (under > 0.0).then(|| over / under)
    })
}

fn resampled(values: &[f64], random: &mut Random) -> Vec<f64> {
    let count = values.len() as u64;
    (0..count)
        .map(|_| values[random.below(count) as usize])
        .collect()
}

fn bootstrap(count: usize, draw: impl Fn(&mut Random) -> Option<f64>) -> Option<Interval> {
    if count < 2 {
        return None;
    }
    let mut random = Random::new(0x1a6);
    let mut drawn: Vec<f64> = (0..RESAMPLES)
        .map(|_| draw(&mut random))
        .collect::<Option<_>>()?;
    drawn.sort_by(f64::total_cmp);
    let tail = tail(count);
    let last = RESAMPLES - 1;
    let at = |share: f64| drawn[((share * last as f64).round() as usize).min(last)];
    Some(Interval {
        low: at(tail),
        high: at(1.0 - tail),
    })
}

/// The share of the resamples that is left out at each end.
fn tail(count: usize) -> f64 {
    let t = T.get(count - 2).copied().unwrap_or(1.96);
    let widened = (count as f64 / (count as f64 - 1.0)).sqrt() * t;
    normal_below(-widened)
}

/// The normal distribution below `z`: Abramowitz and Stegun 26.2.17, to 1e-7.
fn normal_below(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let terms = [
        0.319_381_530,
        -0.356_563_782,
        1.781_477_937,
        -1.821_255_978,
        1.330_274_429,
    ];
    let sum = terms.iter().rev().fold(0.0, |sum, term| (sum + term) * t);
    let above = (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * sum;
    if z < 0.0 { above } else { 1.0 - above }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_few() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        let mean = geometric_mean(&[0.5, 2.0]).unwrap();
        assert!((mean - 1.0).abs() < 1e-9);
    }

    #[test]
    fn few_values_make_no_small_interval() {
        assert_eq!(interval(&[7.0], median), None);
        let few = [5.0, 1.0, 4.0];
        let all = Interval {
            low: 1.0,
            high: 5.0,
        };
        assert_eq!(interval(&few, median), Some(all));
        assert!(normal_below(-1.96) > 0.0249 && normal_below(-1.96) < 0.0251);
        assert!((normal_below(1.0) - 0.8413).abs() < 1e-4);
    }

    /// Of two hundred experiments on the same thing, few claim a difference; and a
    /// difference that is there is found.
    #[test]
    fn noise_is_seldom_a_difference_and_a_difference_is_one() {
        let mut random = Random::new(1);
        let mut noisy = |middle: f64, count: usize| -> Vec<f64> {
            (0..count)
                .map(|_| {
                    let sum: u64 = (0..12).map(|_| random.below(1000)).sum();
                    middle * (1.0 + (sum as f64 / 1000.0 - 6.0) * 0.05)
                })
                .collect()
        };
        for count in [5, 8] {
            let (mut false_alarms, mut found) = (0, 0);
            for _ in 0..200 {
                let (a, b) = (noisy(100.0, count), noisy(100.0, count));
                let of = |values: &[f64]| interval(values, median).unwrap();
                let (a, b) = (of(&a), of(&b));
                false_alarms += usize::from(a.low > b.high || b.low > a.high);
                found += usize::from(a.high < of(&noisy(150.0, count)).low);
            }
            assert!(false_alarms <= 10, "{count}: {false_alarms}");
            assert!(found >= 190, "{count}: {found}");
        }
    }

    #[test]
    fn a_ratio_has_its_own_interval() {
        let over = [200.0, 210.0, 190.0, 205.0, 195.0];
        let under = [100.0, 101.0, 99.0, 100.0, 100.0];
        let ratio = ratio_interval(&over, &under).unwrap();
        assert!(
            ratio.low > 1.5 && ratio.low < 2.0 && ratio.high > 2.0,
            "{ratio:?}"
        );
        assert_eq!(ratio_interval(&over, &[1.0]), None);
    }
}
