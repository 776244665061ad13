//! The writes of turns and of other requests.
//!
//! Part of [`Statements`], called by the writer inside its transaction. The author's
//! statements may fail for any reason, so they run in a savepoint and under an authorizer
//! (`limits.rs`) that keeps them away from our tables and from the transaction itself.

use std::sync::atomic::Ordering;
use std::time::Instant;

use rusqlite::params_from_iter;

use super::limits::{MAX_WRITE, STEPS, reason};
use super::{Statements, is_disk};
use crate::retention::KEYED;
use crate::sqlite::locks::RowChange;
use crate::sqlite::protocol::{self, CommitRequest};
use crate::sqlite::readers::{columns, value};
use crate::{Error, Guarded, Outcome, ReplyId, Result, Row, Statement, Value};

/// Bytes of the rows that the statements of one request may return.
const MAX_ANSWER: usize = protocol::MAX_REQUEST / 2;

/// Bytes that a value takes beside its text, at most.
const VALUE: usize = 9;

/// What became of a commit.
pub(crate) enum Committed {
    /// It stands; the dialog's row.
    Now(i64),
    /// It stood already: the request came a second time.
    Before,
    /// The state is not the one the turn read.
    Stale,
    /// The update was committed before, by another turn.
    Seen,
    /// One of the author's statements failed.
    Refused(String),
}

