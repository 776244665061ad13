//! Updates of kinds that the handler does not hear, by kind, in the shared map.
//!
//! Its worker counts; any process may read.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Words in the map: one for each kind, and room for some more.
pub(super) const WORDS: usize = 16;

/// In the map.
#[derive(Clone, Copy)]
pub(crate) struct Unheard {
    words: &'static [AtomicU64],
}

impl Unheard {
    pub(super) fn new(words: &'static [AtomicU64]) -> Self {
        Unheard { words }
    }

    /// One more of the kind with this number.
    pub(crate) fn add(&self, kind: usize) {
        if let Some(word) = self.words.get(kind) {
            word.fetch_add(1, Relaxed);
        }
    }

    /// How many of the kind with this number there were.
    pub(crate) fn get(&self, kind: usize) -> u64 {
        self.words.get(kind).map_or(0, |word| word.load(Relaxed))
    }
}
