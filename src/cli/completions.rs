//! `completions`: prints a shell's completion script for this program.

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::process::exit;
use turnkey_text::output;

#[derive(Args)]
#[command(after_help = "\
Examples:
  turnkey completions bash > /etc/bash_completion.d/turnkey
  turnkey completions zsh  > \"${fpath[1]}/_turnkey\"
  turnkey completions fish > ~/.config/fish/completions/turnkey.fish
For this shell alone: source <(turnkey completions bash)")]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_parser = clap::builder::EnumValueParser::<Shell>::new())]
    shell: Shell,
}

impl Completions {
    /// `name` is the program's: a bot of an author's has one of its own.
    pub(super) fn run(&self, command: &Command, name: &str) -> anyhow::Result<ExitCode> {
        // The generator for bash would offer hidden commands, too.
        let shown = command.get_subcommands().filter(|c| !c.is_hide_set());
        let mut visible = Command::new(name.to_owned())
            .version(env!("CARGO_PKG_VERSION"))
            .propagate_version(true)
            .args(command.get_arguments())
            .subcommands(shown);
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut visible, name, &mut script);
        output::print(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::from(exit::CLEAN))
    }
}
