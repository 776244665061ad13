//! `/status`: how the bot is, on one page.
//!
//! Elements with `data-live` are replaced by `live.js`. Bounds: one row for each process.

use std::fmt::Write as _;

use super::super::problem::LONG_LOG;
use super::super::status::{Process, ProcessState, Status, Waiting};
use super::super::whose as channels;
use super::chart::{choice, sparkline};
use super::figures::{ago, bytes, count, maybe_seconds, rate, seconds, time};
use super::{escape, region, whose, wrong};
use turnkey_text::numbers::counted;

/// Seconds: a certificate that is not renewed by then is looked after by nobody.
const LITTLE_REST: f64 = 7.0 * 86400.0;

pub(super) fn body(status: &Status) -> String {
    let mut html = String::new();
    head(&mut html, status);
    wrong::first(&mut html, status);
    wrong::problems(&mut html, status);
    html.push_str(&choice(&status.series));
    html.push_str("<section class=\"tiles\">");
    turns(&mut html, status);
    latency(&mut html, status);
    commits(&mut html, status);
    in_flight(&mut html, status);
    html.push_str("</section>");
    html.push_str("<section class=\"cards\">");
    whose::people(&mut html, status);
    whose::channels(&mut html, status);
    queues(&mut html, status);
    replies(&mut html, status);
    database(&mut html, status);
    later(&mut html, status);
    broadcasts(&mut html, status);
    unheard(&mut html, status);
    html.push_str("</section>");
    wrong::log(&mut html, status);
    processes(&mut html, status);
    settings(&mut html, status);
    html
}

fn head(html: &mut String, status: &Status) {
    let (class, word) = match &status.not_ready {
        None => ("good", "ready"),
        Some(_) => ("bad", "not ready"),
    };
    let serving = status.workers.iter();
    let serving = serving.filter(|w| w.state == ProcessState::Serving).count();
    let _ = write!(
        html,
        "<div class=\"title\" data-live=\"title\"><h1><span class=\"pill {class}\">{word}</span> {}</h1>{}\
         <p class=\"soft\">{}, {}; version {}, up for {}; {}</p></div>\
         <span id=\"live\" hidden>live</span>",
        escape(&status.name),
        known_as(status),
        counted(serving as u64, "worker"),
        escape(&status.updater),
        escape(&status.version),
        time(
            status.since_ms,
            "since ",
            &seconds(status.now_ms.saturating_sub(status.since_ms) as f64 / 1000.0)
        ),
        escape(&status.storage),
    );
}

/// What the platforms call the bot.
fn known_as(status: &Status) -> String {
    let names = channels::known_as(&status.channels);
    match names.is_empty() {
        true => String::new(),
        false => format!("<p>Known as {}</p>", escape(&names)),
    }
}

/// A figure with a chart and lines below it.
fn tile(
    html: &mut String,
    key: &str,
    name: &str,
    figure: &str,
    unit: &str,
    chart: &str,
    rows: &[(&str, String)],
) {
    let _ = write!(
        html,
        "<div class=\"tile\" data-live=\"{key}\"><h2>{name}</h2><p class=\"figure\">{figure} <small>{unit}</small></p>{chart}{}</div>",
        list(rows)
    );
}

fn list(rows: &[(&str, String)]) -> String {
    let rows: String = rows
        .iter()
        .map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>"))
        .collect();
    format!("<dl>{rows}</dl>")
}

fn turns(html: &mut String, status: &Status) {
    let turns = &status.turns;
    let chart = sparkline(
        "Turns a second",
        &status.series,
        &[("c0", &status.series.turns_per_second)],
        rate,
    );
    tile(
        html,
        "turns",
        "Turns",
        &rate(turns.per_second),
        "a second",
        &chart,
        &[
            ("since the start", count(turns.total)),
            (
                "attempts that failed",
                flagged(count(turns.failed), turns.failed > 0),
            ),
            ("requests a second", rate(status.requests.per_second)),
        ],
    );
}

