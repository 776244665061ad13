//! The transaction under way: opened by the first request that needs it, committed when nothing
//! more waits, rolled back when the disk is full or a deferred foreign key forbids the commit.
//!
//! Part of the writer's loop.

use std::ops::RangeInclusive;
use std::time::Instant;

use super::opening::once_writable;
use super::syncer::Syncer;
use super::{IDLE, LAZY, LONE, MAX_BATCH, Running, poisoned};
use crate::sqlite::protocol::Response;
use crate::{DialogKey, Error, Fence, Result};

/// A batch with so many answers is synced beside the next one. Fewer: nobody is likely
/// to come while the sync lasts, and two switches of threads are saved. More: the
/// processors are the limit, and what comes during the sync is cheaper to execute at
/// once after it than piece by piece.
const SYNCED_BESIDE: RangeInclusive<usize> = 4..=40;

/// A request whose answer waits for the commit.
pub(super) struct HeldBack {
    token: u64,
    request: u64,
    /// The grant that its answer carries.
    grant: Option<(DialogKey, Fence)>,
}

/// The transaction under way.
#[derive(Default)]
pub(super) struct Batch {
    /// Since when there is one.
    pub(super) open: Option<Instant>,
    pub(super) requests: usize,
    /// Locks that were given in it.
    pub(super) grants: usize,
    /// The workers were let go first.
    pub(super) yielded: bool,
    /// How many answers it had when its commit was first due.
    pub(super) when_due: Option<usize>,
    pub(super) turns: u64,
    held_back: Vec<HeldBack>,
    /// Something in it must reach the disk before it is answered.
    pub(super) must_commit: bool,
}

impl Batch {
    /// How many wait for its commit.
    pub(super) fn answers(&self) -> usize {
        self.held_back.len()
    }
}

