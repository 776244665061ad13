//! `man`: manual pages, one for the program and one for each command, made from what
//! `--help` says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Command};
use clap_mangen::Man;

use crate::process::exit;
use turnkey_text::output;

#[derive(Args)]
#[command(after_help = "\
Examples:
  turnkey man | man -l -
  turnkey man --out /usr/local/share/man/man1 && man turnkey-run")]
pub(super) struct ManPages {
    /// Write a page for each command into this directory, which is made if need be.
    /// Without it the program's own page is printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl ManPages {
    /// `name` is the program's: a bot of an author's has one of its own.
    pub(super) fn run(&self, command: Command, name: &str) -> anyhow::Result<ExitCode> {
        let mut command = command.name(name.to_owned()).bin_name(name);
        command.build();
        match &self.out {
            None => {
                output::print(&page(&command, name)?)?;
            }
            Some(directory) => {
                let cannot = || format!("cannot write pages to {}", directory.display());
                fs::create_dir_all(directory).with_context(cannot)?;
                let written = write(&command, name, directory).with_context(cannot)?;
                output::line(format_args!("{}: {written} pages", directory.display()))?;
            }
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

/// Writes a command's page and those of the commands below it: `turnkey-dead-list.1`.
/// How many.
fn write(command: &Command, name: &str, directory: &Path) -> std::io::Result<usize> {
    fs::write(directory.join(format!("{name}.1")), page(command, name)?)?;
    let mut written = 1;
    // `help` says the same again.
    let visible = |c: &&Command| !c.is_hide_set() && c.get_name() != "help";
    for below in command.get_subcommands().filter(visible) {
        written += write(below, &format!("{name}-{}", below.get_name()), directory)?;
    }
    Ok(written)
}

/// A page in roff, ASCII alone: not each reader of pages guesses UTF-8.
fn page(command: &Command, name: &str) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    Man::new(command.clone().name(name.to_owned()))
        .title(name.to_uppercase())
        .render(&mut bytes)?;
    let mut text = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(&bytes).chars() {
        match c.is_ascii() {
            true => text.push(c),
            // groff_char(7): by its number, four hexadecimal digits or more.
            false => text.push_str(&format!("\\[u{:04X}]", u32::from(c))),
        }
    }
    Ok(text)
}
