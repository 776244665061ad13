//! The process groups of a worker's handlers, in the shared map.
//!
//! The worker notes each while it is there; should the worker be killed, the master ends
//! them (`process/master/supervise.rs`). Bound: [`WORDS`] groups.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

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
    pub(crate) fn set(&self, handler: usize, leader: u64) {
        self.words[handler].store(leader, Relaxed);
    }

    /// Those that are there; they are forgotten.
    pub(crate) fn take(&self) -> Vec<u64> {
        let all = self.words.iter().map(|word| word.swap(0, Relaxed));
        all.filter(|leader| *leader != 0).collect()
    }
}
