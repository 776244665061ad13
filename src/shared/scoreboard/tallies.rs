//! Turns of a worker by kind of update and by channel, in the shared map.
//!
//! Its worker counts, alone, so a plain store is enough; any process may read. Bounds: [`KINDS`]
//! kinds and [`CHANNELS`] channels; what is above them is not counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::shared::pacing::MAX_CHANNELS;

/// Kinds of update, with room for some more.
const KINDS: usize = 24;

/// Channels, by their number among the budgets.
const CHANNELS: usize = MAX_CHANNELS;

/// Words in the map.
pub(super) const WORDS: usize = KINDS + CHANNELS;

/// In the map.
#[derive(Clone, Copy)]
pub(crate) struct Tallies {
    words: &'static [AtomicU64],
}

impl Tallies {
    pub(super) fn new(words: &'static [AtomicU64]) -> Self {
        Tallies { words }
    }

    /// One more turn of the kind and the channel with these numbers.
    pub(crate) fn count(&self, kind: usize, channel: usize) {
        let (kinds, channels) = self.words.split_at(KINDS);
        for word in [kinds.get(kind), channels.get(channel)]
            .into_iter()
            .flatten()
        {
            word.store(word.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    /// Turns of the kind with this number.
    pub(crate) fn of_kind(&self, kind: usize) -> u64 {
        let word = self.words[..KINDS].get(kind);
        word.map_or(0, |word| word.load(Relaxed))
    }

    /// Turns of the channel with this number.
    pub(crate) fn of_channel(&self, channel: usize) -> u64 {
        let word = self.words[KINDS..].get(channel);
        word.map_or(0, |word| word.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_counted_by_kind_and_by_channel() {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        let tallies = Tallies::new(Vec::leak(words));
        tallies.count(1, 31);
        tallies.count(2, 31);
        tallies.count(usize::MAX, CHANNELS);
        assert_eq!((tallies.of_kind(1), tallies.of_kind(2)), (1, 1));
        assert_eq!((tallies.of_channel(31), tallies.of_channel(0)), (2, 0));
        assert_eq!(
            (tallies.of_kind(KINDS), tallies.of_channel(CHANNELS)),
            (0, 0)
        );
    }
}
