//! A consistent copy of a file while it is written to.
//!
//! Called by `backup.rs`, and by `schema.rs` before it changes tables. SQLite's online backup
//! (<https://www.sqlite.org/backup.html>) under a read transaction, without which every commit
//! of the writer would make it start over. The target gets its name only when it is complete,
//! verified and on the disk. Bounds: during a copy the log cannot restart and grows by what is
//! committed meanwhile. A locked source is tried [`LOCKED`] times.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::names::{self, beside, exists};
use super::pragmas;
use crate::{Error, OpenError, Result};

/// Pages copied between two looks at the clock: 2 MiB.
const STEP: i32 = 1024;

/// Steps that find the source locked, each after a pause, before the backup fails.
const LOCKED: u32 = 600;

/// Before a source that is locked is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// Copies a database that may be of an older version, through the only connection to it.
pub(super) fn as_it_is(source: &Connection, name: &Path, target: &Path) -> Result<()> {
    copy(source, name, target, verify_structure, |_, _| {}).map(drop)
}

/// Copies a database to a new file, which gets its name once `verify` has read it.
pub(super) fn copy<T>(
    source: &Connection,
    name: &Path,
    target: &Path,
    verify: impl FnOnce(&Path) -> Result<T>,
    progress: impl FnMut(u64, u64),
) -> Result<T> {
    if exists(target) {
        return Err(Error::Open(
            OpenError::new(format!("{} exists already", target.display()))
                .remedy("name a new file"),
        ));
    }
    let part = beside(target, "-part");
    create(&part)?;
    let copied = fill(source, name, &part, progress).and_then(|()| {
        let copied = verify(&part)?;
        sync(&part)?;
        rename(&part, target)?;
        Ok(copied)
    });
    if copied.is_err() {
        // What is left of a copy that failed is of no use, and the error says why.
        drop(fs::remove_file(&part));
    }
    copied
}

fn fill(
    source: &Connection,
    name: &Path,
    part: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<()> {
    let failed = |e: rusqlite::Error| {
        Error::open(format!(
            "cannot copy {} to {}: {e}",
            name.display(),
            part.display()
        ))
    };
    // One moment: it begins with the first read.
    source.execute_batch("BEGIN").map_err(failed)?;
    let page: i64 = source
        .pragma_query_value(None, "page_size", |row| row.get(0))
        .map_err(failed)?;
    source
        .query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_| Ok(()))
        .map_err(failed)?;
    let mut to = Connection::open(part).map_err(failed)?;
    // It has no name that counts yet, so a crash may ruin it; it is synced once, when the
    // source is read no more: while it is, its log cannot begin anew.
    to.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")
        .map_err(failed)?;
    let mut locked = 0;
    {
        let backup = Backup::new(source, &mut to).map_err(failed)?;
        loop {
            let step = backup.step(STEP).map_err(failed)?;
            let at = backup.progress();
            let bytes = |pages: i32| (i64::from(pages) * page) as u64;
            progress(bytes(at.pagecount - at.remaining), bytes(at.pagecount));
            match step {
                StepResult::Done => break,
                StepResult::More => {}
                _ => {
                    locked += 1;
                    if locked > LOCKED {
                        return Err(Error::Open(
                            OpenError::new(format!(
                                "{} is locked by another program",
                                name.display()
                            ))
                            .remedy("end its transaction and try again"),
                        ));
                    }
                    std::thread::sleep(PAUSE);
                }
            }
        }
    }
    source.execute_batch("COMMIT").map_err(failed)?;
    // One file that stands for itself, without a log beside it.
    to.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))
        .map_err(failed)?;
    to.close().map_err(|(_, e)| failed(e))
}

/// A copy that cannot be read back.
pub(super) fn bad(why: &dyn std::fmt::Display) -> Error {
    Error::Open(
        OpenError::new(format!(
            "the copy cannot be read back ({why}): the source or the disk is damaged"
        ))
        .remedy("`turnkey check` says more"),
    )
}

/// Reads all of the copy.
pub(super) fn verify_structure(part: &Path) -> Result<Connection> {
    let conn = pragmas::open_reader(part)?;
    let found: String = conn
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|e| bad(&e))?;
    match found.as_str() {
        "ok" => Ok(conn),
        other => Err(bad(&other)),
    }
}

fn create(path: &Path) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|e| {
            Error::Open(match e.kind() {
                ErrorKind::NotFound => OpenError::new(format!(
                    "the directory of {} does not exist",
                    path.display()
                ))
                .remedy("create it, or name another file"),
                ErrorKind::PermissionDenied => {
                    OpenError::new(format!("no right to write {}", path.display()))
                        .remedy("name a file in a directory this user may write to")
                }
                ErrorKind::AlreadyExists => OpenError::new(format!(
                    "{} is there: another backup is being made, or one was killed",
                    path.display()
                ))
                .remedy("remove it if nobody makes one, or name another file"),
                _ => format!("cannot create {}: {e}", path.display()).into(),
            })
        })
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::open(format!(
            "cannot remove {}: {e}",
            path.display()
        ))),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|e| Error::open(format!("cannot write {} to the disk: {e}", path.display())))
}

pub(super) fn rename(from: &Path, to: &Path) -> Result<()> {
    names::rename(from, to).map_err(|e| {
        Error::Open(match e.kind() {
            ErrorKind::AlreadyExists => OpenError::new(format!(
                "{} exists already, and is not written over",
                to.display()
            ))
            .remedy("name a new file"),
            _ => format!("cannot name the file {}: {e}", to.display()).into(),
        })
    })
}
