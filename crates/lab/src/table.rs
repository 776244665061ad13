//! The results on a terminal: one block for each situation, one line for each engine; then
//! where the rates fell behind, and which settings made a difference.
//!
//! Called at the end of a laboratory. Plain text of at most some 140 columns.

use std::fmt::Write as _;

use super::judge;
use super::measure::NOISY;
use super::results::{Effect, Knee, Median, Results, Situation, Verdict, case_name, engine_with};
use super::stats::Interval;
use super::verdict::count;
use turnkey_report::figures::{short, thousands, time};
use turnkey_text::numbers::counted;

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

/// The columns, and whether a situation with a rate has them, one without, or both.
const HEAD: [&str; 14] = [
    "engine",
    "turns/s",
    "(95 %)",
    "kept",
    "p50",
    "p99",
    "p99.9",
    "max",
    "slowest",
    "CPU us",
    "syncs/turn",
    "KiB/turn",
    "x direct",
    "x postgres",
];

/// The place of "kept".
const KEPT: usize = 3;

/// A share as whole percents.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or("-".to_owned(), |share| format!("{:.0} %", share * 100.0))
}

/// Both ends of an interval of speeds, or a dash.
pub(super) fn range(interval: Option<Interval>) -> String {
    interval.map_or("-".to_owned(), |i| {
        format!("({}-{})", thousands(i.low), thousands(i.high))
    })
}

/// A ratio to another engine: with a ~ where no difference was shown.
pub(super) fn beside(row: &Median, base: &str) -> String {
    if row.engine == base {
        return "1.00".to_owned();
    }
    match row.beside(base) {
        None => "-".to_owned(),
        Some(other) => match other.verdict {
            Verdict::Starved => "starved".to_owned(),
            Verdict::NoDifferenceShown => format!("{:.2} ~", other.ratio),
            _ => format!("{:.2}", other.ratio),
        },
    }
}

fn cells(row: &Median) -> [String; 14] {
    [
        engine_with(&row.engine, &row.situation),
        thousands(row.turns_per_second),
        range(row.turns_per_second_interval),
        percent(row.completed_share),
        time(row.latency_us.p50),
        time(row.latency_us.p99),
        time(row.latency_us.p99_9),
        time(row.latency_us.max),
        percent(row.slowest_share),
        short(row.cpu_us_per_turn.total),
        short(row.syncs_per_turn),
        short(row.device_bytes_per_turn.map(|bytes| bytes / 1024.0)),
        beside(row, judge::BASES[0]),
        beside(row, judge::BASES[1]),
    ]
}

/// Rows in columns as wide as they need; the first is left, the others right.
pub(super) fn columns(rows: &[Vec<String>]) -> Vec<String> {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    rows.iter()
        .map(|row| {
            let mut text = String::from(" ");
            for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let _ = match n {
                    0 => write!(text, " {cell:<width$}"),
                    _ => write!(text, "  {cell:>width$}"),
                };
            }
            text.trim_end().to_owned()
        })
        .collect()
}

/// In words: what all lines of a block have alike.
pub(super) fn heading(situation: &Situation, state_sizes: usize) -> String {
    let mut text = format!(
        "{}, {}, sync {}",
        count(situation.processes, "process", "processes"),
        match situation.rate {
            None => format!(
                "{} in flight in each",
                count(situation.in_flight, "turn", "turns")
            ),
            Some(rate) => format!(
                "{} turns/s due in all, at most {} in flight in each",
                thousands(rate as f64),
                situation.in_flight
            ),
        },
        situation.sync
    );
    if state_sizes > 1 {
        let _ = write!(text, ", states of {} bytes", situation.state_bytes);
    }
    text
}

/// Everything, as text.
pub(super) fn render(results: &Results) -> String {
    // Engines of one situation side by side, whatever the order of the runs.
    let mut order: Vec<&Median> = results.medians.iter().collect();
    order.sort_by_key(|row| row.situation.without_settings());
    let mut lines: Vec<Vec<String>> = vec![HEAD.map(str::to_owned).to_vec()];
    lines.extend(order.iter().map(|row| cells(row).to_vec()));
    if results.settings.rates.is_empty() {
        for line in &mut lines {
            line.remove(KEPT);
        }
    }
    let lines = columns(&lines);
    let mut text = String::new();
    let mut situation = None;
    for (row, line) in order.iter().zip(&lines[1..]) {
        let here = row.situation.without_settings();
        if situation.as_ref() != Some(&here) {
            let sizes = results.settings.state_bytes.len();
            let _ = writeln!(text, "\n{}\n{}", heading(&here, sizes), lines[0]);
            situation = Some(here);
        }
        let _ = writeln!(text, "{line}{}", remarks(row));
    }
    knees(&mut text, &results.knees);
    effects(&mut text, &results.effects);
    let _ = write!(text, "{}", ending(results));
    text
}