fn latency(html: &mut String, status: &Status) {
    let took = &status.turns.duration;
    let series = &status.series;
    let chart = sparkline(
        "Time of a turn",
        &status.series,
        &[("c1", &series.p99), ("c0", &series.p50)],
        seconds,
    );
    tile(
        html,
        "latency",
        "Arrival to commit, last minute",
        &maybe_seconds(took.p50),
        "<i class=\"key c0\"></i>median",
        &chart,
        &[
            ("p90", maybe_seconds(took.p90)),
            ("<i class=\"key c1\"></i>p99", maybe_seconds(took.p99)),
            ("p99.9", maybe_seconds(took.p999)),
        ],
    );
}

fn commits(html: &mut String, status: &Status) {
    let Some(commits) = &status.commits else {
        return;
    };
    let chart = sparkline(
        "Commits a second",
        &status.series,
        &[("c4", &status.series.commits_per_second)],
        rate,
    );
    let per_commit = commits.turns_per_commit.map_or("-".to_owned(), rate);
    tile(
        html,
        "commits",
        "Commits",
        &rate(commits.per_second),
        "a second",
        &chart,
        &[
            ("turns in each", per_commit),
            ("sync, p50", maybe_seconds(commits.sync.p50)),
            ("sync, p99", maybe_seconds(commits.sync.p99)),
        ],
    );
}

fn in_flight(html: &mut String, status: &Status) {
    let turns = &status.turns;
    let series = &status.series;
    let chart = sparkline(
        "Turns in flight",
        &status.series,
        &[("c0", &series.in_flight), ("c1", &series.waiting)],
        |turns| count(turns as u64),
    );
    let longest = turns.longest.as_ref();
    tile(
        html,
        "flight",
        "In flight",
        &count(turns.in_flight),
        if turns.in_flight == 1 {
            "turn"
        } else {
            "turns"
        },
        &chart,
        &[
            (
                "<i class=\"key c1\"></i>waiting for their turn",
                count(turns.waiting),
            ),
            ("connections", count(status.requests.connections)),
            (
                "longest here",
                longest.map_or("-".to_owned(), |l| {
                    format!(
                        "{}<br><small>{}</small>",
                        seconds(l.seconds),
                        escape(&l.dialog)
                    )
                }),
            ),
        ],
    );
}

fn flagged(text: String, is_bad: bool) -> String {
    match is_bad {
        true => format!("<b class=\"bad\">{text}</b>"),
        false => text,
    }
}

fn card(html: &mut String, key: &str, name: &str, rows: &[(&str, String)]) {
    let _ = write!(
        html,
        "<div class=\"card\" data-live=\"{key}\"><h2>{name}</h2>{}</div>",
        list(rows)
    );
}

/// A count that stops at a bound.
fn depth(queues: &Waiting, number: u64) -> String {
    match number >= queues.counted {
        true => format!("{} or more", count(queues.counted)),
        false => count(number),
    }
}

fn queues(html: &mut String, status: &Status) {
    let Some(queues) = &status.queues else {
        let unknown = flagged("the database does not answer".to_owned(), true);
        return card(html, "queues", "Waiting", &[("queues", unknown)]);
    };
    let oldest = |oldest: &Option<super::super::status::Longest>| match oldest {
        Some(who) => format!(
            "{}<br><small>{}</small>",
            seconds(who.seconds),
            escape(&who.dialog)
        ),
        None => "-".to_owned(),
    };
    let dead = |number: u64| match number {
        0 => depth(queues, 0),
        _ => format!(
            "<a class=\"bad\" href=\"/status/dead\">{}</a>",
            depth(queues, number)
        ),
    };
    card(
        html,
        "queues",
        "Waiting",
        &[
            ("updates in the inbox", depth(queues, queues.inbox)),
            ("the oldest of them", oldest(&queues.oldest_update)),
            ("replies in the outbox", depth(queues, queues.outbox)),
            ("the oldest of them", oldest(&queues.oldest_reply)),
            ("dead letters", dead(queues.dead)),
            ("dead replies", dead(queues.dead_replies)),
        ],
    );
}

