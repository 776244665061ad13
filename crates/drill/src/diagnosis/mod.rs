//! Why something was lost: for each cut request its likely cause, from what its client saw
//! and what the server did at that moment; and the remedy, with the page that explains it.
//!
//! Called by `round/` at the end of a round. It says what is likely: the causes are those
//! of servers that were seen to do so, and each is planted in `tests/servers/faulty/`.

mod advice;

use std::collections::BTreeMap;

use serde::Serialize;

use super::readiness::Readiness;
use super::record::{End, Kind, Micros, Record};
use super::recorder::Recorded;
use super::verdict::{Moments, Verdict};
pub use advice::Cause;

/// A request that got no byte for so long after it was sent was not read.
const UNREAD: Micros = 150_000;

/// What ends so shortly before the process ended with it.
const TOGETHER: Micros = 60_000;

/// Something that was lost, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// Its kind.
    pub cause: Cause,
    /// How many requests, processes or connections.
    pub number: u64,
    /// What was seen of them.
    pub what: &'static str,
    /// Why, most likely.
    pub likely: &'static str,
    /// What helps.
    pub remedy: &'static str,
    /// Where that is explained.
    pub page: String,
}

impl Finding {
    /// The most frequent first.
    pub(super) fn all(numbers: BTreeMap<Cause, u64>) -> Vec<Self> {
        let mut all: Vec<Finding> = numbers
            .into_iter()
            .map(|(cause, number)| Finding::of(cause, number))
            .collect();
        all.sort_by_key(|finding| std::cmp::Reverse(finding.number));
        all
    }

    fn of(cause: Cause, number: u64) -> Self {
        let (what, likely, remedy) = cause.advice();
        Finding {
            cause,
            number,
            what,
            likely,
            remedy,
            page: format!("docs/DRILL.md#{}", cause.section()),
        }
    }
}

/// What is known of a round beside its requests.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// The server is known to stop at once on the signal.
    pub(super) by_design: bool,
    /// The server should stop.
    pub(super) stops: bool,
    /// When `--stop-timeout` was over.
    pub(super) killed: Option<Micros>,
    /// When the first process ended.
    pub(super) left: Option<Micros>,
    pub(super) stopped_listening: Option<Micros>,
    pub(super) first_is_a_shell: bool,
    pub(super) killed_at_limit: bool,
    /// Processes that were left behind, and whether one of them listens.
    pub(super) left_behind: u64,
    pub(super) port_is_held: bool,
    /// Requests under way go through a balancer.
    pub(super) goes_on: bool,
}

/// Everything that was found, the most frequent first.
pub(super) fn findings(recorded: &Recorded, moments: &Moments, facts: &Facts) -> Vec<Finding> {
    let mut causes: BTreeMap<Cause, u64> = BTreeMap::new();
    let mut add = |cause: Option<Cause>, number: u64| {
        if let Some(cause) = cause.filter(|_| number > 0) {
            *causes.entry(cause).or_default() += number;
        }
    };
    for record in &recorded.records {
        let verdict = record.verdict(moments);
        add(cause(record, verdict, moments, facts), 1);
        add(lied(&recorded.readiness, record, verdict, moments), 1);
    }
    add(Some(Cause::GoawayAtOnce), recorded.leaves.at_once);
    let swallowed = facts.first_is_a_shell
        && facts.stops
        && (facts.killed_at_limit || facts.killed.is_some() || facts.left_behind > 0);
    add(Some(Cause::Shell), u64::from(swallowed));
    add(Some(Cause::PortHeld), u64::from(facts.port_is_held));
    if !swallowed && !facts.port_is_held {
        add(Some(Cause::LeftBehind), facts.left_behind);
    }
    add(to_the_end(&recorded.readiness, moments, facts), 1);
    Finding::all(causes)
}

/// Why this request was lost, if it was.
fn cause(record: &Record, verdict: Verdict, moments: &Moments, facts: &Facts) -> Option<Cause> {
    match verdict {
        Verdict::Cut if facts.by_design => Some(Cause::ByDesign),
        Verdict::Cut if facts.killed.is_some_and(|at| record.end >= at) => Some(Cause::Killed),
        Verdict::Cut => Some(why_cut(record, moments, facts)),
        Verdict::TimedOut if is_unread(record, moments) => Some(Cause::DeadBacklog),
        Verdict::TimedOut => Some(Cause::Hung),
        Verdict::Unreachable => Some(Cause::Gap),
        Verdict::Error => Some(match record.status {
            Some(502..=504) if facts.goes_on => Cause::Balancer,
            _ => Cause::Errors,
        }),
        _ => None,
    }
}

