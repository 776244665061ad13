//! Dead letters: updates whose turns failed too often.
//!
//! [`bury`] makes an update a dead letter, so that its dialog goes on; an operator looks at it
//! and retries or drops it. Its id is remembered like that of a handled update, so that a
//! platform that sends it again gets an answer. The steps of its turn stay until it is done or
//! dropped.

use crate::{Change, DialogKey, Result, Row, Statement, Storage, Value, clock, done};

/// The columns of a letter.
const COLUMNS: &str = "channel, id, user_id, arrived, digest, answer, body, error, attempts, died";

/// An update that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Whose it is.
    pub dialog: DialogKey,
    /// Its id within its channel.
    pub update: String,
    /// When it arrived, in microseconds since 1970.
    pub arrived: i64,
    /// A digest of the update, to tell another one under the same id; may be empty.
    pub digest: Vec<u8>,
    /// What to answer when it comes again.
    pub answer: Vec<u8>,
    /// The update, as its caller wrote it.
    pub body: Vec<u8>,
    /// Why it failed last.
    pub error: String,
    /// How often it failed.
    pub attempts: u32,
    /// When it was given up, in milliseconds since 1970.
    pub died: i64,
}

/// The place of a letter in the list: when it died, its channel and its update's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct After {
    /// [`DeadLetter::died`].
    pub died: i64,
    /// The channel.
    pub channel: String,
    /// [`DeadLetter::update`].
    pub update: String,
}

impl DeadLetter {
    /// Its place: [`list`] goes on behind it.
    pub fn place(&self) -> After {
        After {
            died: self.died,
            channel: self.dialog.channel.clone(),
            update: self.update.clone(),
        }
    }
}

/// Gives an update up: takes it out of the inbox, if it is there, and remembers its id
/// with `answer`. Nothing but the first happens when it was committed meanwhile.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn bury(storage: &dyn Storage, letter: &DeadLetter) -> Result<()> {
    storage.own(burial(letter)).await.map(drop)
}

/// What gives an update up with the commit of a turn that tells its user so: the commit remembers
/// its id and its answer, as if it had been handled; with these it is a dead letter, too. Engines
/// run them before the turn's own rows or after.
pub fn with_commit(letter: &DeadLetter) -> [Change; 2] {
    let (channel, update) = (&letter.dialog.channel, &letter.update);
    let bury = Statement::new(
        format!(
            "INSERT INTO turnkey_dead ({COLUMNS})
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 FROM (SELECT 1 AS one) t
             WHERE NOT EXISTS (SELECT 1 FROM turnkey_dead d
                     WHERE d.id = ?2 AND d.channel = ?1)"
        ),
        columns(letter),
    );
    [Change(bury), Change(done::take_out(channel, update))]
}

/// The values of [`COLUMNS`].
fn columns(letter: &DeadLetter) -> Vec<Value> {
    vec![
        Value::from(&letter.dialog.channel),
        Value::from(&letter.update),
        Value::from(&letter.dialog.user_id),
        Value::from(letter.arrived),
        Value::from(&letter.digest[..]),
        Value::from(&letter.answer[..]),
        Value::from(&letter.body[..]),
        Value::from(&letter.error),
        Value::from(letter.attempts),
        Value::from(letter.died),
    ]
}

/// What [`bury`] does.
pub(crate) fn burial(letter: &DeadLetter) -> Vec<Statement> {
    let (channel, update) = (&letter.dialog.channel, &letter.update);
    // No turn has the fence 0: it marks an id that was buried alone. Written first, so that of
    // a burial and a commit at the same moment one finds the other's row.
    let (digest, answer) = (&letter.digest, &letter.answer);
    let remember = done::remember(channel, update, 0, letter.died, digest, answer);
    let bury = Statement::new(
        format!(
            "INSERT INTO turnkey_dead ({COLUMNS})
             SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10 FROM (SELECT 1 AS one) t
             WHERE EXISTS (SELECT 1 FROM turnkey_seen s
                     WHERE s.id = ?2 AND s.channel = ?1 AND s.fence = 0)
                 AND NOT EXISTS (SELECT 1 FROM turnkey_dead d
                     WHERE d.id = ?2 AND d.channel = ?1)"
        ),
        columns(letter),
    );
    // Another turn was sooner, and these came after it.
    let steps = Statement::new(
        "DELETE FROM turnkey_step WHERE id = ?1 AND channel = ?2
             AND NOT EXISTS (SELECT 1 FROM turnkey_dead d WHERE d.id = ?1 AND d.channel = ?2)",
        (update, channel),
    );
    vec![remember, bury, done::take_out(channel, update), steps]
}

