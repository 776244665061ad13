//! `/metrics`: the figures as OpenMetrics text (version 1.0.0), or in the older Prometheus text
//! format (version 0.0.4) if the client prefers that.
//!
//! Called by `routes.rs`. Written by hand: the figures are counters in shared memory that other
//! processes write, and the libraries want to count themselves. Each metric is in
//! `docs/METRICS.md`. Families that do not apply (no writer, a database that does not answer)
//! are left out. Bounds: labels are names of processes, never of users.

use std::fmt::Write as _;

use hyper::HeaderMap;
use hyper::header::ACCEPT;

use super::Admin;
use super::history::turn_times;
use super::status::{Broadcasting, Process, ProcessState, Status, Turns};
use crate::author::message::Kind;
use crate::shared::scoreboard::{BUCKETS, Histogram, upper_bound};
use crate::shared::trends::Span;

/// How the figures are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Format {
    #[default]
    OpenMetrics,
    /// Counters have their whole name in `TYPE` and `HELP`; there are no units, and no end.
    Classic,
}

impl Format {
    /// The one that is preferred (RFC 9110, 12.5.1); OpenMetrics where nothing is said, or
    /// both are as good.
    pub(super) fn wanted(headers: &HeaderMap) -> Self {
        let accept = headers.get_all(ACCEPT).iter();
        let ranges: Vec<Range> = accept
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(Range::read)
            .collect();
        let quality = |kind: &str, subtype: &str, version: &str| {
            let fits = ranges
                .iter()
                .filter_map(|range| Some((range.fits(kind, subtype, version)?, range.quality)));
            // What is said most precisely counts.
            let best = fits.max_by_key(|(precision, quality)| (*precision, *quality));
            best.map_or((0, 0), |(precision, quality)| (quality, precision))
        };
        let open = quality("application", "openmetrics-text", "1.0.0");
        let classic = quality("text", "plain", "0.0.4");
        // As good, but named: that one was meant.
        match classic.0 > 0 && classic > open {
            true => Format::Classic,
            false => Format::OpenMetrics,
        }
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// One of the media ranges that a client accepts.
struct Range {
    kind: String,
    subtype: String,
    version: Option<String>,
    /// In thousandths.
    quality: u32,
}

impl Range {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (kind, subtype) = parts.next()?.split_once('/')?;
        let mut range = Range {
            kind: kind.to_ascii_lowercase(),
            subtype: subtype.to_ascii_lowercase(),
            version: None,
            quality: 1000,
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => {
                    let quality = value.parse::<f32>().ok()?.clamp(0.0, 1.0);
                    range.quality = (quality * 1000.0) as u32;
                }
                "version" => range.version = Some(value.to_owned()),
                _ => {}
            }
        }
        Some(range)
    }

    /// How precisely it names this type; none if it does not.
    fn fits(&self, kind: &str, subtype: &str, version: &str) -> Option<u32> {
        match (self.kind.as_str(), self.subtype.as_str()) {
            ("*", "*") => Some(0),
            (k, "*") if k == kind => Some(1),
            (k, s) if k == kind && s == subtype => match &self.version {
                None => Some(2),
                Some(v) => (v == version).then_some(3),
            },
            _ => None,
        }
    }
}

/// Of the buckets in memory, every so manieth is a bucket here: one for each doubling.
const STEP: usize = 4;

/// The whole text.
pub(super) async fn text(admin: &Admin, format: Format) -> String {
    let status = admin.status(Span::default()).await;
    let mut text = Text {
        format,
        text: String::new(),
    };
    match format {
        Format::OpenMetrics => {
            text.family("turnkey_build", "info", "", "Version of the program.");
        }
        Format::Classic => {
            text.family("turnkey_build_info", "gauge", "", "Version of the program.");
        }
    }
    let version = status.version.replace(['\\', '"', '\n'], "");
    text.line(&format!(
        "turnkey_build_info{{version=\"{version}\",updater=\"{}\"}} 1",
        status.updater
    ));
    program(&mut text, &status);
    processes(&mut text, &status);
    turns(&mut text, admin, &status);
    commits(&mut text, admin, &status);
    replies(&mut text, &status);
    broadcasts(&mut text, &status);
    later(&mut text, &status);
    if format == Format::OpenMetrics {
        text.line("# EOF");
    }
    text.text
}

