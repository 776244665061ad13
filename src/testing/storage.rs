//! A database of a conversation's own: SQLite in a temporary directory, with its writer in a
//! thread of this process.
//!
//! Made by `conversation.rs`. The engine is the one that bots have, so that an author's SQL
//! meets here what it meets there. Invariant: whoever drops it is left with no thread, no socket
//! and no file.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;

use turnkey_storage::sqlite::{Writer, random_owner};
use turnkey_storage::{Address, Database, Storage, Sync};

use crate::author::error::{Error, Result};

/// Open for one process, which is this one.
pub(super) struct Own {
    /// None once it is being dropped: the writer waits until its workers have left.
    pub(super) storage: Option<Arc<dyn Storage>>,
    /// Closed, it stops the writer.
    lifeline: Option<UnixStream>,
    writer: Option<JoinHandle<()>>,
    /// Removed after all else.
    _directory: tempfile::TempDir,
}

impl Own {
    /// A new one with these tables. To be called in a runtime.
    pub(super) fn open(migrations: &[String]) -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("turnkey-").tempdir()?;
        let address = Address::Sqlite(directory.path().join("bot.db"));
        // Nobody wants it after the test.
        let sync = Sync::Normal;
        let database = Database::at(&address, sync).map_err(Error::Storage)?;
        database.prepare(migrations).map_err(Error::Storage)?;
        let listener = database.bind().map_err(Error::Storage)?;
        let (Some(listener), Some(files)) = (listener, database.files().cloned()) else {
            return Err(Error::msg("this engine has no writer"));
        };
        let (lifeline, stop) = UnixStream::pair()?;
        let writer = Writer {
            files,
            file: None,
            sync,
            listener,
            expected: Vec::new(),
            monitor: Box::new(|_| {}),
        };
        let owner = random_owner().map_err(Error::Storage)?;
        let storage = database.connect(owner).map_err(Error::Storage)?;
        let writer = std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                // The lock on the file is the database's.
                let database = database;
                if let Err(error) = writer.run(stop.as_fd()) {
                    tracing::error!("the writer of a conversation: {error}");
                }
                database.leave();
            })?;
        Ok(Own {
            storage: Some(storage),
            lifeline: Some(lifeline),
            writer: Some(writer),
            _directory: directory,
        })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        drop((self.storage.take(), self.lifeline.take()));
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}
