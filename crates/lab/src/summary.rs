//! Medians of the repeats, their intervals, and how engines stand beside each other in the
//! same situation.
//!
//! Made of the raw runs after the last one. Only good runs count; how many were not is
//! said beside the median. Two engines in whose runs every process worked are compared;
//! one that let a process starve is not called faster or slower.

use super::judge::{BASES, fairness, of_intervals};
use super::measure::Percentiles;
use super::results::{Comparison, CpuPerTurn, Median, Results, Run, Verdict};
use super::{effects, stats, sweep};

/// Fills in all that follows from the runs.
pub(crate) fn conclude(results: &mut Results) {
    // Format 1 did not have these, and its sizes are those of the whole laboratory.
    let only_size = results.settings.state_bytes.first().copied();
    for run in &mut results.runs {
        (run.slowest_share, run.starved_processes) = fairness(&run.turns_of_processes);
        if run.situation.state_bytes == 0 {
            run.situation.state_bytes = only_size.unwrap_or_default();
        }
    }
    results.medians = summarize(&results.runs);
    results.knees = sweep::knees(&results.medians);
    results.effects = effects::of(&results.runs, &results.settings);
}

/// The medians of all situations, in the order of their first run.
pub(crate) fn summarize(runs: &[Run]) -> Vec<Median> {
    let mut medians: Vec<Median> = Vec::new();
    let mut speeds: Vec<Vec<f64>> = Vec::new();
    for run in runs {
        let is_known = medians
            .iter()
            .any(|m| m.engine == run.engine && m.situation == run.situation);
        if !is_known {
            let same: Vec<&Run> = runs
                .iter()
                .filter(|other| other.engine == run.engine && other.situation == run.situation)
                .collect();
            let good = same.iter().filter(|run| run.is_good());
            speeds.push(good.map(|run| run.turns_per_second).collect());
            medians.push(of(run, &same));
        }
    }
    let comparisons: Vec<Vec<Comparison>> = (0..medians.len())
        .map(|row| compare(&medians, &speeds, row))
        .collect();
    for (row, comparisons) in medians.iter_mut().zip(comparisons) {
        let ratio = |base: &str| {
            let is_itself = row.engine == base && row.turns_per_second > 0.0;
            let beside = comparisons.iter().find(|other| other.engine == base);
            match beside.filter(|other| other.verdict != Verdict::Starved) {
                _ if is_itself => Some(1.0),
                found => found.map(|other| other.ratio),
            }
        };
        (row.ratio_to_sqlite_direct, row.ratio_to_postgres) = (ratio(BASES[0]), ratio(BASES[1]));
        row.comparisons = comparisons;
    }
    medians
}

/// One row beside the other engines. Of one that was measured with several settings, those
/// that are the row's own, else the fastest: nobody is beaten at his worst.
fn compare(medians: &[Median], speeds: &[Vec<f64>], row: usize) -> Vec<Comparison> {
    let this = &medians[row];
    let mut others: Vec<usize> = Vec::new();
    for (n, other) in medians.iter().enumerate() {
        let counts = other.turns_per_second > 0.0 && this.turns_per_second > 0.0;
        if other.engine == this.engine || !counts || !this.situation.is_beside(&other.situation) {
            continue;
        }
        let known = others
            .iter_mut()
            .find(|place| medians[**place].engine == other.engine);
        match known {
            Some(place) if other.turns_per_second > medians[*place].turns_per_second => *place = n,
            Some(_) => {}
            None => others.push(n),
        }
    }
    let comparison = |n: usize| {
        let other = &medians[n];
        Comparison {
            engine: other.engine.clone(),
            settings: other.situation.settings.clone(),
            ratio: this.turns_per_second / other.turns_per_second,
            interval: stats::ratio_interval(&speeds[row], &speeds[n]),
            verdict: match this.is_starved() || other.is_starved() {
                true => Verdict::Starved,
                false => of_intervals(
                    this.runs.min(other.runs),
                    this.turns_per_second_interval,
                    other.turns_per_second_interval,
                ),
            },
        }
    };
    others.into_iter().map(comparison).collect()
}

