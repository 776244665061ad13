//! The disk below a directory: what one sync takes, how many flushes it got, and how much
//! was written to it.
//!
//! Called at the start of a laboratory and around each run. Both counts are the device's:
//! another program's are in them. What processes say of themselves (`write_bytes` of
//! `/proc/PID/io`) is no measure: the kernel counts there what was made dirty, and with
//! large folios that is up to ten times what reaches the disk.

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
    /// Of the disk, which is flushed with all its partitions.
    disk: PathBuf,
    /// Of the disk or the partition that the file system is on.
    own: PathBuf,
}

/// A sector in the kernel's statistics, whatever the disk's own are.
const SECTOR: u64 = 512;

impl Device {
    /// None when it is no block device (tmpfs, overlay, network).
    pub(crate) fn of(directory: &Path) -> Option<Self> {
        let device = fs::metadata(directory).ok()?.dev();
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        let path = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
        let disk = match path.join("partition").exists() {
            true => path.parent()?,
            false => &path,
        };
        Some(Device {
            disk: disk.join("stat"),
            own: path.join("stat"),
        })
    }

    /// Bytes written to it so far.
    pub(crate) fn written(&self) -> Option<u64> {
        Some(field(&self.own, 7)? * SECTOR)
    }

    /// Flushes so far; none before Linux 5.5.
    pub(crate) fn flushes(&self) -> Option<u64> {
        field(&self.disk, 16)
    }
}

/// One of the fields of <https://docs.kernel.org/block/stat.html>, from 1.
fn field(stat: &Path, number: usize) -> Option<u64> {
    let text = fs::read_to_string(stat).ok()?;
    text.split_whitespace().nth(number - 1)?.parse().ok()
}

/// Has what was written to a directory's file system brought to its device.
pub(crate) fn write_back(directory: &Path) -> std::io::Result<()> {
    Ok(nix::unistd::syncfs(File::open(directory)?)?)
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
