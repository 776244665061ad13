//! Whether the names of a database still lead to the files that are open.
//!
//! Used by the writer, which asks before each commit and each checkpoint, and twice a second. A
//! file that is removed or replaced stays as it is for processes that have it open: SQLite goes
//! on, and at the last close everything is gone. Invariant: names are checked with stat, never
//! opened: closing a file drops the locks that SQLite holds on it in this process
//! (`kept_open.rs`).

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::names::beside;

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of the file that has this name now.
    ///
    /// # Errors
    /// What the file system says.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::told_by(&fs::metadata(path)?))
    }

    /// Of a file that is open.
    pub(super) fn of_open(file: &fs::File) -> io::Result<Self> {
        Ok(Self::told_by(&file.metadata()?))
    }

    fn told_by(file: &fs::Metadata) -> Self {
        FileId {
            device: file.dev(),
            inode: file.ino(),
        }
    }
}

/// A name that does not lead to its file any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) path: PathBuf,
    /// Another file has the name.
    pub(crate) replaced: bool,
    /// It is not the database itself, but what SQLite keeps beside it.
    pub(crate) beside: bool,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (path, how) = (self.path.display(), self.replaced);
        let how = if how {
            "another file has the name of"
        } else {
            "somebody removed or renamed"
        };
        write!(f, "{how} {path} while the bot ran")
    }
}

/// The files that are open, by name.
#[derive(Debug)]
pub(crate) struct Presence {
    files: Vec<(PathBuf, FileId)>,
}

impl Presence {
    /// `database` is open, and has been written to: its log is there. `known` is the file
    /// that it was when the program started.
    ///
    /// # Errors
    /// What is missing already.
    pub(crate) fn note(database: &Path, known: Option<FileId>) -> Result<Self, Missing> {
        let mut files = Vec::new();
        for (index, suffix) in ["", "-wal", "-shm"].iter().enumerate() {
            let path = beside(database, suffix);
            let missing = |replaced| Missing {
                path: path.clone(),
                replaced,
                beside: index > 0,
            };
            let id = FileId::of(&path).map_err(|_| missing(false))?;
            if index == 0 && known.is_some_and(|known| known != id) {
                return Err(missing(true));
            }
            files.push((path, id));
        }
        Ok(Presence { files })
    }

    /// The first name that leads elsewhere, the database's own before others. What cannot
    /// be looked at (no right to the directory any more) says nothing.
    pub(crate) fn missing(&self) -> Option<Missing> {
        self.files
            .iter()
            .enumerate()
            .find_map(|(index, (path, known))| {
                let replaced = match FileId::of(path) {
                    Ok(id) if id == *known => return None,
                    Ok(_) => true,
                    Err(e)
                        if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                    {
                        false
                    }
                    Err(_) => return None,
                };
                Some(Missing {
                    path: path.clone(),
                    replaced,
                    beside: index > 0,
                })
            })
    }

    /// Whether some name leads to another file: somebody else may use it.
    pub(crate) fn is_replaced(&self) -> bool {
        let other =
            |(path, known): &(PathBuf, FileId)| FileId::of(path).is_ok_and(|id| id != *known);
        self.files.iter().any(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_is_missed() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("bot.db");
        for suffix in ["", "-wal", "-shm"] {
            fs::write(beside(&database, suffix), "").unwrap();
        }
        let id = FileId::of(&database).unwrap();
        let presence = Presence::note(&database, Some(id)).unwrap();
        assert_eq!(presence.missing(), None);
        for suffix in ["", "-wal", "-shm"] {
            let (path, kept) = (beside(&database, suffix), directory.path().join("kept"));
            fs::rename(&path, &kept).unwrap();
            let missing = presence.missing().unwrap();
            assert_eq!(
                (missing.path.as_path(), missing.replaced),
                (path.as_path(), false)
            );
            assert_eq!(missing.beside, !suffix.is_empty());
            assert!(!presence.is_replaced());
            fs::write(&path, "").unwrap();
            assert!(presence.missing().unwrap().replaced);
            assert!(presence.is_replaced());
            fs::rename(&kept, &path).unwrap();
            assert_eq!(presence.missing(), None, "it is back");
        }
        let other = FileId::of(&beside(&database, "-wal")).unwrap();
        assert!(Presence::note(&database, Some(other)).unwrap_err().replaced);
    }
}