fn of(first: &Run, runs: &[&Run]) -> Median {
    let (good, bad): (Vec<&Run>, Vec<&Run>) = runs.iter().partition(|run| run.is_good());
    let all = |pick: fn(&Run) -> f64| good.iter().map(|run| pick(run)).collect::<Vec<f64>>();
    let always = |pick: fn(&Run) -> f64| stats::median(&all(pick));
    let where_known = |pick: fn(&Run) -> Option<f64>| {
        stats::median(&good.iter().filter_map(|run| pick(run)).collect::<Vec<_>>())
    };
    let speeds = all(|run| run.turns_per_second);
    let mut errors_by_kind = std::collections::BTreeMap::new();
    for (kind, count) in good.iter().flat_map(|run| &run.errors) {
        *errors_by_kind.entry(kind.clone()).or_default() += count;
    }
    Median {
        engine: first.engine.clone(),
        situation: first.situation.clone(),
        runs: good.len(),
        failed: bad.len(),
        turns_per_second: stats::median(&speeds).unwrap_or_default(),
        least_turns_per_second: speeds.iter().copied().reduce(f64::min).unwrap_or_default(),
        most_turns_per_second: speeds.iter().copied().reduce(f64::max).unwrap_or_default(),
        turns_per_second_interval: stats::interval(&speeds, stats::median),
        completed_share: where_known(|run| {
            let due = run.due.filter(|due| *due > 0)?;
            // One of each process may be under way at the end; and what the warm-up had left
            // behind is completed in the window, too.
            let completed = run.turns + run.situation.processes as u64;
            Some((completed as f64 / due as f64).min(1.0))
        }),
        latency_us: Percentiles {
            p50: always(|run| run.latency_us.p50).unwrap_or_default(),
            p90: always(|run| run.latency_us.p90).unwrap_or_default(),
            p99: always(|run| run.latency_us.p99).unwrap_or_default(),
            p99_9: always(|run| run.latency_us.p99_9).unwrap_or_default(),
            max: always(|run| run.latency_us.max).unwrap_or_default(),
        },
        p99_us_interval: stats::interval(&all(|run| run.latency_us.p99), stats::median),
        slowest_share: where_known(|run| run.slowest_share),
        starved_runs: good.iter().filter(|run| run.starved_processes > 0).count(),
        cpu_us_per_turn: CpuPerTurn {
            clients: where_known(|run| run.cpu_us_per_turn.clients),
            writer: where_known(|run| run.cpu_us_per_turn.writer),
            server: where_known(|run| run.cpu_us_per_turn.server),
            total: where_known(|run| run.cpu_us_per_turn.total),
        },
        turns_per_commit: where_known(|run| run.turns_per_commit),
        syncs_per_turn: where_known(|run| run.syncs_per_turn),
        device_bytes_per_turn: where_known(|run| run.device_bytes_per_turn),
        others_share: good
            .iter()
            .filter_map(|run| run.others_share)
            .reduce(f64::max),
        errors: good.iter().flat_map(|run| run.errors.values()).sum(),
        errors_by_kind,
        comparisons: Vec::new(),
        ratio_to_sqlite_direct: None,
        ratio_to_postgres: None,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::results::Situation;
    use super::*;

    pub(in super::super) fn run(engine: &str, processes: usize, speed: f64) -> Run {
        Run {
            engine: engine.to_owned(),
            situation: Situation {
                sync: "full".to_owned(),
                processes,
                in_flight: 1,
                ..Situation::default()
            },
            turns_per_second: speed,
            ..Run::default()
        }
    }

    #[test]
    fn ratios_compare_the_same_situation_and_failures_do_not_count() {
        let mut runs = vec![
            run("sqlite", 1, 100.0),
            run("sqlite", 4, 900.0),
            run("sqlite-direct", 4, 300.0),
            run("sqlite", 4, 1100.0),
            run("sqlite-direct", 4, 300.0),
        ];
        runs.push(Run {
            failed: Some("lost".to_owned()),
            ..run("sqlite", 4, 999_999.0)
        });
        let medians = summarize(&runs);
        assert_eq!(medians.len(), 3);
        assert_eq!(medians[0].ratio_to_sqlite_direct, None);
        let at_four = &medians[1];
        assert_eq!((at_four.runs, at_four.failed), (2, 1));
        assert_eq!(at_four.turns_per_second, 1000.0);
        assert_eq!(
            (
                at_four.least_turns_per_second,
                at_four.most_turns_per_second
            ),
            (900.0, 1100.0)
        );
        assert!((at_four.ratio_to_sqlite_direct.unwrap() - 3.333).abs() < 0.001);
        assert_eq!(at_four.ratio_to_postgres, None);
        assert_eq!(at_four.comparisons[0].verdict, Verdict::TooFewRuns);
        assert_eq!(medians[2].ratio_to_sqlite_direct, Some(1.0));
    }

    /// Two working processes beside one that works and one that waits are no "1.06 times".
    #[test]
    fn nobody_is_faster_than_one_that_let_a_process_starve() {
        let mut runs = Vec::new();
        for repeat in 0..5 {
            let speed = 1000.0 + f64::from(repeat);
            runs.push(Run {
                turns_of_processes: vec![500, 500],
                ..run("sqlite", 2, speed * 1.06)
            });
            runs.push(Run {
                turns_of_processes: vec![1000, 0],
                ..run("sqlite-direct", 2, speed)
            });
        }
        for run in &mut runs {
            (run.slowest_share, run.starved_processes) = fairness(&run.turns_of_processes);
        }
        let medians = summarize(&runs);
        let ours = &medians[0];
        assert_eq!(ours.comparisons[0].verdict, Verdict::Starved);
        assert_eq!(ours.ratio_to_sqlite_direct, None);
        let direct = &medians[1];
        assert_eq!((direct.starved_runs, direct.slowest_share), (5, Some(0.0)));
        assert!(direct.is_starved() && !ours.is_starved());
    }

    #[test]
    fn an_engine_without_the_setting_stands_beside_every_value_of_it() {
        let with = |engine: &str, size: &str, speed| {
            let mut run = run(engine, 1, speed);
            run.situation
                .settings
                .insert("page_size".to_owned(), size.to_owned());
            run
        };
        let runs = [
            with("sqlite-direct", "1024", 50.0),
            with("sqlite-direct", "4096", 100.0),
            run("postgres", 1, 200.0),
            with("sqlite-naive", "1024", 25.0),
        ];
        let medians = summarize(&runs);
        assert_eq!(medians[0].ratio_to_postgres, Some(0.25));
        assert_eq!(medians[2].ratio_to_sqlite_direct, Some(2.0), "the best");
        assert_eq!(medians[3].ratio_to_sqlite_direct, Some(0.5), "its own");
    }
}
