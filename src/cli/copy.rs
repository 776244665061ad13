//! `copy`: everything from one database to another.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use turnkey_storage::Address;
use turnkey_storage::copy::{Progress, Report, Wanted};
use turnkey_storage::tools::{self, Side};

use crate::handlers::Author;
use crate::process::exit;
use crate::shared::lines::say;
use crate::shared::remedies::words;
use turnkey_text::output;

/// Between two lines of progress; on a terminal one line is written over.
const EVERY: Duration = Duration::from_secs(5);
const EVERY_ON_TERMINAL: Duration = Duration::from_millis(100);

#[derive(Args)]
#[command(after_help = "\
Copies dialogs with their states, the ids of updates seen with their answers, replies
not yet sent, the history and, if asked for, your own tables. No bot may use either
database meanwhile. The target must be new or empty; your program's migrations are run
on it first, so use your own program's copy command. The source is only read.

At the end both sides are read again and compared. Until that has come out well the
target counts as unfinished: no bot starts on it, and the same command starts anew.

An address with a password is better kept from the command line, which everybody can
read: TURNKEY_COPY_FROM, TURNKEY_COPY_TO.

Exit code 0: copied and compared. 1: the comparison found a difference. 2: it could not
be done. 130: stopped by Ctrl-C.

Example:
  turnkey copy --from sqlite:bot.db --to postgres://user:password@host/db --tables orders
  turnkey copy --from mysql://user:password@host/db --to sqlite:bot.db --all-tables")]
pub(super) struct Copy {
    /// The database to read, such as sqlite:bot.db, postgres://user:password@host/db or
    /// mysql://user:password@host/db.
    #[arg(
        long,
        env = "TURNKEY_COPY_FROM",
        hide_env_values = true,
        value_name = "URL"
    )]
    from: String,

    /// The database to fill.
    #[arg(
        long,
        env = "TURNKEY_COPY_TO",
        hide_env_values = true,
        value_name = "URL"
    )]
    to: String,

    /// Tables of your own to copy too, separated by commas.
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        conflicts_with = "all_tables"
    )]
    tables: Vec<String>,

    /// Copy every table of your own.
    #[arg(long)]
    all_tables: bool,

    /// Of a bot in another language: where its migrations are, as for `run`.
    #[cfg(feature = "any-language")]
    #[arg(long, value_name = "DIR")]
    migrations: Option<std::path::PathBuf>,

    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

impl Copy {
    #[cfg(feature = "any-language")]
    fn migrations(&self, author: &Author) -> anyhow::Result<Vec<String>> {
        match &self.migrations {
            Some(directory) => super::handler::migrations(directory),
            None => Ok(author.migrations.clone()),
        }
    }

    #[cfg(not(feature = "any-language"))]
    fn migrations(&self, author: &Author) -> anyhow::Result<Vec<String>> {
        Ok(author.migrations.clone())
    }

    pub(super) fn run(self, author: &Author) -> anyhow::Result<ExitCode> {
        let address = |option, url: &str| {
            url.parse::<Address>()
                .map_err(|e| anyhow::anyhow!("{}", words(&e, option)))
        };
        let from = address("--from", &self.from)?;
        let to = address("--to", &self.to)?;
        let wanted = match self.all_tables {
            true => Wanted::All,
            false => Wanted::Named(self.tables.iter().map(|t| t.trim().to_owned()).collect()),
        };
        if tools::is_same(&from, &to) {
            anyhow::bail!(
                "--from and --to are the same database, {to}; name another one with --to"
            );
        }
        let migrations = self.migrations(author)?;
        let mut line = Line::new();
        let copied = until_interrupted(tools::copy(&from, &to, &migrations, &wanted, |progress| {
            line.show(progress)
        }));
        line.end();
        let Some(copied) = copied? else {
            say!(
                "Stopped. What was copied to {to} does not count: run the same command again, which starts anew."
            );
            return Ok(ExitCode::from(exit::INTERRUPTED));
        };
        let report = copied.map_err(|(side, error)| {
            let option = match side {
                Side::From => "--from",
                Side::To => "--to",
            };
            anyhow::anyhow!("{}", words(&error, option))
        })?;
        let printed = match self.json {
            true => output::line(as_json(&report)),
            false => output::print(&table(&report)),
        };
        if !report.left_out.is_empty() {
            say!(
                "Not copied, since not asked for (--tables, --all-tables): {}.",
                report.left_out.join(", ")
            );
        }
        if !report.same() {
            say!(
                "error: the two sides differ, and {to} stays unfinished. A value that {to} writes in another form (a time, a decimal, a number of less precision) is no longer the same: make that column text, and copy again."
            );
            return Ok(ExitCode::from(exit::CUT));
        }
        say!("Copied: {to} has what {from} has.");
        printed?;
        Ok(ExitCode::from(exit::CLEAN))
    }
}

