//! Updates that were given up: their handler failed too often. They are kept until
//! somebody looks, and either tries them again or drops them.
//!
//! Called by whoever runs turns ([`bury`]) and by the command line. Every call may be
//! made twice.

use crate::inbox::{dialog_of, text};
use crate::{DialogKey, Result, Row, Statement, Storage, Value};

/// The columns of a letter.
const COLUMNS: &str = "channel, id, user_id, arrived, died, attempts, error, digest, answer, body";

/// An update that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Its id within its channel.
    pub update: String,
    /// When it arrived, in microseconds since 1970.
    pub arrived: i64,
    /// The update's digest, as a commit would carry it.
    pub digest: Vec<u8>,
    /// What is answered when the update comes again.
    pub answer: Vec<u8>,
    /// The update itself, in its owner's words.
    pub body: Vec<u8>,
    /// Why the last attempt failed.
    pub error: String,
    /// How often its handler was called.
    pub attempts: u32,
    /// When it was given up, in milliseconds since 1970.
    pub died: i64,
}

/// Gives an update up, in one transaction: it leaves the inbox, and its id is remembered
/// with the answer. An update that was committed meanwhile is not given up.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn bury(storage: &dyn Storage, letter: &DeadLetter) -> Result<()> {
    let DeadLetter { dialog, .. } = letter;
    let insert = Statement::new(
        "INSERT INTO turnkey_dead
         (channel, id, user_id, arrived, died, attempts, error, digest, answer, body)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 FROM (SELECT 1 AS n) one
         WHERE NOT EXISTS (SELECT 1 FROM turnkey_seen s WHERE s.id = ?2 AND s.channel = ?1)
         AND NOT EXISTS (SELECT 1 FROM turnkey_dead d WHERE d.id = ?2 AND d.channel = ?1)",
        vec![
            Value::from(&dialog.channel),
            Value::from(&letter.update),
            Value::from(&dialog.user_id),
            Value::from(letter.arrived),
            Value::from(letter.died),
            Value::from(letter.attempts),
            Value::from(&letter.error),
            Value::from(letter.digest.as_slice()),
            Value::from(letter.answer.as_slice()),
            Value::from(letter.body.as_slice()),
        ],
    );
    // No grant has the fence 0: a turn never takes this for its own commit.
    let remember = Statement::new(
        "INSERT INTO turnkey_seen (channel, id, fence, at, digest, answer)
         SELECT ?1, ?2, 0, ?3, ?4, ?5 FROM (SELECT 1 AS n) one
         WHERE NOT EXISTS (SELECT 1 FROM turnkey_seen s WHERE s.id = ?2 AND s.channel = ?1)",
        vec![
            Value::from(&dialog.channel),
            Value::from(&letter.update),
            Value::from(letter.died),
            Value::from(letter.digest.as_slice()),
            Value::from(letter.answer.as_slice()),
        ],
    );
    let leave = Statement::new(
        "DELETE FROM turnkey_inbox WHERE id = ?2 AND channel = ?1",
        (&dialog.channel, &letter.update),
    );
    storage.own(vec![insert, remember, leave]).await.map(drop)
}

/// Up to `limit` letters, the oldest first, behind the one that `after` names by its
/// time of death and id.
///
/// # Errors
/// [`crate::Error::Unavailable`].
pub async fn list(
    storage: &dyn Storage,
    after: Option<(i64, &str)>,
    limit: u32,
) -> Result<Vec<DeadLetter>> {
    let (died, id) = after.unwrap_or((i64::MIN, ""));
    let ask = format!(
        "SELECT {COLUMNS} FROM turnkey_dead WHERE died >= ?1 AND (died > ?1 OR id > ?2)
         ORDER BY died, id LIMIT ?3"
    );
    let rows = storage
        .own_query(Statement::new(ask, (died, id, i64::from(limit))))
        .await?;
    rows.iter().map(letter).collect()
}

/// One letter, if it is there.
///
/// # Errors
/// [`crate::Error::Unavailable`].
pub async fn get(storage: &dyn Storage, channel: &str, update: &str) -> Result<Option<DeadLetter>> {
    let ask = format!("SELECT {COLUMNS} FROM turnkey_dead WHERE id = ?2 AND channel = ?1");
    let rows = storage
        .own_query(Statement::new(ask, (channel, update)))
        .await?;
    rows.first().map(letter).transpose()
}

/// Puts an update back into the inbox, as if it had never been tried, at its old place
/// in its dialog; false when there is no such letter.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn retry(storage: &dyn Storage, channel: &str, update: &str) -> Result<bool> {
    let key = || (channel, update);
    let statements = vec![
        Statement::new(
            "INSERT INTO turnkey_inbox (channel, id, user_id, arrived, due, attempts, error, body)
             SELECT d.channel, d.id, d.user_id, d.arrived, 0, 0, NULL, d.body FROM turnkey_dead d
             WHERE d.id = ?2 AND d.channel = ?1 AND NOT EXISTS (
                 SELECT 1 FROM turnkey_inbox i WHERE i.id = ?2 AND i.channel = ?1)",
            key(),
        ),
        Statement::new(
            "DELETE FROM turnkey_seen WHERE id = ?2 AND channel = ?1 AND fence = 0 AND EXISTS (
                 SELECT 1 FROM turnkey_dead d WHERE d.id = ?2 AND d.channel = ?1)",
            key(),
        ),
        Statement::new(
            "DELETE FROM turnkey_dead WHERE id = ?2 AND channel = ?1",
            key(),
        ),
    ];
    Ok(storage.own(statements).await?.last() == Some(&1))
}

/// Drops a letter; its id stays remembered. False when there is none.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn drop_letter(storage: &dyn Storage, channel: &str, update: &str) -> Result<bool> {
    let delete = Statement::new(
        "DELETE FROM turnkey_dead WHERE id = ?2 AND channel = ?1",
        (channel, update),
    );
    Ok(storage.own(vec![delete]).await? == [1])
}

fn letter(row: &Row) -> Result<DeadLetter> {
    Ok(DeadLetter {
        dialog: dialog_of(row)?,
        update: text(row, "id")?,
        arrived: row.get("arrived")?,
        digest: row.get("digest")?,
        answer: row.get("answer")?,
        body: row.get("body")?,
        error: text(row, "error")?,
        attempts: row.get::<i64>("attempts")? as u32,
        died: row.get("died")?,
    })
}
