//! Names of messages: what a platform calls a message, kept under a name of the author's, so
//! that a later turn can find it again.
//!
//! Set for a dialog when a reply that has a name was sent; [`admin::reset`](crate::admin::reset)
//! forgets them with the dialog's state, and [`retention`](crate::retention) those whose message
//! was neither sent nor changed for long. Bounds: [`MAX_NAME`]; how many names a dialog may have
//! is the caller's to limit.

use crate::{DialogKey, Error, Result, Statement, Storage, unix_ms};

/// The longest name in bytes: a key has no room for much more.
pub const MAX_NAME: usize = 200;

/// Gives a message of this dialog a name. Of several under one name the latest stands.
///
/// # Errors
/// [`Error::Statement`] when the name is longer than [`MAX_NAME`]; else as
/// [`Storage::commit`].
pub async fn set(
    storage: &dyn Storage,
    dialog: &DialogKey,
    name: &str,
    message: &str,
) -> Result<()> {
    if name.len() > MAX_NAME {
        return Err(Error::Statement(format!(
            "a message's name of {} bytes is too long; {MAX_NAME} is the limit",
            name.len()
        )));
    }
    let params = || (&dialog.user_id, &dialog.channel, name, message, unix_ms());
    let change = Statement::new(
        "UPDATE turnkey_message SET message = ?4, at = ?5
         WHERE user_id = ?1 AND channel = ?2 AND name = ?3",
        params(),
    );
    let add = Statement::new(
        "INSERT INTO turnkey_message (user_id, channel, name, message, at)
         SELECT ?1, ?2, ?3, ?4, ?5 FROM (SELECT 1 AS one) t
         WHERE NOT EXISTS (SELECT 1 FROM turnkey_message m
             WHERE m.user_id = ?1 AND m.channel = ?2 AND m.name = ?3)",
        params(),
    );
    storage.own(vec![change, add]).await.map(drop)
}

/// The message of this dialog that has this name.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn find(storage: &dyn Storage, dialog: &DialogKey, name: &str) -> Result<Option<String>> {
    let query = Statement::new(
        "SELECT message FROM turnkey_message
         WHERE user_id = ?1 AND channel = ?2 AND name = ?3",
        (&dialog.user_id, &dialog.channel, name),
    );
    let rows = storage.own_query(query).await?;
    rows.first().map(|row| row.get("message")).transpose()
}

/// A message was changed under this name: the name is kept as long as a new one. Nothing
/// happens when there is no message of this name.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn used(storage: &dyn Storage, dialog: &DialogKey, name: &str) -> Result<()> {
    let change = Statement::new(
        "UPDATE turnkey_message SET at = ?4
         WHERE user_id = ?1 AND channel = ?2 AND name = ?3",
        (&dialog.user_id, &dialog.channel, name, unix_ms()),
    );
    storage.own(vec![change]).await.map(drop)
}

/// Takes a name away. Nothing happens when there is no message of this name.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn remove(storage: &dyn Storage, dialog: &DialogKey, name: &str) -> Result<()> {
    let delete = Statement::new(
        "DELETE FROM turnkey_message WHERE user_id = ?1 AND channel = ?2 AND name = ?3",
        (&dialog.user_id, &dialog.channel, name),
    );
    storage.own(vec![delete]).await.map(drop)
}
