//! What becomes of quick messages of a dialog whose handler has said so: one word of the
//! author's for each such dialog.
//!
//! Set and taken away with a turn's commit ([`set`], [`forget`]); what the word means is the
//! reader's business. Most bots have none, which [`any`] tells. Bound: [`MAX_WORD`].

use crate::{Change, DialogKey, Result, Statement, Storage};

/// Bytes of such a word.
pub const MAX_WORD: usize = 64;

/// Sets a dialog's own, in the place of the one before.
pub fn set(dialog: &DialogKey, word: &str) -> [Change; 2] {
    debug_assert!(word.len() <= MAX_WORD, "a word that no engine takes");
    let insert = Statement::new(
        "INSERT INTO turnkey_overlap (user_id, channel, overlap) VALUES (?1, ?2, ?3)",
        (&dialog.user_id, &dialog.channel, word),
    );
    [forget(dialog), Change(insert)]
}

/// Takes it away, if there is one.
pub fn forget(dialog: &DialogKey) -> Change {
    Change(Statement::new(
        "DELETE FROM turnkey_overlap WHERE user_id = ?1 AND channel = ?2",
        (&dialog.user_id, &dialog.channel),
    ))
}

/// A dialog's own, if it has one.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn of(storage: &dyn Storage, dialog: &DialogKey) -> Result<Option<String>> {
    let ask = Statement::new(
        "SELECT overlap FROM turnkey_overlap WHERE user_id = ?1 AND channel = ?2",
        (&dialog.user_id, &dialog.channel),
    );
    let rows = storage.own_query(ask).await?;
    rows.first().map(|row| row.key("overlap")).transpose()
}

/// Whether any dialog has one.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn any(storage: &dyn Storage) -> Result<bool> {
    let ask = Statement::new("SELECT 1 AS one FROM turnkey_overlap LIMIT 1", ());
    Ok(!storage.own_query(ask).await?.is_empty())
}
