//! The log file, which is reopened after it was moved away.
//!
//! Written through `lines.rs`: each line is one appending write, so lines never mix. On SIGUSR1
//! the master raises a shared number, which every writer of a line checks first. So no process
//! has to be told, not even one that hangs. A named pipe is not waited for, neither for a
//! reader nor for room in it. Imports nothing of ours.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use nix::libc::{O_NOCTTY, O_NONBLOCK};

static TIMES: OnceLock<&'static AtomicU64> = OnceLock::new();

/// From now on the log file is opened anew whenever this number has changed.
pub(crate) fn watch(times: &'static AtomicU64) {
    TIMES.get_or_init(|| times);
}

fn times() -> u64 {
    TIMES.get().map_or(0, |times| times.load(Relaxed))
}

/// An open log file. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LogFile(Arc<Shared>);

struct Shared {
    path: PathBuf,
    /// None in a process that has another one write to it.
    open: RwLock<(u64, Option<Arc<File>>)>,
}

impl LogFile {
    /// Opens the file, or makes it, readable by its owner and group.
    ///
    /// # Errors
    /// What the file system says.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        // Whatever directory a handler changes to.
        let path = std::path::absolute(path)?;
        let file = append(&path)?;
        Ok(LogFile(Arc::new(Shared {
            path,
            open: RwLock::new((times(), Some(Arc::new(file)))),
        })))
    }

    /// The file as it is to be written to now. When it cannot be opened anew, the old
    /// one: a line in the wrong file is better than none.
    ///
    /// # Errors
    /// It was let go of, and cannot be opened again.
    pub(crate) fn current(&self) -> io::Result<Arc<File>> {
        let now = times();
        {
            let open = self.0.open.read().unwrap_or_else(PoisonError::into_inner);
            if let (true, Some(file)) = (open.0 == now, &open.1) {
                return Ok(file.clone());
            }
        }
        let mut open = self.0.open.write().unwrap_or_else(PoisonError::into_inner);
        let file = match (append(&self.0.path), open.1.take()) {
            (Ok(file), _) => Arc::new(file),
            (Err(_), Some(old)) => old,
            (Err(error), None) => return Err(error),
        };
        *open = (now, Some(file.clone()));
        Ok(file)
    }

    /// Closes it here: another process writes to it.
    pub(crate) fn let_go(&self) {
        let mut open = self.0.open.write().unwrap_or_else(PoisonError::into_inner);
        open.1 = None;
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .custom_flags(O_NONBLOCK | O_NOCTTY)
        .open(path)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_that_was_moved_is_made_anew_when_the_number_changes() {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let moved = directory.path().join("log.1");
        let log = LogFile::open(&path).unwrap();
        watch(&NUMBER);
        let write = |line: &str| writeln!(&*log.current().unwrap(), "{line}").unwrap();
        write("one");
        std::fs::rename(&path, &moved).unwrap();
        write("two");
        NUMBER.store(1, Relaxed);
        write("three");
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        log.let_go();
        write("four");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\nfour\n");
    }
}
