//! The smallest bot: no state, one reply.
//!
//! Run it: `cargo run --example echo -- run`

use turnkey::Turn;

async fn echo(turn: &mut Turn<()>) -> turnkey::Result<()> {
    turn.reply(turn.text());
    Ok(())
}

fn main() -> std::process::ExitCode {
    turnkey::App::new(echo).run()
}
