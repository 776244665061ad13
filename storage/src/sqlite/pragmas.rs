//! Every setting of a connection, with its reason and its measurement.
//!
//! The figures are of 2 clients with 64 turns in flight each, 10,000 dialogs, full sync,
//! on 2 shared cores with a disk that syncs in 0.4 ms; medians of four runs of 3 s, taken
//! in turn. Differences below a tenth are noise there.
//!
//! Called by [`super::schema`] when a file is made, [`super::writer`] for the connection that
//! writes, [`super::readers`] for the others.

use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{AccessFlags, access};

use super::files::directory_of;
use super::names;

use crate::{Error, OpenError, Remedy, Result, Sync};

/// SQLite 3.51.3, the first release without the WAL-reset bug: two connections
/// that write and checkpoint at once could lose commits
/// (<https://www.sqlite.org/changes.html>).
const OLDEST_SQLITE: i32 = 3_051_003;

/// Bytes of a page of a new file. A turn dirties a page or two whatever their size, so
/// smaller ones are less to write, and more system calls for large states.
///
/// | page | states of 200 B: turns/s, bytes written a turn | p99.9 | states of 2 kB |
/// | --- | --- | --- | --- |
/// | 1024 | 33,500, 1,650 | 16 ms | 3,470 bytes a turn |
/// | 2048 | 35,200, 2,920 | 13 to 17 ms | 6,890 |
/// | 4096 | 32,400, 5,290 | 13 ms | 8,520 |
///
/// With 1,000,000 dialogs 1024 did 34,000 and 4096 did 32,000, at less than half the
/// bytes. 2048 is the middle: no pause of the larger number of pages to copy, no chain
/// of overflow pages for a state of a kilobyte.
pub(crate) const PAGE_SIZE: u32 = 2048;

/// The WAL is copied into the database when it has grown by this many bytes:
/// 16 MiB. With 4 MiB a turn writes a third more (6,800 bytes against 5,100, pages of
/// 4096), since each page is copied more often; 8 MiB is between; larger leaves a longer
/// recovery after a crash.
pub(crate) const CHECKPOINT_BYTES: u64 = 16 << 20;

/// Above this many bytes of log, 64 MiB, new reads wait until it was emptied. Ours
/// last milliseconds and leave gaps: only reads that overlap without end get here.
/// With 20 ms reads of three connections at any time and no cap, the log grew to
/// 1.2 GB in five seconds.
pub(crate) const LOG_CAP: u64 = 4 * CHECKPOINT_BYTES;

/// How long a statement waits for a lock that another program holds: a person in the
/// `sqlite3` shell, a backup. The writer asks again after that, and gives a sign of life
/// in between.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens the one connection that writes.
pub(crate) fn open_writer(path: &Path, sync: Sync) -> Result<Connection> {
    check_version()?;
    refuse_planted(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(|e| cannot_open(path, &e))?;
    check_options(path, &conn)?;
    let synchronous = match sync {
        Sync::Full => "FULL",
        Sync::Normal => "NORMAL",
    };
    conn.execute_batch(&format!(
        // Under FULL, SQLite would sync at each commit, and the writer would wait for it;
        // see `writer/syncer.rs` for what it does instead.
        // WAL: readers do not wait for the writer, nor it for them.
        "PRAGMA busy_timeout = {busy};
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = {synchronous};
         -- The writer checkpoints by itself, after it has answered.
         PRAGMA wal_autocheckpoint = 0;
         -- After a long reader has let the WAL grow, give the space back.
         PRAGMA journal_size_limit = {limit};
         PRAGMA temp_store = MEMORY;
         PRAGMA foreign_keys = ON;",
        // Left as they are, having made no difference: cache_size (16 MB: +3 %),
        // mmap_size (256 MB: within the noise). locking_mode = EXCLUSIVE would shut
        // out readers, and every tool.
        busy = BUSY_TIMEOUT.as_millis(),
        limit = LOG_CAP,
    ))
    .map_err(|e| cannot_open(path, &e))?;
    super::trial::apply(&conn).map_err(|e| cannot_open(path, &e))?;
    // Once more: by now the log is open, and one that came between would be seen.
    refuse_planted(path)?;
    conn.set_prepared_statement_cache_capacity(256);
    Ok(conn)
}

/// Opens a connection that can only read.
pub(crate) fn open_reader(path: &Path) -> Result<Connection> {
    check_version()?;
    refuse_planted(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || -> rusqlite::Result<Connection> {
        if is_unchangeable(path) {
            // Nothing of it changes, so SQLite need not make its files beside it.
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            return Connection::open_with_flags(unchangeable(path), flags);
        }
        Connection::open_with_flags(path, flags)
    };
    let conn = open().map_err(|e| cannot_open(path, &e))?;
    set_up_reader(&conn).map_err(|e| cannot_open(path, &e))?;
    Ok(conn)
}

/// Whether it lies on a disk that can only be read, and nobody has it open who may write to
/// it by another way: a backup on such a mount, say.
pub(crate) fn is_unchangeable(path: &Path) -> bool {
    let is_read_only = statvfs(path).is_ok_and(|disk| disk.flags().contains(FsFlags::ST_RDONLY));
    let suffixes = ["-wal", "-shm", "-journal"];
    let mut beside = suffixes.iter().map(|suffix| names::beside(path, suffix));
    is_read_only && !beside.any(|file| names::exists(&file))
}

/// As a URI, in which only what needs it is escaped.
fn unchangeable(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                uri.push(char::from(*byte));
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri + "?immutable=1"
}

/// The settings of a connection that can only read.
pub(crate) fn set_up_reader(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(&format!(
        "PRAGMA busy_timeout = {}; PRAGMA query_only = ON; PRAGMA temp_store = MEMORY;",
        BUSY_TIMEOUT.as_millis()
    ))
}

/// Refuses a file beside the database that some other user has put there, where everybody
/// may: in /tmp, say. SQLite would believe what it finds in a log or journal, and write
/// what it writes into a file of theirs.
///
/// # Errors
/// [`Error::Open`] that names the file.
pub(crate) fn refuse_planted(path: &Path) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // What is not there, or not to be seen, opening it will tell.
    let (Ok(directory), Ok(database)) = (fs::metadata(directory), fs::metadata(path)) else {
        return Ok(());
    };
    if directory.mode() & 0o002 == 0 {
        return Ok(());
    }
    for suffix in ["-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let Ok(file) = fs::symlink_metadata(&name) else {
            continue;
        };
        if ![0, database.uid()].contains(&file.uid()) {
            return Err(Error::Open(
                OpenError::new(format!(
                    "{} was put there by another user (the one with the number {})",
                    Path::new(&name).display(),
                    file.uid()
                ))
                .remedy("keep the database in a directory where only its own user may write"),
            ));
        }
    }
    Ok(())
}

