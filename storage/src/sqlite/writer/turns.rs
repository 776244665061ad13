//! The requests of a turn: its lock, its commit, its end.
//!
//! Part of the writer's loop, called by `requests.rs`. Invariant: the holder of a lock gets
//! data that it would pass on to the outside after the commit of the batch; the rest at once.

use super::{Running, poisoned};
use crate::sqlite::protocol::{CommitRequest, Locked, Response};
use crate::sqlite::statements::Committed;
use crate::{DialogKey, Error, Fence, LockAfter, Result};

/// Who has seen a request before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Nobody.
    First,
    /// An earlier writer, which did not answer it.
    Again,
}

/// What a waiter is remembered by.
#[derive(Clone)]
pub(super) struct Waiting {
    pub(super) token: u64,
    pub(super) request: u64,
    pub(super) update: Option<String>,
    /// Microseconds since 1970.
    pub(super) unix_us: i64,
}

impl Running<'_> {
    pub(super) fn commit_turn(
        &mut self,
        token: u64,
        id: u64,
        turn: &CommitRequest<'_>,
        attempt: Attempt,
    ) -> Result<()> {
        self.open_batch()?;
        let holder = self
            .locks
            .holder(&turn.dialog)
            .filter(|holder| holder.fence == turn.fence)
            .copied();
        let committed = if holder.is_some() || attempt == Attempt::Again {
            // Sent again after a writer died: that the state is the one the
            // turn read is proof enough that nobody came in between.
            let row = holder.and_then(|holder| holder.row);
            match self.statements.commit_turn(turn, row) {
                Ok(committed) => committed,
                Err(e) => return self.fail_batch(&e, Some((token, id))),
            }
        } else {
            match self.statements.seen(&turn.dialog.channel, turn.update) {
                Ok(Some((fence, _))) if fence == turn.fence => Committed::Before,
                Ok(_) => Committed::Stale,
                Err(e) => return self.fail_batch(&e, Some((token, id))),
            }
        };
        let answer = match committed {
            Committed::Now(row) => {
                // Also to find out whether the relays came in.
                if (self.inbox || !turn.relays.is_empty() || !turn.changes.is_empty())
                    && let Err(e) = self.take_out(&turn.dialog.channel, turn.update)
                {
                    return self.fail_batch(&e, Some((token, id)));
                }
                self.batch.turns += 1;
                self.unsent += turn.replies.len() as u64;
                if let Some(holder) = self.locks.holder_mut(&turn.dialog) {
                    holder.row = Some(row);
                }
                self.locks.note_commit(&turn.dialog, self.batch_number);
                Response::Done
            }
            Committed::Before => Response::Done,
            Committed::Stale => Response::Failed(Error::Stale),
            Committed::Seen => Response::Failed(Error::Seen),
            Committed::Refused(reason) => Response::Failed(Error::Statement(reason)),
        };
        self.check_transaction(token, id, &answer)?;
        if turn.lock == LockAfter::GivenBack && matches!(answer, Response::Done) {
            self.release(&turn.dialog, turn.fence);
        }
        self.answer_after_commit(token, id, &answer, None);
        Ok(())
    }

    /// A committed update leaves the inbox, whether or not its worker knows that it was
    /// in there: the platform may have sent it to another worker too.
    fn take_out(&mut self, channel: &str, update: &str) -> rusqlite::Result<()> {
        self.statements.take_out(channel, update)?;
        self.inbox = self.statements.has_inbox()?;
        Ok(())
    }

    /// The author's SQL undid the whole batch (`INSERT OR ROLLBACK`, or a
    /// trigger's `RAISE(ROLLBACK)`). They are told; everyone else's requests go
    /// to the next writer, since what was done for them here is lost.
    pub(super) fn check_transaction(
        &mut self,
        token: u64,
        id: u64,
        answer: &Response,
    ) -> Result<()> {
        if !self.statements.transaction_lost() {
            return Ok(());
        }
        let told = match answer {
            Response::Failed(_) => answer,
            _ => &Response::Failed(Error::Statement(
                "the statement rolled back the transaction".to_owned(),
            )),
        };
        self.answer(token, id, told);
        self.flush();
        Err(Error::Undone(
            "a statement of the author rolled back the whole batch".to_owned(),
        ))
    }

    /// A dialog's row, by its holder's note or by a search.
    pub(super) fn row_of(&mut self, dialog: &DialogKey) -> Result<Option<i64>> {
        if let Some(row) = self.locks.holder(dialog).and_then(|holder| holder.row) {
            return Ok(Some(row));
        }
        let found = self.statements.dialog(dialog).map_err(poisoned)?;
        Ok(found.map(|found| found.row))
    }

    /// Answers a request for a lock that is now held.
    pub(super) fn grant(
        &mut self,
        dialog: &DialogKey,
        fence: Fence,
        asked: &Waiting,
    ) -> Result<()> {
        if self.loss.is_some() {
            let refusal = Response::Failed(self.refusal());
            self.answer(asked.token, asked.request, &refusal);
            self.release(dialog, fence);
            return Ok(());
        }
        self.open_batch()?;
        self.batch.grants += 1;
        let seen = match &asked.update {
            Some(update) => self
                .statements
                .seen(&dialog.channel, update)
                .map_err(poisoned)?
                .map(|(_, seen)| seen),
            None => None,
        };
        let found = self.statements.dialog(dialog).map_err(poisoned)?;
        let mut unsent = Vec::new();
        let mut version = 0;
        let mut state = None;
        if let Some(found) = found {
            if self.unsent > 0 {
                unsent = self.statements.unsent(found.row).map_err(poisoned)?;
            }
            version = found.version;
            state = Some(found.state);
            if let Some(holder) = self.locks.holder_mut(dialog) {
                holder.row = Some(found.row);
            }
        }
        let mut earlier = None;
        if self.inbox && seen.is_none() {
            let oldest = self.statements.oldest_pending(dialog).map_err(poisoned)?;
            let update = asked.update.as_deref();
            earlier = oldest.filter(|oldest| oldest.goes_before(update, asked.unix_us));
        }
        // What the holder would pass on to the outside must be durable first.
        let hold_back = seen.is_some() || !unsent.is_empty() || earlier.is_some();
        if unsent.is_empty()
            && let Some(seen) = seen
        {
            self.answer_after_commit(asked.token, asked.request, &Response::Seen(seen), None);
            self.release(dialog, fence);
            return Ok(());
        }
        let answer = Response::Begun(Locked {
            fence,
            version,
            open: self.locks.committed_in(dialog, self.batch_number),
            state,
            seen,
            unsent,
            earlier,
        });
        if hold_back {
            let grant = Some((dialog.clone(), fence));
            self.answer_after_commit(asked.token, asked.request, &answer, grant);
        } else {
            self.answer(asked.token, asked.request, &answer);
        }
        Ok(())
    }

    /// Gives a lock back; the next in line is served by [`Self::grant_ready`].
    pub(super) fn release(&mut self, dialog: &DialogKey, fence: Fence) {
        self.ready.extend(self.locks.release(dialog, fence));
    }

    pub(super) fn grant_ready(&mut self) -> Result<()> {
        while let Some(next) = self.ready.pop() {
            self.grant(&next.dialog, next.fence, &next.waiter)?;
        }
        Ok(())
    }
}
