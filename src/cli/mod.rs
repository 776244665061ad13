//! The command line: one file for each command.

mod backup;
mod broadcast;
mod callbacks;
mod check;
mod completions;
mod copy;
mod dead;
mod dialogs;
#[cfg(feature = "drill")]
mod drill_shell;
mod dump;
#[cfg(feature = "any-language")]
mod handler;
#[cfg(feature = "any-language")]
mod handler_check;
#[cfg(feature = "any-language")]
mod handler_exec;
mod inbox;
mod log;
mod man;
mod operator;
mod outbox;
mod run;
mod said;
mod send;
mod signals;
mod storage;
mod storage_file;
mod systemd;
mod timers;
#[cfg(feature = "top")]
mod top;
mod upgrade;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::handlers::Author;
use crate::process::arguments;
use crate::process::beginning;
use crate::process::exit;
use crate::process::sys;
use crate::shared::lines;
use crate::shared::lines::say;
use crate::shared::remedies::{STORAGE, words};
use turnkey_text::output;
use turnkey_text::program_name;

/// Bots and webhooks, one turn at a time for each user, in SQLite, PostgreSQL
/// or MySQL.
#[derive(Parser)]
#[command(version, about, max_term_width = 100, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the bot.
    Run(Box<run::Run>),
    /// Print every dialog as one JSON object a line, while the bot runs or not.
    Dump(dump::Dump),
    /// Verify a database: structure, schema, no lock left by a dead worker.
    Check(check::Check),
    /// Move everything to another database: SQLite to PostgreSQL, back, or to another
    /// file or server.
    Copy(copy::Copy),
    /// Look at dead letters, updates whose turns failed too often; try them again or drop
    /// them.
    Dead(dead::Dead),
    /// List dialogs, show one, or make it start anew.
    Dialogs(dialogs::Dialogs),
    /// Say something to one user, while the bot runs or not.
    Send(send::Send),
    /// Say something to many users, while the bot runs or not; and see how far that is.
    Broadcast(Box<broadcast::Broadcast>),
    /// List the updates that wait for their turns.
    Inbox(inbox::Inbox),
    /// List the replies that wait to be sent.
    Outbox(outbox::Outbox),
    /// List timers and schedules, what is due later; have one fire now, or take it away.
    Timers(timers::Timers),
    /// List the callbacks and questions that are open, or take one away.
    Callbacks(callbacks::Callbacks),
    /// Copy a SQLite database to a file, while the bot runs or not.
    Backup(backup::Backup),
    /// Put a backup back in its place.
    Restore(backup::Restore),
    /// Watch a running bot in the terminal, through its --admin address.
    #[cfg(feature = "top")]
    Top(top::Top),
    /// Let a new version of the program take over from a running bot.
    Upgrade(upgrade::Upgrade),
    /// Let a running bot read its settings again.
    Reload(upgrade::Reload),
    /// Stop a running bot, and wait for its end.
    Stop(upgrade::Stop),
    /// For bots in other languages: try them out, run their tests.
    #[cfg(feature = "any-language")]
    #[command(subcommand)]
    Handler(Handler),
    /// Print the systemd unit that runs this bot.
    Systemd(systemd::Systemd),
    /// Print what bash, zsh, fish … complete this command line with.
    Completions(completions::Completions),
    /// Print or write manual pages.
    Man(man::ManPages),
    /// Stands in for a shell in a drill; no person calls it.
    #[cfg(feature = "drill")]
    #[command(hide = true, name = turnkey_drill::SHELL_COMMAND)]
    DrillShell(drill_shell::Shell),
}

/// Commands for bots in other languages.
#[cfg(feature = "any-language")]
#[derive(Subcommand)]
enum Handler {
    /// Run a command, such as a bot's tests, that finds the SDK this program carries.
    Exec(handler_exec::Exec),
    /// Try a handler out: does it keep to the protocol of docs/HANDLERS.md?
    Check(handler_check::Check),
}

/// What a command does with its arguments.
type Run = Box<dyn FnOnce(&ArgMatches) -> anyhow::Result<ExitCode>>;

/// A command that a program brings beside ours.
pub struct Extra {
    /// How it is called and explained.
    pub command: clap::Command,
    /// What it does with its arguments.
    pub run: Run,
}

