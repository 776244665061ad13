//! The disk below a directory: what one sync takes, and how many flushes it got.
//!
//! Called at the start of a laboratory and at both ends of each window. The flushes
//! are the whole device's: another program's count too.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Syncs that are timed.
const SYNCS: usize = 200;

/// The block device that holds a directory.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    stat: PathBuf,
}

impl Device {
    /// None when it is no block device (tmpfs, overlay, network).
    pub(crate) fn of(directory: &Path) -> Option<Self> {
        let device = fs::metadata(directory).ok()?.dev();
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        let mut path = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
        // A partition is flushed with its disk.
        if path.join("partition").exists() {
            path.pop();
        }
        Some(Device {
            stat: path.join("stat"),
        })
    }

    /// Flushes so far; none before Linux 5.5.
    pub(crate) fn flushes(&self) -> Option<u64> {
        // https://docs.kernel.org/block/stat.html: the sixteenth field.
        let text = fs::read_to_string(&self.stat).ok()?;
        text.split_whitespace().nth(15)?.parse().ok()
    }
}

/// Microseconds of an fdatasync after a write of 4 KiB, the medians.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SyncTimes {
    /// The file grew.
    pub(crate) append_us: f64,
    /// The bytes were there before, as in a log that starts anew.
    pub(crate) overwrite_us: f64,
}

/// Times the disk.
///
/// # Errors
/// When the directory cannot be written to.
pub(crate) fn sync_times(directory: &Path) -> std::io::Result<SyncTimes> {
    let mut file = tempfile::tempfile_in(directory)?;
    let append_us = pass(&mut file)?;
    file.seek(SeekFrom::Start(0))?;
    let overwrite_us = pass(&mut file)?;
    Ok(SyncTimes {
        append_us,
        overwrite_us,
    })
}

fn pass(file: &mut File) -> std::io::Result<f64> {
    let page = [0x55; 4096];
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        file.write_all(&page)?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[SYNCS / 2])
}
