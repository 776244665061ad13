//! The results on a terminal: one block for each situation, one line for each engine.
//!
//! Called at the end of a laboratory. Plain text of at most some 130 columns.

use std::fmt::Write as _;

use super::measure::NOISY;
use super::results::Median;
use super::results::Results;
use turnkey_report::figures::{short, thousands, time};

/// What it ran on.
pub(super) fn machine_lines(results: &Results) -> Vec<String> {
    let machine = &results.machine;
    vec![
        format!(
            "{}, {} processors, {:.1} GiB, {}",
            machine.processor,
            machine.processors,
            machine.memory_bytes as f64 / f64::from(1 << 30),
            machine.kernel
        ),
        format!(
            "{} on {}; {}",
            results.file_system.kind,
            results.file_system.device,
            results.versions_line()
        ),
    ]
}

const HEAD: [&str; 13] = [
    "engine",
    "turns/s",
    "(min-max)",
    "p50",
    "p99",
    "p99.9",
    "max",
    "CPU us",
    "turns/commit",
    "syncs/turn",
    "KiB/turn",
    "x direct",
    "x postgres",
];

fn cells(row: &Median) -> [String; 13] {
    let ratio = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |r| format!("{r:.2}"));
    [
        row.engine.clone(),
        thousands(row.turns_per_second),
        format!(
            "({}-{})",
            thousands(row.least_turns_per_second),
            thousands(row.most_turns_per_second)
        ),
        time(row.latency_us.p50),
        time(row.latency_us.p99),
        time(row.latency_us.p99_9),
        time(row.latency_us.max),
        short(row.cpu_us_per_turn.total),
        short(row.turns_per_commit),
        short(row.syncs_per_turn),
        short(row.device_bytes_per_turn.map(|bytes| bytes / 1024.0)),
        ratio(row.ratio_to_sqlite_direct),
        ratio(row.ratio_to_postgres),
    ]
}

/// Everything, as text.
pub(super) fn render(results: &Results) -> String {
    let rows: Vec<[String; 13]> = results.medians.iter().map(cells).collect();
    let mut widths: [usize; 13] = std::array::from_fn(|n| HEAD[n].len());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let line = |cells: &[String; 13]| {
        let mut text = format!("  {:<1$}", cells[0], widths[0]);
        for (cell, width) in cells.iter().zip(widths).skip(1) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text
    };
    let mut text = String::new();
    let mut situation = None;
    // Engines of one situation side by side, whatever the order of the runs.
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&n| {
        let m = &results.medians[n];
        (m.sync.clone(), m.processes, m.in_flight)
    });
    for n in order {
        let row = &results.medians[n];
        let here = (row.sync.clone(), row.processes, row.in_flight);
        if situation.as_ref() != Some(&here) {
            let _ = writeln!(
                text,
                "\n{}, {} in flight in each, sync {}",
                count(row.processes, "process", "processes"),
                count(row.in_flight, "turn", "turns"),
                row.sync
            );
            let _ = writeln!(text, "{}", line(&HEAD.map(str::to_owned)).trim_end());
            situation = Some(here);
        }
        let _ = write!(text, "{}", line(&rows[n]));
        let _ = writeln!(text, "{}", remarks(row));
    }
    let _ = write!(text, "{}", ending(results));
    text
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// What makes a line doubtful.
fn remarks(row: &Median) -> String {
    let mut text = String::new();
    if row.failed > 0 {
        let _ = write!(text, "  FAILED: {}", row.failed);
    }
    for (kind, count) in &row.errors_by_kind {
        let _ = write!(text, "  {kind}: {count}");
    }
    if let Some(share) = row.others_share.filter(|share| *share > NOISY) {
        let _ = write!(text, "  noisy: {:.0} % by others", share * 100.0);
    }
    text
}

fn ending(results: &Results) -> String {
    let plan = &results.settings;
    let mut text = format!(
        "\nMedians of {}{}; a turn reads, changes and writes the state of one of {} users, {} bytes. CPU us: for a\nturn, of all processes, the writer's and the server's too. x: turns/s over those of sqlite-direct or postgres.\n",
        if results.interrupted { "up to " } else { "" },
        count(plan.repeat, "run", "runs"),
        thousands(plan.users as f64),
        plan.state_bytes
    );
    let failed: Vec<_> = results.runs.iter().filter(|run| !run.is_good()).collect();
    for run in &failed {
        let _ = writeln!(
            text,
            "FAILED {}, {} x {}, {}, repeat {}: {}",
            run.engine,
            run.processes,
            run.in_flight,
            run.sync,
            run.repeat,
            run.failed.as_deref().unwrap_or_default()
        );
    }
    if results.interrupted {
        let runs = count(results.runs.len(), "run", "runs");
        let _ = writeln!(text, "Interrupted after {runs}.");
    } else if failed.is_empty() {
        let after = match results.runs.len() {
            1 => "the run".to_owned(),
            runs => format!("each of the {runs} runs"),
        };
        let _ = writeln!(
            text,
            "No turn was lost: after {after} the counters added up to the acknowledged turns."
        );
    }
    text
}
