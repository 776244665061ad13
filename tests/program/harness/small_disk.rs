//! A small file system that can be filled up.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use crate::harness::bot::{Setup, skipped};

/// A file system in memory; unmounted when dropped, and only then is the directory that
/// holds it removed.
pub(crate) struct SmallDisk(PathBuf, #[expect(dead_code)] Arc<TempDir>);

impl SmallDisk {
    /// Of so many MiB. None, said, where this may not be done.
    pub(crate) fn mount(setup: &Setup, size: u32) -> Option<Self> {
        let at = &setup.path("disk");
        fs::create_dir(at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}m"), "tmpfs"])
            .arg(at)
            .output();
        match mount {
            Ok(output) if output.status.success() => {
                Some(SmallDisk(at.to_owned(), setup.dir.clone()))
            }
            other => {
                skipped(&format!("a full disk (mounting takes root): {other:?}"));
                None
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[1; 4096]).is_ok() {}
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let umount = Command::new("umount").arg("-l").arg(&self.0).status();
        assert!(
            umount.is_ok_and(|status| status.success()),
            "cannot unmount {:?}",
            self.0
        );
    }
}
