//! What is wrong with a round, in sentences.
//!
//! Called by `round/finish.rs`, once for each.

use crate::deed::DoneBy;
use crate::diagnosis::Cause;
use crate::plan::Plan;
use crate::results::Round;
use crate::scenario::Scenario;
use crate::verdict::{Expected, Verdict};

impl Round {
    /// Which statuses nobody expected.
    fn unexpected(&self, expected: &Expected) -> String {
        let other = self.statuses.keys();
        let other: Vec<String> = other
            .filter(|status| **status < 500 && !expected.takes(**status))
            .map(ToString::to_string)
            .collect();
        let other = other.join(", ");
        format!(" ({other}; where that is right, say --expect-status)")
    }

    /// Related to those that could be cut, not to all there ever were.
    pub(super) fn what_was_cut(&self, all: u64) -> String {
        let [(under_way, of), (later, of_later)] = self.cut_of();
        let before = all.saturating_sub(under_way + later);
        let parts = [
            (
                under_way,
                format!("{under_way} of {of} requests under way at the signal"),
            ),
            (later, format!("{later} of {of_later} that began later")),
            (before, format!("{before} before the signal")),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(_, part)| part)
            .collect();
        let were = if all == 1 { "was" } else { "were" };
        format!("{} {were} cut", parts.join(", and "))
    }

    /// Fills in what is wrong.
    pub(super) fn judge(
        &mut self,
        scenario: &Scenario,
        gone_though_it_should_stay: bool,
        dropped: u64,
        plan: &Plan,
    ) {
        let mut problems = Vec::new();
        let failures = Verdict::ALL
            .into_iter()
            .filter(|verdict| verdict.is_failure());
        for verdict in failures {
            let number = self.number(verdict);
            if number == 0 {
                continue;
            }
            match verdict {
                Verdict::Cut => problems.push(self.what_was_cut(number)),
                Verdict::Unreachable => problems.push(format!(
                    "{} {}; for {:.2} s nobody took a connection",
                    requests(number),
                    verdict.words(),
                    self.longest_refusal_s
                )),
                Verdict::Unexpected => problems.push(format!(
                    "{} {}{}",
                    requests(number),
                    verdict.words(),
                    self.unexpected(&plan.expected)
                )),
                _ => problems.push(format!("{} {}", requests(number), verdict.words())),
            }
        }
        if let Some(problem) = self.done_by.as_ref().and_then(DoneBy::problem) {
            problems.push(problem);
        }
        if self.killed_at_stop_timeout {
            problems.push(format!(
                "it was killed after {} s (--stop-timeout), as a container would",
                plan.stop_timeout.unwrap_or_default().as_secs_f64()
            ));
        }
        for finding in &self.findings {
            match finding.cause {
                Cause::ReadyToTheEnd => {
                    problems
                        .push("it said that it is ready until it refused connections".to_owned());
                }
                Cause::ReadyTooEarly => problems.push(format!(
                    "{} failed while it said that it is ready",
                    finding.number
                )),
                _ => {}
            }
        }
        if self.killed_at_limit {
            let killed = match plan.attach {
                None => " and was killed",
                Some(_) => "",
            };
            problems.push(format!(
                "it did not leave within {} s{killed}",
                plan.limit.as_secs_f64()
            ));
        }
        if gone_though_it_should_stay {
            let how = self
                .exit
                .map_or(String::new(), |exit| format!(" with {exit}"));
            problems.push(format!("it left{how}, though it should have gone on"));
        } else if scenario.needs_a_successor() && self.replaced_after_s.is_none() {
            problems.push(format!(
                "no new worker served within {} s",
                plan.replace_limit.as_secs_f64()
            ));
        }
        match self.left_behind.as_slice() {
            [] => {}
            [one] => problems.push(format!(
                "a process was left behind: {} {}",
                one.pid, one.name
            )),
            [one, ..] => problems.push(format!(
                "{} processes were left behind, the first: {} {}",
                self.left_behind.len(),
                one.pid,
                one.name
            )),
        }
        if self.port_is_free == Some(false) {
            problems.push(format!("port {} cannot be bound again", self.port));
        }
        if self.traces.count > 0 {
            problems.push(match self.traces.count {
                1 => "it printed a traceback or panic after the signal".to_owned(),
                many => format!("it printed {many} tracebacks or panics after the signal"),
            });
        }
        if let Some(check) = &self.storage {
            for (number, what) in [
                (check.lost, "acknowledged messages are not in the database"),
                (check.twice, "messages took effect twice"),
            ] {
                if number > 0 {
                    problems.push(format!("{number} {what}"));
                }
            }
        }
        if dropped > 0 {
            problems.push(format!(
                "{dropped} failed requests are beyond the bound of what is kept and were not judged"
            ));
        }
        self.problems = problems;
    }
}

fn requests(number: u64) -> String {
    match number {
        1 => "1 request was".to_owned(),
        many => format!("{many} requests were"),
    }
}
