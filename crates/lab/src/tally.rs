//! The figures of a run: what its processes say, added up, and what the machine told at both
//! ends of the window, for each turn.
//!
//! Called by `run.rs`.

use std::collections::BTreeMap;

use super::engines::Engine;
use super::measure::{self, Percentiles, Usage};
use super::order::{Loaded, Window};
use super::results::{CpuPerTurn, Run, Series, Transaction};

/// What the machine had done at a moment.
pub(super) struct Sample {
    pub(super) at: u64,
    pub(super) clients: Usage,
    pub(super) writer: Usage,
    pub(super) server: Option<Usage>,
    pub(super) own: Usage,
    pub(super) machine: Option<(f64, f64)>,
    pub(super) flushes: Option<u64>,
}

/// What all processes did in a window of so many seconds.
pub(super) fn add_up(
    run: &mut Run,
    loaded: &[Loaded],
    window: &Window,
    seconds: f64,
) -> crate::error::Result<()> {
    let mut latencies = measure::histogram()?;
    let mut coarse = measure::coarse_histogram()?;
    let mut transactions = BTreeMap::new();
    for part in loaded {
        for (value, count) in &part.latencies {
            latencies.saturating_record_n(*value, *count);
            coarse.saturating_record_n(*value, *count);
        }
        run.turns += part.turns;
        run.acknowledged += part.acknowledged;
        run.uncertain += part.uncertain;
        if let Some(due) = part.due {
            *run.due.get_or_insert(0) += due;
        }
        run.not_begun += part.not_begun;
        run.turns_of_processes.push(part.turns);
        for (kind, count) in &part.errors {
            *run.errors.entry(kind.clone()).or_default() += count;
        }
        for (name, found) in &part.transactions {
            let entry = transactions
                .entry(name.clone())
                .or_insert((Transaction::default(), measure::histogram()?));
            entry.0.turns += found.turns;
            entry.0.acknowledged += found.acknowledged;
            entry.0.uncertain += found.uncertain;
            for (value, count) in &found.latencies {
                entry.1.saturating_record_n(*value, *count);
            }
        }
    }
    run.transactions = transactions
        .into_iter()
        .map(|(name, (mut transaction, latencies))| {
            transaction.latency_us = Percentiles::of(&latencies);
            (name, transaction)
        })
        .collect();
    run.seconds = seconds;
    run.turns_per_second = run.turns as f64 / seconds;
    run.latency_us = Percentiles::of(&latencies);
    run.latency_histogram = coarse
        .iter_recorded()
        .map(|step| {
            (
                step.value_iterated_to() as f64 / 1000.0,
                step.count_at_value(),
            )
        })
        .collect();
    run.series = series(loaded, window);
    Ok(())
}

/// What /proc and /sys tell of the window.
pub(super) fn per_turn(run: &mut Run, first: &Sample, last: &Sample, engine: Engine) {
    let elapsed = last.at.saturating_sub(first.at) as f64 / 1e9;
    // Turns between the two looks, which are never quite the window.
    let turns = run.turns_per_second * elapsed;
    if turns <= 0.0 || elapsed <= 0.0 {
        return;
    }
    let cpu = |a: &Usage, b: &Usage| (b.cpu - a.cpu).max(0.0);
    let clients = cpu(&first.clients, &last.clients);
    let writer = engine
        .has_writer()
        .then(|| cpu(&first.writer, &last.writer));
    let server = first.server.zip(last.server).map(|(a, b)| cpu(&a, &b));
    let each = |seconds: f64| seconds * 1e6 / turns;
    let all_known = engine.server().is_none() || server.is_some();
    let ours = clients + writer.unwrap_or_default() + server.unwrap_or_default();
    run.cpu_us_per_turn = CpuPerTurn {
        clients: Some(each(clients)),
        writer: writer.map(each),
        server: server.map(each),
        total: all_known.then(|| each(ours)),
    };
    if let Some(((all_before, busy_before), (all, busy))) = first.machine.zip(last.machine)
        && all > all_before
    {
        let own = cpu(&first.own, &last.own);
        let others = (busy - busy_before - ours - own) / (all - all_before);
        run.others_share = Some(others.clamp(0.0, 1.0));
    }
    run.device_flushes_per_turn = first
        .flushes
        .zip(last.flushes)
        .map(|(a, b)| b.saturating_sub(a) as f64 / turns);
}

/// The processes' time series, added up.
fn series(loaded: &[Loaded], window: &Window) -> Series {
    let parts = loaded
        .iter()
        .map(|part| part.series.len())
        .max()
        .unwrap_or(0);
    let each = |n: usize| loaded.iter().filter_map(move |part| part.series.get(n));
    Series {
        part_ms: measure::slot_of(window) as f64 / 1e6,
        turns: (0..parts)
            .map(|n| each(n).map(|slot| slot.turns).sum())
            .collect(),
        max_us: (0..parts)
            .map(|n| each(n).map(|slot| slot.longest).max().unwrap_or(0) as f64 / 1e3)
            .collect(),
    }
}
