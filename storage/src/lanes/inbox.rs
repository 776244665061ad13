//! Which dialogs have something due in the inbox.
//!
//! Used by [`ServerStorage`](super::ServerStorage), for every engine. An update may be written
//! to the inbox at the very moment when another process commits it, and neither sees the
//! other's row: such an inbox row is skipped, and removed here.

use super::Author;
use crate::inbox::{TOO_FAR_MS, TOO_FAR_UNTRIED_MS};
use crate::{DialogKey, Result, Statement, clock};

/// Dialogs whose oldest update is due and without a turn, the longest waiting first.
pub(super) async fn due_dialogs(author: &dyn Author, limit: u32) -> Result<Vec<DialogKey>> {
    let done = "EXISTS (SELECT 1 FROM turnkey_seen s
         WHERE s.id = turnkey_inbox.id AND s.channel = turnkey_inbox.channel)";
    let count = format!("SELECT COUNT(*) AS n FROM turnkey_inbox WHERE {done}");
    let rows = author.own_query(Statement::new(count, ())).await?;
    if rows.first().map_or(Ok(0), |row| row.get::<i64>("n"))? > 0 {
        let delete = format!("DELETE FROM turnkey_inbox WHERE {done}");
        author.own(vec![Statement::new(delete, ())]).await?;
    }
    let now = clock::now_ms();
    let query = Statement::new(
        "SELECT i.user_id AS user_id, i.channel AS channel FROM turnkey_inbox i
         WHERE (i.due <= ?1 OR i.due > ?4 OR (i.due > ?3 AND i.attempts > 0))
             AND NOT EXISTS (SELECT 1 FROM turnkey_inbox b
                 WHERE b.user_id = i.user_id AND b.channel = i.channel
                     AND (b.arrived < i.arrived OR (b.arrived = i.arrived AND b.id < i.id)))
             AND NOT EXISTS (SELECT 1 FROM turnkey_lock l
                 WHERE l.user_id = i.user_id AND l.channel = i.channel)
         ORDER BY i.arrived, i.id LIMIT ?2",
        (now, limit, now + TOO_FAR_MS, now + TOO_FAR_UNTRIED_MS),
    );
    let rows = author.own_query(query).await?;
    rows.iter().map(crate::Row::dialog).collect()
}
