//! Backups of one database in one directory: named by their time, so that they sort; the oldest
//! are removed when there are enough.
//!
//! Called by `schema.rs` before it changes a file's tables, and for scheduled backups.
//! Invariants: only names of its own form are ever counted or removed; no file has such a name
//! before it was verified (`snapshot.rs`); the next backup removes what a killed one has left;
//! the newest is never removed. One process at a time makes backups in a directory: the lock is
//! a file, since not every file system locks directories.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::files::real_path;
use super::stamp::{STAMP, seconds, stamp};
use super::{names, snapshot};
use crate::{Error, OpenError, Result};

/// Of a backup that is not complete yet; SQLite may have added more.
const PART: &[u8] = b"-part";

/// Bytes of a path that are read from the lock file.
const MAX_PATH: u64 = 4096;

/// The backups of one database in one directory.
#[derive(Clone, Debug)]
pub struct BackupDirectory {
    database: PathBuf,
    directory: PathBuf,
    /// What stands before the moment, without a version.
    before: Vec<u8>,
    after: &'static [u8],
    /// Between the two, such as `1.2-`.
    version: Option<String>,
}

/// Nobody else makes backups in one as long as this lives.
#[derive(Debug)]
pub struct DirectoryLock(#[expect(dead_code)] Flock<File>);

impl BackupDirectory {
    /// Backups of a database in a directory: `bot-2026-11-29T10-00-00Z.db`.
    pub fn scheduled(database: &Path, directory: &Path) -> Self {
        let database = real_path(database);
        let mut before = database
            .file_stem()
            .map_or_else(Vec::new, |stem| stem.as_bytes().to_vec());
        before.push(b'-');
        BackupDirectory {
            database,
            directory: directory.to_owned(),
            before,
            after: b".db",
            version: None,
        }
    }

    /// Backups beside a database from before its tables were changed:
    /// `bot.db-before-1.2-2026-11-29T10-00-00Z`.
    pub(super) fn before_change(database: &Path, version: String) -> Self {
        let database = real_path(database);
        let mut before = database
            .file_name()
            .map_or_else(Vec::new, |name| name.as_bytes().to_vec());
        before.extend_from_slice(b"-before-");
        let directory = match database.parent() {
            Some(parent) if parent != Path::new("") => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        BackupDirectory {
            database,
            directory,
            before,
            after: b"",
            version: Some(version),
        }
    }

    /// Makes the directory (mode 0700) if there is none, and tries whether it can be
    /// written to, and is not another database's.
    ///
    /// # Errors
    /// [`Error::Open`] with the remedy.
    pub fn check(&self) -> Result<()> {
        let directory = self.directory.display();
        match fs::DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => {
                return Err(Error::Open(
                    OpenError::new(format!(
                        "cannot make the directory {directory} for backups: {e}"
                    ))
                    .remedy("create it, or name another one"),
                ));
            }
            Ok(()) => {}
        }
        let trial = self.directory.join(OsString::from_vec(
            [
                self.before.as_slice(),
                format!("trial-{}", std::process::id()).as_bytes(),
            ]
            .concat(),
        ));
        // Not through a link that somebody else put there.
        let create = || File::options().write(true).create_new(true).open(&trial);
        self.open_lock()
            .and_then(|_| create())
            .and_then(|_| fs::remove_file(&trial))
            .map_err(|e| {
                Error::Open(
                    OpenError::new(format!("cannot write to {directory} for backups: {e}"))
                        .remedy("give this user write access to it, or name another directory"),
                )
            })?;
        self.refuse_strangers()
    }

    /// Locks it; none when another process makes a backup now.
    ///
    /// # Errors
    /// [`Error::Open`] as of [`BackupDirectory::check`].
    pub fn lock(&self) -> Result<Option<DirectoryLock>> {
        self.check()?;
        let failed = |e: std::io::Error| {
            Error::open(format!(
                "cannot lock {}: {e}",
                self.directory.join(self.lock_name()).display()
            ))
        };
        match Flock::lock(
            self.open_lock().map_err(failed)?,
            FlockArg::LockExclusiveNonblock,
        ) {
            Ok(lock) => {
                let path = self.database.as_os_str().as_bytes();
                lock.set_len(0).map_err(failed)?;
                lock.write_all_at(path, 0).map_err(failed)?;
                Ok(Some(DirectoryLock(lock)))
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, e)) => Err(failed(e.into())),
        }
    }

    /// The newest backup that is not from the future, as the clock says it: seconds
    /// since 1970.
    ///
    /// # Errors
    /// [`Error::Open`] when the directory cannot be read. One that is not there is empty.
    pub fn newest(&self) -> Result<Option<u64>> {
        let now = now();
        let all = self.list()?;
        Ok(all.into_iter().map(|(at, _)| at).rfind(|at| *at <= now))
    }

    /// Removes what backups that were killed have left, has one made under a free name, then
    /// removes the oldest beyond `keep`. Nothing may have the name before it was verified.
    ///
    /// # Errors
    /// As `make`, and when the directory cannot be read or written to.
    pub(super) fn make_by<T>(
        &self,
        keep: usize,
        make: impl FnOnce(&Path, &Path) -> Result<T>,
    ) -> Result<(PathBuf, T)> {
        self.clean()?;
        let target = self.free_name();
        let made = make(&self.database, &target)?;
        self.prune(keep, &target)?;
        Ok((target, made))
    }

    /// Complete backups, oldest first.
    fn list(&self) -> Result<Vec<(u64, PathBuf)>> {
        let mut found: Vec<_> = self
            .names()?
            .into_iter()
            .filter_map(|name| Some((self.moment(name.as_bytes())?, self.directory.join(name))))
            .collect();
        found.sort_unstable();
        Ok(found)
    }

    fn names(&self) -> Result<Vec<OsString>> {
        let failed = |e: std::io::Error| {
            Error::open(format!(
                "cannot read the directory {}: {e}",
                self.directory.display()
            ))
        };
        let entries = match fs::read_dir(&self.directory) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        entries
            .map(|entry| entry.map(|entry| entry.file_name()).map_err(failed))
            .collect()
    }

    /// When a complete backup of this name was made; none of another name.
    fn moment(&self, name: &[u8]) -> Option<u64> {
        let rest = name
            .strip_prefix(self.before.as_slice())?
            .strip_suffix(self.after)?;
        let (version, stamp) = rest.split_at_checked(rest.len().checked_sub(STAMP)?)?;
        let fits = match self.version {
            None => version.is_empty(),
            Some(_) => version
                .strip_suffix(b"-")
                .is_some_and(|v| v.iter().all(|c| c.is_ascii_digit() || *c == b'.')),
        };
        fits.then(|| seconds(std::str::from_utf8(stamp).ok()?))?
    }

    /// Removes what backups that were killed have left.
    fn clean(&self) -> Result<()> {
        for name in self.names()? {
            let bytes = name.as_bytes();
            let part = bytes.windows(PART.len()).rposition(|window| window == PART);
            if part.is_some_and(|at| self.moment(&bytes[..at]).is_some()) {
                snapshot::remove(&self.directory.join(&name))?;
            }
        }
        Ok(())
    }

    fn prune(&self, keep: usize, made: &Path) -> Result<()> {
        let mut all = self.list()?;
        // By a clock that was set back it may be among the oldest.
        all.retain(|(_, path)| path != made);
        let surplus = (all.len() + 1).saturating_sub(keep.max(1));
        for (_, path) in all.into_iter().take(surplus) {
            snapshot::remove(&path)?;
        }
        Ok(())
    }

    /// Of this second, or the next that has no backup yet.
    fn free_name(&self) -> PathBuf {
        let mut at = now();
        loop {
            let mut name = self.before.clone();
            if let Some(version) = &self.version {
                name.extend_from_slice(version.as_bytes());
                name.push(b'-');
            }
            name.extend_from_slice(stamp(at).as_bytes());
            name.extend_from_slice(self.after);
            let path = self.directory.join(OsString::from_vec(name));
            if !names::exists(&path) {
                return path;
            }
            at += 1;
        }
    }

    fn lock_name(&self) -> OsString {
        OsString::from_vec([self.before.as_slice(), b"backup-lock"].concat())
    }

    fn open_lock(&self) -> std::io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.directory.join(self.lock_name()))
    }

    /// Two databases of one name would remove each other's backups.
    fn refuse_strangers(&self) -> Result<()> {
        let mut path = Vec::new();
        let read = self
            .open_lock()
            .and_then(|file| file.take(MAX_PATH).read_to_end(&mut path));
        let other = Path::new(OsStr::from_bytes(&path));
        if read.is_ok() && other != self.database && !path.is_empty() && other.exists() {
            return Err(Error::Open(
                OpenError::new(format!(
                    "{} has the backups of another database, {}",
                    self.directory.display(),
                    other.display()
                ))
                .remedy("name another directory"),
            ));
        }
        Ok(())
    }
}

