//! Whose names the database has: words that all workers of the box share, so that a turn whose user
//! is called as before costs one load of a word, and no storage.
//!
//! Asked by `turn/meeting.rs` before each commit of somebody whom the platform names, told after
//! it. A word holds a hash of a dialog and its name; two dialogs may share one, and then their
//! names are written again in turn: the storage sees that nothing changed. Nobody's name is in the
//! map. Bound: [`WORDS`].

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use turnkey_storage::DialogKey;

/// Words that the whole takes in the shared map: a power of two. Pages of it that nobody has
/// written to take no memory.
pub(crate) const WORDS: usize = 1 << 15;

/// See the module's page.
#[derive(Clone, Copy)]
pub(crate) struct Met {
    words: &'static [AtomicU64],
}

/// Somebody, as a word keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Face {
    /// Of the dialog alone: whoever is called otherwise has the same word.
    place: usize,
    /// Never 0, which is a word that nobody has written to.
    hash: u64,
}

impl Face {
    /// A dialog, and what a platform tells of whose it is.
    pub(crate) fn of(dialog: &DialogKey, told: [&str; 3]) -> Self {
        let mut hasher = DefaultHasher::new();
        (&dialog.channel, &dialog.user_id).hash(&mut hasher);
        let place = hasher.finish() as usize % WORDS;
        told.hash(&mut hasher);
        let hash = hasher.finish().max(1);
        Face { place, hash }
    }
}

impl Met {
    /// Over [`WORDS`] words of the shared map.
    pub(crate) fn new(words: &'static [AtomicU64]) -> Self {
        Met { words }
    }

    /// Whether the database has their name as it is now.
    pub(crate) fn knows(&self, face: Face) -> bool {
        self.words[face.place].load(Relaxed) == face.hash
    }

    /// The database has it.
    pub(crate) fn learn(&self, face: Face) {
        self.words[face.place].store(face.hash, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_name_is_another_face() {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        let met = Met::new(Vec::leak(words));
        let ann = DialogKey::new("telegram", "7");
        let face = |name| Face::of(&ann, [name, "", "de"]);
        assert!(!met.knows(face("Ann")));
        met.learn(face("Ann"));
        assert!(met.knows(face("Ann")) && !met.knows(face("Anna")));
        // Called as before again, it is written again.
        met.learn(face("Anna"));
        assert!(!met.knows(face("Ann")));
        met.learn(face("Ann"));
        let bob = DialogKey::new("telegram", "8");
        assert!(!met.knows(Face::of(&bob, ["Ann", "", "de"])));
    }
}