fn check_version() -> Result<()> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(Error::Open(
            OpenError::new(format!(
                "this program was built with SQLite {}, which can lose commits in WAL mode",
                rusqlite::version()
            ))
            .remedy("build it with 3.51.3 or newer"),
        ));
    }
    Ok(())
}

/// Refuses a SQLite that was built without what we stand on. The bundled one has it;
/// a program that links another may not.
fn check_options(path: &Path, conn: &Connection) -> Result<()> {
    for option in ["OMIT_WAL", "OMIT_AUTHORIZATION", "THREADSAFE=0"] {
        let used: bool = conn
            .query_row("SELECT sqlite_compileoption_used(?1)", [option], |row| {
                row.get(0)
            })
            .map_err(|e| cannot_open(path, &e))?;
        if used {
            return Err(Error::Open(
                OpenError::new(format!(
                    "this program was built with a SQLite that has {option}"
                ))
                .remedy("build it with the bundled one"),
            ));
        }
    }
    Ok(())
}

/// Which of a database's files this user may not write to: the database, what SQLite keeps
/// beside it, or else the directory.
fn unwritable(path: &Path) -> PathBuf {
    let files = ["", "-wal", "-shm", "-journal"].map(|suffix| names::beside(path, suffix));
    let refused =
        |file: &PathBuf| file.exists() && access(file.as_path(), AccessFlags::W_OK).is_err();
    match files.into_iter().find(refused) {
        Some(file) => file,
        None if access(directory_of(path), AccessFlags::W_OK).is_err() => {
            directory_of(path).to_owned()
        }
        None => path.to_owned(),
    }
}

/// The sentence for a file that cannot be opened, by SQLite's reason.
pub(crate) fn cannot_open(path: &Path, error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DiskFull, NotADatabase, PermissionDenied, ReadOnly,
    };
    let (database, path) = (path, path.display());
    match error.sqlite_error_code() {
        Some(DatabaseBusy) => {
            return Error::NotYet(
                OpenError::new(format!("{path} is locked by another program"))
                    .remedy("end its transaction or close it, then start again"),
            );
        }
        // Others fill it and make room again.
        Some(DiskFull) => return Error::not_yet(format!("cannot use {path}: {error}")),
        _ => {}
    }
    Error::Open(match error.sqlite_error_code() {
        Some(NotADatabase) => OpenError::new(format!("{path} is not a SQLite database"))
            .remedy(Remedy::AnotherFile)
            .remedy("move this one away"),
        Some(CannotOpen) => OpenError::new(format!("cannot open {path}"))
            .remedy("check that its directory exists and that this user may write there"),
        Some(PermissionDenied | ReadOnly) => OpenError::new(format!(
            "no right to write to {}",
            unwritable(database).display()
        ))
        .remedy("give this user write access to it"),
        _ => format!("cannot use {path}: {error}").into(),
    })
}
