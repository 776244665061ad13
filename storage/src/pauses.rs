//! Pauses: until when platforms asked us to wait, kept over restarts.
//!
//! The sender of replies sets them, and reads them at its start. A scope is the sender's name
//! for what is paused, such as a bot or one of its chats. Bounds: [`all`] removes those that
//! are over.

use crate::{Result, Statement, Storage, unix_ms};

/// Notes that `scope` pauses until `until_ms`, in milliseconds since 1970. The last word
/// stands.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn set(storage: &dyn Storage, scope: &str, until_ms: i64) -> Result<()> {
    let change = Statement::new(
        "UPDATE turnkey_pause SET until_ms = ?2 WHERE scope = ?1",
        (scope, until_ms),
    );
    let add = Statement::new(
        "INSERT INTO turnkey_pause (scope, until_ms) SELECT ?1, ?2 FROM (SELECT 1 AS one) t
         WHERE NOT EXISTS (SELECT 1 FROM turnkey_pause p WHERE p.scope = ?1)",
        (scope, until_ms),
    );
    storage.own(vec![change, add]).await.map(drop)
}

/// The pauses that are not over, in milliseconds since 1970; those that are, are removed.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn all(storage: &dyn Storage) -> Result<Vec<(String, i64)>> {
    let now = unix_ms();
    let query = Statement::new(
        "SELECT scope, until_ms FROM turnkey_pause ORDER BY scope",
        (),
    );
    let mut pauses = Vec::new();
    for row in storage.own_query(query).await? {
        pauses.push((row.key("scope")?, row.get::<i64>("until_ms")?));
    }
    let before = pauses.len();
    pauses.retain(|(_, until)| *until > now);
    if pauses.len() < before {
        let delete = Statement::new("DELETE FROM turnkey_pause WHERE until_ms <= ?1", (now,));
        storage.own(vec![delete]).await?;
    }
    Ok(pauses)
}