impl Statements<'_> {
    /// Writes a turn: all of it or nothing. `row` is the dialog's row where the
    /// writer knows it.
    pub(crate) fn commit_turn(
        &mut self,
        turn: &CommitRequest<'_>,
        row: Option<i64>,
    ) -> rusqlite::Result<Committed> {
        if turn.statements.is_empty() {
            return self.write_turn(turn, row);
        }
        // A commit that is sent again must not run into the rows that its own
        // statements made the first time.
        match self.seen(&turn.dialog.channel, turn.update)? {
            Some((before, _)) if before == turn.fence => return Ok(Committed::Before),
            Some(_) => return Ok(Committed::Seen),
            None => {}
        }
        // Only the author's statements can fail half-way, so only turns that
        // have some pay for a savepoint.
        self.conn.execute_batch("SAVEPOINT turn")?;
        let committed = match self.run_author(&turn.statements) {
            Ok(()) => self.write_turn(turn, row)?,
            Err(error) if is_disk(&error) => return Err(error),
            Err(error) => Committed::Refused(reason(&error)),
        };
        if self.transaction_lost() {
            return Ok(committed); // The caller looks, and starts over.
        }
        if !matches!(committed, Committed::Now(_)) {
            self.conn.execute_batch("ROLLBACK TO turn")?;
        }
        self.conn.execute_batch("RELEASE turn")?;
        Ok(committed)
    }

    /// The author's statements outside a turn: all or none. What was answered under the same
    /// key before is the answer again.
    pub(crate) fn write(
        &mut self,
        key: Option<&str>,
        statements: &[Guarded],
    ) -> rusqlite::Result<Result<Vec<Outcome>>> {
        let Some(key) = key else {
            return self.guarded(statements, Instant::now() + MAX_WRITE);
        };
        let digest = protocol::digest(statements);
        if let Some((_, seen)) = self.seen(KEYED, key)? {
            return Ok(match seen.digest == digest {
                true => protocol::kept(&seen.answer),
                false => Err(Error::Statement(format!(
                    "the key {key:?} belongs to a write of other statements"
                ))),
            });
        }
        let written = self.guarded(statements, Instant::now() + MAX_WRITE)?;
        if let Ok(outcomes) = &written
            && !self.transaction_lost()
        {
            self.keep_key(key, &digest, &protocol::keep(outcomes))?;
        }
        Ok(written)
    }

    /// Remembers that something was written under a key.
    pub(crate) fn keep_key(
        &mut self,
        key: &str,
        digest: &[u8],
        answer: &[u8],
    ) -> rusqlite::Result<()> {
        let row = (KEYED, key, 0, crate::unix_ms(), digest, answer);
        self.insert_seen.execute(row).map(drop)
    }

    /// Whether something was written under a key.
    pub(crate) fn has_key(&mut self, key: &str) -> rusqlite::Result<bool> {
        Ok(self.seen(KEYED, key)?.is_some())
    }

    /// The author's statements until a moment: all or none, and what each did.
    pub(crate) fn guarded(
        &self,
        statements: &[Guarded],
        deadline: Instant,
    ) -> rusqlite::Result<Result<Vec<Outcome>>> {
        self.together(|this| {
            this.as_author(deadline, || {
                let mut left = MAX_ANSWER;
                let each = statements.iter().zip(1..);
                each.map(|(guarded, number)| this.run_guarded(guarded, number, &mut left))
                    .collect()
            })
        })
    }

    fn run_guarded(
        &self,
        guarded: &Guarded,
        number: usize,
        left: &mut usize,
    ) -> std::result::Result<Outcome, Refused> {
        let mut prepared = self.conn.prepare_cached(&guarded.statement.sql)?;
        let columns = columns(&prepared);
        let before = self.conn.total_changes();
        let mut outcome = Outcome::default();
        let mut rows = prepared.query(params_from_iter(&guarded.statement.params))?;
        while let Some(row) = rows.next()? {
            let mut values = Vec::with_capacity(columns.len());
            for column in 0..columns.len() {
                let value = value(row.get_ref(column)?);
                let bytes = match &value {
                    Value::Text(text) => text.len(),
                    Value::Blob(bytes) => bytes.len(),
                    _ => 0,
                };
                *left = left.checked_sub(bytes + VALUE).ok_or_else(too_large)?;
                values.push(value);
            }
            outcome.rows.push(Row::new(columns.clone(), values));
        }
        drop(rows);
        // What is no INSERT, UPDATE or DELETE leaves the count of the last that was one.
        if self.conn.total_changes() > before {
            outcome.changed = self.conn.changes();
        }
        let found = match columns.is_empty() {
            true => outcome.changed,
            false => outcome.rows.len() as u64,
        };
        match guarded.rows {
            Some(expected) if expected != found => Err(Refused::Told(Error::Rows {
                statement: number,
                expected,
                found,
            })),
            _ => Ok(outcome),
        }
    }

    /// Our own statements: all or none, and how many rows each changed.
    pub(crate) fn own(&mut self, statements: &[Statement]) -> rusqlite::Result<Result<Vec<u64>>> {
        self.together(|this| {
            let each = statements.iter().map(|ours| Ok(this.run_ours(ours)?));
            each.collect()
        })
    }

    /// Runs statements that may fail half-way; inside, why they did.
    fn together<T>(
        &self,
        run: impl FnOnce(&Self) -> std::result::Result<T, Refused>,
    ) -> rusqlite::Result<Result<T>> {
        self.conn.execute_batch("SAVEPOINT turn")?;
        let outcome = match run(self) {
            Ok(done) => Ok(done),
            Err(Refused::Sql(error)) if is_disk(&error) => return Err(error),
            Err(Refused::Sql(error)) => Err(Error::Statement(reason(&error))),
            Err(Refused::Told(error)) => Err(error),
        };
        if self.transaction_lost() {
            return Ok(outcome);
        }
        if outcome.is_err() {
            self.conn.execute_batch("ROLLBACK TO turn")?;
        }
        self.conn.execute_batch("RELEASE turn")?;
        Ok(outcome)
    }

    fn write_turn(
        &mut self,
        turn: &CommitRequest<'_>,
        row: Option<i64>,
    ) -> rusqlite::Result<Committed> {
        let channel = &turn.dialog.channel;
        let fence = turn.fence.0 as i64;
        let now = crate::unix_ms();
        let new = self.insert_seen.execute((
            channel,
            turn.update,
            fence,
            now,
            turn.digest,
            turn.answer,
        ))? == 1;
        if !new {
            return Ok(match self.seen(channel, turn.update)? {
                Some((before, _)) if before == turn.fence => Committed::Before,
                _ => Committed::Seen,
            });
        }
        let row = match row {
            Some(row) => Some(row),
            None => self.dialog(&turn.dialog)?.map(|found| found.row),
        };
        let row = match row {
            Some(row) => {
                let changed = self.update_dialog.execute((
                    row,
                    turn.read_version as i64,
                    fence,
                    turn.state,
                    now,
                ))?;
                (changed == 1).then_some(row)
            }
            None if turn.read_version == 0 => {
                self.insert_dialog.execute((
                    channel,
                    &turn.dialog.user_id,
                    fence,
                    turn.state,
                    now,
                ))?;
                Some(self.conn.last_insert_rowid())
            }
            None => None,
        };
        let Some(row) = row else {
            self.delete_seen.execute((channel, turn.update))?;
            return Ok(Committed::Stale);
        };
        for (index, body) in turn.replies.iter().enumerate() {
            self.insert_reply
                .execute((row, fence, index as i64, body))?;
        }
        if let Some(history) = turn.history {
            self.insert_history.execute((row, now, history))?;
        }
        // Last, when nothing but the disk can fail any more. One under the id of this very
        // update counts as handled.
        for relay in &turn.relays {
            self.insert_pending.execute((
                &relay.dialog.channel,
                &relay.update,
                &relay.dialog.user_id,
                relay.arrived,
                &relay.body,
                relay.attempts,
                relay.due,
                &relay.error,
            ))?;
        }
        for change in &turn.changes {
            self.run_ours(change)?;
        }
        Ok(Committed::Now(row))
    }

    fn run_ours(&self, statement: &Statement) -> rusqlite::Result<u64> {
        let mut prepared = self.conn.prepare_cached(&statement.sql)?;
        let changed = prepared.execute(params_from_iter(&statement.params))?;
        Ok(changed as u64)
    }

    /// Forgets replies that were sent; how many there were.
    pub(crate) fn sent(&mut self, dialog: i64, replies: &[ReplyId]) -> rusqlite::Result<u64> {
        let mut gone = 0;
        for reply in replies {
            gone += self
                .delete_reply
                .execute((dialog, reply.turn.0 as i64, reply.index))? as u64;
        }
        Ok(gone)
    }

    pub(crate) fn save_lock(&mut self, change: &RowChange) -> rusqlite::Result<()> {
        match change {
            RowChange::Insert(key, holder) => self.insert_lock.execute((
                &key.channel,
                &key.user_id,
                holder.owner.0 as i64,
                holder.fence.0 as i64,
                holder.since,
            ))?,
            RowChange::Delete(key) => self.delete_lock.execute((&key.channel, &key.user_id))?,
        };
        Ok(())
    }

    fn run_author(&self, statements: &[Statement]) -> rusqlite::Result<()> {
        self.as_author(Instant::now() + MAX_WRITE, || {
            statements.iter().try_for_each(|statement| {
                let mut prepared = self.conn.prepare_cached(&statement.sql)?;
                let mut rows = prepared.query(params_from_iter(&statement.params))?;
                while rows.next()?.is_some() {} // RETURNING is allowed, its rows are not kept.
                Ok(())
            })
        })
    }

    /// Under the author's limits, until a moment.
    fn as_author<T, E: From<rusqlite::Error>>(
        &self,
        deadline: Instant,
        run: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let late = move || Instant::now() >= deadline;
        self.conn.progress_handler(STEPS, Some(late))?;
        self.author.store(true, Ordering::Relaxed);
        let result = run();
        self.author.store(false, Ordering::Relaxed);
        self.conn.progress_handler(0, None::<fn() -> bool>)?;
        result
    }
}

/// Why one of several statements fails.
enum Refused {
    Sql(rusqlite::Error),
    Told(Error),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Refused::Sql(error)
    }
}

fn too_large() -> Refused {
    Refused::Told(Error::Statement(format!(
        "the rows that are returned take more than {} MiB",
        MAX_ANSWER >> 20
    )))
}
