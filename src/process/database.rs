//! The configured database, as shared by the processes of one program.
//!
//! Called by the master and by `--single-process` before anything is forked; the result has
//! nothing open, so it may cross a fork. Preparing opens and closes the database, and therefore
//! runs in a child that ends afterwards.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use turnkey_storage::Database;
use turnkey_storage::sqlite::Files;

use crate::author::start_error::StartError;
use crate::config::{Address, Config};
use crate::process::lock_note::LockNote;

/// Takes the configured database, or makes a name for a new one.
///
/// # Errors
/// With the remedy.
pub(crate) fn take(config: &Config) -> crate::StartResult<Database> {
    let taken = match &config.database {
        Some(address) => Database::at(address, config.sync),
        None => Database::at(&Address::Sqlite(new_in_temporary_directory()?), config.sync),
    };
    Ok(taken?)
}

/// Takes over a file, with the lock on it, from a program that still serves it.
///
/// # Errors
/// [`StartError::Refused`]: another database is configured now.
pub(crate) fn inherit(config: &Config, path: &Path, lock: OwnedFd) -> crate::StartResult<Database> {
    let is_ours = |configured: &Path| Files::of(configured) == Files::of(path);
    let configured = config.database.as_ref();
    let is_other = configured.is_some_and(|address| !address.file().is_some_and(is_ours));
    if is_other {
        return Err(StartError::Refused(format!(
            "an upgrade keeps the database, {}; stop the bot to change --storage",
            path.display()
        )));
    }
    Ok(Database::inherit(path, config.sync, lock)?)
}

/// Leaves word for the commands that signal this program.
pub(crate) fn note(database: &Database, lock_note: &LockNote) {
    let Some(lock) = database.lock() else { return };
    let noted = serde_json::to_string(lock_note)
        .map_err(std::io::Error::from)
        .and_then(|line| lock.note(&line));
    if let Err(error) = noted {
        // A full disk, say. Only `--pid` is left to those commands then.
        tracing::warn!("cannot note in the lock file which process this is: {error}");
    }
}

/// A file of its own for this run, empty and readable by this user alone.
fn new_in_temporary_directory() -> crate::StartResult<PathBuf> {
    let made = tempfile::Builder::new()
        .prefix("turnkey-")
        .suffix(".db")
        .tempfile()
        .and_then(|file| file.into_temp_path().keep().map_err(|e| e.error));
    made.map_err(|e| {
        StartError::Refused(format!(
            "cannot make a database in {}: {e}; name a file with --storage sqlite:bot.db",
            std::env::temp_dir().display()
        ))
    })
}
