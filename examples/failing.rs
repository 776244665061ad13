//! A bot whose calendar is away, and which says so to whom it concerns. The whole-program
//! tests talk to it.
//!
//! | message | effect |
//! | --- | --- |
//! | `fail` | fails at each attempt; its user is told when it is given up |
//! | `never` | is given up at once |
//! | `last` | settles for less at its last attempt |
//! | `fail twice` | fails, and what is done then fails, too |
//! | `fail and die` | fails, and what is done then ends the process |
//! | `fail and tell 7` | fails, and tells `7` on VK |
//! | `process` | says whether its calendar was made by the process that runs the turn |
//! | anything else | counts |
//!
//! Run it: `cargo run --example failing -- run --max-attempts 3`

use turnkey::{Error, Turn};

/// Stands for a client with connections: each worker makes its own.
struct Calendar {
    made_by: u32,
}

impl Calendar {
    fn new() -> Self {
        Calendar {
            made_by: std::process::id(),
        }
    }
}

async fn book(turn: &mut Turn<u64>, calendar: &Calendar) -> turnkey::Result<()> {
    turn.state += 1;
    match turn.text() {
        "process" => turn.reply((calendar.made_by == std::process::id()).to_string()),
        "last" if turn.is_last_attempt() => turn.reply("a little"),
        "never" => return Err(Error::msg("there is no such day").give_up()),
        text if text == "last" || text.starts_with("fail") => {
            return Err(Error::msg("the calendar is away"));
        }
        text => turn.reply(format!("{}: {text}", turn.state)),
    }
    Ok(())
}

async fn sorry(turn: &mut Turn<u64>, error: &str) -> turnkey::Result<()> {
    match turn.text() {
        "fail twice" => return Err(Error::msg("no words for it")),
        "fail and die" => std::process::abort(),
        "fail and tell 7" => turn.send_to("vk", "7", format!("{}: {error}", turn.user_id())),
        _ => {}
    }
    turn.state += 100;
    turn.reply(format!("Sorry: {error}"));
    Ok(())
}

fn main() -> std::process::ExitCode {
    turnkey::App::with(Calendar::new, book)
        .given_up(sorry)
        .run()
}
