//! Handlers in any language: how they start and end, what their failures cost, what they may
//! say. The bots beside these files are in Python; many tests of other folders run with them
//! a second time (`TEST_HANDLERS=python`, see scripts/test).

mod check;
mod coming_from;
mod drafts;
mod examples;
mod failures;
mod lives;
mod pages;
mod refusals;
mod said;
mod sdks;
mod speech;
mod verbs;

use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{Bot, Setup};
use crate::harness::proc::{pids, stat};
use crate::harness::programs::has;

/// `odd.py`, which runs so many turns at once; none, said aloud, without Python.
fn odd(concurrency: usize) -> Option<Setup> {
    if !has("python3") {
        return None;
    }
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/program/handlers/odd.py"
    );
    let concurrency = concurrency.to_string();
    let setup = Setup::handled(&["--", "python3", script]);
    let mark = mark(&setup);
    Some(setup.handler_args(&[&mark, &concurrency]))
}

/// What tells the handlers of a bot from those of others.
fn mark(setup: &Setup) -> String {
    setup.path("mark").display().to_string()
}

/// The processes that a bot's handlers are, and what those have started.
fn handlers(bot: &Bot) -> Vec<i32> {
    let mark = mark(&bot.setup);
    let has_mark = |pid: &i32| {
        let line = std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline"));
        let line = String::from_utf8_lossy(&line.unwrap_or_default()).into_owned();
        line.split('\0').any(|word| word == mark) && !line.starts_with("turnkey")
    };
    let own = bot.pid();
    let mut all = pids();
    all.retain(|pid| *pid != own && has_mark(pid));
    all.retain(|pid| stat(*pid).is_some_and(|stat| stat.state != 'Z'));
    all
}

/// Kills a process, which may be gone.
fn kill_now(pid: i32) {
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap_or(());
}
