//! Medians of the repeats, and ratios between engines in the same situation.
//!
//! Made of the raw runs after the last one. Only good runs count; how many were not is
//! said beside the median.

use super::measure::Percentiles;
use super::results::{CpuPerTurn, Median, Run};

/// The engines that others are compared with.
pub(crate) const BASES: [&str; 2] = ["sqlite-direct", "postgres"];

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    if values.len() % 2 == 1 {
        return Some(upper);
    }
    Some((values[values.len() / 2 - 1] + upper) / 2.0)
}

/// The medians of all situations, in the order of their first run.
pub(crate) fn summarize(runs: &[Run]) -> Vec<Median> {
    let mut medians: Vec<Median> = Vec::new();
    for run in runs {
        let same = |m: &&mut Median| {
            m.engine == run.engine
                && m.sync == run.sync
                && m.processes == run.processes
                && m.in_flight == run.in_flight
        };
        if medians.iter_mut().find(same).is_none() {
            medians.push(of(run, runs));
        }
    }
    let bases = medians.clone();
    for row in &mut medians {
        let ratio = |base: &str| {
            bases
                .iter()
                .find(|other| other.engine == base && other.is_beside(row))
                .filter(|other| other.turns_per_second > 0.0 && row.turns_per_second > 0.0)
                .map(|other| row.turns_per_second / other.turns_per_second)
        };
        (row.ratio_to_sqlite_direct, row.ratio_to_postgres) = (ratio(BASES[0]), ratio(BASES[1]));
    }
    medians
}

fn of(first: &Run, runs: &[Run]) -> Median {
    let (good, bad): (Vec<&Run>, Vec<&Run>) = runs
        .iter()
        .filter(|run| {
            run.engine == first.engine
                && run.sync == first.sync
                && run.processes == first.processes
                && run.in_flight == first.in_flight
        })
        .partition(|run| run.is_good());
    let always = |pick: fn(&Run) -> f64| median(good.iter().map(|run| pick(run)).collect());
    let where_known =
        |pick: fn(&Run) -> Option<f64>| median(good.iter().filter_map(|run| pick(run)).collect());
    let speeds = || good.iter().map(|run| run.turns_per_second);
    let mut errors_by_kind = std::collections::BTreeMap::new();
    for (kind, count) in good.iter().flat_map(|run| &run.errors) {
        *errors_by_kind.entry(kind.clone()).or_default() += count;
    }
    Median {
        engine: first.engine.clone(),
        sync: first.sync.clone(),
        processes: first.processes,
        in_flight: first.in_flight,
        runs: good.len(),
        failed: bad.len(),
        turns_per_second: always(|run| run.turns_per_second).unwrap_or_default(),
        least_turns_per_second: speeds().reduce(f64::min).unwrap_or_default(),
        most_turns_per_second: speeds().reduce(f64::max).unwrap_or_default(),
        latency_us: Percentiles {
            p50: always(|run| run.latency_us.p50).unwrap_or_default(),
            p90: always(|run| run.latency_us.p90).unwrap_or_default(),
            p99: always(|run| run.latency_us.p99).unwrap_or_default(),
            p99_9: always(|run| run.latency_us.p99_9).unwrap_or_default(),
            max: always(|run| run.latency_us.max).unwrap_or_default(),
        },
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
        ratio_to_sqlite_direct: None,
        ratio_to_postgres: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_few() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }

    fn run(engine: &str, processes: usize, speed: f64) -> Run {
        Run {
            engine: engine.to_owned(),
            sync: "full".to_owned(),
            processes,
            in_flight: 1,
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
        assert_eq!(medians[2].ratio_to_sqlite_direct, Some(1.0));
    }
}
