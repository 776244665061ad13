//! What a drill found, in numbers and sentences.
//!
//! Made by `round/`, shown by `table.rs` and `report/`, and what [`Drill::run`]
//! returns. The JSON of `--json` is these types as they stand.
//!
//! [`Drill::run`]: crate::Drill::run

use std::collections::BTreeMap;

use serde::Serialize;

use super::deed::DoneBy;
use super::diagnosis::Finding;
use super::family::Process;
use super::output::Traces;
use super::record::{Kind, Micros, Record};
use super::recorder::{EventCounts, Leaves, Recorded};
use super::shell::Exit;
use super::storage::StorageCheck;
use super::verdict::{Moments, Verdict};
use super::websocket::Messages;

/// One round: the server was started, loaded, signalled, and ended.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Round {
    /// What was done to it.
    pub scenario: String,
    /// `keep-alive` or `new`.
    pub load: &'static str,
    /// From 1.
    pub repeat: usize,
    /// Repeats this round's moments of chance.
    pub seed: u64,
    /// Where it listened.
    pub port: u16,
    /// Seconds of load before the signal.
    pub signal_after_s: f64,
    /// All requests that began: those that were refused a connection did not.
    pub requests: u64,
    /// Requests that were under way at the signal.
    pub in_flight_at_signal: usize,
    /// What became of all, refused ones included.
    pub counts: BTreeMap<Verdict, u64>,
    /// What became of those that were under way at the signal.
    pub under_way: BTreeMap<Verdict, u64>,
    /// What became of those that began after it.
    pub later: BTreeMap<Verdict, u64>,
    /// How far those had got that were cut.
    pub cut_how: BTreeMap<String, u64>,
    /// Whole answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Slow requests under way at the signal: answered, and all.
    pub slow_answered: (u64, u64),
    /// Seconds from the signal until a client was refused.
    pub refused_after_s: Option<f64>,
    /// Seconds from the signal (or the SIGTERM at the end) until nobody listened.
    pub stopped_listening_after_s: Option<f64>,
    /// Seconds from the signal (or the SIGTERM at the end) until the first process ended.
    pub left_after_s: Option<f64>,
    /// The same, until no process was left.
    pub gone_after_s: Option<f64>,
    /// How the first process ended by itself.
    pub exit: Option<Exit>,
    /// It did not leave in time.
    pub killed_at_limit: bool,
    /// Seconds from the signal until a new process answered.
    pub replaced_after_s: Option<f64>,
    /// Processes 0.3 s after the first one's end.
    pub left_early: usize,
    /// Processes 2 s after the first one's end; after the death of a master, at the
    /// limit.
    pub left_behind: Vec<Process>,
    /// Whether its port could be bound again at once; none while processes were left.
    pub port_is_free: Option<bool>,
    /// Tracebacks and panics after the signal.
    pub traces: Traces,
    /// What it printed.
    #[serde(skip)]
    pub output: String,
    /// The longest time in which nobody took a connection, in seconds.
    pub longest_refusal_s: f64,
    /// What the command of `--do` did.
    pub done_by: Option<DoneBy>,
    /// Who answered, by the header field of `--load-balancer`: how often before the signal,
    /// and after it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub backends: BTreeMap<String, (u64, u64)>,
    /// How it took leave of its connections of HTTP/2, after the signal.
    pub leaves: Leaves,
    /// Uploads that were answered before all of the body was sent.
    pub early_answers: u64,
    /// What went over its WebSockets.
    pub messages: Messages,
    /// What came over its streams of events.
    pub events: EventCounts,
    /// Seconds from the signal until `--ready-path` said that it is not ready.
    pub unready_after_s: Option<f64>,
    /// For bots of ours: whether what was acknowledged is in the database.
    pub storage: Option<StorageCheck>,
    /// Whether it was killed when `--stop-timeout` was over.
    pub killed_at_stop_timeout: bool,
    /// Why, most likely, and what helps.
    pub findings: Vec<Finding>,
    /// What would be wrong, and is within what was allowed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// What is wrong, in sentences; nothing for a clean round.
    pub problems: Vec<String>,
    /// Its requests, for the timeline.
    #[serde(skip)]
    pub(super) showing: Option<Showing>,
}

/// What the timeline shows.
#[derive(Clone, Debug)]
pub(super) struct Showing {
    pub(super) records: Vec<Record>,
    pub(super) moments: Moments,
    pub(super) stopped_listening: Option<Micros>,
    pub(super) left: Option<Micros>,
    pub(super) successor: Option<Micros>,
}

/// All rounds of a drill.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// This program and its version.
    pub program: String,
    /// What was drilled, as one would type it.
    pub command: String,
    /// Repeats the drill's moments of chance.
    pub seed: u64,
    /// Rounds that were planned.
    pub planned: usize,
    /// What a reader should know of this server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Rounds in the order in which they ran.
    pub rounds: Vec<Round>,
    /// Whether somebody stopped the drill before its end.
    pub interrupted: bool,
    /// Where the files of the report are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<std::path::PathBuf>,
}