fn why_cut(record: &Record, moments: &Moments, facts: &Facts) -> Cause {
    let with_the_process = facts
        .left
        .is_some_and(|left| record.end + TOGETHER >= left && record.end <= left + TOGETHER);
    match record.outcome {
        End::Promised if record.kind == Kind::Upload && record.sent < record.size => {
            return Cause::TornBody;
        }
        End::Promised => return Cause::Promised,
        End::StreamReset(_) => return Cause::StreamReset,
        End::NoTls => return Cause::Tls,
        End::LostMessages => return Cause::LostMessages,
        End::TornEvent => return Cause::TornEvent,
        End::NoStatus => return Cause::TornAnswer,
        _ if record.kind == Kind::WebSocket => return Cause::NoCloseFrame,
        _ if record.kind == Kind::Events => return Cause::Dropped,
        _ if record.stream.is_some() => return Cause::NoGoaway,
        _ => {}
    }
    if record.read > 0 {
        return Cause::TornAnswer;
    }
    if is_unread(record, moments) {
        return Cause::DeadBacklog;
    }
    let began_later = record
        .first_sent
        .is_none_or(|at| Some(at) >= moments.signal);
    let is_body = matches!(record.kind, Kind::Body | Kind::Upload);
    match record.reused {
        _ if record.sent < record.size && (is_body || record.sent > 0) => Cause::TornBody,
        true if began_later => Cause::IdleConnection,
        false if began_later => Cause::Backlog,
        _ if with_the_process => Cause::LeftEarly,
        _ => Cause::Dropped,
    }
}

/// Connected after the signal, sent whole, and left without a byte for a while.
fn is_unread(record: &Record, moments: &Moments) -> bool {
    let is_new = !record.reused && record.opened > moments.signal;
    let waited = record.all_sent.is_some_and(|at| record.end >= at + UNREAD);
    is_new && waited && record.read == 0 && moments.signal.is_some()
}

/// It failed though the server said that it is ready, from its begin to its end.
fn lied(
    readiness: &Readiness,
    record: &Record,
    verdict: Verdict,
    moments: &Moments,
) -> Option<Cause> {
    let failed = matches!(
        verdict,
        Verdict::Error | Verdict::Unreachable | Verdict::Unexpected
    );
    let is_later = Some(record.start) > moments.signal;
    let is_lie = failed && is_later && readiness.is_ready_throughout(record.start, record.end);
    is_lie.then_some(Cause::ReadyTooEarly)
}

/// It went from ready to refusing.
fn to_the_end(readiness: &Readiness, moments: &Moments, facts: &Facts) -> Option<Cause> {
    let (signal, stopped) = (moments.signal?, facts.stopped_listening?);
    let turned_away = readiness.turned_away(signal).is_some_and(|at| at < stopped);
    let is_so = facts.stops && readiness.is_known() && !turned_away;
    is_so.then_some(Cause::ReadyToTheEnd)
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::record;
    use super::super::verdict::tests::moments;
    use super::*;

    fn found(record: Record, facts: &Facts) -> Option<Cause> {
        let moments = moments();
        let verdict = record.verdict(&moments);
        cause(&record, verdict, &moments, facts)
    }

    #[test]
    fn what_was_being_worked_on_is_told_from_what_came_later() {
        let facts = Facts::default();
        assert_eq!(found(record(End::Reset), &facts), Some(Cause::Dropped));
        let left = Facts {
            left: Some(1150),
            ..Facts::default()
        };
        assert_eq!(found(record(End::Reset), &left), Some(Cause::LeftEarly));
        let later = |reused| Record {
            start: 1010,
            first_sent: Some(1020),
            reused,
            ..record(End::Reset)
        };
        assert_eq!(found(later(true), &facts), Some(Cause::IdleConnection));
        assert_eq!(found(later(false), &facts), Some(Cause::Backlog));
        let torn = Record {
            read: 3,
            ..record(End::Closed)
        };
        assert_eq!(found(torn, &facts), Some(Cause::TornAnswer));
        let half = Record {
            sent: 50,
            ..record(End::Closed)
        };
        assert_eq!(found(half, &facts), Some(Cause::TornBody));
        let whole = Record {
            status: Some(200),
            ..record(End::Complete)
        };
        assert_eq!(found(whole, &facts), None);
    }

    #[test]
    fn who_waited_for_nothing_was_in_a_dead_queue() {
        let waited = Record {
            opened: Some(1010),
            connected: Some(1010),
            all_sent: Some(1020),
            end: 1020 + UNREAD,
            ..record(End::Reset)
        };
        let facts = Facts::default();
        assert_eq!(found(waited.clone(), &facts), Some(Cause::DeadBacklog));
        let killed = Facts {
            killed: Some(2000),
            ..Facts::default()
        };
        assert_eq!(found(waited.clone(), &killed), Some(Cause::Killed));
        let designed = Facts {
            by_design: true,
            ..Facts::default()
        };
        assert_eq!(found(waited, &designed), Some(Cause::ByDesign));
    }
}
