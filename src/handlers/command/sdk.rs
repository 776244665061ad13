//! The SDKs that the program carries, so that a lone binary and a lone `bot.py` are enough.
//!
//! Called by `plan.rs` for each process that is started. Nothing is written to a disk.
//! Invariant: an installed package of the same name wins.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::Command;
use std::rc::Rc;

use super::plan::SDK;

/// What handlers of this process find.
#[derive(Clone)]
pub(super) struct Carried {
    zip: Rc<OwnedFd>,
}

impl Carried {
    /// Made once in each process that starts handlers.
    ///
    /// # Errors
    /// No more memory or files.
    pub(super) fn new() -> std::io::Result<Self> {
        let zip =
            nix::sys::memfd::memfd_create(c"turnkey-sdk", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?;
        Ok(Carried { zip: Rc::new(zip) })
    }

    /// The file that a handler has open.
    pub(super) fn zip(&self) -> RawFd {
        self.zip.as_raw_fd()
    }

    /// Tells the interpreters where it is.
    pub(super) fn add_to(&self, command: &mut Command) {
        let mut path = std::ffi::OsString::from(format!("/proc/self/fd/{SDK}"));
        if let Some(old) = std::env::var_os("PYTHONPATH").filter(|old| !old.is_empty()) {
            path.push(":");
            path.push(old);
        }
        command.env("PYTHONPATH", path);
    }
}
