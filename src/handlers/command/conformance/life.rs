//! Cases about a process: its hello, signs of life, cancelled turns, signals, its end.
//!
//! Named by `cases.rs`, which says what each expects.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::super::plan::ended;
use super::super::process::{CANCEL_GRACE, LEAVE, PONG};
use super::super::wire::{self, PROTOCOL};
use super::session::Session;
use super::updates::message;
use super::{Bench, Findings, Tally, Tried};

/// How long a process that was drained is watched: it waits for the end of its pipe.
const WAITS: Duration = Duration::from_millis(300);

/// Turns that are in hand of a process that is drained.
const DRAINED: usize = 4;

pub(super) fn hello(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    Session::open(bench, tally, found)?.leave()
}

pub(super) fn newer(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let greeting = wire::line(&json!({
        "hello": {
            "protocol": PROTOCOL + 1,
            "program": "turnkey 99.0.0",
            "worker": 3,
            "later": { "list": [1, null, "x"] },
        },
        "a_later_field": true,
    }));
    let greeting = greeting.map_err(|e| e.to_string())?;
    let mut handler = Session::greeted(bench, tally, found, &greeting)?;
    handler.ask(&message(1, "hi"), None)?;
    handler.leave()
}

pub(super) fn ping(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let mut handler = Session::open(bench, tally, found)?;
    handler.ping(1, PONG)?;
    handler.ask(&message(1, "hi"), None)?;
    handler.ping(2, PONG)?;
    handler.leave()
}

pub(super) fn cancel(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let mut handler = Session::open(bench, tally, found)?;
    let id = handler.give(&message(1, "hi"), None)?;
    handler.cancel(id);
    handler.answer_within(id, CANCEL_GRACE)?;
    // As when the answer and the cancel cross each other.
    handler.cancel(id);
    handler.ask(&message(2, "hi"), None)?;
    handler.leave()
}

pub(super) fn sigterm(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let mut handler = Session::open(bench, tally, found)?;
    let id = handler.give(&message(1, "hi"), None)?;
    // What is given is on its way before the signal.
    handler.silence(Duration::ZERO)?;
    handler.signal(Signal::SIGTERM);
    if let Some(status) = handler.answer_or_end(id)? {
        handler.found.warn(format!(
            "{} before it answered: where a stop signals every process (KillMode=control-group), that turn runs again after the next start. Let it ignore SIGTERM: the end of the pipe is what it leaves at",
            ended(status)
        ));
        return Ok(());
    }
    handler.leave()
}

pub(super) fn drain(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let mut handler = Session::open(bench, tally, found)?;
    for number in 0..handler.window().min(DRAINED) {
        handler.give(&message(number as u64, "hi"), None)?;
    }
    handler.drain();
    handler.answers(0)?;
    if let Some(status) = handler.gone_within(WAITS)? {
        handler.found.warn(format!(
            "after drain {}, and did not wait for the end of the pipe",
            ended(status)
        ));
        return Ok(());
    }
    leaves(&mut handler)
}

pub(super) fn end(bench: &Bench, tally: &mut Tally, found: &mut Findings) -> Tried {
    let mut handler = Session::open(bench, tally, found)?;
    handler.ask(&message(1, "hi"), None)?;
    leaves(&mut handler)
}

/// It ends with its pipe: late with a warning, and not so late that a worker kills it.
fn leaves(handler: &mut Session<'_>) -> Tried {
    let begun = Instant::now();
    let Some(status) = handler.end(2 * LEAVE)? else {
        return Err(format!(
            "it was still there {} s after the end of its pipe, when a worker kills it",
            2 * LEAVE.as_secs()
        )
        .into());
    };
    let took = begun.elapsed();
    if took > LEAVE {
        handler.found.warn(format!(
            "it took {:.1} s to leave after the end of its pipe; after {} s a worker sends SIGTERM",
            took.as_secs_f32(),
            LEAVE.as_secs()
        ));
    }
    if !status.success() {
        let lines = handler.last_lines();
        let warning = format!("at the end of its pipe {}, not 0{lines}", ended(status));
        handler.found.warn(warning);
    }
    Ok(())
}
