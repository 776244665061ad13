//! Gives files new names, never one that is taken.
//!
//! Used by all code that puts a file in place: backups, restored, kept or rescued files.
//! Invariant: an existing file is never overwritten, whoever made it and however quickly one
//! call follows another: the second call is refused. Only what has a second name gives up one
//! ([`replace`]). Bounds: [`MOST`] numbers are tried.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::FileId;

/// Numbers that are tried for a name; then the first error counts.
const MOST: u32 = 10_000;

/// `path` with this behind it.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Also a link that leads nowhere is there.
pub(super) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// The first of `name(1)`, `name(2)`, … that is free, with all that would stand beside it.
/// Nothing is reserved: [`rename`] refuses, should somebody take it meanwhile.
pub(super) fn free(name: impl Fn(u32) -> PathBuf, with: &[&str]) -> PathBuf {
    let is_free =
        |path: &PathBuf| !exists(path) && with.iter().all(|suffix| !exists(&beside(path, suffix)));
    let mut all = (1..=MOST).map(&name);
    all.find(is_free).unwrap_or_else(|| name(MOST))
}

/// Gives a file another name, which is on the disk when this returns.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when the name is taken; what the file system says. Then
/// nothing was changed.
pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    // Unlike a rename, a link is refused where there is something. (The kernel has a rename
    // that is, too, but not every C library and file system knows of it.)
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from).inspect_err(|_| drop(fs::remove_file(to)))?,
        Err(e) if matches!(e.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) => {
            return Err(e);
        }
        // No links on FAT, nor to other people's files: an empty file of our own takes the
        // name, so what is renamed over is ours.
        Err(_) => {
            OpenOptions::new().write(true).create_new(true).open(to)?;
            fs::rename(from, to).inspect_err(|_| drop(fs::remove_file(to)))?;
        }
    }
    sync_directory(to)
}

/// Gives a file a second name, which is on the disk when this returns.
///
/// # Errors
/// As of [`rename`]; also where the file system has no second names.
pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    sync_directory(to).inspect_err(|_| drop(fs::remove_file(to)))
}

/// Gives a file the name of another one, which is still there as `kept`: at no moment, not even
/// one at which the power fails, does the name lead nowhere.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] when `kept` is not that file; what the file system says.
pub(super) fn replace(from: &Path, to: &Path, kept: &Path) -> io::Result<()> {
    if FileId::of(to)? != FileId::of(kept)? {
        return Err(ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)?;
    sync_directory(to)
}

/// Saves the names in the directory of a file.
pub(super) fn sync_directory(of: &Path) -> io::Result<()> {
    let directory = match of.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| directory.path().join(name));
        fs::write(&a, "a").unwrap();
        fs::write(&b, "b").unwrap();
        let refused = rename(&a, &b).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&a).unwrap(), "a");
        assert_eq!(fs::read_to_string(&b).unwrap(), "b");
        fs::remove_file(&b).unwrap();
        std::os::unix::fs::symlink("nowhere", &b).unwrap();
        assert!(rename(&a, &b).is_err(), "a link that leads nowhere");
        fs::remove_file(&b).unwrap();
        rename(&a, &b).unwrap();
        assert_eq!(fs::read_to_string(&b).unwrap(), "a");
        assert!(!exists(&a));
    }

    #[test]
    fn only_a_file_that_keeps_another_name_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let [old, new, kept] = ["old", "new", "kept"].map(|name| directory.path().join(name));
        fs::write(&old, "old").unwrap();
        fs::write(&new, "new").unwrap();
        assert!(replace(&new, &old, &kept).is_err());
        fs::write(&kept, "other").unwrap();
        assert!(replace(&new, &old, &kept).is_err());
        assert!(link(&old, &kept).is_err());
        fs::remove_file(&kept).unwrap();
        link(&old, &kept).unwrap();
        replace(&new, &old, &kept).unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "new");
        assert_eq!(fs::read_to_string(&kept).unwrap(), "old");
        assert!(!exists(&new));
    }

    #[test]
    fn a_free_name_has_nothing_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let name = |n| directory.path().join(format!("x-{n}"));
        fs::write(name(1), "").unwrap();
        fs::write(beside(&name(2), "-wal"), "").unwrap();
        assert_eq!(free(name, &["-wal"]), name(3));
        assert_eq!(free(name, &[]), name(2));
    }
}
