//! Who wants to know of newer updates of a dialog, and whether some have come; and whether any
//! dialog has an overlap of its own: words that all workers of the box share.
//!
//! A turn that wants to know says so ([`Arrivals::want`]) and looks at a count now and then; updates
//! of such a dialog take themselves into the inbox at once (`turn/receipt.rs`), and then count
//! ([`Arrivals::came`]). The inbox is the proof: dialogs share words, and a count that
//! rose says no more than that it is worth a look. A wish ends by itself, so that one that died
//! with its worker is forgotten. Bots in which nobody ever wanted to know pay one load of a word
//! for an update that waits. Bound: [`WORDS`].

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use turnkey_storage::DialogKey;

use crate::shared::clock::monotonic_ms;

/// Pairs of words: a power of two.
const PAIRS: usize = 1 << 12;

/// Words that the whole takes in the shared map: that of all wishes, and the pairs; whole
/// cache lines.
pub(crate) const WORDS: usize = FIRST + 2 * PAIRS;

/// The first pair. Before it are the end of the latest wish of all, 0 if there never was one; and
/// whether dialogs have an overlap of their own.
const FIRST: usize = 8;
const WISHED: usize = 0;
const OWN_OVERLAPS: usize = 1;

/// See the module's page.
#[derive(Clone, Copy)]
pub(crate) struct Arrivals {
    words: &'static [AtomicU64],
}

impl Arrivals {
    /// Over [`WORDS`] words of the shared map.
    pub(crate) fn new(words: &'static [AtomicU64]) -> Self {
        Arrivals { words }
    }

    /// For so long somebody wants to know of updates of this dialog.
    pub(crate) fn want(&self, dialog: &DialogKey, time: Duration) {
        let until = monotonic_ms() + time.as_millis() as u64;
        self.words[WISHED].fetch_max(until, Relaxed);
        self.pair(dialog)[0].fetch_max(until, Relaxed);
    }

    /// Whether anybody ever wanted to know of any.
    pub(crate) fn is_used(&self) -> bool {
        self.words[WISHED].load(Relaxed) != 0
    }

    /// Whether somebody wants to know of them, or of those of a dialog that shares its words.
    pub(crate) fn is_wanted(&self, dialog: &DialogKey) -> bool {
        if !self.is_used() {
            return false;
        }
        let until = self.pair(dialog)[0].load(Relaxed);
        until != 0 && until > monotonic_ms()
    }

    /// One came, and can be seen in the inbox.
    pub(crate) fn came(&self, dialog: &DialogKey) {
        self.pair(dialog)[1].fetch_add(1, Relaxed);
    }

    /// Rises when one came.
    pub(crate) fn count(&self, dialog: &DialogKey) -> u64 {
        self.pair(dialog)[1].load(Relaxed)
    }

    /// Whether any dialog has, or had, an overlap of its own, as far as is known here.
    pub(crate) fn has_own_overlaps(&self) -> bool {
        self.words[OWN_OVERLAPS].load(Relaxed) != 0
    }

    /// One has.
    pub(crate) fn note_own_overlaps(&self) {
        self.words[OWN_OVERLAPS].store(1, Relaxed);
    }

    fn pair(&self, dialog: &DialogKey) -> &'static [AtomicU64] {
        let mut hasher = DefaultHasher::new();
        dialog.hash(&mut hasher);
        let first = FIRST + 2 * (hasher.finish() as usize % PAIRS);
        &self.words[first..first + 2]
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn arrivals() -> Arrivals {
        let words = std::iter::repeat_with(|| AtomicU64::new(0)).take(WORDS);
        Arrivals::new(Vec::leak(words.collect()))
    }

    /// Two dialogs that share their words.
    pub(crate) fn sharing(arrivals: Arrivals) -> (DialogKey, DialogKey) {
        let one = DialogKey::new("telegram", "7");
        let of_one = arrivals.pair(&one).as_ptr();
        let other = (8..)
            .map(|user: u32| DialogKey::new("telegram", user.to_string()))
            .find(|other| arrivals.pair(other).as_ptr() == of_one);
        (one, other.unwrap())
    }

    #[test]
    fn a_wish_is_known_until_it_ends() {
        let arrivals = arrivals();
        let (one, other) = sharing(arrivals);
        assert!(!arrivals.is_wanted(&one));
        arrivals.want(&one, Duration::from_secs(3600));
        assert!(arrivals.is_wanted(&one) && arrivals.is_wanted(&other));
        let third = DialogKey::new("telegram", "x");
        assert!(!arrivals.is_wanted(&third));
        arrivals.want(&third, Duration::ZERO);
        assert!(!arrivals.is_wanted(&third), "it is over");
        // A shorter one does not end it.
        arrivals.want(&one, Duration::ZERO);
        assert!(arrivals.is_wanted(&one));
    }

    #[test]
    fn what_came_is_counted() {
        let arrivals = arrivals();
        let one = DialogKey::new("telegram", "7");
        let before = arrivals.count(&one);
        arrivals.came(&one);
        assert_ne!(arrivals.count(&one), before);
    }
}