fn program(text: &mut Text, status: &Status) {
    let ready = u8::from(status.not_ready.is_none());
    text.gauge("turnkey_ready", "", "1 when /readyz says so.", ready.into());
    text.gauge(
        "turnkey_start_time_seconds",
        "seconds",
        "When the program was started, in seconds since 1970.",
        status.since_ms as f64 / 1000.0,
    );
    text.counter(
        "turnkey_http_requests",
        "Requests received.",
        status.requests.total,
    );
    text.counter(
        "turnkey_http_connections",
        "Connections accepted.",
        status.requests.accepted,
    );
    let open = status.requests.connections as f64;
    text.gauge(
        "turnkey_http_connections_open",
        "",
        "Connections open now.",
        open,
    );
    if let Some(seconds) = status.certificate.as_ref().and_then(|ends| ends.seconds) {
        text.gauge(
            "turnkey_certificate_expiry_seconds",
            "seconds",
            "Until the certificate that is served ends.",
            seconds,
        );
    }
    if let Some(backup) = &status.backup {
        text.counter(
            "turnkey_backup_failures",
            "Backups that could not be made.",
            backup.failures,
        );
    }
    if let Some(at) = status.backup.as_ref().and_then(|backup| backup.at_ms) {
        text.gauge(
            "turnkey_last_backup_time_seconds",
            "seconds",
            "When the newest backup was made, in seconds since 1970.",
            at as f64 / 1000.0,
        );
    }
}

fn processes(text: &mut Text, status: &Status) {
    text.family("turnkey_workers", "gauge", "", "Workers by what they do.");
    for (state, label) in [
        (ProcessState::Serving, "serving"),
        (ProcessState::Idle, "idle"),
        (ProcessState::Silent, "silent"),
    ] {
        let count = status.workers.iter().filter(|w| w.state == state).count();
        text.line(&format!("turnkey_workers{{state=\"{label}\"}} {count}"));
    }
    if let Some(writer) = &status.writer {
        let serves = f64::from(u8::from(writer.state == ProcessState::Serving));
        text.gauge(
            "turnkey_writer_up",
            "",
            "1 while the writer gives signs of life.",
            serves,
        );
    }
    text.counter(
        "turnkey_process_starts",
        "Workers and writers that were started.",
        status.starts,
    );
    text.counter(
        "turnkey_process_crashes",
        "Workers and writers that ended without being asked to.",
        status.crashes,
    );
    let all: Vec<&Process> = status.workers.iter().chain(&status.writer).collect();
    let mut each = |name: &str, unit: &str, help: &str, value: &dyn Fn(&Process) -> Option<f64>| {
        text.family(name, "gauge", unit, help);
        for process in &all {
            if let Some(value) = value(process) {
                text.line(&format!(
                    "{name}{{process=\"{}\"}} {}",
                    process.name,
                    number(value)
                ));
            }
        }
    };
    each(
        "turnkey_process_start_time_seconds",
        "seconds",
        "When the process was started, in seconds since 1970.",
        &|process| (process.since_ms > 0).then(|| process.since_ms as f64 / 1000.0),
    );
    each(
        "turnkey_process_heartbeat_age_seconds",
        "seconds",
        "Since the process gave its last sign of life.",
        &|process| process.silent_seconds,
    );
}

fn turns(text: &mut Text, admin: &Admin, status: &Status) {
    let turns = &status.turns;
    text.counter("turnkey_turns", "Turns committed.", turns.total);
    text.counter(
        "turnkey_turn_failures",
        "Attempts at a turn that failed.",
        turns.failed,
    );
    let sum: u64 = admin
        .board
        .workers()
        .map(|slot| slot.histogram().sum_us())
        .sum();
    text.histogram(
        "turnkey_turn_duration_seconds",
        "From the arrival of an update to the commit of its turn.",
        &turn_times(admin.board),
        sum,
    );
    text.gauge(
        "turnkey_turns_in_flight",
        "",
        "Turns in flight now.",
        turns.in_flight as f64,
    );
    if status.writer.is_some() {
        text.gauge(
            "turnkey_updates_waiting",
            "",
            "Updates that wait for an earlier one of their dialog.",
            turns.waiting as f64,
        );
    }
    text.gauge(
        "turnkey_longest_wait_seconds",
        "seconds",
        "How long the update in flight that arrived first has been here.",
        turns
            .longest
            .as_ref()
            .map_or(0.0, |longest| longest.seconds),
    );
    text.counter(
        "turnkey_updates_inboxed",
        "Updates that were acknowledged from the inbox, before their turn.",
        turns.inboxed,
    );
    text.counter(
        "turnkey_updates_buried",
        "Updates that became dead letters.",
        turns.buried,
    );
    unheard(text, turns);
}