fn replies(html: &mut String, status: &Status) {
    let replies = &status.replies;
    card(
        html,
        "replies",
        "Replies",
        &[
            ("sent by call", count(replies.sent)),
            ("on their way", count(replies.sending)),
            (
                "told \"too many\" (429)",
                flagged(count(replies.too_many), replies.too_many > 0),
            ),
            (
                "refused for good",
                flagged(count(replies.refused), replies.refused > 0),
            ),
            (
                "updates that went through the inbox",
                count(status.turns.inboxed),
            ),
        ],
    );
}

fn broadcasts(html: &mut String, status: &Status) {
    let mut html_of_all = String::new();
    for broadcast in &status.broadcasts {
        let trouble = broadcast.trouble.as_deref().map(|why| {
            let why = flagged(escape(why).to_string(), broadcast.state == "paused");
            format!("<dd class=\"why\">{why}</dd>")
        });
        let under_way = match broadcast
            .queued
            .saturating_sub(broadcast.sent + broadcast.failed)
        {
            0 => String::new(),
            open => format!(", {} under way", count(open)),
        };
        let _ = write!(
            html_of_all,
            "<div><dt>{}, {}</dt><dd>{} sent, {}{under_way}</dd>{}</div>",
            broadcast.id,
            escape(&broadcast.state),
            count(broadcast.sent),
            flagged(
                format!("{} failed", count(broadcast.failed)),
                broadcast.failed > 0
            ),
            trouble.unwrap_or_default()
        );
    }
    perhaps(html, "broadcasts", "Broadcasts", &html_of_all);
}

fn later(html: &mut String, status: &Status) {
    let mut rows = String::new();
    if let Some(later) = status.later.as_ref().filter(|later| later.waiting > 0) {
        let up_to = |number: u64| match number >= later.counted {
            true => format!("{} or more", count(later.counted)),
            false => count(number),
        };
        let due = |ms: i64| match u64::try_from(ms).unwrap_or_default() {
            ms if ms > status.now_ms => {
                let left = (ms - status.now_ms) as f64 / 1000.0;
                time(ms, "", &format!("in {}", seconds(left)))
            }
            ms => time(ms, "", "now"),
        };
        let mut row = |name: &str, value: String| {
            let _ = write!(rows, "<div><dt>{name}</dt><dd>{value}</dd></div>");
        };
        row("waiting", up_to(later.waiting));
        row("the next", later.next_ms.map_or("-".to_owned(), due));
        let overdue = flagged(up_to(later.overdue), later.overdue > 0);
        row("overdue", overdue);
        row("ticks left out", count(later.left_out));
        for ticks in &later.schedules {
            let name = escape(&ticks.name).to_string();
            let schedule = escape(&ticks.schedule);
            let when = format!("{}<br><small>{schedule}</small>", due(ticks.next_ms));
            row(&name, when);
        }
    }
    perhaps(html, "later", "Timers", &rows);
}

/// A card that is hidden while there is nothing in it: `live.js` finds its place all the same.
fn perhaps(html: &mut String, key: &str, name: &str, rows: &str) {
    let _ = match rows.is_empty() {
        true => write!(html, "<div data-live=\"{key}\" hidden></div>"),
        false => write!(
            html,
            "<div class=\"card\" data-live=\"{key}\"><h2>{name}</h2><dl>{rows}</dl></div>"
        ),
    };
}

/// Updates of kinds that the handler has not asked for.
fn unheard(html: &mut String, status: &Status) {
    let row = |(kind, number): (&String, &u64)| {
        let kind = kind.replace('_', " ");
        format!(
            "<div><dt>{}</dt><dd>{}</dd></div>",
            escape(&kind),
            count(*number)
        )
    };
    let rows: String = status.turns.unheard.iter().map(row).collect();
    perhaps(html, "unheard", "Not heard by the handler", &rows);
}

