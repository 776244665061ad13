//! Cases about turns: what they hold, and how they are answered.
//!
//! Named by `cases.rs`, which says what each expects.

use std::time::Duration;

use serde_json::json;

use super::super::wire::cut;
use super::answer::Ended;
use super::session::Session;
use super::updates::{each_kind, foreign_states, long_text, message};
use super::{Bench, Findings, Stop, Tally, Tried};

/// How long nothing more may come.
const SILENCE: Duration = Duration::from_millis(300);

/// Turns that are given to a process at least where many are.
const MANY: usize = 8;

/// Why there is nothing to give back.
const NO_STATE: &str = "its first turn failed, and left no state";

/// Turns of one user, one after another.
const TURNS_OF_ONE: usize = 3;

/// Bytes of what somebody else wrote, within a sentence.
const SHORT: usize = 200;

pub(super) fn turn(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let mut handler = Session::open(bench, tally, found)?;
    handler.ask(&message(1, "hi"), None)?;
    handler.silence(SILENCE)?;
    handler.leave()
}

pub(super) fn at_once(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let mut handler = Session::open(bench, tally, found)?;
    let window = handler.window();
    for number in 0..(2 * window).max(MANY) {
        handler.answers(window - 1)?;
        handler.give(&message(number as u64, "hi"), None)?;
    }
    handler.answers(0)?;
    handler.leave()
}

pub(super) fn kinds(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let mut handler = Session::open(bench, tally, found)?;
    for update in each_kind(handler.hello.hears()) {
        handler.ask(&update, None)?;
    }
    handler.leave()
}

pub(super) fn unknown(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let mut handler = Session::open(bench, tally, found)?;
    let id = handler.give_changed(&message(1, "👍"), None, |line| {
        line["turn"]["kind"] = json!("a_later_kind");
    })?;
    handler.answer(id)?;
    let id = handler.give_changed(&message(2, "hi"), None, |line| {
        line["turn"]["later"] = json!({ "id": 99, "list": [1, null, "x"] });
        line["a_later_field"] = json!(true);
    })?;
    handler.answer(id)?;
    handler.leave()
}

pub(super) fn state(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let mut handler = Session::open(bench, tally, found)?;
    let update = message(1, "hi");
    let mut before = None;
    for _ in 0..TURNS_OF_ONE {
        before = match (handler.ask(&update, before.as_deref())?, before) {
            (Ended::Done(state), _) => Some(state),
            (Ended::Failed(_), None) => {
                return Err(Stop::NotTried(NO_STATE.to_owned()));
            }
            (Ended::Failed(error), Some(state)) => {
                let (state, error) = (cut(state, SHORT), cut(error, SHORT));
                handler.found.warn(format!(
                    "it fails with the state that it left itself, {state}: {error}"
                ));
                break;
            }
        };
    }
    handler.leave()
}

pub(super) fn foreign_state(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let mut handler = Session::open(bench, tally, found)?;
    for (number, state) in (1..).zip(foreign_states()) {
        let outcome = handler.ask(&message(number, "hi"), Some(&state));
        outcome.map_err(|stop| match stop {
            Stop::Wrong(wrong) => {
                let state = cut(state.clone(), SHORT);
                Stop::Wrong(format!("with the state {state}: {wrong}"))
            }
            other => other,
        })?;
    }
    handler.leave()
}

pub(super) fn long_texts(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let mut handler = Session::open(bench, tally, found)?;
    let window = handler.window();
    let text = long_text();
    let state = json!({ "text": text }).to_string();
    for (number, state) in [(1, None), (2, Some(state.as_str()))] {
        handler.answers(window - 1)?;
        handler.give(&message(number, &text), state)?;
    }
    handler.answers(0)?;
    handler.leave()
}

pub(super) fn query(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let mut handler = Session::open(bench, tally, found)?;
    handler.refuses = Some("there is no database: this is turnkey handler check");
    for update in each_kind(handler.hello.hears()) {
        handler.ask(&update, None)?;
    }
    let asked = handler.asked();
    handler.leave()?;
    match asked {
        0 => Err(Stop::NotTried("it asked nothing".to_owned())),
        _ => Ok(()),
    }
}
