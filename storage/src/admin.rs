//! What a person asks of a database that a bot uses or does not use.
//!
//! Called by the command line and the status page. Bounds: what the caller's `limit`
//! says.

use crate::inbox::{dialog_of, text};
use crate::{DialogKey, DialogLine, Fence, ReplyId, Result, Statement, Storage};

/// A dialog in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogEntry {
    /// Whose it is.
    pub dialog: DialogKey,
    /// When its last turn was committed, in milliseconds since 1970.
    pub updated_at: i64,
}

/// A reply in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Its place.
    pub id: ReplyId,
    /// What the commit carried.
    pub body: String,
}

/// Up to `limit` dialogs in the order of their user ids, behind `after`, those whose
/// user id has `search` in it.
///
/// # Errors
/// [`crate::Error::Unavailable`].
pub async fn dialogs(
    storage: &dyn Storage,
    search: &str,
    after: Option<&DialogKey>,
    limit: u32,
) -> Result<Vec<DialogEntry>> {
    let mut pattern = String::from("%");
    for c in search.chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    let (user, channel) = after.map_or(("", ""), |key| (&key.user_id, &key.channel));
    let ask = Statement::new(
        "SELECT channel, user_id, updated_at FROM turnkey_dialog
         WHERE user_id >= ?1 AND (user_id > ?1 OR channel > ?2) AND user_id LIKE ?3 ESCAPE '!'
         ORDER BY user_id, channel LIMIT ?4",
        (user, channel, pattern, i64::from(limit)),
    );
    let rows = storage.own_query(ask).await?;
    rows.iter()
        .map(|row| {
            Ok(DialogEntry {
                dialog: dialog_of(row)?,
                updated_at: row.get("updated_at")?,
            })
        })
        .collect()
}

/// A dialog with its state and the last `turns` of its history; none when there is no
/// such dialog.
///
/// # Errors
/// [`crate::Error::Unavailable`].
pub async fn dialog(
    storage: &dyn Storage,
    dialog: &DialogKey,
    turns: u32,
) -> Result<Option<DialogLine>> {
    let ask = Statement::new(
        "SELECT state, updated_at FROM turnkey_dialog WHERE user_id = ?1 AND channel = ?2",
        (&dialog.user_id, &dialog.channel),
    );
    let rows = storage.own_query(ask).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let ask = format!(
        "SELECT h.turn FROM turnkey_history h WHERE {} ORDER BY h.id DESC LIMIT ?3",
        of_dialog(storage, "h")
    );
    let ask = Statement::new(ask, (&dialog.user_id, &dialog.channel, i64::from(turns)));
    let history = storage.own_query(ask).await?;
    Ok(Some(DialogLine {
        dialog: dialog.clone(),
        state: text(row, "state")?,
        updated_at: row.get("updated_at")?,
        history: history
            .iter()
            .rev()
            .map(|row| text(row, "turn"))
            .collect::<Result<_>>()?,
    }))
}

/// Forgets a dialog: its state, replies not yet sent, history. A turn under way begins
/// again without a state. False when there is none.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn reset(storage: &dyn Storage, dialog: &DialogKey) -> Result<bool> {
    let delete = |table: &str| {
        let sql = match table {
            "turnkey_dialog" => {
                "DELETE FROM turnkey_dialog WHERE user_id = ?1 AND channel = ?2".to_owned()
            }
            _ => format!("DELETE FROM {table} WHERE {}", of_dialog(storage, table)),
        };
        Statement::new(sql, (&dialog.user_id, &dialog.channel))
    };
    let statements = ["turnkey_outbox", "turnkey_history", "turnkey_dialog"].map(delete);
    Ok(storage.own(statements.to_vec()).await?.last() == Some(&1))
}

/// Up to `limit` replies that are not sent yet, the oldest first.
///
/// # Errors
/// [`crate::Error::Unavailable`].
pub async fn outbox(storage: &dyn Storage, limit: u32) -> Result<Vec<OutboxEntry>> {
    let ask = match storage.rows_have_dialog_id() {
        true => {
            "SELECT d.channel, d.user_id, o.turn, o.n, o.body FROM turnkey_outbox o
             JOIN turnkey_dialog d ON d.id = o.dialog ORDER BY o.turn, o.n LIMIT ?1"
        }
        false => {
            "SELECT o.channel, o.user_id, o.turn, o.n, o.body FROM turnkey_outbox o
             ORDER BY o.turn, o.n LIMIT ?1"
        }
    };
    let rows = storage
        .own_query(Statement::new(ask, (i64::from(limit),)))
        .await?;
    rows.iter()
        .map(|row| {
            Ok(OutboxEntry {
                dialog: dialog_of(row)?,
                id: ReplyId {
                    turn: Fence(row.get::<i64>("turn")? as u64),
                    index: row.get::<i64>("n")? as u32,
                },
                body: text(row, "body")?,
            })
        })
        .collect()
}

/// The condition that a row of `table` belongs to the dialog of user ?1 on channel ?2.
fn of_dialog(storage: &dyn Storage, table: &str) -> String {
    match storage.rows_have_dialog_id() {
        true => format!(
            "{table}.dialog = (SELECT d.id FROM turnkey_dialog d
             WHERE d.user_id = ?1 AND d.channel = ?2)"
        ),
        false => format!("{table}.user_id = ?1 AND {table}.channel = ?2"),
    }
}
