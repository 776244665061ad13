//! `--watch`: a change beside the bot is new code, for development.
//!
//! Run by the first worker. It looks at names, sizes and times of the files of a bot's
//! directory and below, and sends the master SIGHUP when they are not what they were. Left
//! out are hidden directories and those of packages. Bounds: [`MOST`] files, [`DEEPEST`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::getppid;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(300);

/// Files that are looked at; a directory with more is not a bot's.
const MOST: usize = 10_000;

/// Directories within each other.
const DEEPEST: usize = 16;

/// What code is written in, and what it is often told by.
const KINDS: [&str; 12] = [
    "py", "js", "mjs", "cjs", "ts", "mts", "cts", "json", "toml", "yaml", "yml", "rb",
];

/// Where packages are, and what is made of code.
const PACKAGES: [&str; 4] = ["node_modules", "__pycache__", "venv", "site-packages"];

/// The files of a directory, as they are.
type Files = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// The files as they are before the handler reads them.
pub(super) struct Watch {
    directory: PathBuf,
    files: Files,
}

impl Watch {
    pub(super) fn new(directory: PathBuf) -> Self {
        let files = look(&directory);
        Watch { directory, files }
    }

    /// Has the workers replaced at each change.
    pub(super) async fn run(mut self) {
        let master = getppid();
        loop {
            tokio::time::sleep(LOOK).await;
            let now = look(&self.directory);
            if now == self.files {
                continue;
            }
            let changed = now
                .iter()
                .find(|(path, about)| self.files.get(*path) != Some(*about));
            let gone = self.files.keys().find(|path| !now.contains_key(*path));
            if let Some(path) = changed.map(|(path, _)| path).or(gone) {
                tracing::info!("{} has changed: reloading", path.display());
            }
            self.files = now;
            // A master that is gone is somebody else's number.
            if getppid() == master
                && let Err(error) = kill(master, Signal::SIGHUP)
            {
                tracing::warn!("cannot ask for a reload: {error}");
            }
        }
    }
}

/// What cannot be read is left out.
fn look(directory: &Path) -> Files {
    let mut files = Files::new();
    let mut open = vec![(directory.to_owned(), 0)];
    while let Some((directory, depth)) = open.pop() {
        let Ok(entries) = std::fs::read_dir(directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let Ok(about) = entry.metadata() else {
                continue;
            };
            if about.is_dir() {
                let is_left_out = name.starts_with('.') || PACKAGES.contains(&&*name);
                if !is_left_out && depth < DEEPEST {
                    open.push((path, depth + 1));
                }
            } else if files.len() < MOST
                && path
                    .extension()
                    .is_some_and(|e| KINDS.iter().any(|kind| e == *kind))
            {
                files.insert(path, (about.len(), about.modified().ok()));
            }
        }
    }
    files
}
