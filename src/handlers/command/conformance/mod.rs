//! The protocol's conformance list: a handler is tried out, case by case, and told in plain
//! words what is wrong with it.
//!
//! Called by `cli/handler_check.rs`, without a runtime. Each case has a process of its own,
//! and speaks to it as a worker does: the lines are made and read by `wire/`, and what would
//! have a worker kill the process ends the case. No case depends on what the handler does
//! with a turn. Bounds: a wait has `--handler-start` or `--turn-timeout`, and a case has a
//! few of them; at most [`MOST_AT_ONCE`] turns are in hand; [`MOST_FINDINGS`].
//!
//! | file | what |
//! | --- | --- |
//! | `cases.rs` | **the table**: each case with what is tried and what is expected |
//! | `turns.rs` | cases about turns |
//! | `life.rs` | cases about a process: hello, ping, cancel, signals, its end |
//! | `session.rs` | one process that is spoken to, and what it owes |
//! | `answer.rs` | what stands in an answer |
//! | `updates.rs` | what the turns are about |

mod answer;
mod cases;
mod life;
mod session;
mod turns;
mod updates;

use std::time::Duration;

use self::cases::{BASIC, CASES, Case};
use super::plan::Plan;
use super::sdk::Carried;
use super::wire::{self, Hello};
use crate::author::start_error::{StartError, StartResult};

/// Turns that are in hand of a process at once, whatever it says it can do.
const MOST_AT_ONCE: usize = 256;

/// What is said of one case, errors and warnings each.
const MOST_FINDINGS: usize = 10;

/// Bytes of an error that are shown.
const LONGEST_ERROR: usize = 500;

/// How long a handler is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Until it says hello.
    pub(crate) hello: Duration,
    /// Until it answers a turn.
    pub(crate) turn: Duration,
}

/// How a case came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Well,
    /// Nothing that breaks the protocol, and worth a word.
    Warning,
    Wrong,
    /// It does not apply, or cannot be tried.
    NotTried,
}

/// A case that is over.
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    /// What was tried.
    pub(crate) tried: &'static str,
    /// What a handler is to do then.
    pub(crate) expected: &'static str,
    pub(crate) verdict: Verdict,
    /// What was found, in words; an error before what is only a warning.
    pub(crate) findings: Vec<String>,
}

/// A handler as it says it is.
pub(crate) struct Introduced {
    pub(crate) name: String,
    pub(crate) protocol: u32,
    pub(crate) concurrency: usize,
    pub(crate) raw: bool,
    pub(crate) hears: Vec<String>,
}

/// All cases, in their order: an iterator over how they come out.
pub(crate) struct Conformance {
    bench: Bench,
    left: std::vec::IntoIter<&'static Case>,
    /// A basic case that went wrong: nothing more is tried.
    stuck: Option<&'static str>,
    tally: Tally,
}

/// What each case needs.
struct Bench {
    plan: Plan,
    sdk: Carried,
    patience: Patience,
}

/// What is known after some cases.
#[derive(Default)]
struct Tally {
    introduced: Option<Hello>,
    /// A turn was answered otherwise than with a failure.
    has_done: bool,
    /// The error of the first that failed.
    failure: Option<String>,
}

/// What a case finds, each thing once.
#[derive(Default)]
struct Findings {
    wrong: Vec<String>,
    warnings: Vec<String>,
}

impl Findings {
    fn wrong(&mut self, wrong: String) {
        add(&mut self.wrong, wrong);
    }

    fn warn(&mut self, warning: String) {
        add(&mut self.warnings, warning);
    }
}

fn add(findings: &mut Vec<String>, finding: String) {
    if findings.len() < MOST_FINDINGS && !findings.contains(&finding) {
        findings.push(finding);
    }
}

/// Why a case is over before its end.
enum Stop {
    /// What a worker would kill the process for, or it is gone.
    Wrong(String),
    /// The case does not apply.
    NotTried(String),
    /// There is no process at all.
    CannotStart(StartError),
}

type Tried<T = ()> = Result<T, Stop>;

impl From<String> for Stop {
    fn from(wrong: String) -> Self {
        Stop::Wrong(wrong)
    }
}

impl Conformance {
    /// The names of all cases.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        CASES.iter().map(|case| case.name)
    }

    /// Ready to try this handler with the cases of these names, or with all if none is named;
    /// nothing is started yet.
    ///
    /// # Errors
    /// No more memory or files.
    pub(crate) fn new(plan: Plan, patience: Patience, names: &[String]) -> StartResult<Self> {
        let is_wanted = |case: &&Case| names.is_empty() || names.iter().any(|n| n == case.name);
        let wanted: Vec<_> = CASES.iter().filter(is_wanted).collect();
        let sdk = Carried::new()?;
        Ok(Conformance {
            bench: Bench {
                plan,
                sdk,
                patience,
            },
            left: wanted.into_iter(),
            stuck: None,
            tally: Tally::default(),
        })
    }

    /// How the handler introduces itself, once it has.
    pub(crate) fn introduced(&self) -> Option<Introduced> {
        let hello = self.tally.introduced.clone()?;
        Some(Introduced {
            name: match hello.name.is_empty() {
                true => self.bench.plan.name.clone(),
                false => hello.name,
            },
            protocol: hello.protocol,
            concurrency: hello.concurrency,
            raw: hello.raw,
            hears: hello.hears,
        })
    }

    /// A word on all cases together.
    pub(crate) fn remark(&self) -> Option<String> {
        let failure = self
            .tally
            .failure
            .clone()
            .filter(|_| !self.tally.has_done)?;
        Some(format!(
            "every turn failed, which the protocol allows; the first with: {}",
            wire::cut(failure, LONGEST_ERROR)
        ))
    }

    fn run(&mut self, case: &Case) -> StartResult<Outcome> {
        let mut found = Findings::default();
        let stopped = match self.stuck {
            None => (case.run)(&self.bench, &mut self.tally, &mut found),
            Some(name) => Err(Stop::NotTried(format!("mend {name} first"))),
        };
        let mut not_tried = None;
        match stopped {
            Ok(()) => {}
            Err(Stop::Wrong(wrong)) => found.wrong(wrong),
            Err(Stop::NotTried(why)) => not_tried = Some(why),
            Err(Stop::CannotStart(error)) => return Err(error),
        }
        let verdict = match (&not_tried, &found) {
            (_, Findings { wrong, .. }) if !wrong.is_empty() => Verdict::Wrong,
            (Some(_), _) => Verdict::NotTried,
            (_, Findings { warnings, .. }) if !warnings.is_empty() => Verdict::Warning,
            _ => Verdict::Well,
        };
        if verdict == Verdict::Wrong && BASIC.contains(&case.name) {
            self.stuck = Some(case.name);
        }
        let findings = found.wrong.into_iter().chain(not_tried);
        Ok(Outcome {
            name: case.name,
            tried: case.tried,
            expected: case.expected,
            verdict,
            findings: findings.chain(found.warnings).collect(),
        })
    }
}

impl Iterator for Conformance {
    type Item = StartResult<Outcome>;

    fn next(&mut self) -> Option<Self::Item> {
        let case = self.left.next()?;
        Some(self.run(case))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_case_has_a_name_of_its_own_and_stands_in_the_page() {
        let page = include_str!("../../../../docs/HANDLERS.md");
        let names: BTreeSet<_> = Conformance::names().collect();
        assert_eq!(names.len(), CASES.len());
        for case in CASES {
            let row = format!("| `{}` | {} | {} |", case.name, case.tried, case.expected);
            assert!(page.contains(&row), "docs/HANDLERS.md lacks: {row}");
        }
    }
}
