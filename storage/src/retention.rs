//! Forgets what is old, in steps so small that nobody waits for one.
//!
//! Called by one worker, with a pause between two steps. The ids of updates have no
//! index on their time (it would cost every turn), so a round walks the table by its key
//! and ends at the last row. Bounds: [`STEP`] rows a step.

use crate::inbox::text;
use crate::{Result, Statement, Storage};

/// Rows that a step looks at, and at most removes.
pub const STEP: u32 = 100;

/// A round through the tables, as far as it has got.
#[derive(Debug)]
pub struct Sweep {
    /// Forget the ids and answers of updates before this time, milliseconds since 1970.
    seen_before: i64,
    /// Forget turns of the history before this time; none to keep them.
    history_before: Option<i64>,
    at: Place,
}

#[derive(Debug)]
enum Place {
    /// Behind this row of the ids.
    Seen {
        id: String,
        channel: String,
    },
    History,
    Over,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Rows that went.
    pub removed: u64,
    /// The round is over.
    pub over: bool,
}

impl Sweep {
    /// Begins a round. The times are in milliseconds since 1970.
    pub fn new(seen_before: i64, history_before: Option<i64>) -> Self {
        Sweep {
            seen_before,
            history_before,
            at: Place::Seen {
                id: String::new(),
                channel: String::new(),
            },
        }
    }

    /// Takes a step.
    ///
    /// # Errors
    /// As [`Storage::commit`]; the same step can be taken again.
    pub async fn step(&mut self, storage: &dyn Storage) -> Result<Swept> {
        let (removed, next) = match &self.at {
            Place::Seen { id, channel } => self.seen(storage, id, channel).await?,
            Place::History => self.history(storage).await?,
            Place::Over => (0, Place::Over),
        };
        self.at = next;
        Ok(Swept {
            removed,
            over: matches!(self.at, Place::Over),
        })
    }

    async fn seen(&self, storage: &dyn Storage, id: &str, channel: &str) -> Result<(u64, Place)> {
        let ask = Statement::new(
            "SELECT id, channel, at FROM turnkey_seen
             WHERE id >= ?1 AND (id > ?1 OR channel > ?2) ORDER BY id, channel LIMIT ?3",
            (id, channel, i64::from(STEP)),
        );
        let rows = storage.own_query(ask).await?;
        let next = match self.history_before {
            Some(_) => Place::History,
            None => Place::Over,
        };
        let Some(last) = rows.last() else {
            return Ok((0, next));
        };
        let (last_id, last_channel) = (text(last, "id")?, text(last, "channel")?);
        let mut old = false;
        for row in &rows {
            old |= row.get::<i64>("at")? < self.seen_before;
        }
        let mut removed = 0;
        if old {
            let delete = Statement::new(
                "DELETE FROM turnkey_seen WHERE at < ?5
                 AND id >= ?1 AND (id > ?1 OR channel > ?2)
                 AND id <= ?3 AND (id < ?3 OR channel <= ?4)",
                (
                    id,
                    channel,
                    last_id.as_str(),
                    last_channel.as_str(),
                    self.seen_before,
                ),
            );
            removed = storage.own(vec![delete]).await?.iter().sum();
        }
        if rows.len() < STEP as usize {
            return Ok((removed, next));
        }
        Ok((
            removed,
            Place::Seen {
                id: last_id,
                channel: last_channel,
            },
        ))
    }

    /// Older turns have smaller numbers.
    async fn history(&self, storage: &dyn Storage) -> Result<(u64, Place)> {
        let Some(before) = self.history_before else {
            return Ok((0, Place::Over));
        };
        let ask = Statement::new(
            "SELECT id, at FROM turnkey_history ORDER BY id LIMIT ?1",
            (i64::from(STEP),),
        );
        let rows = storage.own_query(ask).await?;
        let mut last = None;
        for row in &rows {
            if row.get::<i64>("at")? >= before {
                break;
            }
            last = Some(row.get::<i64>("id")?);
        }
        let Some(last) = last else {
            return Ok((0, Place::Over));
        };
        let delete = Statement::new("DELETE FROM turnkey_history WHERE id <= ?1", (last,));
        let removed = storage.own(vec![delete]).await?.iter().sum();
        Ok((removed, Place::History))
    }
}
