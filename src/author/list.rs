//! A list that a shared reference adds to: what a handler has said, and who still holds the
//! text that came in.
//!
//! Used by [`Turn`](crate::Turn), whose verbs take `&self`. Invariant: nothing is ever borrowed
//! from it, so there is no borrow that could fail; what the author brings is converted before
//! it comes here. Bounds: those of whoever reads it.

use std::cell::Cell;

/// See the module's page.
pub(crate) struct List<T>(Cell<Vec<T>>);

impl<T> List<T> {
    pub(crate) fn push(&self, item: T) {
        let mut items = self.0.take();
        items.push(item);
        self.0.set(items);
    }

    pub(crate) fn into_vec(self) -> Vec<T> {
        self.0.into_inner()
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        List(Cell::default())
    }
}
