//! Backups, and the way back.
//!
//! [`backup`] reads through its own connection, so a bot may run meanwhile. It makes
//! `snapshot.rs`'s copy, after it has checked that the database is Turnkey's and up to date, as
//! a bot would. Called by `tools.rs`, also for scheduled backups. Bounds: those of a snapshot.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::backup_directory::{BackupDirectory, DirectoryLock};
use super::names::{self, beside, exists};
use super::snapshot::{bad, copy, rename, verify_structure};
use super::{FileId, FileLock, Files, inspect, pragmas, schema};
use crate::{Error, OpenError, Remedy, Result, Sync};

/// What SQLite keeps beside a database.
const LOGS: &[&str] = &["-wal", "-journal", "-shm"];

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
        Err(Error::Poisoned(reason)) => Err(Error::Open(
            OpenError::new(format!("{} is damaged ({reason})", database.display()))
                .remedy("`turnkey check` says more"),
        )),
        other => other,
    }?;
    copy(&source, database, target, verify, progress)
}

/// Copies a database through a connection that has it open, whatever has its name now.
pub(super) fn of_open(source: &Connection, name: &Path, target: &Path) -> Result<BackedUp> {
    copy(source, name, target, verify, |_, _| {})
}

impl BackupDirectory {
    /// Makes one, verifies it, then removes the oldest beyond `keep`.
    ///
    /// # Errors
    /// As [`backup`].
    pub fn make(
        &self,
        _lock: &DirectoryLock,
        keep: usize,
        progress: impl FnMut(u64, u64),
    ) -> Result<(PathBuf, BackedUp)> {
        self.make_by(keep, |database, target| backup(database, target, progress))
    }
}

/// What becomes of a database that is where another one is to be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Nothing is restored.
    InTheWay,
    /// It is kept beside the restored one, under another name.
    KeptBeside,
}

/// Puts a copy where a bot's database belongs. The new name of what was there comes back.
///
/// # Errors
/// As [`backup`], and when there is a database that is in the way.
pub fn restore(
    from: &Path,
    files: &Files,
    _lock: &FileLock,
    existing: Existing,
    progress: impl FnMut(u64, u64),
) -> Result<(BackedUp, Option<PathBuf>)> {
    let database = &files.database;
    if existing == Existing::InTheWay && exists(database) {
        return Err(Error::Open(
            OpenError::new(format!("{} exists", database.display()))
                .remedy(Remedy::Replace)
                .remedy(Remedy::AnotherFile),
        ));
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
/// nothing as far as the file system lets us: what was there goes back. Where a file can have
/// two names (not on FAT), the database's name leads to the one or the other at any moment.
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
            return Err(Error::Open(
                OpenError::new(format!(
                    "another program reads {} at this moment (sqlite3, a backup, Litestream)",
                    database.display()
                ))
                .remedy("end it first"),
            ));
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
    let is_linked = had_one && names::link(database, &old).is_ok();
    let own: &[&str] = if is_linked { &[] } else { &[""] };
    let mut moved: Vec<(PathBuf, PathBuf)> = Vec::new();
    // A log that is left, of a file that is lost or that somebody still has open, is not
    // that of the restored one: SQLite would put it into it.
    let outcome = own.iter().chain(LOGS).try_for_each(|suffix| {
        let (from, to) = (beside(database, suffix), beside(&old, suffix));
        if exists(&from) {
            rename(&from, &to)?;
            moved.push((from, to));
        }
        Ok(())
    });
    let restored = FileId::of(new).ok();
    let placed = outcome.and_then(|()| match is_linked {
        true => replace(new, database, &old),
        false => rename(new, database),
    });
    if let Err(error) = placed {
        // Only its directory could not be saved. What was there has no name but its new one,
        // and its logs must not get to the restored file.
        if restored.is_some() && FileId::of(database).ok() == restored {
            return Err(is_in_place_already(
                &error,
                database,
                had_one.then_some(&old),
            ));
        }
        for (from, to) in moved.into_iter().rev() {
            rename(&to, &from).map_err(|back| {
                Error::open(format!(
                    "{error}; what was there is now {}: {back}",
                    to.display()
                ))
            })?;
        }
        if is_linked {
            forget_second_name(&old, database);
        }
        return Err(error);
    }
    Ok(had_one.then_some(old))
}

fn is_in_place_already(error: &Error, database: &Path, old: Option<&PathBuf>) -> Error {
    let database = database.display();
    Error::open(match old {
        Some(old) => format!(
            "{error}; {database} is the restored one now, and what was there is {}",
            old.display()
        ),
        None => format!("{error}; {database} is the restored one now"),
    })
}

/// Removes what is only a second name of the database, and nothing else.
fn forget_second_name(second: &Path, database: &Path) {
    if let (Ok(second_id), Ok(id)) = (FileId::of(second), FileId::of(database))
        && second_id == id
    {
        drop(fs::remove_file(second));
    }
}

fn replace(from: &Path, to: &Path, kept: &Path) -> Result<()> {
    names::replace(from, to, kept)
        .map_err(|e| Error::open(format!("cannot name the file {}: {e}", to.display())))
}

/// What root has made here belongs to whom the directory belongs to: a bot that runs as
/// another user has to open it. Its owner may put anything in its place at any moment, so
/// only a plain file of root's own is given away, by its handle.
fn give_to_owner(path: &Path) -> Result<()> {
    let failed = |e| {
        Error::open(format!(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_second_name_of_the_database_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let [database, new, old] = ["bot.db", "new", "old"].map(|n| directory.path().join(n));
        fs::write(&database, "old").unwrap();
        fs::write(&new, "new").unwrap();
        names::link(&database, &old).unwrap();
        forget_second_name(&old, &database);
        assert!(!exists(&old));
        names::link(&database, &old).unwrap();
        names::replace(&new, &database, &old).unwrap();
        forget_second_name(&old, &database);
        assert_eq!(fs::read_to_string(&old).unwrap(), "old");
    }
}