/// What makes a line doubtful.
fn remarks(row: &Median) -> String {
    let mut text = String::new();
    if row.failed > 0 {
        let _ = write!(text, "  FAILED: {}", row.failed);
    }
    if row.starved_runs > 0 {
        let _ = write!(text, "  {}", starved(row));
    }
    for (kind, count) in &row.errors_by_kind {
        let _ = write!(text, "  {kind}: {count}");
    }
    if let Some(share) = row.others_share.filter(|share| *share > NOISY) {
        let _ = write!(text, "  noisy: {:.0} % by others", share * 100.0);
    }
    text
}

/// In how many runs a process got next to nothing.
pub(super) fn starved(row: &Median) -> String {
    let of = counted(row.runs as u64, "run");
    format!("starved in {} of {of}", row.starved_runs)
}

/// Where an engine breaks, in words.
pub(super) fn knee(knee: &Knee) -> String {
    let rate = |rate: u64| thousands(rate as f64);
    match (knee.kept_up, knee.fell_behind) {
        (Some(kept), Some(fell)) => format!(
            "kept up with {} turns/s (p99 {}), not with {}",
            rate(kept),
            knee.p99_us.map_or("-".to_owned(), time),
            rate(fell)
        ),
        (Some(kept), None) => format!(
            "kept up with all rates, {} turns/s the highest (p99 {}): try higher ones",
            rate(kept),
            knee.p99_us.map_or("-".to_owned(), time)
        ),
        (None, Some(fell)) => {
            format!(
                "fell behind at the lowest rate, {} turns/s: try lower ones",
                rate(fell)
            )
        }
        (None, None) => "was not measured".to_owned(),
    }
}

fn knees(text: &mut String, knees: &[Knee]) {
    if knees.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\nWhere it breaks: at least {:.0} % of what was due was completed in the window",
        super::sweep::KEPT_UP * 100.0
    );
    for found in knees {
        let _ = writeln!(
            text,
            "  {}, {}, {}: {}",
            engine_with(&found.engine, &found.situation),
            count(found.situation.processes, "process", "processes"),
            found.situation.sync,
            knee(found)
        );
    }
}

/// A ratio with its interval.
pub(super) fn ratio(ratio: f64, interval: Option<Interval>) -> String {
    match interval {
        None => format!("{ratio:.2}"),
        Some(i) => format!("{ratio:.2} ({:.2}-{:.2})", i.low, i.high),
    }
}

/// What a value of a setting did: setting, engine, pairs, then what is said of the speed and
/// of p99.
pub(super) fn effect(effect: &Effect) -> Vec<String> {
    vec![
        format!(
            "{}={} over {}",
            effect.setting, effect.value, effect.against
        ),
        effect.engine.clone(),
        effect.pairs.to_string(),
        ratio(effect.ratio, effect.interval),
        effect.verdict.words().to_owned(),
        ratio(effect.p99_ratio, effect.p99_interval),
        effect.p99_verdict.words().to_owned(),
    ]
}

fn effects(text: &mut String, effects: &[Effect]) {
    if effects.is_empty() {
        return;
    }
    let _ = writeln!(
        text,
        "\nWhat the settings did, in pairs of runs of the same repeat that differ in nothing else"
    );
    let head = [
        "setting",
        "engine",
        "pairs",
        "x turns/s (95 %)",
        "",
        "x p99 (95 %)",
        "",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(effects.iter().map(effect));
    for line in columns(&rows) {
        let _ = writeln!(text, "{line}");
    }
}

fn ending(results: &Results) -> String {
    let plan = &results.settings;
    let work = match plan.workload.as_str() {
        super::workload::TURN => {
            let sizes: Vec<String> = plan.state_bytes.iter().map(usize::to_string).collect();
            format!(
                "a turn reads, changes and writes the state of one of {} users, {} bytes",
                thousands(plan.users as f64),
                sizes.join(" or ")
            )
        }
        name => format!("a turn is a transaction of the workload {name}"),
    };
    let mut text = format!(
        "\n{}Medians of {}{}; {work}.\n\
         CPU us: for a turn, of all processes, the writer's and the server's too. Slowest: the slowest process's\n\
         turns, of an even share. x: turns/s over those of sqlite-direct or postgres; ~: no difference shown.\n",
        super::verdict::sentences(results),
        if results.interrupted { "up to " } else { "" },
        count(plan.repeat, "run", "runs"),
    );
    if plan.repeat < judge::ENOUGH {
        let _ = writeln!(
            text,
            "Fewer than {} runs of each: no difference is claimed; --repeat 5 can.",
            judge::ENOUGH
        );
    }
    let failed: Vec<_> = results.runs.iter().filter(|run| !run.is_good()).collect();
    for run in &failed {
        let _ = writeln!(
            text,
            "FAILED {}, repeat {}: {}",
            case_name(&run.engine, &run.situation),
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
            "No turn was lost: after {after} {} the acknowledged turns.",
            match plan.workload.as_str() {
                super::workload::TURN => "the counters added up to",
                _ => "the invariants held for",
            }
        );
    }
    text
}
