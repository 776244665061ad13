//! Runs this binary again with `record.c` before the C library, and reads what it logged.
//!
//! Called by `cuts.rs`. The recorded process runs one test of this binary ([`Session`]).

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A sync takes up to so many microseconds, as on a disk: so others write meanwhile.
const DELAY: u32 = 3000;

/// Where the recorded process says what it was promised; not part of the disk.
pub(crate) const MARKS: &str = "marks";

/// One thing that happened; files are numbers, of those that were opened in this order.
#[derive(Debug)]
pub(crate) enum Record {
    Created(PathBuf, usize),
    Written {
        file: usize,
        at: usize,
        /// Where in the log the bytes are.
        bytes: Range<usize>,
    },
    Resized(usize, usize),
    /// A sync of a file begins; its number.
    Syncing(usize, u64),
    /// A sync of the names in a directory.
    SyncingNames(PathBuf, u64),
    Synced(u64),
    Linked(PathBuf, PathBuf),
    Renamed(PathBuf, PathBuf),
    Removed(PathBuf),
    MadeDirectory(PathBuf),
    /// What the recorded process wrote to [`MARKS`].
    Mark(String),
    /// Nothing that counts.
    Other,
}

/// All that a process did to a directory.
pub(crate) struct Recording {
    /// The directory's files before: name and contents. Numbered first.
    pub(crate) before: Vec<(PathBuf, Vec<u8>)>,
    pub(crate) records: Vec<Record>,
    pub(crate) log: Vec<u8>,
    /// The first name of each file.
    pub(crate) names: Vec<PathBuf>,
}

/// Which test the recorded process runs, and how.
pub(crate) struct Session<'a> {
    pub(crate) test: &'a str,
    pub(crate) variables: &'a [(&'a str, String)],
}

/// The compiled library, made once for all tests of this process.
fn library() -> &'static Path {
    static MADE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = MADE.get_or_init(|| {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("record.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/power/record.c");
        // The compiler that the bundled SQLite was built with.
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"])
            .args(["-pthread", "-o"])
            .args([&path, &source])
            .arg("-ldl")
            .status()
            .unwrap();
        assert!(made.success(), "cc cannot compile record.c");
        (place, path)
    });
    path
}

/// A new directory: in memory, where that has room, since nothing here needs a real disk.
pub(crate) fn place() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let room = |disk: nix::sys::statvfs::Statvfs| disk.blocks_available() * disk.fragment_size();
    match nix::sys::statvfs::statvfs(memory).map(room) {
        Ok(room) if room > 1 << 30 => tempfile::tempdir_in(memory).unwrap(),
        _ => tempfile::tempdir().unwrap(),
    }
}

/// Runs a session in a directory, which it changes.
pub(crate) fn record(directory: &Path, session: &Session<'_>) -> Recording {
    let directory = directory.canonicalize().unwrap();
    let place = place();
    let log = place.path().join("log");
    let mut before = Vec::new();
    let mut numbers = HashMap::new();
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.is_file(), "{} is no file", path.display());
        numbers.insert(found.ino(), before.len());
        before.push((relative(&directory, &path), fs::read(&path).unwrap()));
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([session.test, "--exact", "--nocapture"])
        .env("LD_PRELOAD", library())
        .env("POWER_DIR", &directory)
        .env("POWER_LOG", &log)
        .env("POWER_DELAY", DELAY.to_string())
        .envs(session.variables.iter().map(|(name, value)| (*name, value)));
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "the session failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let log = fs::read(&log).unwrap();
    let names = before.iter().map(|(name, _)| name.clone()).collect();
    let mut recording = Recording {
        before,
        records: Vec::new(),
        log,
        names,
    };
    recording.read(&directory, numbers);
    recording
}

fn relative(directory: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(directory).unwrap().to_owned()
}

impl Recording {
    /// Reads the log. `numbers`: files by the kernel's number, which it gives again and again.
    fn read(&mut self, directory: &Path, mut numbers: HashMap<u64, usize>) {
        let log = std::mem::take(&mut self.log);
        let number = |at: usize| u64::from_le_bytes(log[at..at + 8].try_into().unwrap());
        let mut at = 0;
        let mut marks = None;
        while at < log.len() {
            let (kind, a, b) = (log[at], number(at + 1), number(at + 9));
            let length = u32::from_le_bytes(log[at + 17..at + 21].try_into().unwrap()) as usize;
            let bytes = at + 21..at + 21 + length;
            at = bytes.end;
            let text = || std::str::from_utf8(&log[bytes.clone()]).unwrap();
            let path = |text: &str| relative(directory, Path::new(text));
            let two = || {
                let (from, to) = text().split_once('\0').unwrap();
                (path(from), path(to))
            };
            let file = || numbers.get(&a).copied();
            let record = match kind {
                b'C' => {
                    let name = path(text());
                    let new = self.names.len();
                    numbers.insert(a, new);
                    self.names.push(name.clone());
                    if name == Path::new(MARKS) {
                        marks = Some(new);
                        Record::Other
                    } else {
                        Record::Created(name, new)
                    }
                }
                b'W' if file() == marks => Record::Mark(text().trim_end().to_owned()),
                b'W' => Record::Written {
                    file: file().unwrap(),
                    at: b as usize,
                    bytes,
                },
                b'T' => Record::Resized(file().unwrap(), b as usize),
                b'B' => Record::Syncing(file().unwrap(), b),
                b'b' => Record::SyncingNames(path(text()), b),
                b'E' => Record::Synced(b),
                b'L' => {
                    let (from, to) = two();
                    Record::Linked(from, to)
                }
                b'R' => {
                    let (from, to) = two();
                    Record::Renamed(from, to)
                }
                b'U' => Record::Removed(path(text())),
                b'D' => Record::MadeDirectory(path(text())),
                other => panic!("a record of kind {other}"),
            };
            self.records.push(record);
        }
        self.log = log;
    }
}
