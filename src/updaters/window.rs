//! Polled updates, in the platform's order, until they and all before them are done.
//!
//! Used by `polling.rs`. Invariant: [`Window::low`] moves only over updates that are
//! done.

use std::collections::VecDeque;

use crate::channels::poll::Mark;

/// An update's place in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WindowPlace(u64);

struct Entry {
    mark: Mark,
    is_done: bool,
}

/// See the file's first lines.
pub(super) struct Window {
    entries: VecDeque<Entry>,
    /// The place of the first entry.
    first: u64,
    low: Option<Mark>,
}

impl Window {
    /// Everything before `low` is ours.
    pub(super) fn new(low: Option<Mark>) -> Self {
        Window {
            entries: VecDeque::new(),
            first: 0,
            low,
        }
    }

    /// Everything before this mark is ours.
    pub(super) fn low(&self) -> Option<Mark> {
        self.low
    }

    /// Nothing is open: go on from here.
    pub(super) fn restart(&mut self, low: Option<Mark>) {
        if self.entries.is_empty() {
            self.low = low;
        }
    }

    /// Updates that are not done, and those behind them.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether an update with this mark is in it.
    pub(super) fn holds(&self, mark: Mark) -> bool {
        self.entries.iter().any(|entry| entry.mark == mark)
    }

    /// Adds the next update of the platform's order.
    pub(super) fn push(&mut self, mark: Mark) -> WindowPlace {
        self.entries.push_back(Entry {
            mark,
            is_done: false,
        });
        WindowPlace(self.first + self.entries.len() as u64 - 1)
    }

    /// An update is ours, or nobody's.
    pub(super) fn done(&mut self, place: WindowPlace) {
        let index = place.0.checked_sub(self.first);
        let entry = index.and_then(|index| self.entries.get_mut(index as usize));
        if let Some(entry) = entry {
            entry.is_done = true;
        }
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.is_done) {
            self.low = Some(entry.mark);
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_over_what_is_done_only() {
        let mut window = Window::new(None);
        let places: Vec<_> = (11..=14).map(|mark| window.push(mark)).collect();
        window.done(places[1]);
        window.done(places[2]);
        assert_eq!((window.low(), window.len()), (None, 4));
        assert!(window.holds(12) && !window.holds(15));
        window.done(places[0]);
        assert_eq!((window.low(), window.len()), (Some(13), 1));
        window.done(places[0]);
        window.restart(None);
        assert_eq!(window.low(), Some(13));
        window.done(places[3]);
        assert_eq!((window.low(), window.len()), (Some(14), 0));
        window.restart(None);
        assert_eq!(window.low(), None);
        // Ids begin anew, and lower.
        let place = window.push(3);
        window.done(place);
        assert_eq!(window.low(), Some(3));
    }
}