impl Running<'_> {
    /// A lock that was given back by a request that wrote nothing, or by the end
    /// of a connection, leaves the file too, and the table's memory with it.
    pub(super) fn open_for_locks(&mut self) -> Result<()> {
        let full = self.full_until.is_some_and(|until| Instant::now() < until);
        let may = self.recovery.is_none() && self.loss.is_none();
        if may && self.locks.has_changes() && !full {
            self.open_batch()?;
        }
        Ok(())
    }

    pub(super) fn open_batch(&mut self) -> Result<()> {
        if self.batch.open.is_some() {
            return Ok(());
        }
        let (statements, monitor) = (&mut self.statements, &mut self.monitor);
        let stats = &mut self.stats;
        let begun = once_writable(
            &self.files.database,
            || statements.begin(),
            |held| {
                stats.is_held_up = held;
                monitor(stats);
            },
        );
        self.stats.is_held_up = false;
        begun.map_err(poisoned)?;
        self.batch.open = Some(Instant::now());
        self.batch_number += 1;
        Ok(())
    }

    pub(super) fn answer_after_commit(
        &mut self,
        token: u64,
        request: u64,
        answer: &Response,
        grant: Option<(DialogKey, Fence)>,
    ) {
        self.batch.must_commit = true;
        if let Some(peer) = self.connections.get_mut(&token) {
            answer.encode(request, &mut peer.held_back);
            self.batch.held_back.push(HeldBack {
                token,
                request,
                grant,
            });
        }
    }

    pub(super) fn commit_if_due(&mut self) -> Result<()> {
        if self.alone.is_held() {
            // Whose it is says when.
            self.batch.requests = 0;
            (self.monitor)(&self.stats);
            return Ok(());
        }
        if self.syncing() {
            if self.batch.requests < MAX_BATCH {
                return Ok(());
            }
            self.finish_sync()?;
        }
        self.batch.requests = 0;
        self.stats.waiting = self.locks.waiting() as u64;
        let due = self
            .batch
            .open
            .is_some_and(|since| self.batch.must_commit || since.elapsed() >= LAZY);
        if due {
            let answers = self.batch.held_back.len();
            self.commit_batch()?;
            self.flush();
            if (1..=LONE).contains(&answers) {
                self.spinner.chance();
            }
        }
        // After the answers: whoever waits now waits for a later batch.
        self.checkpoint_if_due()?;
        (self.monitor)(&self.stats);
        Ok(())
    }

    /// Not with a transaction open (one of locks alone, not due yet): SQLite refuses that
    /// (SQLITE_LOCKED), and the writer would have to start over.
    pub(super) fn checkpoint_if_due(&mut self) -> Result<()> {
        if self.batch.open.is_some() || self.loss.is_some() {
            return Ok(());
        }
        if self.checkpointer.is_due() && !self.is_in_place()? {
            return Ok(());
        }
        self.checkpointer.run_if_due(self.conn)?;
        self.stats.checkpoints = self.checkpointer.checkpoints;
        Ok(())
    }

    pub(super) fn commit_batch(&mut self) -> Result<()> {
        if !self.is_in_place()? {
            return Ok(());
        }
        self.changes.clear();
        self.locks.row_changes(&mut self.changes);
        let statements = &mut self.statements;
        let outcome = self
            .changes
            .iter()
            .try_for_each(|change| statements.save_lock(change))
            .and_then(|()| statements.commit());
        if let Err(error) = outcome {
            return self.fail_batch(&error, None);
        }
        self.locks.rows_saved();
        debug_assert!(
            self.batch.must_commit || (self.batch.turns == 0 && self.batch.held_back.is_empty()),
            "who waits for a commit has asked for one"
        );
        self.stats.turns += self.batch.turns;
        self.stats.commits += 1;
        self.sync()?;
        self.stats.syncs = self.syncs + self.checkpointer.syncs;
        self.stats.log_bytes = self.checkpointer.log_bytes();
        self.end_batch();
        debug_assert!(
            self.connections
                .values()
                .all(|peer| peer.held_back.is_empty()),
            "nothing is held back after the end"
        );
        Ok(())
    }

    /// Lets the answers of the batch go: now, or when it is on the disk. A batch that
    /// answers nobody need not get there: nothing stands on it but later ones.
    fn sync(&mut self) -> Result<()> {
        let answers = self.batch.held_back.len();
        let mut wait = false;
        if let Some(syncer) = &mut self.syncer
            && answers > 0
        {
            self.syncs += 1;
            wait = SYNCED_BESIDE.contains(&answers);
            if wait {
                syncer.order()?;
            } else {
                self.stats.wait_time += syncer.now()?;
                self.stats.waits += 1;
            }
        }
        for done in &self.batch.held_back {
            if let Some(peer) = self.connections.get_mut(&done.token) {
                let to = if wait {
                    &mut peer.syncing
                } else {
                    &mut peer.output
                };
                to.append(&mut peer.held_back);
            }
        }
        Ok(())
    }

    /// Whether a batch is on its way to the disk.
    pub(super) fn syncing(&self) -> bool {
        self.syncer.as_ref().is_some_and(Syncer::under_way)
    }

    /// Waits for it, if there is one, and answers everyone in it.
    pub(super) fn finish_sync(&mut self) -> Result<()> {
        let Some(syncer) = self.syncer.as_mut().filter(|s| s.under_way()) else {
            return Ok(());
        };
        self.stats.wait_time += syncer.finish()?;
        self.stats.waits += 1;
        for peer in self.connections.values_mut() {
            peer.output.append(&mut peer.syncing);
        }
        self.flush();
        Ok(())
    }

    pub(super) fn end_batch(&mut self) {
        self.batch.open = None;
        self.batch.turns = 0;
        self.batch.grants = 0;
        self.batch.must_commit = false;
        self.batch.yielded = false;
        self.batch.when_due = None;
        self.company.stop();
        self.batch.held_back.clear();
    }

    /// Undoes the batch on a full disk, or where a deferred foreign key has no target at the
    /// commit, and tells everyone in it, `current` too. Any other failure ends the writer.
    pub(super) fn fail_batch(
        &mut self,
        error: &rusqlite::Error,
        current: Option<(u64, u64)>,
    ) -> Result<()> {
        let why = match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Error::Full,
            Some(rusqlite::ErrorCode::ConstraintViolation) if is_foreign_key(error) => {
                Error::Statement(
                    "a deferred foreign key has no target at the commit; all that was to be \
                     committed with it is undone"
                        .to_owned(),
                )
            }
            _ => return Err(poisoned(error)),
        };
        self.statements.rollback().map_err(poisoned)?;
        let refused = self.batch.held_back.len() + usize::from(current.is_some());
        if why == Error::Full {
            self.full_until = Some(Instant::now() + IDLE);
        }
        if refused > 0 {
            tracing::error!("{why}: {refused} requests were undone and refused");
        }
        self.unsent = self.statements.count_unsent().map_err(poisoned)?;
        self.inbox = self.statements.has_inbox().map_err(poisoned)?;
        if let Some((token, request)) = current {
            self.answer(token, request, &Response::Failed(why.clone()));
        }
        self.undo_batch(&why)
    }

    /// Tells everyone in a batch that was rolled back, and takes back what it gave.
    pub(super) fn undo_batch(&mut self, why: &Error) -> Result<()> {
        self.locks.forget_rows();
        let undone = std::mem::take(&mut self.batch.held_back);
        self.end_batch();
        for peer in self.connections.values_mut() {
            peer.held_back.clear();
        }
        for done in undone {
            self.answer(done.token, done.request, &Response::Failed(why.clone()));
            if let Some((dialog, fence)) = done.grant {
                self.release(&dialog, fence);
            }
        }
        self.grant_ready()
    }
}

/// Deferred ones are looked at by the commit alone, which leaves the transaction open.
fn is_foreign_key(error: &rusqlite::Error) -> bool {
    error
        .sqlite_error()
        .is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}
