//! `handler exec`: runs a command that finds the SDK, for the tests of a bot.
//!
//! With a lone program there is no package `turnkey` that `python3` or `node` could import.
//! Invariant: the command takes the place of this process, so signals, the terminal and the
//! exit code are its own.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::Args;

use crate::handlers::command::Carried;

#[derive(Args)]
#[command(after_help = "\
In the command `import turnkey` and `from 'turnkey'` find the SDK that this program carries,
and TURNKEY_PROGRAM names this program.

Examples:
  turnkey handler exec -- python3 -m unittest
  turnkey handler exec -- node --test")]
pub(super) struct Exec {
    /// The command, and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Exec {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let mut words = self.command.into_iter();
        let program = words.next().context("a command is needed, after --")?;
        let ours = std::env::current_exe().context("cannot tell where this program is")?;
        let mut command = Command::new(&program);
        command.args(words).env("TURNKEY_PROGRAM", ours);
        let carried = Carried::new().context("cannot make the SDK")?;
        carried
            .leave_to(&mut command)
            .context("cannot hand over the SDK")?;
        let error = command.exec();
        let program = program.display();
        if error.kind() == io::ErrorKind::NotFound {
            bail!("there is no program {program}; install it, or give its whole path");
        }
        Err(error).with_context(|| format!("cannot start {program}"))
    }
}
