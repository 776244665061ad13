//! A copy of a file while it is written to, and the way back.
//!
//! [`backup`] reads through a connection of its own, so a bot may run meanwhile: it gets
//! the file as of one moment (SQLite's online backup,
//! <https://www.sqlite.org/backup.html>, under a read transaction, without which every
//! commit of the writer would make it start anew). Nothing has the target's name before
//! it is complete, verified and on the disk. Bounds: while a backup reads, the log cannot
//! begin anew; it grows by what is committed meanwhile.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::names::{self, beside, exists};
use super::{FileLock, Files, inspect, pragmas, schema};
use crate::{Error, Result, Sync};

/// Pages copied between two looks at the clock: 2 MiB.
const STEP: i32 = 1024;

/// Steps that find the source locked, each after a pause, before the backup fails.
const LOCKED: u32 = 600;

/// What SQLite keeps beside a database.
const LOGS: &[&str] = &["-wal", "-journal", "-shm"];

/// Before a source that is locked is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// What was copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// Bytes of the copy.
    pub bytes: u64,
    /// Dialogs in it.
    pub dialogs: u64,
}

/// Copies a database to a new file, mode 0600, as of one moment, and verifies it.
/// `progress` is told the bytes that are copied, and all.
///
/// # Errors
/// [`Error::Open`] when the source is not a database of ours, the target exists or
/// cannot be written, or the copy turns out to be damaged. Then there is no target.
pub fn backup(database: &Path, target: &Path, progress: impl FnMut(u64, u64)) -> Result<BackedUp> {
    let source = match inspect::open(database) {
        Err(Error::Poisoned(reason)) => Err(Error::Open(format!(
            "{} is damaged ({reason}); `turnkey check` says more",
            database.display()
        ))),
        other => other,
    }?;
    copy(&source, database, target, verify, progress)
}

/// Copies a database that may be of an older version, through the only connection to it.
pub(super) fn as_it_is(source: &Connection, name: &Path, target: &Path) -> Result<()> {
    copy(source, name, target, verify_structure, |_, _| {}).map(drop)
}

/// Copies a database through a connection that has it open, whatever has its name now.
pub(super) fn of_open(source: &Connection, name: &Path, target: &Path) -> Result<BackedUp> {
    copy(source, name, target, verify, |_, _| {})
}

/// Puts a copy where a bot's database belongs. What is there already is kept beside it
/// if `replace` says so; its new name comes back.
///
/// # Errors
/// As [`backup`], and when there is a database and `replace` is false.
pub fn restore(
    from: &Path,
    files: &Files,
    _lock: &FileLock,
    replace: bool,
    progress: impl FnMut(u64, u64),
) -> Result<(BackedUp, Option<PathBuf>)> {
    let database = &files.database;
    if !replace && exists(database) {
        return Err(Error::Open(format!(
            "{} exists; add --replace to keep it beside the restored one under another name, or name another file with --storage",
            database.display()
        )));
    }
    // Beside it first, so that a source that is no good changes nothing.
    let new = names::free(|n| beside(database, &format!("-restored-{n}")), &["-part"]);
    let copied = backup(from, &new, progress)?;
    let placed = put_in_place(&new, files);
    match placed {
        Ok(kept) => Ok((copied, kept)),
        Err(error) => {
            // It is a copy, and would be in the way of nobody but the disk's owner.
            drop(fs::remove_file(&new));
            Err(error)
        }
    }
}

/// The restored file gets the database's name, and what had it another. All of it, or
/// nothing as far as the file system lets us: what was there goes back.
fn put_in_place(new: &Path, files: &Files) -> Result<Option<PathBuf>> {
    let database = &files.database;
    let had_one = exists(database);
    if had_one {
        // What is still in its log goes into the file: they belong together.
        let conn = pragmas::open_writer(database, Sync::Full)?;
        let is_busy: bool = conn
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(|e| pragmas::cannot_open(database, &e))?;
        conn.close()
            .map_err(|(_, e)| pragmas::cannot_open(database, &e))?;
        if is_busy {
            return Err(Error::Open(format!(
                "another program reads {} at this moment (sqlite3, a backup, Litestream); end it first",
                database.display()
            )));
        }
    }
    for made in [new, &files.lock] {
        give_to_owner(made)?;
    }
    let second = crate::unix_ms() / 1000;
    let before = |n: u32| match n {
        1 => beside(database, &format!("-before-restore-{second}")),
        n => beside(database, &format!("-before-restore-{second}-{n}")),
    };
    let old = names::free(before, LOGS);
    let mut moved: Vec<(PathBuf, PathBuf)> = Vec::new();
    // A log that is left, of a file that is lost or that somebody still has open, is not
    // that of the restored one: SQLite would put it into it.
    let outcome = [""].iter().chain(LOGS).try_for_each(|suffix| {
        let (from, to) = (beside(database, suffix), beside(&old, suffix));
        if exists(&from) {
            rename(&from, &to)?;
            moved.push((from, to));
        }
        Ok(())
    });
    if let Err(error) = outcome.and_then(|()| rename(new, database)) {
        for (from, to) in moved.into_iter().rev() {
            rename(&to, &from).map_err(|back| {
                Error::Open(format!(
                    "{error}; what was there is now {}: {back}",
                    to.display()
                ))
            })?;
        }
        return Err(error);
    }
    Ok(had_one.then_some(old))
}

