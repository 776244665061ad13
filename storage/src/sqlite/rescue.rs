//! Saves the contents of an open database file whose name is gone, to a new file beside it.
//!
//! Ordered by the writer (`writer/taken.rs`), run on the thread of [`super::checkpoint`] with
//! its connection, which has the lost file open. If only the `-wal` or `-shm` name is missing,
//! the contents go into the database itself instead, which is still in its place. Bounds:
//! [`ROOM`] more than the copy must be free on the disk.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use rusqlite::Connection;

use super::{backup, names};
use crate::{Error, Result};

/// Bytes that stay free, 16 MiB: a rescue must not fill the disk that others need.
const ROOM: u64 = 16 << 20;

/// What became of it.
#[derive(Debug)]
pub(crate) enum Rescued {
    /// Everything is in the database's own file.
    InPlace,
    /// It is in this file, with this number and so many dialogs.
    File(PathBuf, u32, u64),
}

/// Copies the log into the database. Only while nobody else can have opened it by its
/// names: SQLite's locks are on the files, and they would be on others.
pub(crate) fn into_the_file(conn: &Connection) -> Result<Rescued> {
    let failed = |e: rusqlite::Error| Error::open(e.to_string());
    let all = conn
        .query_row("PRAGMA wal_checkpoint(FULL)", [], |row| {
            Ok(!row.get::<_, bool>(0)? && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
        })
        .map_err(failed)?;
    match all {
        true => Ok(Rescued::InPlace),
        false => Err(Error::open("a reader is in the way".to_owned())),
    }
}

/// Writes all of the open file to `bot.db-rescued-1`, or the next number, and reads it back.
pub(crate) fn beside_it(conn: &Connection, database: &Path) -> Result<Rescued> {
    let failed = |e: &dyn std::fmt::Display| Error::open(e.to_string());
    let size: i64 = conn
        .query_row(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
            [],
            |row| row.get(0),
        )
        .map_err(|e| failed(&e))?;
    let directory = database.parent().unwrap_or(Path::new("/"));
    let disk = statvfs(directory).map_err(|e| failed(&e))?;
    let (needed, free) = (
        size.unsigned_abs() + ROOM,
        disk.blocks_available() as u64 * disk.fragment_size() as u64,
    );
    if free < needed {
        return Err(Error::open(format!(
            "{} MiB are needed on that disk, {} are free",
            needed >> 20,
            free >> 20
        )));
    }
    let name = |n: u32| names::beside(database, &format!("-rescued-{n}"));
    let target = names::free(name, &["-part"]);
    let number = (1..).find(|n| name(*n) == target).unwrap_or_default();
    let made = backup::of_open(conn, database, &target)?;
    Ok(Rescued::File(target, number, made.dialogs))
}
