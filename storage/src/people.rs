//! How many dialogs there are, how many of them had a turn lately, and which had the latest.
//!
//! Called by the status page. Bound: [`COUNTED`] dialogs are looked at, since no index leads to the
//! latest: in a larger database all figures are of those.

use crate::admin::{DialogSummary, summary, summary_columns};
use crate::{Result, Statement, Storage, person, schedules};

/// Dialogs that are looked at.
pub const COUNTED: u64 = 10_000;

/// Dialogs, but for the bot's own schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// All; [`COUNTED`] stands for that many or more.
    pub dialogs: u64,
    /// Those of a user alone: not in a group, nor a group's own.
    pub users: u64,
    /// Those that had a turn since then.
    pub active: u64,
}

/// Counts them; `since` is in milliseconds since 1970.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn count(storage: &dyn Storage, since: i64) -> Result<People> {
    let query = format!(
        "SELECT COUNT(*) AS dialogs,
             COUNT(CASE WHEN user_id LIKE '%@%' THEN NULL ELSE 1 END) AS users,
             COUNT(CASE WHEN updated_at >= ?1 THEN 1 ELSE NULL END) AS active
         FROM (SELECT user_id, updated_at FROM turnkey_dialog WHERE channel <> ?2
             LIMIT {COUNTED}) d"
    );
    let params = (since, schedules::CHANNEL);
    let rows = storage.own_query(Statement::new(query, params)).await?;
    let Some(row) = rows.first() else {
        return Ok(People::default());
    };
    let count = |name| row.get::<i64>(name).map(|n| n as u64);
    Ok(People {
        dialogs: count("dialogs")?,
        users: count("users")?,
        active: count("active")?,
    })
}

/// Up to `limit` dialogs, those with the latest turns first.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn recent(storage: &dyn Storage, limit: u32) -> Result<Vec<DialogSummary>> {
    let query = format!(
        "SELECT {}
         FROM (SELECT user_id, channel, version, state, updated_at FROM turnkey_dialog
             LIMIT {COUNTED}) d {}
         ORDER BY d.updated_at DESC, d.user_id, d.channel LIMIT ?1",
        summary_columns(),
        person::BESIDE
    );
    let rows = storage.own_query(Statement::new(query, (limit,))).await?;
    rows.iter().map(summary).collect()
}
