//! The SQL of a turn, prepared once and kept.
//!
//! Called by [`super::writer`] only, inside its transaction. What is read is here; what is
//! written is in `writing.rs`; what the author's statements may do in `limits.rs`. Our own
//! statements can fail only because of the disk.

mod limits;
mod writing;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::hooks::{AuthContext, Authorization};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use self::limits::forbidden;
pub(crate) use self::writing::Committed;
use crate::inbox::{TOO_FAR_MS, TOO_FAR_UNTRIED_MS};
use crate::{DialogKey, Fence, Pending, ReplyId, Seen, Unsent, Value};

/// What `turnkey_dialog` holds for a dialog.
pub(crate) struct DialogRow {
    pub(crate) row: i64,
    pub(crate) version: u64,
    pub(crate) state: String,
}

pub(crate) struct Statements<'c> {
    conn: &'c Connection,
    /// While true, the authorizer applies the author's limits.
    author: Arc<AtomicBool>,
    begin: rusqlite::Statement<'c>,
    commit: rusqlite::Statement<'c>,
    dialog: rusqlite::Statement<'c>,
    insert_dialog: rusqlite::Statement<'c>,
    update_dialog: rusqlite::Statement<'c>,
    seen: rusqlite::Statement<'c>,
    insert_seen: rusqlite::Statement<'c>,
    delete_seen: rusqlite::Statement<'c>,
    unsent: rusqlite::Statement<'c>,
    insert_reply: rusqlite::Statement<'c>,
    delete_reply: rusqlite::Statement<'c>,
    insert_history: rusqlite::Statement<'c>,
    insert_lock: rusqlite::Statement<'c>,
    delete_lock: rusqlite::Statement<'c>,
    earlier: rusqlite::Statement<'c>,
    insert_pending: rusqlite::Statement<'c>,
    delete_pending: rusqlite::Statement<'c>,
    has_inbox: rusqlite::Statement<'c>,
}

impl<'c> Statements<'c> {
    pub(crate) fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        let author = Arc::new(AtomicBool::new(false));
        Ok(Statements {
            begin: conn.prepare("BEGIN IMMEDIATE")?,
            commit: conn.prepare("COMMIT")?,
            dialog: conn.prepare(
                "SELECT id, version, state FROM turnkey_dialog WHERE channel = ?1 AND user_id = ?2",
            )?,
            insert_dialog: conn.prepare(
                "INSERT INTO turnkey_dialog (channel, user_id, version, state, updated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )?,
            // Not an UPSERT with RETURNING: that costs 1.5 us more a turn.
            update_dialog: conn.prepare(
                "UPDATE turnkey_dialog SET version = ?3, state = ?4, updated_at = ?5
                 WHERE id = ?1 AND version = ?2",
            )?,
            seen: conn.prepare(
                "SELECT fence, digest, answer FROM turnkey_seen WHERE channel = ?1 AND id = ?2",
            )?,
            insert_seen: conn.prepare(
                "INSERT INTO turnkey_seen (channel, id, fence, at, digest, answer)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            )?,
            delete_seen: conn.prepare("DELETE FROM turnkey_seen WHERE channel = ?1 AND id = ?2")?,
            unsent: conn.prepare(
                "SELECT turn, n, body FROM turnkey_outbox WHERE dialog = ?1 ORDER BY turn, n",
            )?,
            insert_reply: conn.prepare(
                "INSERT INTO turnkey_outbox (dialog, turn, n, body) VALUES (?1, ?2, ?3, ?4)",
            )?,
            delete_reply: conn
                .prepare("DELETE FROM turnkey_outbox WHERE dialog = ?1 AND turn = ?2 AND n = ?3")?,
            insert_history: conn
                .prepare("INSERT INTO turnkey_history (dialog, at, turn) VALUES (?1, ?2, ?3)")?,
            insert_lock: conn
                .prepare("INSERT OR REPLACE INTO turnkey_lock VALUES (?1, ?2, ?3, ?4, ?5)")?,
            delete_lock: conn
                .prepare("DELETE FROM turnkey_lock WHERE channel = ?1 AND user_id = ?2")?,
            earlier: conn.prepare(
                "SELECT id, arrived, body, attempts, due, error FROM turnkey_inbox
                 WHERE user_id = ?1 AND channel = ?2 ORDER BY arrived, id LIMIT 1",
            )?,
            insert_pending: conn.prepare(
                "INSERT INTO turnkey_inbox
                     (channel, id, user_id, arrived, body, attempts, due, error)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
                 WHERE NOT EXISTS (SELECT 1 FROM turnkey_seen WHERE id = ?2 AND channel = ?1)
                 ON CONFLICT DO NOTHING",
            )?,
            delete_pending: conn
                .prepare("DELETE FROM turnkey_inbox WHERE id = ?1 AND channel = ?2")?,
            has_inbox: conn.prepare("SELECT EXISTS (SELECT 1 FROM turnkey_inbox)")?,
            author,
            conn,
        })
    }

    /// Puts the author's limits in force for statements prepared from now on.
    pub(crate) fn guard(&self) -> rusqlite::Result<()> {
        let author = self.author.clone();
        self.conn.authorizer(Some(move |context: AuthContext<'_>| {
            if author.load(Ordering::Relaxed) && forbidden(&context.action) {
                Authorization::Deny
            } else {
                Authorization::Allow
            }
        }))
    }