fn unheard(text: &mut Text, turns: &Turns) {
    let name = "turnkey_updates_unheard";
    let help =
        "Updates that were answered without a turn, since the handler does not hear their kind.";
    match text.format {
        Format::OpenMetrics => text.family(name, "counter", "", help),
        Format::Classic => text.family(&format!("{name}_total"), "counter", "", help),
    }
    for kind in Kind::ALL {
        let count = turns.unheard.get(kind.name()).copied().unwrap_or_default();
        text.line(&format!("{name}_total{{kind=\"{}\"}} {count}", kind.name()));
    }
}

fn commits(text: &mut Text, admin: &Admin, status: &Status) {
    if let Some(commits) = &status.commits {
        text.counter(
            "turnkey_commits",
            "Transactions of the writer.",
            commits.total,
        );
        text.counter(
            "turnkey_syncs",
            "Calls of fsync and fdatasync by the writer.",
            commits.syncs,
        );
        let syncs: Histogram = admin.board.writer().histogram();
        text.histogram(
            "turnkey_sync_duration_seconds",
            "How long commits waited for the disk.",
            &syncs.counts(),
            syncs.sum_us(),
        );
        text.counter(
            "turnkey_checkpoints",
            "Times that the write-ahead log was copied to the database.",
            commits.checkpoints,
        );
        text.gauge(
            "turnkey_wal_bytes",
            "bytes",
            "Bytes in the write-ahead log.",
            commits.wal_bytes as f64,
        );
    }
    text.gauge(
        "turnkey_database_up",
        "",
        "1 when the database answered the last look.",
        f64::from(u8::from(status.queues.is_some())),
    );
    let Some(queues) = &status.queues else {
        return;
    };
    for (name, help, value) in [
        (
            "turnkey_inbox_updates",
            "Updates in the inbox (10000: that many or more).",
            queues.inbox,
        ),
        (
            "turnkey_outbox_replies",
            "Committed replies that are not marked as sent (10000: that many or more).",
            queues.outbox,
        ),
        (
            "turnkey_dead_letters",
            "Dead letters (10000: that many or more).",
            queues.dead,
        ),
        (
            "turnkey_dead_replies",
            "Dead replies (10000: that many or more).",
            queues.dead_replies,
        ),
    ] {
        text.gauge(name, "", help, value as f64);
    }
    for (name, help, value) in [
        (
            "turnkey_inbox_oldest_seconds",
            "Age of the oldest update in the inbox.",
            &queues.oldest_update,
        ),
        (
            "turnkey_outbox_lag_seconds",
            "Age of the oldest turn with an unsent reply.",
            &queues.oldest_reply,
        ),
    ] {
        let seconds = value.as_ref().map_or(0.0, |oldest| oldest.seconds);
        text.gauge(name, "seconds", help, seconds);
    }
}

fn replies(text: &mut Text, status: &Status) {
    let replies = &status.replies;
    text.counter(
        "turnkey_replies_sent",
        "Replies that a platform accepted.",
        replies.sent,
    );
    text.counter(
        "turnkey_replies_refused",
        "Replies that a platform refused for good.",
        replies.refused,
    );
    text.counter(
        "turnkey_replies_buried",
        "Replies that became dead replies.",
        replies.buried,
    );
    text.gauge(
        "turnkey_replies_sending",
        "",
        "Replies on their way now.",
        replies.sending as f64,
    );
    text.counter(
        "turnkey_platform_too_many",
        "Times that a platform said \"too many\" (429).",
        replies.too_many,
    );
}

