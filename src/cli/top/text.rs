//! One status as plain text.
//!
//! Called by `top.rs`.

use std::fmt::Write as _;

use crate::operator::admin::figures::{bytes, count, maybe_seconds, rate, seconds};
use crate::operator::admin::{self, Problem, Process, Status};

/// Lines for people.
pub(super) fn snapshot(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |name: &str, figures: String| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name:<10}  {figures}");
    };
    line("bot", headline(status));
    if let Some(names) = known_as(status) {
        line("known as", names);
    }
    for problem in &status.problems {
        line("wrong", wrong(problem));
    }
    line("database", status.storage.clone());
    let turns = &status.turns;
    line(
        "turns",
        format!(
            "{} a second, {} so far, {} attempts failed",
            rate(turns.per_second),
            count(turns.total),
            count(turns.failed)
        ),
    );
    line("latency", latency(status));
    line("in flight", in_flight(status));
    if let Some(commits) = commits(status) {
        line("commits", commits);
    }
    line("queues", queues(status));
    line("replies", replies(status));
    line("requests", {
        let requests = &status.requests;
        format!(
            "{} a second, {} so far, {} connections",
            rate(requests.per_second),
            count(requests.total),
            count(requests.connections)
        )
    });
    let _ = write!(
        text,
        "\n{}",
        COLUMNS
            .map(|(name, width)| format!("{name:>width$}"))
            .join(" ")
    );
    for process in status.writer.iter().chain(&status.workers) {
        let cells = cells(status, process);
        let cells: Vec<String> = cells
            .iter()
            .zip(COLUMNS)
            .map(|(cell, (_, width))| format!("{cell:>width$}"))
            .collect();
        let _ = write!(text, "\n{}", cells.join(" "));
    }
    text
}

/// The columns of the table of processes, and their widths.
pub(super) const COLUMNS: [(&str, usize); 9] = [
    ("process", 12),
    ("state", 12),
    ("pid", 8),
    ("up for", 12),
    ("in flight", 9),
    ("conns", 6),
    ("requests", 12),
    ("turns", 12),
    ("crashes", 8),
];

/// A row of it.
pub(super) fn cells(status: &Status, process: &Process) -> [String; 9] {
    let up = status.now_ms.saturating_sub(process.since_ms) as f64 / 1000.0;
    let of_worker = |number: u64| match process.name == "writer" {
        true => "-".to_owned(),
        false => count(number),
    };
    [
        process.name.clone(),
        process.state.name().to_owned(),
        process.pid.to_string(),
        match process.since_ms {
            0 => "-".to_owned(),
            _ => seconds(up),
        },
        of_worker(process.in_flight),
        of_worker(process.connections),
        of_worker(process.requests),
        count(process.turns),
        count(process.crashes),
    ]
}

pub(super) fn headline(status: &Status) -> String {
    let ready = match &status.not_ready {
        None => "ready".to_owned(),
        Some(reason) => format!("NOT READY: {reason}"),
    };
    let name = match status.name.is_empty() {
        true => String::new(),
        false => format!("{}: ", clean(&status.name)),
    };
    let up = seconds(status.now_ms.saturating_sub(status.since_ms) as f64 / 1000.0);
    format!(
        "{name}{ready}; version {}, {}, up for {up}",
        status.version, status.updater
    )
}

/// What the platforms call the bot, where one has told.
pub(super) fn known_as(status: &Status) -> Option<String> {
    let names = clean(&admin::known_as(&status.channels));
    (!names.is_empty()).then_some(names)
}

/// What is wrong, and the remedy.
pub(super) fn wrong(problem: &Problem) -> String {
    let what = clean(&problem.what);
    format!(
        "{}. Remedy: {}",
        what.trim_end_matches('.'),
        clean(&problem.remedy)
    )
}

pub(super) fn latency(status: &Status) -> String {
    let took = &status.turns.duration;
    format!(
        "p50 {}, p90 {}, p99 {}, p99.9 {} (arrival to commit, last minute)",
        maybe_seconds(took.p50),
        maybe_seconds(took.p90),
        maybe_seconds(took.p99),
        maybe_seconds(took.p999)
    )
}

pub(super) fn in_flight(status: &Status) -> String {
    let turns = &status.turns;
    let longest = match &turns.longest {
        Some(longest) => format!(
            ", longest {} {}",
            clean(&longest.dialog),
            seconds(longest.seconds)
        ),
        None => String::new(),
    };
    format!(
        "{} turns, {} waiting for their turn{longest}",
        count(turns.in_flight),
        count(turns.waiting)
    )
}

pub(super) fn commits(status: &Status) -> Option<String> {
    status.commits.as_ref().map(|commits| {
        format!(
            "{} a second, {} turns in each, sync p50 {} p99 {}, log {}",
            rate(commits.per_second),
            commits.turns_per_commit.map_or("-".to_owned(), rate),
            maybe_seconds(commits.sync.p50),
            maybe_seconds(commits.sync.p99),
            bytes(commits.wal_bytes)
        )
    })
}

pub(super) fn queues(status: &Status) -> String {
    let Some(queues) = &status.queues else {
        return "the database does not answer".to_owned();
    };
    let lag = match &queues.oldest_reply {
        Some(oldest) => format!(
            " (oldest {} {})",
            clean(&oldest.dialog),
            seconds(oldest.seconds)
        ),
        None => String::new(),
    };
    format!(
        "{} in the inbox, {} replies in the outbox{lag}, {} dead letters, \
         {} dead replies",
        count(queues.inbox),
        count(queues.outbox),
        count(queues.dead),
        count(queues.dead_replies)
    )
}

pub(super) fn replies(status: &Status) -> String {
    let replies = &status.replies;
    format!(
        "{} sent, {} on their way, {} refused, {} times \"too many\" (429)",
        count(replies.sent),
        count(replies.sending),
        count(replies.refused),
        count(replies.too_many)
    )
}

/// A user's name may hold what a terminal obeys.
fn clean(name: &str) -> String {
    let shown = |c: char| match c.is_control() {
        true => '\u{fffd}',
        false => c,
    };
    name.chars().map(shown).collect()
}
