//! The SQLite engine: one file, one writer, any number of processes.
//!
//! | file | what |
//! | --- | --- |
//! | `files.rs` | the names of the files, the lock, the socket |
//! | `migrations.rs` | tables |
//! | `schema.rs` | how an older file becomes a current one |
//! | `pragmas.rs` | every setting, with its reason |
//! | `writer/` | the loop: gather, execute, commit, answer |
//! | `statements/` | the SQL of a turn |
//! | `locks.rs` | who holds which dialog, who waits |
//! | `protocol/` | the bytes between worker and writer |
//! | `client/` | the worker's side |
//! | `readers.rs` | read-only connections |
//! | `checkpoint.rs` | when the log is copied into the file |
//! | `kept_open.rs` | the file, opened once more and never closed, to sync it |
//! | `inspect.rs` | dump and check, while a bot runs or not |
//! | `snapshot.rs` | a consistent copy of the file while it is written to |
//! | `backup.rs` | a verified snapshot, and restoring it |
//! | `names.rs` | gives files new names, never one that is taken |
//! | `backup_directory.rs` | backups named by their time, the oldest removed |
//! | `stamp.rs` | that time, as it stands in a name |
//! | `copy.rs` | its side of a move to or from another database |
//! | `spin.rs` | looking again instead of sleeping, on both sides of the writer's socket |
//! | `presence.rs` | whether the names still lead to the open files |
//! | `stranger.rs` | which other program writes to the file |
//! | `rescue.rs` | saves the contents of an open file that lost its name |
//! | `shared/` | the same file for any number of processes, without a program that starts them |
//! | `ceiling.rs` | the writer's SQL without the writer, for measuring only |
//! | `trial.rs` | pragmas to try, for measuring only |
//!
//! To use it, call [`Files::lock`] once, so that nobody else serves the file; [`prepare`];
//! [`Files::bind`] for the socket; [`Writer::run`] in a process or thread; [`connect`] in every
//! process that takes turns.
//!
//! Beside `bot.db` are SQLite's own `bot.db-wal` and `bot.db-shm`, and ours: `bot.db-lock`,
//! locked while the file is served, and `bot.db-writer`, the socket.

mod backup;
mod backup_directory;
#[doc(hidden)]
pub mod ceiling;
mod checkpoint;
mod client;
mod copy;
mod files;
mod inspect;
mod kept_open;
pub mod locks;
mod migrations;
mod names;
mod pragmas;
mod presence;
mod protocol;
mod readers;
mod rescue;
mod schema;
pub mod shared;
mod snapshot;
mod spin;
mod stamp;
mod statements;
mod stranger;
#[doc(hidden)]
pub mod trial;
mod writer;

use rusqlite::Connection;

pub use backup::{BackedUp, Existing, backup, restore};
pub use backup_directory::{BackupDirectory, DirectoryLock};
pub use copy::{CopyFile, copy_source, copy_target};
pub use files::{FileLock, Files};
pub use inspect::{check, dump, must_exist};
pub use presence::FileId;
pub use schema::{is_current, prepare, prepare_for_operator};
pub use shared::{Opening, SharedDatabase, Transaction};
pub use writer::{Taken, Writer, WriterStats};

use crate::own::Own;
use crate::{
    Begin, Begun, BoxFuture, Commit, DialogKey, Error, Grant, Owner, ReplyId, Result, Row,
    Statement, Storage,
};

/// The storage of a process that takes turns: writes through the writer, reads
/// by itself.
#[derive(Debug)]
pub struct SqliteStorage {
    writer: client::WriterClient,
    readers: readers::Readers,
}

/// Connects this process as `owner` to the writer of a database. To be called in
/// a tokio runtime, after any fork.
///
/// # Errors
/// [`Error::Open`] when the file cannot be read.
pub fn connect(files: &Files, owner: Owner) -> Result<SqliteStorage> {
    Ok(SqliteStorage {
        writer: client::WriterClient::new(files.socket.clone(), owner, Box::new(|| {})),
        readers: readers::Readers::open(&files.database)?,
    })
}

/// A number for a process that nobody numbered.
///
/// # Errors
/// [`Error::Unavailable`] when the kernel gives no random bytes.
pub fn random_owner() -> Result<Owner> {
    getrandom::u64()
        .map(|n| Owner(n >> 1 | 1))
        .map_err(|e| Error::Unavailable(e.to_string()))
}

impl SqliteStorage {
    /// Runs statements in one transaction, outside any turn: all or none, and
    /// durable when it returns. At most once: unlike a turn's commit they cannot be
    /// recognised, so they are not sent again to the successor of a writer that died.
    ///
    /// # Errors
    /// [`Error::Statement`] when one of them fails; [`Error::Unavailable`] when the
    /// writer died before it answered, they may have taken effect or not.
    pub async fn write(&self, statements: Vec<Statement>) -> Result<()> {
        self.writer.write(statements.into()).await.map(drop)
    }

    /// Reads with a connection of the pool, on a thread of its own.
    ///
    /// # Errors
    /// [`Error::Statement`] with SQLite's reason.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.readers.read(read).await
    }

    /// The workers that are connected to the writer.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no writer answers.
    pub async fn owners(&self) -> Result<Vec<Owner>> {
        self.writer.owners().await
    }
}

impl Own for SqliteStorage {
    fn own(&self, statements: Vec<Statement>) -> BoxFuture<'_, Result<Vec<u64>>> {
        Box::pin(self.writer.own(statements))
    }

    fn own_query(&self, query: Statement) -> BoxFuture<'_, Result<Vec<Row>>> {
        // Readers only read, so the author's guard is not in their way.
        Box::pin(self.readers.query(query))
    }

    fn due(&self, limit: u32) -> BoxFuture<'_, Result<Vec<DialogKey>>> {
        Box::pin(self.writer.due(limit))
    }

    fn numbers_dialogs(&self) -> bool {
        true
    }
}

impl Storage for SqliteStorage {
    fn begin(&self, begin: Begin) -> BoxFuture<'_, Result<Begun>> {
        Box::pin(self.writer.begin(begin))
    }

    fn commit<'a>(&'a self, grant: &'a mut Grant, commit: Commit) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.writer.commit(grant, commit))
    }

    fn sent<'a>(&'a self, grant: &'a Grant, replies: Vec<ReplyId>) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.writer.sent(grant, replies))
    }

    fn end(&self, grant: Grant, replies: Vec<ReplyId>) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.writer.end(grant, replies))
    }

    fn query<'a>(
        &'a self,
        grant: Option<&'a Grant>,
        query: Statement,
    ) -> BoxFuture<'a, Result<Vec<Row>>> {
        Box::pin(async move {
            // The turn before this one may be in a batch that is not committed.
            if grant.is_some_and(|grant| grant.open) {
                self.writer.barrier().await?;
            }
            self.readers.query(query).await
        })
    }

    fn dialogs_with_unsent(&self, limit: u32) -> BoxFuture<'_, Result<Vec<DialogKey>>> {
        Box::pin(self.writer.dialogs_with_unsent(limit))
    }

    fn write_ready(&self) -> BoxFuture<'_, Result<()>> {
        // A transaction with nothing in it: it takes the file's write lock, and the writer.
        Box::pin(async { self.writer.own(Vec::new()).await.map(drop) })
    }
}