fn broadcasts(text: &mut Text, status: &Status) {
    if status.queues.is_none() {
        return;
    }
    let all = &status.broadcasts;
    let name = "turnkey_broadcasts";
    text.family(name, "gauge", "", "Broadcasts that have not ended.");
    for state in ["running", "paused"] {
        let number = all.iter().filter(|one| one.state == state).count();
        text.line(&format!("{name}{{state=\"{state}\"}} {number}"));
    }
    let name = "turnkey_broadcast_dialogs";
    let help = "Dialogs of the broadcasts that have not ended.";
    text.family(name, "gauge", "", help);
    let sum = |of: fn(&Broadcasting) -> u64| all.iter().map(of).sum::<u64>();
    for (state, number) in [
        ("queued", sum(|one| one.queued)),
        ("sent", sum(|one| one.sent)),
        ("failed", sum(|one| one.failed)),
    ] {
        text.line(&format!("{name}{{state=\"{state}\"}} {number}"));
    }
}

fn later(text: &mut Text, status: &Status) {
    let Some(later) = &status.later else {
        return;
    };
    text.gauge(
        "turnkey_timers_waiting",
        "",
        "Timers and schedules that wait; at most 10000.",
        later.waiting as f64,
    );
    text.gauge(
        "turnkey_timers_overdue",
        "",
        "Timers and schedules that should have fired seconds ago; at most 10000.",
        later.overdue as f64,
    );
    text.counter(
        "turnkey_ticks_left_out",
        "Ticks of schedules that were left out, since the one before was not done.",
        later.left_out,
    );
}

struct Text {
    format: Format,
    text: String,
}

impl Text {
    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn family(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        self.line(&format!("# TYPE {name} {kind}"));
        if !unit.is_empty() && self.format == Format::OpenMetrics {
            self.line(&format!("# UNIT {name} {unit}"));
        }
        let mut help = help.replace('\\', "\\\\");
        if self.format == Format::OpenMetrics {
            help = help.replace('"', "\\\"");
        }
        self.line(&format!("# HELP {name} {help}"));
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        match self.format {
            Format::OpenMetrics => self.family(name, "counter", "", help),
            Format::Classic => self.family(&format!("{name}_total"), "counter", "", help),
        }
        self.line(&format!("{name}_total {value}"));
    }

    fn gauge(&mut self, name: &str, unit: &str, help: &str, value: f64) {
        self.family(name, "gauge", unit, help);
        self.line(&format!("{name} {}", number(value)));
    }

    fn histogram(&mut self, name: &str, help: &str, counts: &[u64; BUCKETS], sum_us: u64) {
        self.family(name, "histogram", "seconds", help);
        let mut all = 0;
        for (n, count) in counts.iter().enumerate() {
            all += count;
            if let Some(us) = upper_bound(n)
                && n.is_multiple_of(STEP)
            {
                let bound = number(us as f64 / 1e6);
                self.line(&format!("{name}_bucket{{le=\"{bound}\"}} {all}"));
            }
        }
        self.line(&format!("{name}_bucket{{le=\"+Inf\"}} {all}"));
        self.line(&format!("{name}_sum {}", number(sum_us as f64 / 1e6)));
        self.line(&format!("{name}_count {all}"));
    }
}

/// As OpenMetrics wants a float: 1.0, 0.000032.
fn number(value: f64) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write!(text, "{value:?}");
    match text.contains('e') {
        true => format!("{value}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_for_the_classic_format_gets_it() {
        let wanted = |accept: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in accept {
                headers.append(ACCEPT, line.parse().unwrap());
            }
            Format::wanted(&headers)
        };
        for open in [
            &[][..],
            &["*/*"],
            &["application/openmetrics-text"],
            // As Prometheus asks.
            &[
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ],
            &[
                "text/plain;version=0.0.4;q=0.3",
                "application/openmetrics-text; version=\"1.0.0\"; q=0.9",
            ],
            &["image/png"],
            &["text/plain;q=0"],
        ] {
            assert_eq!(wanted(open), Format::OpenMetrics, "{open:?}");
        }
        for classic in [
            &["text/plain"][..],
            &["text/plain;version=0.0.4"],
            &["Text/Plain; Version=0.0.4; charset=utf-8"],
            &["text/*"],
            &["text/plain, */*"],
            &["text/plain;version=0.0.4;q=1,*/*;q=0.1"],
            &["application/openmetrics-text;version=2.0.0,text/plain;version=0.0.4;q=0.3"],
            &["application/openmetrics-text;q=0,*/*"],
        ] {
            assert_eq!(wanted(classic), Format::Classic, "{classic:?}");
        }
    }
}
