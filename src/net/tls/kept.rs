//! The last good certificate with its key, for when the configured files are bad.
//!
//! Kept twice: in the memory of the master, which checks the files once a second, so that each
//! worker that it forks has it; and in a file beside the SQLite database, which the first
//! worker writes, for the next start. Only for files that another program keeps: a certificate
//! from ACME can be got again. Invariants: it is used only for the paths that it was read from;
//! only the bot's user can read the file. Bound: one pair.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Paths;
use super::pair::{Pair, Stamp, read, read_pair};
use crate::config::Tls;

/// Between two looks of the master.
const LOOK: Duration = Duration::from_secs(1);

struct Kept {
    of: [PathBuf; 2],
    stamp: Stamp,
    looked: Instant,
    pair: Pair,
}

static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

fn kept() -> MutexGuard<'static, Option<Kept>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In the master: what is forked from now on has this pair.
pub(super) fn put(paths: &Paths, stamp: Stamp, pair: Pair) {
    *kept() = Some(Kept {
        of: paths.absolute(),
        stamp,
        looked: Instant::now(),
        pair,
    });
}

/// The pair that was good, if it was read from there.
pub(super) fn of(paths: &Paths) -> Option<Pair> {
    let kept = kept();
    let kept = kept.as_ref().filter(|kept| kept.of == paths.absolute());
    kept.map(|kept| kept.pair.clone())
}

/// In the master's loop: takes note of another good pair.
pub(crate) fn look(tls: &Tls) {
    let Tls::Files { .. } = tls else { return };
    let paths = Paths::of(tls);
    let mut kept = kept();
    let before = kept.as_mut().filter(|kept| kept.of == paths.absolute());
    if let Some(before) = before {
        if before.looked.elapsed() < LOOK {
            return;
        }
        before.looked = Instant::now();
        let stamp = paths.stamp();
        if before.stamp == stamp {
            return;
        }
        before.stamp = stamp;
        if let Ok(pair) = read_pair(&paths.cert, &paths.key) {
            before.pair = pair;
        }
        return;
    }
    drop(kept);
    let stamp = paths.stamp();
    if let Ok(pair) = read_pair(&paths.cert, &paths.key) {
        put(&paths, stamp, pair);
    }
}

/// Where the pair of a bot with this database is kept.
pub(crate) fn beside(database: &Path) -> PathBuf {
    let mut path = OsString::from(database);
    path.push("-tls");
    path.into()
}

/// Which files it is of stands in its first line.
fn head(paths: &[PathBuf; 2]) -> Option<String> {
    serde_json::to_string(paths)
        .ok()
        .map(|list| format!("# {list}\n"))
}

fn paths_in(text: &[u8]) -> Option<[PathBuf; 2]> {
    let line = text.split(|byte| *byte == b'\n').next()?;
    serde_json::from_slice(line.strip_prefix(b"# ")?).ok()
}

/// Keeps a pair for the next start.
pub(super) fn write(file: &Path, paths: &Paths, pair: &Pair) -> std::io::Result<()> {
    let Some(head) = head(&paths.absolute()) else {
        return Ok(()); // A path that is no text: then only the memory has it.
    };
    let content = [head.as_bytes(), pair.pem.as_slice()].concat();
    if fs::read(file).is_ok_and(|there| there == content) {
        return Ok(());
    }
    let directory = file.parent().filter(|parent| *parent != Path::new(""));
    // Mode 0600.
    let mut new = tempfile::NamedTempFile::new_in(directory.unwrap_or(Path::new(".")))?;
    new.write_all(&content)?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}

/// The pair that was kept, if it is of these files and good.
pub(super) fn read_beside(file: &Path, paths: &Paths) -> Option<Pair> {
    let text = read(file).ok()?;
    (paths_in(&text)? == paths.absolute())
        .then(|| read_pair(file, file).ok())
        .flatten()
}

/// There are no such files any more: neither shall their key stay.
pub(crate) fn forget(file: &Path) {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("cannot remove {}: {error}", file.display());
        }
        _ => {}
    }
}

/// What is wrong with the files that a kept pair is of, for `check`.
pub(crate) fn complaint(file: &Path) -> Option<String> {
    let [cert, key] = paths_in(&read(file).ok()?)?;
    read_pair(&cert, &key).err()
}
