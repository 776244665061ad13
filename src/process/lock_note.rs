//! The line that a running bot writes into the lock file of its SQLite database, for the
//! commands that signal it: which process is the master, and how the last reload or upgrade
//! went.
//!
//! Written by the master, and by the one process of `--single-process`; read by `upgrade`,
//! `reload` and `stop`. One line of JSON. The kernel's list of locks does not help: an upgrade
//! hands the lock on, and the list names the process that took it first. Invariants: the
//! process that takes the lock empties the file, so a line is always from the program that
//! holds the lock; in an upgrade the new program writes its line only when it serves.

use serde::{Deserialize, Serialize};

/// The line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LockNote {
    /// The master.
    pub(crate) pid: i32,
    /// It has served.
    #[serde(default)]
    pub(crate) serves: bool,
    /// Reloads that succeeded.
    #[serde(default)]
    pub(crate) reloads: u64,
    /// Reloads and upgrades that were refused or failed.
    #[serde(default)]
    pub(crate) failures: u64,
    /// Why the last of them did.
    #[serde(default)]
    pub(crate) why: String,
}

impl LockNote {
    /// Of this process.
    pub(crate) fn this() -> Self {
        LockNote {
            pid: nix::unistd::getpid().as_raw(),
            ..Self::default()
        }
    }

    /// Something failed.
    pub(crate) fn failed(&mut self, why: &str) {
        self.failures += 1;
        why.clone_into(&mut self.why);
    }
}