/// Up to `limit` letters behind `after`, the oldest first.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn list(
    storage: &dyn Storage,
    after: Option<&After>,
    limit: u32,
) -> Result<Vec<DeadLetter>> {
    let start = After {
        died: i64::MIN,
        channel: String::new(),
        update: String::new(),
    };
    let after = after.unwrap_or(&start);
    let query = Statement::new(
        format!(
            "SELECT {COLUMNS} FROM turnkey_dead
             WHERE died > ?1 OR (died = ?1 AND (id > ?2 OR (id = ?2 AND channel > ?3)))
             ORDER BY died, id, channel LIMIT ?4"
        ),
        (after.died, &after.update, &after.channel, limit),
    );
    let rows = storage.own_query(query).await?;
    rows.iter().map(letter).collect()
}

/// Up to `limit` letters of a dialog, the oldest first.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn of_dialog(
    storage: &dyn Storage,
    dialog: &DialogKey,
    limit: u32,
) -> Result<Vec<DeadLetter>> {
    let query = format!(
        "SELECT {COLUMNS} FROM turnkey_dead WHERE user_id = ?1 AND channel = ?2
         ORDER BY died, id LIMIT ?3"
    );
    let params = (&dialog.user_id, &dialog.channel, limit);
    let rows = storage.own_query(Statement::new(query, params)).await?;
    rows.iter().map(letter).collect()
}

/// The letter of this update.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn get(storage: &dyn Storage, channel: &str, update: &str) -> Result<Option<DeadLetter>> {
    let query = Statement::new(
        format!("SELECT {COLUMNS} FROM turnkey_dead WHERE id = ?1 AND channel = ?2"),
        (update, channel),
    );
    let rows = storage.own_query(query).await?;
    rows.first().map(letter).transpose()
}

/// Puts a letter back into the inbox, as if it had never been tried, save that its steps are
/// there, of which the row tells; false when there is none.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn retry(storage: &dyn Storage, channel: &str, update: &str) -> Result<bool> {
    if get(storage, channel, update).await?.is_none() {
        return Ok(false);
    }
    let back = Statement::new(
        "INSERT INTO turnkey_inbox (channel, id, user_id, arrived, body, attempts, due, error)
         SELECT d.channel, d.id, d.user_id, d.arrived, d.body, 0, ?3,
             CASE WHEN EXISTS (SELECT 1 FROM turnkey_step s
                 WHERE s.id = d.id AND s.channel = d.channel) THEN d.error END
         FROM turnkey_dead d
         WHERE d.id = ?1 AND d.channel = ?2
             AND NOT EXISTS (SELECT 1 FROM turnkey_inbox i WHERE i.id = ?1 AND i.channel = ?2)",
        (update, channel, clock::now_ms()),
    );
    let forget = Statement::new(
        "DELETE FROM turnkey_seen WHERE id = ?1 AND channel = ?2
             AND EXISTS (SELECT 1 FROM turnkey_dead d WHERE d.id = ?1 AND d.channel = ?2)",
        (update, channel),
    );
    storage
        .own(vec![back, forget, delete(channel, update)])
        .await?;
    Ok(true)
}

/// Throws a letter away, and the steps of its turn; its id stays remembered. False when there is
/// none.
///
/// # Errors
/// As [`Storage::commit`].
pub async fn drop_letter(storage: &dyn Storage, channel: &str, update: &str) -> Result<bool> {
    if get(storage, channel, update).await?.is_none() {
        return Ok(false);
    }
    let steps = done::take_steps(channel, update);
    storage.own(vec![delete(channel, update), steps]).await?;
    Ok(true)
}

fn delete(channel: &str, update: &str) -> Statement {
    Statement::new(
        "DELETE FROM turnkey_dead WHERE id = ?1 AND channel = ?2",
        (update, channel),
    )
}

fn letter(row: &Row) -> Result<DeadLetter> {
    Ok(DeadLetter {
        dialog: row.dialog()?,
        update: row.key("id")?,
        arrived: row.get("arrived")?,
        digest: row.get("digest")?,
        answer: row.get("answer")?,
        body: row.get("body")?,
        error: row.get("error")?,
        attempts: row.get::<i64>("attempts")? as u32,
        died: row.get("died")?,
    })
}
