//! A descriptor of the database of our own, to sync it with.
//!
//! Used by `checkpoint.rs`. Invariant: it is never closed. The kernel drops all locks that a
//! process has on a file when *any* of its descriptors of it is closed, also those that SQLite
//! holds by another one: an opened and closed file would let a second writer in. So a process
//! opens each database once, whatever the number of its writers, and keeps it for life. Bound:
//! one descriptor for each database that a process has been the writer of.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::FileId;

static KEPT: Mutex<Vec<(FileId, &File)>> = Mutex::new(Vec::new());

/// The one descriptor of the file that has this name now.
///
/// # Errors
/// It cannot be opened.
pub(super) fn of(database: &Path) -> io::Result<&'static File> {
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let id = FileId::of(database)?;
    // The number of a file that is kept open is not given to another.
    if let Some((_, file)) = kept.iter().find(|(known, _)| *known == id) {
        return Ok(file);
    }
    // Leaked before anything can fail.
    let file: &'static File = Box::leak(Box::new(File::open(database)?));
    kept.push((FileId::of_open(file)?, file));
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_opened_once_and_another_under_its_name_apart() {
        let dir = tempfile::tempdir().unwrap();
        let (name, aside) = (dir.path().join("bot.db"), dir.path().join("aside"));
        std::fs::write(&name, "one").unwrap();
        let first = of(&name).unwrap();
        assert!(std::ptr::eq(first, of(&name).unwrap()));
        std::fs::rename(&name, &aside).unwrap();
        std::fs::write(&name, "two").unwrap();
        assert!(!std::ptr::eq(first, of(&name).unwrap()));
        assert!(std::ptr::eq(first, of(&aside).unwrap()));
    }
}
