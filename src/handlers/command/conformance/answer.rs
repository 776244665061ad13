//! An answer to a turn, field by field.
//!
//! Called by `session.rs`. What is wrong in an answer fails its turn in a worker, and nothing
//! else: it is written down, and the case goes on. Bound: [`LONGEST_RETRY`].

use super::super::wire::{self, TurnEnd};
use super::{Findings, Tally};

/// The longest time after which a failed turn may come again, in seconds.
const LONGEST_RETRY: f64 = 86_400.0;

/// What is said of an error that does not fit into a line of the log.
const SEVERAL_LINES: &str =
    "an error of a turn has several lines; the first belongs in error, the rest in trace";

/// How a turn ended.
#[derive(Clone)]
pub(super) enum Ended {
    /// With this state.
    Done(String),
    Failed(String),
}

/// How an answer ends its turn, which was given with this state.
pub(super) fn read(
    answer: &TurnEnd,
    state: Option<&str>,
    tally: &mut Tally,
    found: &mut Findings,
) -> Ended {
    let read = match answer {
        TurnEnd::Done(done) => {
            tally.has_done = true;
            wire::read_done(done, state).map(|handled| Ended::Done(handled.state))
        }
        TurnEnd::Fail(fail) => wire::read_fail(fail).map(|fail| {
            if fail.error.trim_end().contains('\n') {
                found.warn(SEVERAL_LINES.to_owned());
            }
            let is_possible = |seconds: &f64| (0.0..=LONGEST_RETRY).contains(seconds);
            if fail.retry_in.is_some_and(|seconds| !is_possible(&seconds)) {
                found.warn(format!(
                    "the retry_in of a failed turn is not from 0 to {LONGEST_RETRY} seconds, and is moved there"
                ));
            }
            tally.failure.get_or_insert_with(|| fail.error.clone());
            Ended::Failed(fail.error)
        }),
    };
    read.unwrap_or_else(|reason| {
        found.wrong(format!(
            "an answer is refused, which fails its turn: {reason}"
        ));
        Ended::Failed(reason)
    })
}
