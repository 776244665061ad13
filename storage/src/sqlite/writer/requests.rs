//! Executes requests: each has an arm here, and a function if it takes more than a few lines.
//!
//! Part of the writer's loop. Grants are answered at once; whatever must be durable first, with
//! the commit of the batch. The requests of a turn are in `turns.rs`, those of a transaction of
//! a caller's own in `alone.rs`.

use super::turns::{Attempt, Waiting};
use super::{Running, poisoned};
use crate::replies::{PUTS_REPLIES, TAKES_REPLIES};
use crate::sqlite::locks::{self, Requested};
use crate::sqlite::protocol::{Request, Response};
use crate::{DialogKey, Error, Guarded, LockAfter, ReplyId, Result, Statement};

impl Running<'_> {
    /// Executes one request.
    pub(super) fn execute(
        &mut self,
        token: u64,
        id: u64,
        request: Request<'_>,
        attempt: Attempt,
    ) -> Result<()> {
        match self.loss {
            Some(_) => self.refuse(token, id, request),
            None => self.execute_any(token, id, request, attempt),
        }
    }

    /// The same, wherever the file is.
    pub(super) fn execute_any(
        &mut self,
        token: u64,
        id: u64,
        request: Request<'_>,
        attempt: Attempt,
    ) -> Result<()> {
        self.batch.requests += 1;
        match request {
            Request::Begin {
                dialog,
                update,
                arrived,
                unix_us,
            } => {
                let waiting = Waiting {
                    token,
                    request: id,
                    update: update.map(str::to_owned),
                    unix_us,
                };
                self.begin(&dialog, arrived, waiting)?;
            }
            Request::Cancel { dialog, begin } => self.cancel(&dialog, token, begin),
            Request::Commit(commit) => self.commit_turn(token, id, &commit, attempt)?,
            Request::Sent {
                dialog,
                fence,
                replies,
                lock,
            } => {
                self.forget_replies(token, id, &dialog, &replies)?;
                if lock == LockAfter::GivenBack {
                    self.release(&dialog, fence);
                }
            }
            Request::Write { key, statements } => return self.write(token, id, key, &statements),
            Request::Own { statements } => return self.own(token, id, &statements),
            Request::Barrier if self.batch.must_commit => {
                self.answer_after_commit(token, id, &Response::Done, None);
            }
            Request::Barrier => self.answer(token, id, &Response::Done),
            Request::Unsent { limit } => {
                let found = match self.unsent {
                    0 => Vec::new(),
                    _ => self.statements.dialogs_with_unsent().map_err(poisoned)?,
                };
                self.answer_free(token, id, found, limit);
            }
            Request::Due { limit, now } => {
                let found = match self.inbox {
                    false => Vec::new(),
                    true => self.statements.due_dialogs(now).map_err(poisoned)?,
                };
                self.answer_free(token, id, found, limit);
            }
            Request::Owners => {
                let owners = self.connections.values().filter_map(|p| p.owner).collect();
                self.answer(token, id, &Response::Owners(owners));
            }
            Request::Open { arrived, limit } => self.ask_for_all(token, id, arrived, limit),
            Request::Inside {
                transaction,
                statement,
            } => return self.inside(token, id, transaction, &statement),
            Request::Close { transaction, key } => {
                return self.close(token, id, transaction, key);
            }
        }
        self.grant_ready()
    }

    /// Answers with those of the dialogs that nobody holds.
    fn answer_free(&mut self, token: u64, id: u64, mut dialogs: Vec<DialogKey>, limit: u32) {
        dialogs.retain(|dialog| self.locks.holder(dialog).is_none());
        dialogs.truncate(limit as usize);
        self.answer(token, id, &Response::Dialogs(dialogs));
    }

    fn begin(&mut self, dialog: &DialogKey, arrived: u64, waiting: Waiting) -> Result<()> {
        let Some(owner) = self.connections.get(&waiting.token).and_then(|p| p.owner) else {
            return Ok(());
        };
        match self.locks.request(dialog, owner, arrived, waiting.clone()) {
            Requested::Granted(fence) => self.grant(dialog, fence, &waiting),
            Requested::Queued => Ok(()),
            Requested::Refused => {
                let busy = Error::Busy(format!(
                    "{} updates of this user wait already",
                    locks::MAX_WAITERS
                ));
                self.answer(waiting.token, waiting.request, &Response::Failed(busy));
                Ok(())
            }
        }
    }

    fn cancel(&mut self, dialog: &DialogKey, token: u64, begin: u64) {
        let waiting = |w: &Waiting| w.token == token && w.request == begin;
        if self.locks.cancel(dialog, waiting).is_some() {
            let busy = Error::Busy("an earlier update of this user takes long".to_owned());
            self.answer(token, begin, &Response::Failed(busy));
        }
    }

    /// Replies that were sent.
    fn forget_replies(
        &mut self,
        token: u64,
        id: u64,
        dialog: &DialogKey,
        replies: &[ReplyId],
    ) -> Result<()> {
        if replies.is_empty() {
            self.answer(token, id, &Response::Done);
            return Ok(());
        }
        self.open_batch()?;
        let mut sent = Ok(0);
        if let Some(row) = self.row_of(dialog)? {
            sent = self.statements.sent(row, replies);
        }
        match sent {
            Ok(gone) => {
                debug_assert!(gone <= self.unsent, "replies that wait are counted");
                self.unsent = self.unsent.saturating_sub(gone);
                self.answer_after_commit(token, id, &Response::Done, None);
                Ok(())
            }
            // The lock is given back all the same.
            Err(e) => self.fail_batch(&e, Some((token, id))),
        }
    }

    fn write(
        &mut self,
        token: u64,
        id: u64,
        key: Option<&str>,
        statements: &[Guarded],
    ) -> Result<()> {
        self.open_batch()?;
        let answer = match self.statements.write(key, statements) {
            Ok(Ok(outcomes)) => Response::Wrote(outcomes),
            Ok(Err(error)) => Response::Failed(error),
            Err(e) => return self.fail_batch(&e, Some((token, id))),
        };
        self.check_transaction(token, id, &answer)?;
        self.answer_after_commit(token, id, &answer, None);
        self.grant_ready()
    }

    fn own(&mut self, token: u64, id: u64, statements: &[Statement]) -> Result<()> {
        self.open_batch()?;
        let answer = match self.statements.own(statements) {
            Ok(Ok(changed)) => {
                self.count_replies(statements, &changed);
                Response::Changed(changed)
            }
            Ok(Err(error)) => Response::Failed(error),
            Err(e) => return self.fail_batch(&e, Some((token, id))),
        };
        self.inbox = self.statements.has_inbox().map_err(poisoned)?;
        self.answer_after_commit(token, id, &answer, None);
        self.grant_ready()
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
}
