//! The table of cases, from the simplest to the end of a process.
//!
//! Read by `mod.rs`; the same table stands in `docs/HANDLERS.md`, which a test compares.
//! Invariant: each case can pass whatever the handler does with a turn.

use super::{Bench, Findings, Tally, Tried, life, turns};

/// One thing that is tried with a handler.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) tried: &'static str,
    pub(super) expected: &'static str,
    pub(super) run: fn(&Bench, &mut Tally, &mut Findings) -> Tried,
}

/// If one of these goes wrong, what comes after it would tell the same again.
pub(super) const BASIC: [&str; 2] = ["hello", "turn"];

/// All, in the order in which they are tried.
pub(super) const CASES: &[Case] = &[
    Case {
        name: "hello",
        tried: "a process is started and greeted",
        expected: "its `hello`, well-formed and in time",
        run: life::hello,
    },
    Case {
        name: "turn",
        tried: "a turn, then a moment of silence",
        expected: "one answer with its `id`, no second one and nothing else",
        run: turns::turn,
    },
    Case {
        name: "newer",
        tried: "a program that offers protocol 2, with fields nobody knows",
        expected: "a `hello` with protocol 1, the version that both speak",
        run: life::newer,
    },
    Case {
        name: "at-once",
        tried: "as many turns at once as it says it runs, twice over",
        expected: "one answer to each, in any order",
        run: turns::at_once,
    },
    Case {
        name: "kinds",
        tried: "each kind of update, with all that can come along",
        expected: "an answer to each",
        run: turns::kinds,
    },
    Case {
        name: "unknown",
        tried: "a kind of update and fields that nobody knows",
        expected: "an answer, as to what it knows",
        run: turns::unknown,
    },
    Case {
        name: "state",
        tried: "the state that a turn left comes back with the next",
        expected: "an answer, and not a failure where there was none before",
        run: turns::state,
    },
    Case {
        name: "foreign-state",
        tried: "states that it did not write: null, lists, 100 levels, integers beyond 64 bits",
        expected: "an answer to each; it may be a failure",
        run: turns::foreign_state,
    },
    Case {
        name: "long-text",
        tried: "two turns with a megabyte of emoji, quotes, NUL and all that ends lines",
        expected: "an answer to each, below 16 MiB and in UTF-8",
        run: turns::long_texts,
    },
    Case {
        name: "query",
        tried: "its questions are answered with an error",
        expected: "an answer to the turn; it may be a failure",
        run: turns::query,
    },
    Case {
        name: "ping",
        tried: "a ping before any turn, and one after",
        expected: "a pong with the number of each, within 10 seconds",
        run: life::ping,
    },
    Case {
        name: "cancel",
        tried: "a turn is cancelled at once, and again when it has its answer",
        expected: "still one answer, within 5 seconds; the next turn as ever",
        run: life::cancel,
    },
    Case {
        name: "sigterm",
        tried: "SIGTERM to its process group while it has a turn in hand",
        expected: "the answer; a warning if there is none",
        run: life::sigterm,
    },
    Case {
        name: "drain",
        tried: "`drain` while it has turns in hand, then the end of the pipe",
        expected: "all answers; then it exits within a second, with code 0",
        run: life::drain,
    },
    Case {
        name: "end",
        tried: "the end of the pipe without `drain`",
        expected: "it exits within a second",
        run: life::end,
    },
];