/// What root has made here belongs to whom the directory belongs to: a bot that runs as
/// another user has to open it. Its owner may put anything in its place at any moment, so
/// only a plain file of root's own is given away, by its handle.
fn give_to_owner(path: &Path) -> Result<()> {
    let failed = |e| {
        Error::Open(format!(
            "cannot give {} to the directory's owner: {e}",
            path.display()
        ))
    };
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let owner = fs::metadata(parent.unwrap_or(Path::new("."))).map_err(failed)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(path)
        .map_err(failed)?;
    let made = file.metadata().map_err(failed)?;
    if made.is_file() && made.uid() == 0 && made.nlink() == 1 && owner.uid() != 0 {
        fchown(&file, Some(owner.uid()), Some(owner.gid())).map_err(failed)?;
    }
    Ok(())
}

fn copy<T>(
    source: &Connection,
    name: &Path,
    target: &Path,
    verify: impl FnOnce(&Path) -> Result<T>,
    progress: impl FnMut(u64, u64),
) -> Result<T> {
    if exists(target) {
        return Err(Error::Open(format!(
            "{} exists already; name a new file",
            target.display()
        )));
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
        Error::Open(format!(
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
                        return Err(Error::Open(format!(
                            "{} is locked by another program; end its transaction and try again",
                            name.display()
                        )));
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

fn bad(why: &dyn std::fmt::Display) -> Error {
    Error::Open(format!(
        "the copy cannot be read back ({why}): the source or the disk is damaged; `turnkey check` says more"
    ))
}

/// Reads all of the copy.
fn verify_structure(part: &Path) -> Result<Connection> {
    let conn = pragmas::open_reader(part)?;
    let found: String = conn
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(|e| bad(&e))?;
    match found.as_str() {
        "ok" => Ok(conn),
        other => Err(bad(&other)),
    }
}

/// Opens the copy as a bot would, and reads all of it.
fn verify(part: &Path) -> Result<BackedUp> {
    let conn = verify_structure(part)?;
    if let Some(problem) = schema::problem(&conn).map_err(|e| bad(&e))? {
        return Err(bad(&problem));
    }
    let dialogs: i64 = conn
        .query_row("SELECT COUNT(*) FROM turnkey_dialog", [], |row| row.get(0))
        .map_err(|e| bad(&e))?;
    let bytes = fs::metadata(part).map_err(|e| bad(&e))?.len();
    Ok(BackedUp {
        bytes,
        dialogs: dialogs as u64,
    })
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
                ErrorKind::NotFound => format!(
                    "the directory of {} does not exist; create it, or name another file",
                    path.display()
                ),
                ErrorKind::PermissionDenied => format!(
                    "no right to write {}; name a file in a directory this user may write to",
                    path.display()
                ),
                ErrorKind::AlreadyExists => format!(
                    "{} is there: another backup is being made, or one was killed; remove it if nobody makes one, or name another file",
                    path.display()
                ),
                _ => format!("cannot create {}: {e}", path.display()),
            })
        })
}

pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(Error::Open(format!(
            "cannot remove {}: {e}",
            path.display()
        ))),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|e| Error::Open(format!("cannot write {} to the disk: {e}", path.display())))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    names::rename(from, to).map_err(|e| {
        Error::Open(match e.kind() {
            ErrorKind::AlreadyExists => format!(
                "{} exists already, and is not written over; name a new file",
                to.display()
            ),
            _ => format!("cannot name the file {}: {e}", to.display()),
        })
    })
}
