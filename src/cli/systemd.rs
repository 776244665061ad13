//! `systemd`: prints the unit that runs this bot, with the restrictions it can live with.
//!
//! The texts are made in `systemd/unit.rs`, also for `new`.

mod unit;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

pub(super) use self::unit::Unit;
use super::run;
use crate::process::exit;
use crate::shared::lines::say;
use turnkey_text::output;

/// Places that `ProtectHome=` and `PrivateTmp=` hide from the service.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

#[derive(Args)]
#[command(after_help = "\
Arguments after -- are those of `run`; relative paths in them are below /var/lib/NAME,
which belongs to the bot. Without --storage it is sqlite:bot.db there. Secrets stand in
/etc/NAME.env, a line each (TURNKEY_TELEGRAM_TOKEN=…), which only root has to be able to
read.

Install it:
  sudo install -m 755 bot /usr/local/bin/bot
  bot systemd --program /usr/local/bin/bot -- --workers 2 | sudo tee /etc/systemd/system/bot.service
  sudo systemctl daemon-reload && sudo systemctl enable --now bot

With a socket unit too, connections wait while the bot is restarted:
  bot systemd --socket -- --listen 0.0.0.0:80 | sudo tee /etc/systemd/system/bot.socket

Look at what it may still do: systemd-analyze security bot")]
pub(super) struct Systemd {
    /// The unit's name, without .service [default: the program's].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Run as this user, who must exist [default: one that exists only while the bot runs].
    #[arg(long, value_name = "USER")]
    user: Option<String>,

    /// Where the program will be installed [default: where it is].
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Print the unit of the listening sockets instead: NAME.socket.
    #[arg(long)]
    socket: bool,

    /// Arguments of `run`.
    #[arg(last = true, value_name = "RUN ARGUMENTS")]
    run: Vec<String>,
}

impl Systemd {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let program = match self.program {
            Some(path) => path,
            None => std::env::current_exe().context("cannot tell where this program is")?,
        };
        if !program.is_absolute() {
            bail!(
                "--program takes a whole path such as /usr/local/bin/bot, not {}",
                program.display()
            );
        }
        let name = match self.name {
            Some(name) => name,
            None => file_name(&program).to_owned(),
        };
        check_name("--name", &name)?;
        if let Some(user) = &self.user {
            check_name("--user", user)?;
        }
        let outline = run::outline(&self.run)?;
        let unit = Unit {
            name: &name,
            user: self.user.as_deref(),
            program: &program,
            arguments: &self.run,
            outline: &outline,
        };
        if self.socket {
            output::print(&unit.socket()?)?;
        } else {
            output::print(&unit.service()?)?;
            if let Some(place) = HIDDEN.iter().find(|place| program.starts_with(place)) {
                say!(
                    "warning: the unit cannot see {}: {place} is hidden from it. Copy the program to /usr/local/bin and say so: --program /usr/local/bin/{}",
                    program.display(),
                    file_name(&program)
                );
            }
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

fn file_name(path: &Path) -> &str {
    let name = path.file_name().and_then(|name| name.to_str());
    name.unwrap_or_default()
}

/// Names that need no quoting anywhere: in units, in paths and as users.
fn check_name(flag: &str, name: &str) -> anyhow::Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let fits = name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.len() <= 31;
    if !(fits && name.chars().all(is_plain)) {
        bail!(
            "{flag} takes up to 31 letters, digits, - and _, a letter first, not {name:?}; give another with {flag}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_need_quotes_are_refused() {
        check_name("--name", "my-bot_2").unwrap();
        for wrong in ["", "2bot", "a b", "a/b", "a.service", "é", &"a".repeat(32)] {
            let error = check_name("--name", wrong).unwrap_err().to_string();
            assert!(error.contains("--name"), "{wrong}: {error}");
        }
    }
}
