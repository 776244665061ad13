//! `runs.csv`: every run, a line each, for a spreadsheet or a notebook (RFC 4180).
//!
//! Written beside `results.json`, which has more: histograms, time series, settings. Columns
//! are added at the end, never renamed. A field that could not be measured is empty.

use super::results::{Results, Run, settings_line};

/// The columns, in order.
const COLUMNS: [&str; 33] = [
    "engine",
    "workload",
    "sync",
    "processes",
    "in_flight",
    "rate",
    "state_bytes",
    "settings",
    "repeat",
    "ended_after_seconds",
    "ok",
    "failed",
    "seconds",
    "turns",
    "turns_per_second",
    "due",
    "not_begun",
    "p50_us",
    "p90_us",
    "p99_us",
    "p99_9_us",
    "max_us",
    "slowest_share",
    "starved_processes",
    "errors",
    "acknowledged",
    "uncertain",
    "cpu_us_per_turn",
    "turns_per_commit",
    "syncs_per_turn",
    "device_bytes_per_turn",
    "others_share",
    "pool",
];

fn optional<T: ToString>(value: Option<T>) -> String {
    value.map_or(String::new(), |value| value.to_string())
}

fn cells(run: &Run, workload: &str) -> [String; 33] {
    let situation = &run.situation;
    let errors: u64 = run.errors.values().sum();
    [
        run.engine.clone(),
        workload.to_owned(),
        situation.sync.clone(),
        situation.processes.to_string(),
        situation.in_flight.to_string(),
        optional(situation.rate),
        situation.state_bytes.to_string(),
        settings_line(&situation.settings),
        run.repeat.to_string(),
        format!("{:.3}", run.ended_after_seconds),
        run.is_good().to_string(),
        run.failed.clone().unwrap_or_default(),
        run.seconds.to_string(),
        run.turns.to_string(),
        run.turns_per_second.to_string(),
        optional(run.due),
        run.not_begun.to_string(),
        run.latency_us.p50.to_string(),
        run.latency_us.p90.to_string(),
        run.latency_us.p99.to_string(),
        run.latency_us.p99_9.to_string(),
        run.latency_us.max.to_string(),
        optional(run.slowest_share),
        run.starved_processes.to_string(),
        errors.to_string(),
        run.acknowledged.to_string(),
        run.uncertain.to_string(),
        optional(run.cpu_us_per_turn.total),
        optional(run.turns_per_commit),
        optional(run.syncs_per_turn),
        optional(run.device_bytes_per_turn),
        optional(run.others_share),
        optional(run.pool),
    ]
}

fn quoted(cell: &str) -> String {
    // What begins with =, +, - or @ a spreadsheet takes for a formula; no cell of ours does so.
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

/// The whole file.
pub(super) fn draw(results: &Results) -> String {
    let mut text = COLUMNS.join(",") + "\r\n";
    for run in &results.runs {
        let cells = cells(run, &results.settings.workload);
        let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        text += &(cells.join(",") + "\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_is_a_line_of_all_columns() {
        let mut results = super::super::report::tests::sample();
        results.runs[0].failed = Some("2 turns, \"lost\"".to_owned());
        let text = draw(&results);
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert_eq!(lines.len(), results.runs.len() + 2);
        assert!(
            lines[1].contains("\"2 turns, \"\"lost\"\"\""),
            "{}",
            lines[1]
        );
        for line in &lines[2..lines.len() - 1] {
            assert_eq!(line.split(',').count(), COLUMNS.len(), "{line}");
        }
    }
}
