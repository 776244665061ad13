//! The process groups of a worker's handlers, in the shared map.
//!
//! The worker notes each while it is there; should the worker be killed, the master ends
//! them (`process/master/supervise.rs`). A worker that is cut off ends them itself. Bound:
//! [`WORDS`] groups.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// Handler processes of a worker at most.
pub(crate) const MAX_HANDLERS: usize = 16;

/// Words in the map: one for each handler, 0 for none.
pub(super) const WORDS: usize = MAX_HANDLERS;

/// In the map.
#[derive(Clone, Copy)]
pub(crate) struct Groups {
    words: &'static [AtomicU64],
}

impl Groups {
    pub(super) fn new(words: &'static [AtomicU64]) -> Self {
        Groups { words }
    }

    /// The group of this handler, by its leader's process id; 0 for none.
    #[cfg(feature = "any-language")]
    pub(crate) fn set(&self, handler: usize, leader: u64) {
        self.words[handler].store(leader, Relaxed);
    }

    /// Kills all that is in them: their worker is gone, or about to be.
    pub(crate) fn kill(&self) {
        for word in self.words {
            let leader = i32::try_from(word.swap(0, Relaxed)).unwrap_or(0);
            if leader > 0 {
                // Mostly they are gone: the kernel ends what a worker started itself.
                killpg(Pid::from_raw(leader), Signal::SIGKILL).ok();
            }
        }
    }
}
