//! `upgrade`, `reload` and `stop`: signals to a running bot, with an answer.

use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use nix::sys::signal::Signal;
use serde_json::json;

use super::signals::{Went, Which};
use crate::process::exit;
use turnkey_text::output;

#[derive(Args)]
#[command(after_help = "\
Put the new program where the old one is first, by renaming it there: a file that runs
cannot be written to. The new program takes the sockets over; no request fails. Should it
not start, the old one goes on. What changes and what does not: docs/OPERATING.md.

Exit code 0: the new program serves. 1: it does not, and the old one goes on; or nothing
was heard within --timeout. 2: there is no such bot.

Example:
  install -m 755 bot.new bot.tmp && mv bot.tmp bot && ./bot upgrade --storage sqlite:bot.db")]
pub(super) struct Upgrade {
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
#[command(after_help = "\
The command line, the environment and the --config file are read as at the start, and
workers are replaced one by one; no request fails. With --pid the signal is sent and the
bot's log says how it went.

Exit code 0: done. 1: the old settings stay, and why. 2: there is no such bot.

Example:
  turnkey reload --storage sqlite:bot.db")]
pub(super) struct Reload {
    #[command(flatten)]
    which: Which,
}

#[derive(Args)]
#[command(after_help = "\
Whoever is connected is answered and turns in flight finish, for --grace at most.

Exit code 0: it has ended. 1: it has not within --timeout. 2: there is no such bot.

Example:
  turnkey stop --storage sqlite:bot.db")]
pub(super) struct Stop {
    #[command(flatten)]
    which: Which,
}

impl Upgrade {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let bot = self.which.find()?;
        let begun = Instant::now();
        bot.ask_master(Signal::SIGUSR2, "upgrade")?;
        let went = bot.wait_for_successor(self.which.timeout)?;
        answer(&self.which, begun, bot.pid, &went, |new| {
            format!("Upgraded: process {new} serves instead of {}", bot.pid)
        })
    }
}

impl Reload {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let bot = self.which.find()?;
        let begun = Instant::now();
        bot.ask_master(Signal::SIGHUP, "reload")?;
        let went = bot.wait_for_reload(self.which.timeout)?;
        answer(&self.which, begun, bot.pid, &went, |pid| {
            if bot.leaves_word() {
                format!("Reloaded: process {pid}")
            } else {
                format!("Process {pid} was told to reload; its log says how that went")
            }
        })
    }
}

impl Stop {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let bot = self.which.find()?;
        let begun = Instant::now();
        bot.send(Signal::SIGTERM)?;
        let went = bot.wait_for_end(self.which.timeout)?;
        answer(&self.which, begun, bot.pid, &went, |pid| {
            format!("Stopped: process {pid}")
        })
    }
}

/// Prints how it went.
fn answer(
    which: &Which,
    begun: Instant,
    old: i32,
    went: &Went,
    text: impl FnOnce(i32) -> String,
) -> anyhow::Result<ExitCode> {
    let seconds = begun.elapsed().as_secs_f32();
    let (ok, pid, why) = match went {
        Went::Well(pid) => (true, Some(*pid), None),
        Went::Badly(why) => (false, None, Some(why)),
    };
    if which.json {
        let line = json!({ "ok": ok, "old": old, "pid": pid, "why": why, "seconds": seconds });
        output::line(line)?;
    } else {
        match went {
            Went::Well(pid) => output::line(format_args!("{}, {seconds:.1} s.", text(*pid))),
            Went::Badly(why) => output::line(format_args!("Failed, {seconds:.1} s: {why}")),
        }?;
    }
    Ok(ExitCode::from(if ok { exit::CLEAN } else { exit::CUT }))
}
