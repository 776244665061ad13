//! The last warnings and errors of the log, in shared memory, so that every worker's status page
//! shows those of all processes.
//!
//! Written by the log (`cli/log.rs`) in any process, without waiting (and, of each channel's
//! last trouble, by the workers: `pacing.rs`): a writer takes the next
//! place and fills it. A reader checks a place's number before and after, and a sum over what it
//! has read, so that a place that two have written to is left out rather than mixed up.
//! Invariant: lines come here without secrets. Bounds: [`KEPT`] lines of [`LONGEST`] bytes.

use std::hash::{DefaultHasher, Hasher};
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release, fence,
};

use crate::shared::clock::unix_ms;

/// Lines that are told of.
pub(crate) const TOLD: usize = 10;

/// Places for lines: some more, since one may be written to while it is read.
const KEPT: usize = 16;

/// Bytes of a line.
const LONGEST: usize = 400;

/// Words of a place: its number, the time, level and length, the sum, the text.
const PLACE: usize = 4 + LONGEST / 8;

/// Words that [`start`] needs.
pub(crate) const WORDS: usize = words(KEPT);

/// Words for so many lines.
pub(crate) const fn words(lines: usize) -> usize {
    1 + lines * PLACE
}

static LINES: OnceLock<Lines> = OnceLock::new();

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// An error; else a warning.
    pub(crate) is_error: bool,
    /// It may be cut short.
    pub(crate) text: String,
}

/// From now on lines are kept. Once, before the first fork; `words` are shared by all processes
/// and zero.
pub(crate) fn start(words: &'static [AtomicU64]) {
    LINES.get_or_init(|| Lines::new(words));
}

/// Keeps a line, which holds no secret.
pub(crate) fn keep(is_error: bool, text: &str) {
    if let Some(lines) = LINES.get() {
        lines.keep(is_error, text);
    }
}

/// The last [`TOLD`], the newest first.
pub(crate) fn last() -> Vec<Line> {
    LINES.get().map(Lines::last).unwrap_or_default()
}

/// The last lines of one subject, in the shared map.
pub(crate) struct Lines {
    words: &'static [AtomicU64],
}

impl Lines {
    /// Over [`words`] words of a map.
    pub(crate) fn new(words: &'static [AtomicU64]) -> Self {
        Lines { words }
    }

    fn kept(&self) -> u64 {
        ((self.words.len() - 1) / PLACE) as u64
    }

    fn place(&self, number: u64) -> &'static [AtomicU64] {
        let start = 1 + (number % self.kept()) as usize * PLACE;
        &self.words[start..start + PLACE]
    }

    /// Keeps a line, which holds no secret.
    pub(crate) fn keep(&self, is_error: bool, text: &str) {
        let mut end = text.len().min(LONGEST);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let mut bytes = [0; LONGEST];
        bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
        let at_ms = unix_ms();
        let about = (end as u64) << 1 | u64::from(is_error);
        // Numbers begin at 1: 0 is a place that nobody has written to.
        let number = self.words[0].fetch_add(1, Relaxed) + 1;
        let place = self.place(number);
        // Odd while it is being written; also when the writer died amid it.
        place[0].store(number << 1 | 1, Relaxed);
        fence(Release);
        place[1].store(at_ms, Relaxed);
        place[2].store(about, Relaxed);
        place[3].store(sum(number, at_ms, about, &bytes), Relaxed);
        let (chunks, _) = bytes.as_chunks::<8>();
        for (word, chunk) in place[4..].iter().zip(chunks) {
            word.store(u64::from_le_bytes(*chunk), Relaxed);
        }
        place[0].store(number << 1, Release);
    }

    /// The last [`TOLD`], the newest first.
    pub(crate) fn last(&self) -> Vec<Line> {
        let newest = self.words[0].load(Relaxed);
        let oldest = newest.saturating_sub(self.kept() - 1).max(1);
        let numbers = (oldest..=newest).rev();
        numbers.filter_map(|n| self.read(n)).take(TOLD).collect()
    }

    /// None when it is being written, or was written by two.
    fn read(&self, number: u64) -> Option<Line> {
        let place = self.place(number);
        let before = place[0].load(Acquire);
        let [at_ms, about, expected] = [1, 2, 3].map(|n: usize| place[n].load(Relaxed));
        let bytes: Vec<u8> = place[4..]
            .iter()
            .flat_map(|word| word.load(Relaxed).to_le_bytes())
            .collect();
        fence(Acquire);
        let is_whole = before == number << 1 && place[0].load(Relaxed) == before;
        if !is_whole || sum(number, at_ms, about, &bytes) != expected {
            return None;
        }
        let text = bytes.get(..(about >> 1) as usize)?;
        Some(Line {
            at_ms,
            is_error: about & 1 == 1,
            text: String::from_utf8_lossy(text).into_owned(),
        })
    }
}

fn sum(number: u64, at_ms: u64, about: u64, bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for word in [number, at_ms, about] {
        hasher.write_u64(word);
    }
    hasher.write(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        let words: Vec<AtomicU64> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
        Lines {
            words: Vec::leak(words),
        }
    }

    #[test]
    fn the_last_ten_are_told_the_newest_first_and_long_ones_are_cut_between_letters() {
        let lines = lines();
        assert_eq!(lines.last(), []);
        for n in 0..40 {
            lines.keep(n % 2 == 1, &format!("line {n}"));
        }
        let last = lines.last();
        let texts: Vec<&str> = last.iter().map(|line| &*line.text).collect();
        let wanted: Vec<String> = (30..40).rev().map(|n| format!("line {n}")).collect();
        assert_eq!(texts, wanted);
        assert!(last[0].is_error && !last[1].is_error && last[0].at_ms > 0);
        lines.keep(false, &"é".repeat(LONGEST));
        assert_eq!(lines.last()[0].text, "é".repeat(LONGEST / 2));
    }

    #[test]
    fn a_line_that_is_half_written_is_left_out() {
        let lines = lines();
        lines.keep(false, "whole");
        lines.keep(false, "torn");
        lines.place(2)[0].store(2 << 1 | 1, Relaxed);
        assert_eq!(lines.last().len(), 1);
        // Two wrote, and each says that it is whole.
        lines.place(2)[0].store(2 << 1, Relaxed);
        lines.place(2)[6].store(7, Relaxed);
        assert_eq!(lines.last()[0].text, "whole");
    }
}
