//! Retention: deletes old update ids and old history in small steps.
//!
//! The caller calls [`Sweep::step`] from time to time. There is no index on the time of an
//! update, since it would cost every turn: the ids are scanned in the order of their key, and
//! old ones deleted. The history is in the order of time. Bounds: a step reads [`STEP`] rows.

use crate::{Result, Statement, Storage, Value};

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
    /// The last key that was looked at; none at the start of a round.
    place: Option<Value>,
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
        Sweep { kept, place: None }
    }

    /// Looks at the next rows and deletes those from before `cutoff_ms`, in milliseconds
    /// since 1970. Younger ones are never touched.
    ///
    /// # Errors
    /// As [`Storage::commit`]; the place stays where it was.
    pub async fn step(&mut self, storage: &dyn Storage, cutoff_ms: i64) -> Result<Swept> {
        let table = match self.kept {
            Kept::Updates => "turnkey_seen",
            Kept::History => "turnkey_history",
        };
        let (from, params) = match &self.place {
            Some(place) => ("WHERE id > ?2", vec![Value::from(STEP), place.clone()]),
            None => ("", vec![Value::from(STEP)]),
        };
        let look = format!("SELECT id, at FROM {table} {from} ORDER BY id LIMIT ?1");
        let rows = storage.own_query(Statement::new(look, params)).await?;
        let mut old = Vec::new();
        for row in &rows {
            if row.get::<i64>("at")? < cutoff_ms {
                old.push(row.get::<Value>("id")?);
            }
        }
        let mut gone = 0;
        if let (Some(first), Some(last)) = (old.first(), old.last()) {
            // Ids are looked for without their channel: those of another channel under
            // the last id are old or stay.
            let delete = Statement::new(
                format!("DELETE FROM {table} WHERE id >= ?1 AND id <= ?2 AND at < ?3"),
                vec![first.clone(), last.clone(), Value::from(cutoff_ms)],
            );
            gone = storage.own(vec![delete]).await?.iter().sum();
        }
        // What was written later is younger, but only in the history.
        let young = self.kept == Kept::History && old.len() < rows.len();
        let over = rows.len() < STEP as usize || young;
        self.place = match rows.last() {
            Some(last) if !over => Some(last.get("id")?),
            _ => None,
        };
        Ok(Swept { gone, over })
    }
}
