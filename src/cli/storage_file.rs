//! The database's address from a file: `TURNKEY_STORAGE_FILE`, or the credential
//! `storage`, for every command that takes `--storage`.
//!
//! Called by `main` around the parsing of the command line. A flag comes before it.

use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use crate::config::{environment, find};

/// The variable of every `--storage` that is meant.
const VARIABLE: &str = "TURNKEY_STORAGE";

/// Reads the address, if the variable or one of these files is there.
///
/// # Errors
/// It cannot be read, or is in two places.
pub(super) fn in_a_file() -> crate::StartResult<Option<String>> {
    Ok(find("storage", &environment)?.map(|found| found.secret.to_string()))
}

/// The command line with that address where none is given.
pub(super) fn known_to(command: Command, storage: &crate::StartResult<Option<String>>) -> Command {
    let address = match storage {
        Ok(None) => return command,
        // For the life of the program: clap wants it so.
        Ok(Some(address)) => &*address.clone().leak(),
        Err(_) => "",
    };
    with_default(command, address)
}

fn with_default(command: Command, address: &'static str) -> Command {
    let command = command.mut_subcommands(|command| with_default(command, address));
    command.mut_args(|argument| {
        let is_meant = argument.get_env().is_some_and(|name| name == VARIABLE);
        match is_meant {
            true => argument
                .required(false)
                .default_value(address)
                .hide_default_value(true),
            false => argument,
        }
    })
}

/// Refuses a command that would have used an address which cannot be read.
///
/// # Errors
/// What [`in_a_file`] found.
pub(super) fn was_wanted(
    matches: &ArgMatches,
    storage: crate::StartResult<Option<String>>,
) -> crate::StartResult<()> {
    match storage {
        Err(error) if has_no_flag(matches) => Err(error),
        _ => Ok(()),
    }
}

fn has_no_flag(matches: &ArgMatches) -> bool {
    let asks = matches.ids().any(|id| id.as_str() == "storage");
    let no_flag = asks && matches.value_source("storage") != Some(ValueSource::CommandLine);
    let within = matches.subcommand().map(|(_, matches)| matches);
    no_flag || within.is_some_and(has_no_flag)
}
