//! `backup` and `restore`: a SQLite file copied while the bot runs, and put back.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::config::{self, Address};
use crate::notices::say;
use crate::{database, exit};

/// Between two updates of the line of progress.
const EVERY: Duration = Duration::from_millis(100);

#[derive(Args)]
#[command(after_help = "\
Copies a SQLite database as of one moment, while the bot runs or not, reads the copy back
and only then gives it its name. Other databases have tools of their own (pg_dump,
mariadb-dump); `turnkey copy --from postgres://… --to sqlite:backup.db` works for them
while no bot runs.

A running bot makes backups by itself: `turnkey run --backup-dir DIR`.

Example:
  turnkey backup --storage sqlite:bot.db /backups/bot-$(date +%F).db")]
pub(super) struct Backup {
    /// The bot's database, such as sqlite:bot.db.
    #[arg(
        long,
        env = "TURNKEY_STORAGE",
        hide_env_values = true,
        value_name = "URL"
    )]
    storage: String,

    /// The file to make. It must not exist.
    #[arg(value_name = "FILE")]
    to: PathBuf,

    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "\
The backup is verified first and copied; no bot may use the database meanwhile.

Example:
  turnkey restore --storage sqlite:bot.db /backups/bot-2026-11-25.db --replace")]
pub(super) struct Restore {
    /// Where the bot's database belongs, such as sqlite:bot.db.
    #[arg(
        long,
        env = "TURNKEY_STORAGE",
        hide_env_values = true,
        value_name = "URL"
    )]
    storage: String,

    /// The backup.
    #[arg(value_name = "FILE")]
    from: PathBuf,

    /// If there is a database already, keep it under another name.
    #[arg(long)]
    replace: bool,

    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let address = address(&self.storage)?;
        let mut line = Line::new("Copying");
        let done = database::backup(&address, &self.to, |done, all| line.show(done, all));
        line.end();
        let done = done?;
        if self.json {
            println!(
                "{}",
                json!({ "file": self.to, "bytes": done.bytes, "dialogs": done.dialogs })
            );
        } else {
            println!(
                "{}: {} dialogs, {} bytes, verified",
                self.to.display(),
                done.dialogs,
                done.bytes
            );
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

impl Restore {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let address = address(&self.storage)?;
        let mut line = Line::new("Restoring");
        let show = |done, all| line.show(done, all);
        let done = database::restore(&self.from, &address, self.replace, show);
        line.end();
        let (done, kept) = done?;
        if self.json {
            println!(
                "{}",
                json!({ "dialogs": done.dialogs, "bytes": done.bytes, "kept": kept })
            );
            return Ok(ExitCode::from(exit::CLEAN));
        }
        println!("{address}: {} dialogs, {} bytes", done.dialogs, done.bytes);
        if let Some(kept) = kept {
            println!("What was there before is now {}.", kept.display());
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

fn address(url: &str) -> anyhow::Result<Address> {
    config::database(url).map_err(|e| anyhow::anyhow!("{e}"))
}

/// The line that says how far it is, on a terminal.
struct Line {
    doing: &'static str,
    terminal: bool,
    shown: Option<Instant>,
}

impl Line {
    fn new(doing: &'static str) -> Self {
        Line {
            doing,
            terminal: std::io::stderr().is_terminal(),
            shown: None,
        }
    }

    fn show(&mut self, done: u64, all: u64) {
        let now = Instant::now();
        if !self.terminal || self.shown.is_some_and(|shown| now < shown + EVERY) {
            return;
        }
        self.shown = Some(now);
        let percent = done * 100 / all.max(1);
        let text = format!(
            "{} {} of {} MiB ({percent} %)",
            self.doing,
            done >> 20,
            all >> 20
        );
        drop(write!(std::io::stderr(), "\r{text}\x1b[K"));
    }

    fn end(&self) {
        if self.shown.is_some() {
            say!("");
        }
    }
}
