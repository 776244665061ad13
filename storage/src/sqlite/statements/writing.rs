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
use crate::sqlite::locks::RowChange;
use crate::sqlite::protocol::CommitRequest;
use crate::{ReplyId, Statement};

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

    /// The author's statements outside a turn: all or none.
    pub(crate) fn write(&mut self, statements: &[Statement]) -> rusqlite::Result<Option<String>> {
        let written = self.together(|this| this.run_author(statements))?;
        Ok(written.err())
    }

    /// Our own statements: all or none, and how many rows each changed.
    pub(crate) fn own(
        &mut self,
        statements: &[Statement],
    ) -> rusqlite::Result<std::result::Result<Vec<u64>, String>> {
        self.together(|this| statements.iter().map(|ours| this.run_ours(ours)).collect())
    }

    /// Runs statements that may fail half-way; inside, why they did.
    fn together<T>(
        &self,
        run: impl FnOnce(&Self) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<std::result::Result<T, String>> {
        self.conn.execute_batch("SAVEPOINT turn")?;
        let outcome = match run(self) {
            Ok(done) => Ok(done),
            Err(error) if is_disk(&error) => return Err(error),
            Err(error) => Err(reason(&error)),
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
        let deadline = Instant::now() + MAX_WRITE;
        let late = move || Instant::now() >= deadline;
        self.conn.progress_handler(STEPS, Some(late))?;
        self.author.store(true, Ordering::Relaxed);
        let result = statements.iter().try_for_each(|statement| {
            let mut prepared = self.conn.prepare_cached(&statement.sql)?;
            let mut rows = prepared.query(params_from_iter(&statement.params))?;
            while rows.next()?.is_some() {} // RETURNING is allowed, its rows are not kept.
            Ok(())
        });
        self.author.store(false, Ordering::Relaxed);
        self.conn.progress_handler(0, None::<fn() -> bool>)?;
        result
    }
}