    pub(crate) fn begin(&mut self) -> rusqlite::Result<()> {
        self.begin.execute([]).map(drop)
    }

    pub(crate) fn commit(&mut self) -> rusqlite::Result<()> {
        self.commit.execute([]).map(drop)
    }

    /// Undoes the transaction, if SQLite has not done so by itself.
    pub(crate) fn rollback(&mut self) -> rusqlite::Result<()> {
        if self.conn.is_autocommit() {
            return Ok(());
        }
        self.conn.execute_batch("ROLLBACK")
    }

    /// Whether the transaction is gone, as after `INSERT OR ROLLBACK`.
    pub(crate) fn transaction_lost(&self) -> bool {
        self.conn.is_autocommit()
    }

    pub(crate) fn dialog(&mut self, key: &DialogKey) -> rusqlite::Result<Option<DialogRow>> {
        self.dialog
            .query_row((&key.channel, &key.user_id), |row| {
                Ok(DialogRow {
                    row: row.get(0)?,
                    version: row.get::<_, i64>(1)? as u64,
                    state: row.get(2)?,
                })
            })
            .optional()
    }

    pub(crate) fn seen(
        &mut self,
        channel: &str,
        update: &str,
    ) -> rusqlite::Result<Option<(Fence, Seen)>> {
        self.seen
            .query_row((channel, update), |row| {
                Ok((
                    Fence(row.get::<_, i64>(0)? as u64),
                    Seen {
                        digest: row.get(1)?,
                        answer: row.get(2)?,
                    },
                ))
            })
            .optional()
    }

    pub(crate) fn unsent(&mut self, dialog: i64) -> rusqlite::Result<Vec<Unsent>> {
        self.unsent
            .query_map([dialog], |row| {
                Ok(Unsent {
                    id: ReplyId {
                        turn: Fence(row.get::<_, i64>(0)? as u64),
                        index: row.get(1)?,
                    },
                    body: row.get(2)?,
                })
            })?
            .collect()
    }

    /// Replies in the outbox, of all dialogs.
    pub(crate) fn count_unsent(&self) -> rusqlite::Result<u64> {
        self.conn
            .query_row("SELECT COUNT(*) FROM turnkey_outbox", [], |row| {
                row.get::<_, i64>(0).map(|n| n as u64)
            })
    }

