//! The state of a database file that was taken away, as a word of the scoreboard.
//!
//! Written by the writer's process, read by the master, the status page and the last line.

use turnkey_storage::sqlite::Taken;

use crate::shared::scoreboard::{Field, Slot};

/// Words from here on are the number of a rescued file.
const NUMBERS: u64 = 4;

/// What the writer said last of a file that was taken away; none while it is in its place.
pub(crate) fn taken(slot: Slot) -> Option<Taken> {
    match slot.get(Field::Taken) {
        0 => None,
        1 => Some(Taken::Saving),
        2 => Some(Taken::NotKept),
        3 => Some(Taken::InPlace),
        more => Some(Taken::Kept((more - NUMBERS) as u32)),
    }
}

/// As it stands there.
pub(crate) fn to_word(taken: Taken) -> u64 {
    match taken {
        Taken::Saving => 1,
        Taken::NotKept => 2,
        Taken::InPlace => 3,
        Taken::Kept(number) => NUMBERS + u64::from(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::scoreboard::Scoreboard;

    #[test]
    fn what_became_of_a_file_is_read_as_it_was_written() {
        let words = (0..Scoreboard::words(1)).map(|_| std::sync::atomic::AtomicU64::new(0));
        let slot = Scoreboard::new(Vec::leak(words.collect())).writer();
        assert_eq!(taken(slot), None);
        for state in [
            Taken::Saving,
            Taken::NotKept,
            Taken::InPlace,
            Taken::Kept(1),
            Taken::Kept(u32::MAX),
        ] {
            slot.set(Field::Taken, to_word(state));
            assert_eq!(taken(slot), Some(state));
        }
    }
}
