//! Which settings made a difference: each value beside the first of its list, in pairs of
//! runs of the same repeat that differ in nothing else.
//!
//! Called by `summary.rs`. Pairs cancel a drift of the machine, and all of them together,
//! over the other settings and situations, tell a small effect from noise.

use super::results::{Effect, Run, Settings, Verdict};
use super::{judge, stats};

/// The effects of all settings that have several values, by engine.
pub(crate) fn of(runs: &[Run], settings: &Settings) -> Vec<Effect> {
    let mut effects = Vec::new();
    for engine in &settings.engines {
        for (name, values) in settings.pragmas.iter().chain(&settings.server_settings) {
            let Some((against, others)) = values.split_first() else {
                continue;
            };
            for value in others {
                effects.extend(effect(runs, engine, name, value, against));
            }
        }
    }
    effects
}

/// A run and its partner.
fn pairs<'a>(
    runs: &'a [Run],
    engine: &'a str,
    name: &'a str,
    value: &'a str,
    against: &'a str,
) -> impl Iterator<Item = (&'a Run, &'a Run)> {
    let usable = move |run: &&Run| run.is_good() && run.engine == engine && run.turns > 0;
    runs.iter().filter(usable).filter_map(move |run| {
        if run.situation.settings.get(name).map(String::as_str) != Some(value) {
            return None;
        }
        let mut wanted = run.situation.clone();
        wanted.settings.insert(name.to_owned(), against.to_owned());
        let partner = runs
            .iter()
            .filter(usable)
            .find(|other| other.repeat == run.repeat && other.situation == wanted)?;
        Some((run, partner))
    })
}

fn effect(runs: &[Run], engine: &str, name: &str, value: &str, against: &str) -> Option<Effect> {
    let ratios = |pick: fn(&Run) -> f64| -> Vec<f64> {
        pairs(runs, engine, name, value, against)
            .map(|(run, partner)| pick(run) / pick(partner))
            .filter(|ratio| ratio.is_finite() && *ratio > 0.0)
            .collect()
    };
    let speeds = ratios(|run| run.turns_per_second);
    let p99s = ratios(|run| run.latency_us.p99);
    let (interval, verdict) = judged(&speeds, Verdict::Faster, Verdict::Slower);
    // A longer latency is the slower one.
    let (p99_interval, p99_verdict) = judged(&p99s, Verdict::Slower, Verdict::Faster);
    Some(Effect {
        engine: engine.to_owned(),
        setting: name.to_owned(),
        value: value.to_owned(),
        against: against.to_owned(),
        pairs: speeds.len(),
        ratio: stats::geometric_mean(&speeds)?,
        interval,
        p99_ratio: stats::geometric_mean(&p99s)?,
        p99_interval,
        verdict,
        p99_verdict,
    })
}

fn judged(ratios: &[f64], above: Verdict, below: Verdict) -> (Option<stats::Interval>, Verdict) {
    let interval = stats::interval(ratios, stats::geometric_mean);
    let verdict = match interval {
        None => Verdict::TooFewRuns,
        Some(_) if ratios.len() < judge::ENOUGH => Verdict::TooFewRuns,
        Some(interval) if interval.low > 1.0 => above,
        Some(interval) if interval.high < 1.0 => below,
        Some(_) => Verdict::NoDifferenceShown,
    };
    (interval, verdict)
}

#[cfg(test)]
mod tests {
    use super::super::results::Situation;
    use super::*;

    #[test]
    fn what_made_a_difference_is_told_from_noise() {
        let mut runs = Vec::new();
        for repeat in 1..=4 {
            for (size, factor) in [("1024", 1.0), ("4096", 0.8)] {
                for (checkpoint, wobble) in [("1000", 0.98), ("4000", 1.03)] {
                    // The machine drifts by half from repeat to repeat.
                    let drift = 1000.0 * (1.0 + repeat as f64 / 8.0);
                    let sign = if repeat % 2 == 0 {
                        wobble
                    } else {
                        1.0 / wobble
                    };
                    let settings = [("page_size", size), ("wal_autocheckpoint", checkpoint)];
                    let settings = settings.map(|(n, v)| (n.to_owned(), v.to_owned()));
                    runs.push(Run {
                        engine: "sqlite-direct".to_owned(),
                        situation: Situation {
                            settings: settings.into(),
                            ..Situation::default()
                        },
                        repeat,
                        turns: 1,
                        turns_per_second: drift * factor * sign,
                        latency_us: super::super::measure::Percentiles {
                            p99: 100.0 / factor,
                            ..Default::default()
                        },
                        ..Run::default()
                    });
                }
            }
        }
        let list =
            |name: &str, values: [&str; 2]| (name.to_owned(), values.map(str::to_owned).to_vec());
        let settings = Settings {
            engines: vec!["sqlite-direct".to_owned(), "postgres".to_owned()],
            pragmas: vec![
                list("page_size", ["1024", "4096"]),
                list("wal_autocheckpoint", ["1000", "4000"]),
            ],
            ..Settings::default()
        };
        let effects = of(&runs, &settings);
        assert_eq!(effects.len(), 2, "{effects:#?}");
        let (size, checkpoint) = (&effects[0], &effects[1]);
        assert_eq!((size.pairs, size.verdict), (8, Verdict::Slower));
        assert!((size.ratio - 0.8).abs() < 0.01, "{size:?}");
        assert_eq!(size.p99_verdict, Verdict::Slower);
        assert_eq!(
            checkpoint.verdict,
            Verdict::NoDifferenceShown,
            "{checkpoint:?}"
        );
        assert_eq!(checkpoint.p99_verdict, Verdict::NoDifferenceShown);
    }
}