    /// Dialogs with unsent replies, the oldest turns first.
    pub(crate) fn dialogs_with_unsent(&self) -> rusqlite::Result<Vec<DialogKey>> {
        self.conn
            .prepare_cached(
                "SELECT channel, user_id FROM turnkey_outbox JOIN turnkey_dialog ON id = dialog
                 GROUP BY dialog ORDER BY MIN(turn)",
            )?
            .query_map([], |row| {
                Ok(DialogKey {
                    channel: row.get(0)?,
                    user_id: row.get(1)?,
                })
            })?
            .collect()
    }

    /// The oldest update of a dialog in the inbox.
    pub(crate) fn oldest_pending(&mut self, key: &DialogKey) -> rusqlite::Result<Option<Pending>> {
        self.earlier
            .query_row((&key.user_id, &key.channel), |row| {
                Ok(Pending {
                    dialog: key.clone(),
                    update: row.get(0)?,
                    arrived: row.get(1)?,
                    body: row.get(2)?,
                    attempts: row.get(3)?,
                    due: row.get(4)?,
                    error: row.get(5)?,
                })
            })
            .optional()
    }

    /// Takes an update out of the inbox, if it is there.
    pub(crate) fn take_out(&mut self, channel: &str, update: &str) -> rusqlite::Result<()> {
        self.delete_pending.execute((update, channel)).map(drop)
    }

    /// Whether anything is in the inbox.
    pub(crate) fn has_inbox(&mut self) -> rusqlite::Result<bool> {
        self.has_inbox.query_row([], |row| row.get(0))
    }

    /// Takes out what was committed, which a copy of another engine's inbox may bring in.
    pub(crate) fn clear_inbox(&self) -> rusqlite::Result<()> {
        self.conn.execute_batch(
            "DELETE FROM turnkey_inbox WHERE EXISTS (SELECT 1 FROM turnkey_seen s
                 WHERE s.id = turnkey_inbox.id AND s.channel = turnkey_inbox.channel)",
        )
    }

    /// Dialogs whose oldest update in the inbox is due, the longest waiting first.
    pub(crate) fn due_dialogs(&self, now: i64) -> rusqlite::Result<Vec<DialogKey>> {
        // `due` and `attempts` are those of the row with the smallest `arrived`:
        // <https://www.sqlite.org/lang_select.html#bareagg>
        self.conn
            .prepare_cached(
                "SELECT channel, user_id FROM (
                     SELECT channel, user_id, due, attempts, MIN(arrived) AS first
                     FROM turnkey_inbox GROUP BY user_id, channel
                 ) WHERE due <= ?1 OR due > ?3 OR (due > ?2 AND attempts > 0)
                 ORDER BY first",
            )?
            .query_map([now, now + TOO_FAR_MS, now + TOO_FAR_UNTRIED_MS], |row| {
                Ok(DialogKey {
                    channel: row.get(0)?,
                    user_id: row.get(1)?,
                })
            })?
            .collect()
    }

    /// The lock rows in the file.
    pub(crate) fn locks(&self) -> rusqlite::Result<Vec<(DialogKey, Fence)>> {
        self.conn
            .prepare("SELECT channel, user_id, fence FROM turnkey_lock")?
            .query_map([], |row| {
                Ok((
                    DialogKey {
                        channel: row.get(0)?,
                        user_id: row.get(1)?,
                    },
                    Fence(row.get::<_, i64>(2)? as u64),
                ))
            })?
            .collect()
    }
}

/// A failure of the disk rather than of the statement.
pub(crate) fn is_disk(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, DiskFull, OutOfMemory, SystemIoFailure};
    matches!(
        error.sqlite_error_code(),
        Some(DiskFull | SystemIoFailure | DatabaseCorrupt | OutOfMemory)
    )
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Integer(v) => ValueRef::Integer(*v),
            Value::Real(v) => ValueRef::Real(*v),
            Value::Text(v) => ValueRef::Text(v.as_bytes()),
            Value::Blob(v) => ValueRef::Blob(v),
        }))
    }
}
