//! Whether a standby of a PostgreSQL server may lack turns that were acknowledged.
//!
//! Called by the status page, for as long as the bot runs: a standby may come, or stop being
//! synchronous, long after the start, at which `postgres/session.rs` asks the same.

use crate::{Result, Statement, Storage};

/// Whether the server has a standby, or is one of several (`has_several`), and none is
/// synchronous. Only PostgreSQL understands the question.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn lacks_turns(storage: &dyn Storage, has_several: bool) -> Result<bool> {
    let query = "SELECT CAST(CASE WHEN btrim(current_setting('synchronous_standby_names')) = ''
             AND NOT pg_is_in_recovery() THEN 1 ELSE 0 END AS BIGINT) AS unguarded,
         (SELECT COUNT(*) FROM pg_stat_replication
             WHERE state IS NULL OR state IN ('streaming', 'catchup')) AS standbys";
    let rows = storage.own_query(Statement::new(query, ())).await?;
    let Some(row) = rows.first() else {
        return Ok(false);
    };
    let has_standby = has_several || row.get::<i64>("standbys")? > 0;
    Ok(has_standby && row.get::<i64>("unguarded")? == 1)
}
