//! Retention: old update ids and old history go, a small step at a time.
//!
//! Whoever keeps the house calls [`Sweep::step`] now and then. There is no index on the
//! time of an update, since one would cost every turn: the ids are walked in the order of
//! their key, and what is old is deleted. The history is in the order of time.
//! Bounds: [`STEP`] rows are looked at in one step.

use crate::{Error, Result, Storage};

/// Rows that one step looks at.
pub const STEP: u32 = 500;

/// Which table a [`Sweep`] walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The ids and answers of handled updates.
    Updates,
    /// The turns of the history.
    History,
}

/// A walk through a table that deletes what is old. Cheap to make; its place is kept in
/// memory only.
#[derive(Clone, Debug)]
pub struct Sweep {
    kept: Kept,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Rows that were deleted.
    pub gone: u64,
    /// The end was reached; the next step begins a new round.
    pub over: bool,
}

impl Sweep {
    /// At the start of a table.
    pub fn of(kept: Kept) -> Self {
        Sweep { kept }
    }

    /// Looks at the next rows and deletes those from before `cutoff_ms`, in milliseconds
    /// since 1970. Younger ones are never touched.
    ///
    /// # Errors
    /// As [`Storage::commit`]; the place stays where it was.
    pub async fn step(&mut self, storage: &dyn Storage, cutoff_ms: i64) -> Result<Swept> {
        let _ = (self.kept, storage, cutoff_ms);
        Err(Error::Unavailable("not yet".to_owned()))
    }
}
