//! The bot that stands on the command line: `run bot.py`, `run -- ruby bot.rb`.
//!
//! Called by `run.rs` before anything is forked, where it takes the place of the handler that
//! is compiled in (channels and locks stay), and by `handler_check.rs`. Bounds: [`MOST_MIGRATIONS`].

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit};

use crate::config::{Config, Processes};
use crate::handlers::Author;
use crate::handlers::command::{Command, Plan, find};
use crate::process::sys;
use crate::shared::lines::say;

/// Files of migrations: a directory with more is not one of them.
const MOST_MIGRATIONS: usize = 10_000;

/// How a command line names it.
#[derive(Args)]
pub(super) struct Bot {
    /// The bot: a file in Python or JavaScript, such as bot.py. `run` without one runs
    /// the bot that was compiled into this program.
    #[arg(value_name = "FILE", conflicts_with = "command")]
    handler: Option<PathBuf>,

    /// The bot: a command that speaks the protocol of docs/HANDLERS.md.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What the command line names.
pub(super) struct Named {
    plan: Plan,
    /// Where migrations are, if nothing else is said.
    beside: Option<PathBuf>,
}

impl Bot {
    /// Looks for the bot that was named, and for who runs it.
    ///
    /// # Errors
    /// There is no such file, or nobody to run it.
    pub(super) fn named(self) -> anyhow::Result<Option<Named>> {
        let (open_files, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let plan = |program: PathBuf, arguments, name, directory| Plan {
            program,
            arguments,
            name,
            directory,
            guard: sys::guard_handler,
            open_files,
        };
        if let Some(file) = self.handler {
            let found = find(&file).map_err(anyhow::Error::msg)?;
            let whole = std::path::absolute(&file)?;
            let directory = whole.parent().unwrap_or(Path::new("/")).to_owned();
            return Ok(Some(Named {
                beside: Some(directory.join("migrations")),
                plan: plan(found.program, found.arguments, found.name, directory),
            }));
        }
        let mut words = self.command.into_iter();
        let Some(program) = words.next() else {
            return Ok(None);
        };
        let program = PathBuf::from(program);
        let name = program.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        Ok(Some(Named {
            plan: plan(program, words.collect(), name, std::env::current_dir()?),
            beside: None,
        }))
    }

    /// Whether it may make machine code while it runs: CPython does not.
    pub(super) fn compiles(&self) -> bool {
        let is_python = |file: &PathBuf| file.extension().is_some_and(|e| e == "py");
        !self.command.is_empty() || self.handler.as_ref().is_some_and(|file| !is_python(file))
    }
}

impl Named {
    /// How it is started.
    pub(super) fn plan(self) -> Plan {
        self.plan
    }
}

/// Puts it in the place of the author's handler.
///
/// # Errors
/// Its migrations cannot be read, or there is a setting for it and no bot.
pub(super) fn bring(
    named: Option<Named>,
    config: &Config,
    author: Author,
) -> anyhow::Result<Author> {
    let Some(Named { plan, beside }) = named else {
        for (is_set, option) in [
            (config.migrations.is_some(), "--migrations"),
            (config.watch, "--watch"),
        ] {
            if is_set {
                bail!("{option} is for a bot that is named: turnkey run bot.py {option} …");
            }
        }
        return Ok(author);
    };
    if config.watch && config.processes == Processes::Single {
        bail!("--watch replaces workers, and --single-process has none: leave one of them out");
    }
    say!("Handler: {}, run by {}.", plan.name, plan.program.display());
    let migrations = match (&config.migrations, beside) {
        (Some(directory), _) => migrations(directory)?,
        (None, Some(beside)) if beside.is_dir() => migrations(&beside)?,
        _ => Vec::new(),
    };
    Ok(Author {
        handler: Box::new(Command::new(plan)),
        migrations,
        ..author
    })
}

/// The scripts of a directory, in the order of their names.
///
/// # Errors
/// There is none, or one cannot be read.
pub(super) fn migrations(directory: &Path) -> anyhow::Result<Vec<String>> {
    let shown = directory.display();
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("--migrations {shown} cannot be read"))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sql") {
            files.push(path);
        }
        if files.len() > MOST_MIGRATIONS {
            bail!("--migrations {shown} has more than {MOST_MIGRATIONS} files");
        }
    }
    if files.is_empty() {
        bail!("--migrations {shown} has no file that ends in .sql, such as 0001_orders.sql");
    }
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path);
        text.with_context(|| format!("the migration {} cannot be read", path.display()))
    };
    files.into_iter().map(read).collect()
}
