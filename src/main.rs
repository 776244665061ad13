//! The counter bot: numbers each user's messages. It is what an author's program
//! looks like, and what the tests and benchmarks talk to.

use serde::{Deserialize, Serialize};
use turnkey::Turn;

#[derive(Default, Serialize, Deserialize)]
struct Counter {
    count: u64,
}

async fn count(turn: &mut Turn<Counter>) -> turnkey::Result<()> {
    turn.state.count += 1;
    let n = turn.state.count;
    turn.reply(format!("{n}: {}", turn.text()));
    Ok(())
}

fn main() -> std::process::ExitCode {
    turnkey::App::new(count).run()
}
