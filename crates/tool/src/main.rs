//! The program `turnkey`: a bot that numbers each user's messages, with every engine, and
//! the commands that need no bot of one's own: new projects, the drill, the laboratory.
//!
//! The bot is what an author's program looks like, and what tests and benchmarks talk to.

mod bench;
mod drill;
mod new;

use std::process::ExitCode;

use clap::{Args, FromArgMatches};
use serde::{Deserialize, Serialize};
use turnkey::tool::Extra;
use turnkey::{App, Turn};

/// 15 % fewer instructions a turn than with glibc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    count: u64,
}

async fn count(turn: &mut Turn<Counter>) -> turnkey::Result<()> {
    turn.state.count += 1;
    let n = turn.state.count;
    if turn.text() == turnkey_lab::STEP {
        turn.step("count", async { Ok(n) }).await?;
    }
    // What becomes due has no request in whose answer a reply could ride.
    if turn.timer().is_none() {
        turn.reply(format!("{n}: {}", turn.text()));
    }
    Ok(())
}

fn main() -> ExitCode {
    App::new(count).run_with(vec![
        extra("new", "Write a new bot's project: a program, its tests, a unit", new::New::run),
        extra(
            "bench",
            "Measure: storage engines side by side, whole turns over HTTP, timers beside them",
            bench::Bench::run,
        ),
        extra(
            "drill",
            "Test the graceful shutdown of a server, this bot or any other: what becomes of every request",
            drill::DrillArgs::run,
        ),
    ])
}

/// A command of clap's derived kind, by its name.
fn extra<A: Args + FromArgMatches + 'static>(
    name: &'static str,
    about: &'static str,
    run: fn(A) -> anyhow::Result<ExitCode>,
) -> Extra {
    Extra {
        command: A::augment_args(clap::Command::new(name)).about(about),
        run: Box::new(move |matches| run(A::from_arg_matches(matches)?)),
    }
}
