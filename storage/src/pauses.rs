//! Pauses: until when a platform asked us to wait, kept over restarts.
//!
//! Who sends replies sets them and reads them at its start. A scope is its own name for
//! what is paused, such as a bot or one of its chats. Bounds: those that are over are
//! removed by [`all`].

use crate::{Error, Result, Storage};

/// Notes that `scope` pauses until `until_ms`, in milliseconds since 1970. The last word
/// stands.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn set(storage: &dyn Storage, scope: &str, until_ms: i64) -> Result<()> {
    let _ = (storage, scope, until_ms);
    Err(Error::Unavailable("not yet".to_owned()))
}

/// The pauses that are not over, in milliseconds since 1970; those that are, are removed.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn all(storage: &dyn Storage) -> Result<Vec<(String, i64)>> {
    let _ = storage;
    Err(Error::Unavailable("not yet".to_owned()))
}
