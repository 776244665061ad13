//! Which update of a worker has waited longest, in the shared map.
//!
//! Its worker writes it once a second; any process may read. A reader compares the version
//! before and after, and reads again if a write came between (a seqlock). Bounds: [`NAME`]
//! bytes of the dialog's name, [`LOOKS`] looks.

use std::sync::atomic::{
    AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence,
};

/// Bytes of a name that are kept.
const NAME: usize = 88;

/// Words in the map: a version, since when, the name.
pub(super) const WORDS: usize = 2 + NAME / 8;

/// A reader gives up after so many; the next look is in a second.
const LOOKS: u32 = 100;

/// In the map.
#[derive(Clone, Copy)]
pub(crate) struct Longest {
    words: &'static [AtomicU64],
}

impl Longest {
    pub(super) fn new(words: &'static [AtomicU64]) -> Self {
        Longest { words }
    }

    /// Notes a dialog and since when (microseconds since 1970) its update waits.
    pub(crate) fn set(&self, since_us: u64, dialog: &str) {
        let mut end = dialog.len().min(NAME);
        while !dialog.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0; NAME];
        bytes[..end].copy_from_slice(&dialog.as_bytes()[..end]);
        let version = &self.words[0];
        // Odd while it is being written; also when the writer died amid it.
        version.store(version.load(Relaxed) | 1, Relaxed);
        fence(Release);
        self.words[1].store(since_us, Relaxed);
        let (words, _) = bytes.as_chunks::<8>();
        for (word, bytes) in self.words[2..].iter().zip(words) {
            word.store(u64::from_le_bytes(*bytes), Relaxed);
        }
        version.store(version.load(Relaxed).wrapping_add(1), Release);
    }

    /// Nobody waits.
    pub(crate) fn clear(&self) {
        self.set(0, "");
    }

    /// Who waits and since when (microseconds since 1970), if anybody does. A name may be
    /// cut short.
    pub(crate) fn get(&self) -> Option<(u64, String)> {
        for _ in 0..LOOKS {
            let before = self.words[0].load(Acquire);
            let since = self.words[1].load(Relaxed);
            let bytes: Vec<u8> = self.words[2..]
                .iter()
                .flat_map(|word| word.load(Relaxed).to_le_bytes())
                .take_while(|byte| *byte != 0)
                .collect();
            fence(Acquire);
            if before.is_multiple_of(2) && self.words[0].load(Relaxed) == before {
                let name = || String::from_utf8_lossy(&bytes).into_owned();
                return (since > 0).then(|| (since, name()));
            }
            std::hint::spin_loop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_read_and_long_names_are_cut_between_letters() {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        let longest = Longest::new(Vec::leak(words));
        assert_eq!(longest.get(), None);
        longest.set(7, "http:ann");
        assert_eq!(longest.get(), Some((7, "http:ann".to_owned())));
        longest.set(8, &"é".repeat(100));
        assert_eq!(longest.get(), Some((8, "é".repeat(NAME / 2))));
        longest.clear();
        assert_eq!(longest.get(), None);
    }
}
