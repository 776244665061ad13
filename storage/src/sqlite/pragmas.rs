//! Every setting of a connection, with its reason.
//!
//! Called by whoever opens a connection: [`super::schema`] when a file is made,
//! [`super::writer`] for the one that writes, [`super::readers`] for the others.

use rusqlite::{Connection, OpenFlags};
use std::path::Path;

use crate::{Error, Result, Sync};

/// SQLite 3.51.3, the first release without the WAL-reset bug: two connections
/// that write and checkpoint at once could lose commits
/// (<https://www.sqlite.org/changes.html>).
const OLDEST_SQLITE: i32 = 3_051_003;

/// Bytes of a page of a new file. A batch's cost is the number and the size of
/// the pages it dirties, and a state is a few hundred bytes.
pub(crate) const PAGE_SIZE: u32 = 4096;

/// The WAL is copied into the database when it has grown by this many bytes:
/// 16 MiB. Smaller costs more syncs, larger a longer pause at each.
pub(crate) const CHECKPOINT_BYTES: u64 = 16 << 20;

/// How long a statement waits for a lock that another program holds, in
/// milliseconds: a person in the `sqlite3` shell, a backup. The writer asks again
/// after that, and gives a sign of life in between.
const BUSY_TIMEOUT_MS: u32 = 1000;

/// Opens the one connection that writes.
pub(crate) fn open_writer(path: &Path, sync: Sync) -> Result<Connection> {
    check_library()?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|e| cannot_open(path, &e))?;
    let synchronous = match sync {
        Sync::Full => "FULL",
        Sync::Normal => "NORMAL",
    };
    conn.execute_batch(&format!(
        // WAL: readers do not wait for the writer, nor it for them.
        "PRAGMA busy_timeout = {BUSY_TIMEOUT_MS};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = {synchronous};
         -- The writer checkpoints by itself, after it has answered.
         PRAGMA wal_autocheckpoint = 0;
         -- After a long reader has let the WAL grow, give the space back.
         PRAGMA journal_size_limit = {limit};
         PRAGMA temp_store = MEMORY;
         PRAGMA foreign_keys = ON;",
        limit = CHECKPOINT_BYTES * 4,
    ))
    .map_err(|e| cannot_open(path, &e))?;
    conn.set_prepared_statement_cache_capacity(256);
    Ok(conn)
}

/// Opens a connection that can only read.
pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    check_library()?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|e| cannot_open(path, &e))?;
    set_up_reader(&conn).map_err(|e| cannot_open(path, &e))?;
    Ok(conn)
}

/// The settings of a connection that can only read.
pub(crate) fn set_up_reader(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(&format!(
        "PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY;"
    ))
}

fn check_library() -> Result<()> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(Error::Open(format!(
            "this program was built with SQLite {}, which can lose commits in WAL mode; build it with 3.51.3 or newer",
            rusqlite::version()
        )));
    }
    Ok(())
}

/// The sentence for a file that cannot be opened, by SQLite's reason.
pub(crate) fn cannot_open(path: &Path, error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{CannotOpen, DatabaseBusy, NotADatabase, PermissionDenied, ReadOnly};
    let path = path.display();
    Error::Open(match error.sqlite_error_code() {
        Some(NotADatabase) => format!(
            "{path} is not a SQLite database; name another file with --storage, or move this one away"
        ),
        Some(CannotOpen) => format!(
            "cannot open {path}; check that its directory exists and that this user may write there"
        ),
        Some(PermissionDenied | ReadOnly) => format!(
            "no right to write to {path}; give this user write access to the file and its directory"
        ),
        Some(DatabaseBusy) => format!(
            "{path} is locked by another program; end its transaction or close it, then start again"
        ),
        _ => format!("cannot use {path}: {error}"),
    })
}
