//! Which other program holds a database's write lock: its name, for the log and for errors.
//!
//! Asked by the writer while it waits, and by `shared/` when nobody answers. The kernel lists all
//! locks in `/proc/locks`; the files are looked at by name only, since opening and closing them
//! would drop SQLite's locks in this process. Where that list is not to be seen, in some
//! containers, nobody is named.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::names::beside;

/// The byte of the `-shm` file that whoever writes to the log has locked
/// (<https://www.sqlite.org/walformat.html#wal_locks>).
const WRITE_LOCK: u64 = 120;

/// A process other than this one that holds the lock, as `sqlite3, process 77`.
pub(crate) fn writing(database: &Path) -> Option<String> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let process = writer(&locks, database)?;
    (process != std::process::id()).then(|| named(process))
}

/// A process that holds the lock and does not serve the database; `serves` is the lock of the
/// one that does.
pub(crate) fn writing_past(database: &Path, serves: &Path) -> Option<String> {
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let process = writer(&locks, database)?;
    let serving = holder(&locks, "FLOCK", fs::metadata(serves).ok()?.ino(), 0)?;
    (process != serving).then(|| named(process))
}

fn writer(locks: &str, database: &Path) -> Option<u32> {
    let shared = fs::metadata(beside(database, "-shm")).ok()?;
    holder(locks, "POSIX", shared.ino(), WRITE_LOCK)
}

fn named(process: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    match name.trim_end() {
        "" => format!("process {process}"),
        name => format!("{name}, process {process}"),
    }
}

/// The process that has a byte locked for itself, in the kernel's list.
fn holder(locks: &str, kind: &str, inode: u64, byte: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_write = words.next() == Some(kind) && words.nth(1) == Some("WRITE");
        let process: u32 = words.next()?.parse().ok()?;
        let (_, file) = words.next()?.rsplit_once(':')?;
        let is_file = file.parse() == Ok(inode);
        let from: u64 = words.next()?.parse().ok()?;
        let to: u64 = words.next()?.parse().unwrap_or(u64::MAX);
        (is_write && is_file && (from..=to).contains(&byte)).then_some(process)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_is_found_in_the_kernels_list() {
        let locks = "\
1: FLOCK  ADVISORY  WRITE 11 fe:00:4711 0 EOF
2: POSIX  ADVISORY  READ  12 fe:00:4711 124 124
2: -> POSIX  ADVISORY  WRITE 15 fe:00:4711 120 120
3: POSIX  ADVISORY  WRITE 13 fe:00:9 120 120
4: POSIX  ADVISORY  WRITE 14 fe:00:4711 120 121
5: POSIX  ADVISORY  WRITE 16 00:15:5000 0 EOF
";
        let writes = |inode| holder(locks, "POSIX", inode, WRITE_LOCK);
        assert_eq!(writes(4711), Some(14));
        assert_eq!(writes(5000), Some(16));
        assert_eq!(writes(9), Some(13));
        assert_eq!(writes(10), None);
        assert_eq!(holder(locks, "FLOCK", 4711, 0), Some(11));
        assert_eq!(holder(locks, "FLOCK", 9, 0), None);
    }
}