fn database(html: &mut String, status: &Status) {
    let mut rows = Vec::new();
    if let Some(commits) = &status.commits {
        let log = flagged(bytes(commits.wal_bytes), commits.wal_bytes > LONG_LOG);
        rows.push(("write-ahead log", log));
        rows.push(("slowest sync ever", seconds(commits.slowest_sync)));
        rows.push(("syncs", count(commits.syncs)));
        rows.push(("checkpoints", count(commits.checkpoints)));
    }
    let backup = match &status.backup {
        None => "none is made here".to_owned(),
        Some(backup) => match backup.at_ms {
            None => flagged("none yet".to_owned(), true),
            Some(at) => ago(status.now_ms, at),
        },
    };
    rows.push(("last backup", backup));
    if let Some(failures) = status.backup.as_ref().map(|backup| backup.failures) {
        rows.push((
            "backups that failed",
            flagged(count(failures), failures > 0),
        ));
    }
    if let Some(ends) = &status.certificate {
        let rest = match ends.seconds {
            None => flagged("none yet".to_owned(), true),
            Some(rest) if rest <= 0.0 => flagged("has ended".to_owned(), true),
            Some(rest) => flagged(format!("ends in {}", seconds(rest)), rest < LITTLE_REST),
        };
        rows.push(("certificate", rest));
    }
    card(html, "database", "Database", &rows);
}

/// The columns of the table of processes behind the name and the state.
const COLUMNS: [&str; 8] = [
    "Pid",
    "Up for",
    "In flight",
    "Connections",
    "Requests",
    "Turns",
    "Starts",
    "Crashes",
];

fn processes(html: &mut String, status: &Status) {
    html.push_str("<h2>Processes</h2>");
    html.push_str(&region("scroll", "Processes"));
    html.push_str(
        "<table class=\"stack\"><thead><tr><th scope=\"col\" class=\"left\">Process</th><th scope=\"col\" class=\"left\">State</th>",
    );
    for name in COLUMNS {
        let _ = write!(html, "<th scope=\"col\">{name}</th>");
    }
    html.push_str("</tr></thead><tbody data-live=\"processes\">");
    for process in status.writer.iter().chain(&status.workers) {
        row(html, status, process);
    }
    html.push_str("</tbody></table></div>");
}

fn row(html: &mut String, status: &Status, process: &Process) {
    let is_writer = process.name == "writer";
    let of_worker = |number: u64| match is_writer {
        true => "-".to_owned(),
        false => count(number),
    };
    let class = if process.state == ProcessState::Serving {
        "good"
    } else {
        "bad"
    };
    let up = match process.since_ms {
        0 => "-".to_owned(),
        since => time(
            since,
            "since ",
            &seconds(status.now_ms.saturating_sub(since) as f64 / 1000.0),
        ),
    };
    let _ = write!(
        html,
        "<tr><th scope=\"row\" class=\"left\">{}</th><td class=\"left word\" data-name=\"State\"><span><i class=\"dot {class}\"></i>{}</span></td>",
        escape(&process.name),
        process.state.name(),
    );
    let cells = [
        process.pid.to_string(),
        up,
        of_worker(process.in_flight),
        of_worker(process.connections),
        of_worker(process.requests),
        count(process.turns),
        count(process.starts),
        flagged(count(process.crashes), process.crashes > 0),
    ];
    for (name, cell) in COLUMNS.iter().zip(cells) {
        let _ = write!(html, "<td data-name=\"{name}\">{cell}</td>");
    }
    html.push_str("</tr>");
}

fn settings(html: &mut String, status: &Status) {
    html.push_str("<details><summary>Settings</summary>");
    html.push_str(&region("scroll", "Settings"));
    html.push_str("<table class=\"settings\"><tbody>");
    for (name, value) in &status.settings {
        let _ = write!(
            html,
            "<tr><th scope=\"row\" class=\"left\">{}</th><td class=\"left\">{}</td></tr>",
            escape(name),
            escape(value)
        );
    }
    html.push_str("</tbody></table></div></details>");
}
