//! Retention: deletes old update ids, old history, old names of messages, old copies of replies
//! and callbacks whose time is over, in small steps.
//!
//! The caller calls [`Sweep::step`] from time to time. There is no index on the time of a row,
//! since it would cost every turn: rows are scanned in the order of their key, and old ones
//! deleted. The history is in the order of time. Bounds: a step reads [`STEP`] rows.

use crate::{Result, Row, Statement, Storage, Value};

/// In place of a channel, for the keys of writes among the ids of updates.
pub(crate) const KEYED: &str = ":write";

/// Rows that one step looks at.
pub const STEP: u32 = 500;

/// Which table a [`Sweep`] walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The ids and answers of handled updates.
    Updates,
    /// The keys of writes, which stand among those ids; in a SQLite file only.
    Keys,
    /// The turns of the history.
    History,
    /// The names of messages, by when a message was last given its name.
    Names,
    /// Replies that a platform took, and of which it has said nothing since.
    Taken,
    /// Callbacks, by when their time was over or they were taken.
    Callbacks,
}

impl Kept {
    fn table(self) -> &'static str {
        match self {
            Kept::Updates | Kept::Keys => "turnkey_seen",
            Kept::History => "turnkey_history",
            Kept::Names => "turnkey_message",
            Kept::Taken => "turnkey_taken",
            Kept::Callbacks => "turnkey_callback",
        }
    }

    /// The column that says how old a row is.
    fn at(self) -> &'static str {
        match self {
            Kept::Callbacks => "expires",
            _ => "at",
        }
    }

    /// The only channel whose rows it deletes, where there is one.
    fn channel(self) -> Option<&'static str> {
        match self {
            Kept::Keys => Some(KEYED),
            _ => None,
        }
    }

    /// By what it is walked: the key, or the start of it under which there are never many rows.
    fn key(self) -> &'static [&'static str] {
        match self {
            // Under one id there is a row for each channel at most.
            Kept::Updates | Kept::Keys | Kept::History => &["id"],
            Kept::Names => &["user_id", "channel", "name"],
            Kept::Taken => &["turn", "n"],
            Kept::Callbacks => &["hash"],
        }
    }
}

/// A walk through a table that deletes what is old. Cheap to make; its place is kept in
/// memory only.
#[derive(Clone, Debug)]
pub struct Sweep {
    kept: Kept,
    /// The last key that was looked at; none at the start of a round.
    place: Option<Vec<Value>>,
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
        let (table, key, at) = (self.kept.table(), self.kept.key(), self.kept.at());
        let columns = key.join(", ");
        let (from, params) = match &self.place {
            Some(place) => {
                let params = [vec![Value::from(STEP)], place.clone()].concat();
                (format!("WHERE {}", behind(key, 2)), params)
            }
            None => (String::new(), vec![Value::from(STEP)]),
        };
        let channel = self.kept.channel();
        let (and_channel, of_channel) = match channel {
            Some(channel) => (", channel", format!("AND channel = '{channel}'")),
            None => ("", String::new()),
        };
        let look = format!(
            "SELECT {columns}, {at}{and_channel} FROM {table} {from} ORDER BY {columns} LIMIT ?1"
        );
        let rows = storage.own_query(Statement::new(look, params)).await?;
        let mut old = Vec::new();
        for row in &rows {
            let is_meant = match channel {
                Some(channel) => row.get::<String>("channel")? == channel,
                None => true,
            };
            if is_meant && row.get::<i64>(at)? < cutoff_ms {
                old.push(row);
            }
        }
        let mut gone = 0;
        if let (Some(first), Some(last)) = (old.first(), old.last()) {
            // From the first old row's start of the key to the last one. Those between them that
            // are not among these rows are old or stay.
            let delete = format!(
                "DELETE FROM {table} WHERE {at} < ?1 AND {start} >= ?2 AND {start} <= ?3
                     AND NOT ({behind}) {of_channel}",
                start = key[0],
                behind = behind(key, 3),
            );
            let mut params = vec![Value::from(cutoff_ms), first.get::<Value>(key[0])?];
            params.extend(place_of(last, key)?);
            gone = storage
                .own(vec![Statement::new(delete, params)])
                .await?
                .iter()
                .sum();
        }
        // What was written later is younger, but only in the history.
        let young = self.kept == Kept::History && old.len() < rows.len();
        let over = rows.len() < STEP as usize || young;
        self.place = match rows.last() {
            Some(last) if !over => Some(place_of(last, key)?),
            _ => None,
        };
        Ok(Swept { gone, over })
    }
}

fn place_of(row: &Row, key: &[&str]) -> Result<Vec<Value>> {
    key.iter().map(|column| row.get(column)).collect()
}

/// The condition that a row comes behind the place whose values are the parameters from this
/// number on. Written so that every engine looks it up by its first column.
fn behind(key: &[&str], number: usize) -> String {
    let [column, rest @ ..] = key else {
        return String::new();
    };
    if rest.is_empty() {
        return format!("{column} > ?{number}");
    }
    format!(
        "{column} >= ?{number} AND ({column} > ?{number} OR ({}))",
        behind(rest, number + 1)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_behind_is_found_by_the_first_column() {
        assert_eq!(behind(&["id"], 2), "id > ?2");
        assert_eq!(
            behind(&["a", "b", "c"], 2),
            "a >= ?2 AND (a > ?2 OR (b >= ?3 AND (b > ?3 OR (c > ?4))))"
        );
    }
}