/// Obeys the command line.
pub(crate) fn main(author: Author, extras: Vec<Extra>) -> ExitCode {
    if sys::stdout_was_closed() {
        output::was_closed();
    }
    let code = obey(author, extras).unwrap_or_else(|error| {
        let unwritable = error
            .chain()
            .find_map(|cause| cause.downcast_ref::<output::Unwritable>());
        if unwritable.is_some_and(output::Unwritable::is_enough) {
            return ExitCode::from(exit::CLEAN);
        }
        say!("error: {}", sentence(&error));
        ExitCode::from(match (unwritable, error.downcast_ref()) {
            (Some(_), _) => exit::NO_OUTPUT,
            (None, Some(start)) => exit::of_start(start),
            (None, None) => exit::BAD_START,
        })
    });
    lines::finish(exit::LAST_LINES);
    code
}

fn obey(author: Author, extras: Vec<Extra>) -> anyhow::Result<ExitCode> {
    beginning::check()?;
    // Where the database is may stand in a file; read before, for every command that asks.
    let storage = storage_file::in_a_file();
    let commands = extras.iter().map(|extra| extra.command.clone());
    let whole = Cli::command().subcommands(commands);
    let matches = match storage_file::known_to(whole.clone(), &storage).try_get_matches() {
        Ok(matches) => matches,
        Err(error) if error.use_stderr() => {
            let words = error.to_string();
            let shown = arguments::without_passwords(&words);
            if shown == words {
                error.exit();
            }
            // It quotes an address that stands where none is asked for.
            say!("{}", shown.trim_end());
            std::process::exit(error.exit_code());
        }
        // --help and --version.
        Err(text) => {
            output::written(|| text.print())?;
            return Ok(ExitCode::from(exit::CLEAN));
        }
    };
    arguments::hide_passwords();
    storage_file::was_wanted(&matches, storage)?;
    let extra = matches.subcommand().and_then(|(name, matches)| {
        let extra = extras
            .into_iter()
            .find(|extra| extra.command.get_name() == name)?;
        Some((extra.run)(matches))
    });
    extra.unwrap_or_else(|| ours(author, whole, &matches))
}

/// An error with its reasons, the storage's with our options in them.
fn sentence(error: &anyhow::Error) -> String {
    let each = error.chain().map(|reason| match reason.downcast_ref() {
        Some(storage) => words(storage, STORAGE),
        None => reason.to_string(),
    });
    each.collect::<Vec<_>>().join(": ")
}

/// Obeys a command of every bot's.
fn ours(author: Author, whole: clap::Command, matches: &ArgMatches) -> anyhow::Result<ExitCode> {
    let cli = Cli::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
    match cli.command {
        Command::Run(run) => run.run(author, matches.subcommand_matches("run")),
        Command::Dump(dump) => dump.run(),
        Command::Check(check) => check.run(),
        Command::Copy(copy) => copy.run(&author),
        Command::Dead(dead) => dead.run(),
        Command::Dialogs(dialogs) => dialogs.run(),
        Command::Send(send) => send.run(&author),
        Command::Broadcast(broadcast) => broadcast.run(),
        Command::Outbox(outbox) => outbox.run(),
        Command::Inbox(inbox) => inbox.run(),
        Command::Timers(timers) => timers.run(),
        Command::Callbacks(callbacks) => callbacks.run(),
        Command::Backup(backup) => backup.run(),
        Command::Restore(restore) => restore.run(),
        #[cfg(feature = "top")]
        Command::Top(top) => top.run(),
        Command::Upgrade(upgrade) => upgrade.run(),
        Command::Reload(reload) => reload.run(),
        Command::Stop(stop) => stop.run(),
        #[cfg(feature = "any-language")]
        Command::Handler(Handler::Exec(exec)) => exec.run(),
        #[cfg(feature = "any-language")]
        Command::Handler(Handler::Check(check)) => check.run(),
        Command::Systemd(systemd) => systemd.run(),
        Command::Completions(shell) => shell.run(&whole, &program_name()),
        Command::Man(man) => man.run(whole, &program_name()),
        #[cfg(feature = "drill")]
        Command::DrillShell(shell) => Ok(shell.run()),
    }
}

/// The systemd unit of a bot.
pub(crate) fn unit(
    name: &str,
    program: &std::path::Path,
    arguments: &[String],
) -> anyhow::Result<String> {
    systemd::Unit {
        name,
        user: None,
        program,
        arguments,
        outline: &run::outline(arguments)?,
    }
    .service()
}
