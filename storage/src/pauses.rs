//! Until when a platform asked not to be sent anything: kept, so that a program that is
//! started again does not ask for trouble.
//!
//! Called by whoever sends. A scope is the sender's own word for what is paused, such as
//! a bot or a chat.

use crate::inbox::text;
use crate::{Error, Result, Statement, Storage};

/// Attempts at a pause that another process sets in the same moment.
const ATTEMPTS: u32 = 3;

/// Remembers a pause, and forgets those that are over. `until_ms` is in milliseconds
/// since 1970.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn set(storage: &dyn Storage, scope: &str, until_ms: i64) -> Result<()> {
    let statements = vec![
        Statement::new(
            "DELETE FROM turnkey_pause WHERE scope = ?1 OR until_ms < ?2",
            (scope, crate::unix_ms()),
        ),
        Statement::new(
            "INSERT INTO turnkey_pause (scope, until_ms) VALUES (?1, ?2)",
            (scope, until_ms),
        ),
    ];
    let mut attempts = 1;
    loop {
        match storage.own(statements.clone()).await {
            Err(Error::Statement(_)) if attempts < ATTEMPTS => attempts += 1,
            outcome => return outcome.map(drop),
        }
    }
}

/// The pauses that are not over: what they stop, and until when.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn all(storage: &dyn Storage) -> Result<Vec<(String, i64)>> {
    let ask = Statement::new(
        "SELECT scope, until_ms FROM turnkey_pause WHERE until_ms > ?1",
        (crate::unix_ms(),),
    );
    let rows = storage.own_query(ask).await?;
    rows.iter()
        .map(|row| Ok((text(row, "scope")?, row.get("until_ms")?)))
        .collect()
}