/// What the work comes to, or none when Ctrl-C stopped it.
fn until_interrupted<T>(work: impl Future<Output = T>) -> anyhow::Result<Option<T>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let done = runtime.block_on(async {
        tokio::select! {
            done = work => Ok(Some(done)),
            pressed = tokio::signal::ctrl_c() => pressed.map(|()| None),
        }
    });
    // A thread that still reads is not waited for.
    runtime.shutdown_background();
    Ok(done?)
}

fn as_json(report: &Report) -> serde_json::Value {
    let tables: Vec<_> = report
        .tables
        .iter()
        .map(|t| {
            json!({
                "table": t.table,
                "from": { "rows": t.from.rows, "checksum": t.from.checksum.to_string() },
                "to": { "rows": t.to.rows, "checksum": t.to.checksum.to_string() },
                "same": t.same(),
            })
        })
        .collect();
    json!({ "ok": report.same(), "tables": tables, "left_out": report.left_out })
}

fn table(report: &Report) -> String {
    let width = |t: &turnkey_storage::copy::Compared| t.table.len();
    let width = report.tables.iter().map(width).max().unwrap_or_default();
    let mut text = format!("{:width$}  {:>12}  {:16}\n", "table", "rows", "checksum");
    for t in &report.tables {
        // A sixteenth of it is enough for people.
        let short = |sum: String| sum[..16].to_owned();
        let (rows, sum) = (t.from.rows, short(t.from.checksum.to_string()));
        text += &format!("{:width$}  {rows:>12}  {sum}", t.table);
        if t.same() {
            text += "  same on both sides\n";
        } else {
            let sum = short(t.to.checksum.to_string());
            text += &format!("  DIFFERENT: {} rows, {sum} in the target\n", t.to.rows);
        }
    }
    text
}

/// The line that says how far it is.
struct Line {
    terminal: bool,
    shown: Option<Instant>,
    comparing: bool,
}

impl Line {
    fn new() -> Self {
        Line {
            terminal: std::io::stderr().is_terminal(),
            shown: None,
            comparing: false,
        }
    }

    fn show(&mut self, progress: Progress<'_>) {
        let every = match self.terminal {
            true => EVERY_ON_TERMINAL,
            false => EVERY,
        };
        let now = Instant::now();
        let turns = progress.done == progress.total || progress.comparing != self.comparing;
        if !turns && self.shown.is_some_and(|shown| now < shown + every) {
            return;
        }
        self.shown = Some(now);
        self.comparing = progress.comparing;
        let Progress {
            done, total, table, ..
        } = progress;
        let doing = match progress.comparing {
            true => "Comparing",
            false => "Copying",
        };
        let percent = done * 100 / total.max(1);
        let text = format!("{doing} {done} of {total} rows ({percent} %): {table}");
        if self.terminal {
            // Over the last line, of which nothing may be left.
            drop(write!(std::io::stderr(), "\r{text}\x1b[K"));
        } else {
            say!("{text}");
        }
    }

    fn end(&self) {
        if self.terminal && self.shown.is_some() {
            say!("");
        }
    }
}
