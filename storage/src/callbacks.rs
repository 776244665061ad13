//! Callbacks: what others may start a turn of a dialog with, once, until a moment.
//!
//! Opened with a turn's commit ([`open`]). Whoever comes with the secret finds it by the
//! secret's hash ([`find`]) and takes it ([`take`]): one transaction that marks it and puts its
//! update into the inbox. Of many who take one at the same moment a single one does. The row
//! stays for a while, so that whoever comes later is told what became of it; `retention.rs`
//! deletes it. The secret itself is nowhere in the database. Bounds: [`MAX_NAME`] bytes of a
//! name, [`PER_DIALOG`] open ones of a dialog.

use crate::{Change, DialogKey, Params, Pending, Result, Row, Statement, Storage};

/// Bytes of a callback's name.
pub const MAX_NAME: usize = 64;

/// Callbacks that a dialog may have open. Whoever opens them sees to it, under the dialog's
/// lock: [`count_open`].
pub const PER_DIALOG: u64 = 100;

/// A callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// The hash of its secret.
    pub hash: String,
    /// Whose turn it starts.
    pub dialog: DialogKey,
    /// What the author calls it; several may have one name.
    pub name: String,
    /// Until when it may be taken, or when it was: milliseconds since 1970.
    pub expires: i64,
    /// Who took it, in the words of whoever did; empty while it is open.
    pub taken: String,
    /// What its update is made of, as whoever opened it wrote it.
    pub body: Vec<u8>,
}

/// What became of an attempt to take one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is taken, by this one, and its update is in the inbox or further.
    ByThis,
    /// This one took it before.
    ByOther(String),
    /// Its time was over.
    TooLate,
    /// There is none.
    Unknown,
}

/// Opens a callback.
pub fn open(callback: &Callback) -> Change {
    Change(Statement::new(
        "INSERT INTO turnkey_callback (hash, user_id, channel, name, expires, taken, body)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7 FROM (SELECT 1 AS one) t
         WHERE NOT EXISTS (SELECT 1 FROM turnkey_callback c WHERE c.hash = ?1)",
        (
            &callback.hash,
            &callback.dialog.user_id,
            &callback.dialog.channel,
            &callback.name,
            callback.expires,
            &callback.taken,
            &callback.body[..],
        ),
    ))
}

/// How many a dialog has open at this moment (milliseconds since 1970).
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn count_open(storage: &dyn Storage, dialog: &DialogKey, now: i64) -> Result<u64> {
    let ask = Statement::new(
        "SELECT COUNT(*) AS n FROM turnkey_callback
         WHERE user_id = ?1 AND channel = ?2 AND taken = '' AND expires > ?3",
        (&dialog.user_id, &dialog.channel, now),
    );
    let rows = storage.own_query(ask).await?;
    let count = |row: &Row| row.get::<i64>("n").map(|n| n as u64);
    rows.first().map_or(Ok(0), count)
}

/// The callback with this hash.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn find(storage: &dyn Storage, hash: &str) -> Result<Option<Callback>> {
    let mut found = listed(storage, "hash = ?1", (hash,)).await?;
    Ok(found.pop())
}

/// The callbacks of a dialog, or, without one, of all, that are open at this moment (milliseconds
/// since 1970): those that end first at the front.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn list(
    storage: &dyn Storage,
    dialog: Option<&DialogKey>,
    now: i64,
    limit: u32,
) -> Result<Vec<Callback>> {
    let open = "taken = '' AND expires > ?1";
    match dialog {
        Some(DialogKey { channel, user_id }) => {
            let of = format!("user_id = ?2 AND channel = ?3 AND {open} ORDER BY expires LIMIT ?4");
            listed(storage, &of, (now, user_id, channel, limit)).await
        }
        None => {
            let all = format!("{open} ORDER BY expires LIMIT ?2");
            listed(storage, &all, (now, limit)).await
        }
    }
}

async fn listed(
    storage: &dyn Storage,
    condition: &str,
    params: impl Params,
) -> Result<Vec<Callback>> {
    let ask = format!(
        "SELECT hash, user_id, channel, name, expires, taken, body
         FROM turnkey_callback WHERE {condition}"
    );
    let callback = |row: &Row| {
        Ok(Callback {
            hash: row.key("hash")?,
            dialog: DialogKey::new(row.key("channel")?, row.key("user_id")?),
            name: row.key("name")?,
            expires: row.get("expires")?,
            taken: row.key("taken")?,
            body: row.get("body")?,
        })
    };
    let rows = storage.own_query(Statement::new(ask, params)).await?;
    rows.iter().map(callback).collect()
}

/// Takes a callback away, for an operator; whether there was one.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn drop_callback(storage: &dyn Storage, hash: &str) -> Result<bool> {
    let delete = Statement::new("DELETE FROM turnkey_callback WHERE hash = ?1", (hash,));
    Ok(storage.own(vec![delete]).await? == [1])
}

/// Takes a callback at this moment (milliseconds since 1970): it leaves `update` in the inbox
/// of its dialog. `by` is who takes it; the same one may do it again, and nothing more happens.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn take(
    storage: &dyn Storage,
    hash: &str,
    by: &str,
    update: &Pending,
    now: i64,
) -> Result<Taken> {
    debug_assert!(!by.is_empty(), "an open one has nobody");
    let statements = vec![
        // Whoever takes it at the same time is waited for.
        Statement::new(
            "UPDATE turnkey_callback SET expires = expires WHERE hash = ?1",
            (hash,),
        ),
        Statement::new(
            "INSERT INTO turnkey_inbox
                 (channel, id, user_id, arrived, body, attempts, due, error)
             SELECT c.channel, ?2, c.user_id, ?3, ?4, 0, 0, NULL FROM turnkey_callback c
             WHERE c.hash = ?1 AND c.taken = '' AND c.expires > ?5
                 AND NOT EXISTS (SELECT 1 FROM turnkey_inbox i
                     WHERE i.id = ?2 AND i.channel = c.channel)
                 AND NOT EXISTS (SELECT 1 FROM turnkey_seen s
                     WHERE s.id = ?2 AND s.channel = c.channel)",
            (hash, &update.update, update.arrived, &update.body[..], now),
        ),
        Statement::new(
            "UPDATE turnkey_callback SET taken = ?2, expires = ?3
             WHERE hash = ?1 AND taken = '' AND expires > ?3",
            (hash, by, now),
        ),
    ];
    if storage.own(statements).await?.last() == Some(&1) {
        return Ok(Taken::ByThis);
    }
    // The answer to a first time may have been lost.
    Ok(match find(storage, hash).await? {
        None => Taken::Unknown,
        Some(found) if found.taken == by => Taken::ByThis,
        Some(found) if found.taken.is_empty() => Taken::TooLate,
        Some(found) => Taken::ByOther(found.taken),
    })
}
