//! The configured database: where it is, how it is prepared and connected to.
//!
//! Called by the master before the first fork and by each child for its own
//! part. Nothing of SQLite is opened in the master: preparing runs in a child
//! that ends afterwards.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;

use turnkey_storage::sqlite::{self, FileLock, Files};
use turnkey_storage::{Owner, Storage, Sync};

use crate::config::Config;
use crate::error::Error;

/// A database that this program holds.
pub(crate) struct Database {
    pub(crate) files: Files,
    pub(crate) sync: Sync,
    /// Held by every process of this program, and so until the last has left.
    lock: FileLock,
}

impl Database {
    /// Takes the configured database, or makes a name for a new one.
    ///
    /// # Errors
    /// [`Error::Start`] with the remedy.
    pub(crate) fn take(config: &Config) -> crate::Result<Self> {
        let path = match &config.database {
            Some(path) => path.clone(),
            None => new_in_temporary_directory()?,
        };
        let files = Files::of(&path);
        let lock = files.lock().map_err(start_error)?;
        Ok(Database {
            files,
            sync: config.sync,
            lock,
        })
    }

    /// Creates or migrates the file. Opens and closes it: for a process that
    /// ends, or has no other connection to it.
    ///
    /// # Errors
    /// [`Error::Start`] with the remedy.
    pub(crate) fn prepare(&self, migrations: &[String]) -> crate::Result<()> {
        sqlite::prepare(&self.files.database, self.sync, migrations).map_err(start_error)
    }

    /// Binds the socket that workers reach the writer at.
    ///
    /// # Errors
    /// [`Error::Start`] with the remedy.
    pub(crate) fn bind(&self) -> crate::Result<UnixListener> {
        self.files.bind(&self.lock).map_err(start_error)
    }

    /// Connects this process, after its fork and in its runtime.
    ///
    /// # Errors
    /// [`Error::Start`] with the remedy.
    pub(crate) fn connect(&self, owner: Owner) -> crate::Result<Arc<dyn Storage>> {
        let storage = sqlite::connect(&self.files, owner).map_err(start_error)?;
        Ok(Arc::new(storage))
    }

    /// As a person would write it.
    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.files.database.display())
    }

    /// Removes what is only there while the program runs.
    pub(crate) fn leave(&self) {
        if let Err(error) = self.files.remove_socket() {
            tracing::warn!("cannot remove {}: {error}", self.files.socket.display());
        }
    }
}

pub(crate) fn start_error(error: turnkey_storage::Error) -> Error {
    Error::Start(error.to_string())
}

/// A file of its own for this run, empty and readable by this user alone.
fn new_in_temporary_directory() -> crate::Result<PathBuf> {
    let made = tempfile::Builder::new()
        .prefix("turnkey-")
        .suffix(".db")
        .tempfile()
        .and_then(|file| file.into_temp_path().keep().map_err(|e| e.error));
    made.map_err(|e| {
        Error::Start(format!(
            "cannot make a database in {}: {e}; name a file with --storage sqlite:bot.db",
            std::env::temp_dir().display()
        ))
    })
}
