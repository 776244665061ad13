//! One handler is tried before anything is forked, so that a syntax error or a missing
//! interpreter ends the start, once, with what the interpreter said.
//!
//! Called in a child that ends (`process/startup.rs`), without a runtime. Bounds:
//! `--handler-start`, and [`LEAVE`] until it is gone again.

use std::time::{Duration, Instant};

use super::conversation::{Conversation, Next};
use super::plan::Plan;
use super::process::LEAVE;
use super::sdk::Carried;
use super::wire;
use crate::author::start_error::{StartError, StartResult};

/// Starts a handler, waits for its hello, and has it leave.
///
/// # Errors
/// [`StartError::Refused`]: why it does not start, and its last lines.
pub(super) fn run(plan: &Plan, patience: Duration) -> StartResult {
    let sdk = Carried::new()?;
    let mut handler = Conversation::start(plan, &sdk)?;
    handler.say(&wire::hello(0, None));
    if let Err(why) = handler.hello(patience) {
        let (name, lines) = (&plan.name, handler.last_lines());
        return Err(StartError::Refused(format!(
            "the handler {name} did not start: {why}{lines}"
        )));
    }
    // The end of its pipe is what it leaves at.
    handler.close();
    let until = Instant::now() + LEAVE;
    while matches!(handler.next(until), Next::Line(_)) {}
    Ok(())
}
