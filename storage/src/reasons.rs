//! Why dead letters and dead replies failed: how many of each reason, most first.
//!
//! Called by the status page. Bounds: [`SAMPLE`] rows of each table are looked at, [`REASONS`]
//! reasons of each are told, and of a reason its first 300 characters count.

use crate::{Result, Statement, Storage};

/// Rows that are looked at.
pub const SAMPLE: u64 = 1000;

/// Reasons that are told of.
pub const REASONS: u32 = 5;

/// Characters of a reason: what follows are addresses and traces.
const LONGEST: u32 = 300;

/// So many failed on this channel for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Whose they are.
    pub channel: String,
    /// The first line of what was said last.
    pub error: String,
    /// How many; [`SAMPLE`] stands for that many or more.
    pub count: u64,
}

/// Of the dead letters.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn of_letters(storage: &dyn Storage) -> Result<Vec<Reason>> {
    of(storage, "turnkey_dead").await
}

/// Of the dead replies.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn of_replies(storage: &dyn Storage) -> Result<Vec<Reason>> {
    of(storage, "turnkey_dead_reply").await
}

async fn of(storage: &dyn Storage, table: &str) -> Result<Vec<Reason>> {
    let query = format!(
        "SELECT channel, error, COUNT(*) AS n
         FROM (SELECT channel, SUBSTR(error, 1, {LONGEST}) AS error FROM {table} LIMIT {SAMPLE}) r
         GROUP BY channel, error ORDER BY n DESC, channel, error LIMIT {REASONS}"
    );
    let rows = storage.own_query(Statement::new(query, ())).await?;
    rows.iter()
        .map(|row| {
            let error: String = row.get("error")?;
            Ok(Reason {
                channel: row.key("channel")?,
                error: error.lines().next().unwrap_or_default().to_owned(),
                count: row.get::<i64>("n")? as u64,
            })
        })
        .collect()
}
