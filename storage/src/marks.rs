//! Marks: where to continue polling a platform that does not remember it itself. Kept over
//! restarts.
//!
//! The poller sets its channel's mark as it moves, and reads it at its start. Bounds: one row
//! for each channel.

use crate::{Result, Statement, Storage};

/// Notes where to go on asking a channel's platform.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn set(storage: &dyn Storage, channel: &str, mark: u64) -> Result<()> {
    // All 64 bits of it, as the databases know no number without a sign.
    let mark = mark.cast_signed();
    let change = Statement::new(
        "UPDATE turnkey_poll_mark SET mark = ?2 WHERE channel = ?1",
        (channel, mark),
    );
    let add = Statement::new(
        "INSERT INTO turnkey_poll_mark (channel, mark) SELECT ?1, ?2 FROM (SELECT 1 AS one) t
         WHERE NOT EXISTS (SELECT 1 FROM turnkey_poll_mark m WHERE m.channel = ?1)",
        (channel, mark),
    );
    storage.own(vec![change, add]).await.map(drop)
}

/// Where to go on asking a channel's platform, if that was noted.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn get(storage: &dyn Storage, channel: &str) -> Result<Option<u64>> {
    let query = Statement::new(
        "SELECT mark FROM turnkey_poll_mark WHERE channel = ?1",
        (channel,),
    );
    match storage.own_query(query).await?.first() {
        Some(row) => Ok(Some(row.get::<i64>("mark")?.cast_unsigned())),
        None => Ok(None),
    }
}
