//! What a request does: the lock table, the statements, the answer.
//!
//! Part of the writer's loop. Grants are answered at once, everything that must
//! be durable first with the commit of the batch.

use super::{Running, poisoned};
use crate::replies::{PUTS_REPLIES, TAKES_REPLIES};
use crate::sqlite::locks::{self, Requested};
use crate::sqlite::protocol::{CommitRequest, Request, Response};
use crate::sqlite::statements::Committed;
use crate::{DialogKey, Error, Fence, Result, Statement};

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
    /// Executes one request. `again`: it was sent to an earlier writer already.
    pub(super) fn execute(
        &mut self,
        token: u64,
        id: u64,
        request: Request<'_>,
        again: bool,
    ) -> Result<()> {
        match self.loss {
            Some(_) => self.refuse(token, id, request),
            None => self.execute_any(token, id, request, again),
        }
    }

    /// The same, wherever the file is.
    pub(super) fn execute_any(
        &mut self,
        token: u64,
        id: u64,
        request: Request<'_>,
        again: bool,
    ) -> Result<()> {
        self.batch.requests += 1;
        match request {
            Request::Hello {
                version,
                owner,
                resends,
                held,
            } => self.greet(token, version, owner, resends, &held)?,
            Request::Begin {
                dialog,
                update,
                arrived,
                unix_us,
            } => {
                let Some(owner) = self.connections.get(&token).and_then(|p| p.owner) else {
                    return Ok(());
                };
                let waiting = Waiting {
                    token,
                    request: id,
                    update: update.map(str::to_owned),
                    unix_us,
                };
                match self.locks.request(&dialog, owner, arrived, waiting.clone()) {
                    Requested::Granted(fence) => self.grant(&dialog, fence, &waiting)?,
                    Requested::Queued => {}
                    Requested::Refused => {
                        let busy = Error::Busy(format!(
                            "{} updates of this user wait already",
                            locks::MAX_WAITERS
                        ));
                        self.answer(token, id, &Response::Failed(busy));
                    }
                }
            }
            Request::Cancel { dialog, begin } => {
                let waiting = |w: &Waiting| w.token == token && w.request == begin;
                if self.locks.cancel(&dialog, waiting).is_some() {
                    let busy = Error::Busy("an earlier update of this user takes long".to_owned());
                    self.answer(token, begin, &Response::Failed(busy));
                }
            }
            Request::Commit(commit) => self.commit_turn(token, id, &commit, again)?,
            Request::Sent {
                dialog,
                fence,
                replies,
                end,
            } => {
                if replies.is_empty() {
                    self.answer(token, id, &Response::Done);
                } else {
                    self.open_batch()?;
                    let mut sent = Ok(0);
                    if let Some(row) = self.row_of(&dialog)? {
                        sent = self.statements.sent(row, &replies);
                    }
                    match sent {
                        Ok(gone) => {
                            self.unsent = self.unsent.saturating_sub(gone);
                            self.answer_after_commit(token, id, &Response::Done, None);
                        }
                        // The lock is given back all the same.
                        Err(e) => self.fail_batch(&e, Some((token, id)))?,
                    }
                }
                if end {
                    self.release(&dialog, fence);
                }
            }
            Request::Write { statements } => {
                self.open_batch()?;
                let answer = match self.statements.write(&statements) {
                    Ok(None) => Response::Done,
                    Ok(Some(reason)) => Response::Failed(Error::Statement(reason)),
                    Err(e) => return self.fail_batch(&e, Some((token, id))),
                };
                self.check_transaction(token, id, &answer)?;
                self.answer_after_commit(token, id, &answer, None);
            }
            Request::Own { statements } => {
                self.open_batch()?;
                let answer = match self.statements.own(&statements) {
                    Ok(Ok(changed)) => {
                        self.count_replies(&statements, &changed);
                        Response::Changed(changed)
                    }
                    Ok(Err(reason)) => Response::Failed(Error::Statement(reason)),
                    Err(e) => return self.fail_batch(&e, Some((token, id))),
                };
                self.inbox = self.statements.has_inbox().map_err(poisoned)?;
                self.answer_after_commit(token, id, &answer, None);
            }
            Request::Barrier => {
                if self.batch.must_commit {
                    self.answer_after_commit(token, id, &Response::Done, None);
                } else {
                    self.answer(token, id, &Response::Done);
                }
            }
            Request::Unsent { limit } => {
                let mut dialogs = Vec::new();
                if self.unsent > 0 {
                    dialogs = self.statements.dialogs_with_unsent().map_err(poisoned)?;
                    dialogs.retain(|dialog| self.locks.holder(dialog).is_none());
                    dialogs.truncate(limit as usize);
                }
                self.answer(token, id, &Response::Dialogs(dialogs));
            }
            Request::Due { limit, now } => {
                let mut dialogs = Vec::new();
                if self.inbox {
                    dialogs = self.statements.due_dialogs(now).map_err(poisoned)?;
                    dialogs.retain(|dialog| self.locks.holder(dialog).is_none());
                    dialogs.truncate(limit as usize);
                }
                self.answer(token, id, &Response::Dialogs(dialogs));
            }
            Request::Owners => {
                let owners = self.connections.values().filter_map(|p| p.owner).collect();
                self.answer(token, id, &Response::Owners(owners));
            }
        }
        self.grant_ready()
    }

    pub(super) fn commit_turn(
        &mut self,
        token: u64,
        id: u64,
        turn: &CommitRequest<'_>,
        again: bool,
    ) -> Result<()> {
        self.open_batch()?;
        let holder = self
            .locks
            .holder(&turn.dialog)
            .filter(|holder| holder.fence == turn.fence)
            .copied();
        let committed = if holder.is_some() || again {
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
                if self.inbox
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
        if turn.end && matches!(answer, Response::Done) {
            self.release(&turn.dialog, turn.fence);
        }
        self.answer_after_commit(token, id, &answer, None);
        Ok(())
    }

    /// Replies that our own statements took out of the outbox, or put back into it.
    fn count_replies(&mut self, statements: &[Statement], changed: &[u64]) {
        for (statement, rows) in statements.iter().zip(changed) {
            if statement.sql.starts_with(TAKES_REPLIES) {
                self.unsent = self.unsent.saturating_sub(*rows);
            } else if statement.sql.starts_with(PUTS_REPLIES) {
                self.unsent += rows;
            }
        }
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
        let keep = seen.is_none() || !unsent.is_empty();
        let answer = Response::Begun {
            fence: keep.then_some(fence),
            version,
            open: self.locks.committed_in(dialog, self.batch_number),
            state,
            seen,
            unsent,
            earlier,
        };
        if hold_back {
            let grant = keep.then(|| (dialog.clone(), fence));
            self.answer_after_commit(asked.token, asked.request, &answer, grant);
        } else {
            self.answer(asked.token, asked.request, &answer);
        }
        if !keep {
            self.release(dialog, fence);
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
