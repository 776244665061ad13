//! States of before, when a user had one state in all groups and in private.
//!
//! Called by `turn.rs` when a dialog of a user in a group has its first turn. A database of
//! that time has a mark with the moment at which it was migrated; what the user's own dialog
//! was left with before that is where the new one begins. Invariant: nothing is taken away from
//! the old dialog, and nothing that changed since is inherited.

use turnkey_storage::{DialogKey, Storage, admin, marks};

use crate::author::message::Update;

/// The mark: milliseconds since 1970.
const MARK: &str = "dialogs-by-user";

/// When the database was migrated, if it is of that time.
pub(crate) async fn since(storage: &dyn Storage) -> Option<i64> {
    match marks::get(storage, MARK).await {
        Ok(mark) => mark.and_then(|ms| i64::try_from(ms).ok()),
        Err(error) => {
            tracing::warn!("cannot tell whether the database is of an earlier version: {error}");
            None
        }
    }
}

/// The state with which a new dialog begins.
///
/// # Errors
/// The storage is away.
pub(super) async fn state(
    storage: &dyn Storage,
    since: Option<i64>,
    update: &Update,
) -> turnkey_storage::Result<Option<String>> {
    let Some(since) = since.filter(|_| !update.user.is_empty()) else {
        return Ok(None);
    };
    let own = DialogKey::new(update.dialog.channel.clone(), update.user.clone());
    let found = admin::dialog(storage, &own, 0).await?;
    Ok(found
        .filter(|own| own.updated_at < since)
        .and_then(|own| own.state))
}
