//! The hidden command that plays the shell in a drill of this program.
//!
//! Called by `turnkey::drill`, with the feature `drill`; no person calls it.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

/// Stands in for a shell; no person calls it.
#[derive(Args)]
pub(super) struct Shell {
    #[arg(long)]
    terminal: Option<OsString>,

    #[arg(last = true)]
    command: Vec<OsString>,
}

impl Shell {
    pub(super) fn run(self) -> ExitCode {
        turnkey_drill::shell(&turnkey_drill::ShellRole {
            terminal: self.terminal,
            command: self.command,
        })
    }
}