impl Report {
    /// Whether every round was run and nothing was wrong in any.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        !self.interrupted && self.rounds.iter().all(Round::is_clean)
    }

    /// Requests of this kind in all rounds.
    #[must_use]
    pub fn total(&self, verdict: Verdict) -> u64 {
        self.rounds.iter().map(|round| round.number(verdict)).sum()
    }

    /// # Panics
    /// When something was wrong: with the table of all rounds and every problem.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert!(self.is_clean(), "the shutdown is not clean\n{self}");
    }
}

impl Round {
    /// Whether nothing was wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// What counts against the server.
    #[must_use]
    pub fn failures(&self) -> u64 {
        failures(&self.counts)
    }

    /// Which one it is, for a person.
    pub(super) fn name(&self) -> String {
        format!("{}, {}, round {}", self.scenario, self.load, self.repeat)
    }

    /// What was cut is within what is allowed.
    pub(super) fn allow_cut(&mut self) {
        let cut = self.number(Verdict::Cut);
        let sentence = self.what_was_cut(cut);
        let before = self.problems.len();
        self.problems.retain(|problem| *problem != sentence);
        if self.problems.len() < before {
            self.allowed.push(sentence);
        }
    }

    /// What was wrong, how requests were cut, and why, a line each.
    pub(super) fn details(&self) -> Vec<String> {
        let cut = self.cut_how.iter();
        let cut = cut.map(|(how, number)| format!("{number} {how}"));
        let found = self.findings.iter().map(|finding| {
            format!(
                "{} {}: {}; {}. {}",
                finding.number, finding.what, finding.likely, finding.remedy, finding.page
            )
        });
        self.problems
            .iter()
            .cloned()
            .chain(cut)
            .chain(found)
            .collect()
    }

    /// How many requests ended so.
    #[must_use]
    pub fn number(&self, verdict: Verdict) -> u64 {
        self.counts.get(&verdict).copied().unwrap_or_default()
    }

    pub(super) fn count(recorded: &Recorded, moments: &Moments) -> BTreeMap<Verdict, u64> {
        let mut counts = BTreeMap::new();
        for record in &recorded.records {
            *counts.entry(record.verdict(moments)).or_default() += 1;
        }
        let unrecorded = [
            (Verdict::Answered, recorded.answered),
            (
                match moments.may_refuse {
                    true => Verdict::Refused,
                    false => Verdict::Unreachable,
                },
                recorded.refused,
            ),
        ];
        for (verdict, count) in unrecorded {
            if count > 0 {
                *counts.entry(verdict).or_default() += count;
            }
        }
        counts
    }

    /// What became of the requests that were under way at the signal, and of later ones.
    pub(super) fn around(
        recorded: &Recorded,
        moments: &Moments,
    ) -> (BTreeMap<Verdict, u64>, BTreeMap<Verdict, u64>) {
        let mut under_way = BTreeMap::new();
        let mut later = BTreeMap::new();
        for record in &recorded.records {
            let verdict = record.verdict(moments);
            if record.spans(moments.signal) {
                *under_way.entry(verdict).or_default() += 1;
            } else if Some(record.start) > moments.signal && verdict != Verdict::Refused {
                *later.entry(verdict).or_default() += 1;
            }
        }
        if recorded.answered_later > 0 {
            *later.entry(Verdict::Answered).or_default() += recorded.answered_later;
        }
        (under_way, later)
    }

    /// Under way at the signal, and begun later: of how many how many were cut.
    pub(super) fn cut_of(&self) -> [(u64, u64); 2] {
        [&self.under_way, &self.later].map(|counts| {
            let cut = counts.get(&Verdict::Cut).copied().unwrap_or_default();
            (cut, counts.values().sum())
        })
    }

    pub(super) fn how(recorded: &Recorded, moments: &Moments) -> BTreeMap<String, u64> {
        let mut how = BTreeMap::new();
        for record in &recorded.records {
            if record.verdict(moments) == Verdict::Cut {
                *how.entry(record.how()).or_default() += 1;
            }
        }
        how
    }

    pub(super) fn slow(recorded: &Recorded, moments: &Moments) -> (u64, u64) {
        let slow = recorded
            .records
            .iter()
            .filter(|record| record.kind == Kind::Slow && record.spans(moments.signal));
        slow.fold((0, 0), |(answered, all), record| {
            let good = record.verdict(moments) == Verdict::Answered;
            (answered + u64::from(good), all + 1)
        })
    }
}

/// What counts against a server.
pub(super) fn failures(counts: &BTreeMap<Verdict, u64>) -> u64 {
    let failed = counts.iter().filter(|(verdict, _)| verdict.is_failure());
    failed.map(|(_, number)| number).sum()
}