fn now() -> u64 {
    crate::unix_ms().unsigned_abs() / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_count() {
        let backups =
            BackupDirectory::scheduled(Path::new("/nowhere/bot.db"), Path::new("/nowhere/b"));
        let at = |name: &str| backups.moment(name.as_bytes());
        assert_eq!(at("bot-2026-11-29T10-00-00Z.db"), Some(1_795_946_400));
        for other in [
            "bot-2.db-2026-11-29T10-00-00Z.db",
            "other-2026-11-29T10-00-00Z.db",
            "bot-2-2026-11-29T10-00-00Z.db",
            "bot-2026-11-29T10-00-00Z.db-part",
            "bot-2026-11-29.db",
            "bot-backup-lock",
            "bot-.db",
            "",
        ] {
            assert_eq!(at(other), None, "{other}");
        }
        let backups =
            BackupDirectory::before_change(Path::new("/nowhere/bot.db"), "1.2".to_owned());
        let at = |name: &str| backups.moment(name.as_bytes());
        assert!(at("bot.db-before-1.2-2026-11-29T10-00-00Z").is_some());
        assert!(at("bot.db-before-1.10-2026-11-29T10-00-00Z").is_some());
        for other in [
            "bot.db-before-restore-2026-11-29T10-00-00Z",
            "bot.db-before-2026-11-29T10-00-00Z",
            "bot.db-before-1.2-2026-11-29T10-00-00Z-part",
        ] {
            assert_eq!(at(other), None, "{other}");
        }
    }
}
