//! `backup` and `restore`: copy a SQLite file while the bot runs, and put it back.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;
use serde_json::json;

use super::storage::DatabaseFile;
use crate::config;
use crate::operator::backup::{self, Outcome};
use crate::process::exit;
use crate::process::sys;
use crate::shared::lines::say;
use turnkey_storage::sqlite::Existing;
use turnkey_storage::tools;
use turnkey_text::output;

/// Between two updates of the line of progress.
const EVERY: Duration = Duration::from_millis(100);

#[derive(Args)]
#[command(after_help = "\
Copies a SQLite database as of one moment, while the bot runs or not, reads the copy back
and only then gives it its name. Other databases have tools of their own (pg_dump,
mariadb-dump); `turnkey copy --from postgres://… --to sqlite:backup.db` works for them
while no bot runs.

With --dir the name is made of the database's and the time, and the oldest are removed:
/backups/bot-2026-11-29T10-00-00Z.db. Only names of that form are counted and removed. A
running bot does the same by itself: `turnkey run --backup-dir DIR`. docs/BACKUP.md has
the whole drill, there and back.

Exit code 0: made, or not due yet. 2: not made, and why.

Examples:
  turnkey backup --storage sqlite:bot.db /mnt/stick/bot.db
  turnkey backup --storage sqlite:bot.db --dir /backups --keep 7")]
pub(super) struct Backup {
    #[command(flatten)]
    database: DatabaseFile,

    /// The file to make. It must not exist.
    #[arg(value_name = "FILE", required_unless_present = "dir")]
    to: Option<PathBuf>,

    /// Instead of FILE: a directory, where the backup is named by the time. It is made if
    /// it is not there.
    #[arg(long, value_name = "DIR", conflicts_with = "to")]
    dir: Option<PathBuf>,

    /// How many backups stay in --dir; older ones are removed.
    #[arg(long, value_name = "N", default_value_t = 24, requires = "dir", value_parser = clap::value_parser!(u64).range(1..))]
    keep: u64,

    /// Only if the newest backup in --dir is older than this, such as 1h.
    #[arg(long, value_name = "TIME", requires = "dir", value_parser = config::duration)]
    every: Option<Duration>,

    /// The process that wants it: at its end this one ends, too.
    #[arg(long, hide = true)]
    parent: Option<i32>,

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
    #[command(flatten)]
    database: DatabaseFile,

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
        if let Some(parent) = self.parent {
            follow(parent)?;
        }
        let address = self.database.address()?;
        let mut line = Line::new("Copying");
        let show = |done, all| line.show(done, all);
        let outcome = match (&self.dir, self.to) {
            (Some(dir), _) => tools::backups(&address, dir)
                .and_then(|backups| backup::make(&backups, self.every, self.keep as usize, show)),
            (None, Some(to)) => tools::backup(&address, &to, show).map(|made| Outcome {
                file: Some(to),
                bytes: made.bytes,
                dialogs: made.dialogs,
                newest: 0,
                busy: false,
            }),
            (None, None) => anyhow::bail!("name a file, or a directory with --dir"),
        };
        line.end();
        let outcome = outcome?;
        if self.json {
            output::line(serde_json::to_string(&outcome)?)?;
        } else {
            output::line(text(&outcome))?;
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

fn text(outcome: &Outcome) -> String {
    match &outcome.file {
        Some(file) => format!(
            "{}: {} dialogs, {} bytes, verified",
            file.display(),
            outcome.dialogs,
            outcome.bytes
        ),
        None if outcome.busy => "Another process makes a backup there now.".to_owned(),
        None => "The newest backup is not older than --every; none was made.".to_owned(),
    }
}

/// A worker's helper: behind its turns, and no longer than it.
fn follow(parent: i32) -> anyhow::Result<()> {
    sys::be_nice();
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid().as_raw() != parent {
        anyhow::bail!("the worker that wanted a backup is gone");
    }
    Ok(())
}

impl Restore {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let address = self.database.address()?;
        let mut line = Line::new("Restoring");
        let show = |done, all| line.show(done, all);
        let existing = match self.replace {
            true => Existing::KeptBeside,
            false => Existing::InTheWay,
        };
        let done = tools::restore(&self.from, &address, existing, show);
        line.end();
        let (done, kept) = done?;
        if self.json {
            output::line(json!({ "dialogs": done.dialogs, "bytes": done.bytes, "kept": kept }))?;
            return Ok(ExitCode::from(exit::CLEAN));
        }
        let mut text = format!("{address}: {} dialogs, {} bytes", done.dialogs, done.bytes);
        if let Some(kept) = kept {
            text += &format!("\nWhat was there before is now {}.", kept.display());
        }
        output::line(text)?;
        Ok(ExitCode::from(exit::CLEAN))
    }
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
