//! Transactions of a caller's own: one at a time, each with the writer to itself.
//!
//! Part of the writer's loop. Whoever asks for one waits in line, first come, first served. When
//! it is their turn, the batch under way is committed and the next transaction is theirs: their
//! statements are executed as they come, and everybody else's requests are put aside until its
//! end. What was put aside goes first then, so transactions never starve other writes. The end
//! is a commit, an undoing, the end of the holder's connection, or the deadline: after it the
//! holder is refused.
//!
//! Bounds: [`MOST_WAITING`] in line; [`LONGEST`] for a transaction; [`MOST_LATE`] that are told
//! that they were late, others that theirs is gone. What is put aside is bounded by what a worker
//! may have unanswered.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::recovery::first_request;
use super::turns::Attempt;
use super::{Running, poisoned};
use crate::sqlite::protocol::{Request, Response};
use crate::{Error, Guarded, Result};

/// Transactions in line.
const MOST_WAITING: usize = 1000;

/// No transaction may take longer, whatever its holder asks for: all others wait for it.
const LONGEST: Duration = Duration::from_secs(30);

const MOST_LATE: usize = 64;

/// A transaction in line, or under way: its connection, and the request that asked for it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Ticket {
    token: u64,
    request: u64,
}

struct InLine {
    ticket: Ticket,
    arrived: u64,
    limit: Duration,
}

struct Holder {
    ticket: Ticket,
    limit: Duration,
    deadline: Instant,
}

#[derive(Default)]
pub(super) struct Alone {
    /// By their arrival.
    line: VecDeque<InLine>,
    holder: Option<Holder>,
    /// Transactions whose deadline passed, and what it was.
    late: VecDeque<(Ticket, Duration)>,
}

impl Alone {
    /// Whether somebody has the writer to themselves.
    pub(super) fn is_held(&self) -> bool {
        self.holder.is_some()
    }

    /// The transaction under way, if it is this one.
    fn held_by(&self, ticket: Ticket) -> Option<&Holder> {
        self.holder.as_ref().filter(|h| h.ticket == ticket)
    }

    /// Whether a request waits for the end of the transaction that is under way.
    fn puts_aside(&self, token: u64, request: &Request<'_>) -> bool {
        let Some(holder) = &self.holder else {
            return false;
        };
        match request {
            // It takes its place in line.
            Request::Open { .. } => false,
            Request::Inside { transaction, .. } | Request::Close { transaction, .. } => {
                let ticket = Ticket {
                    token,
                    request: *transaction,
                };
                // Others are in line, and leave it, or have no transaction any more.
                let is_in_line = self.line.iter().any(|waiting| waiting.ticket == ticket);
                ticket != holder.ticket && !is_in_line
            }
            _ => true,
        }
    }

    /// How long the loop may sleep at most.
    pub(super) fn patience(&self) -> Option<Duration> {
        let holder = self.holder.as_ref()?;
        Some(holder.deadline.saturating_duration_since(Instant::now()))
    }
}

impl Running<'_> {
    /// Puts a request aside, if it has to wait.
    pub(super) fn put_aside(&mut self, token: u64, request: &Request<'_>, frame: &[u8]) -> bool {
        let aside = self.alone.puts_aside(token, request);
        if aside && let Some(peer) = self.connections.get_mut(&token) {
            peer.aside.extend_from_slice(frame);
        }
        aside
    }

    pub(super) fn ask_for_all(&mut self, token: u64, id: u64, arrived: u64, limit: u32) {
        if self.alone.line.len() >= MOST_WAITING {
            let busy = Error::Busy(format!("{MOST_WAITING} transactions wait already"));
            self.answer(token, id, &Response::Failed(busy));
            return;
        }
        let place = self.alone.line.partition_point(|w| w.arrived <= arrived);
        let waiting = InLine {
            ticket: Ticket { token, request: id },
            arrived,
            limit: Duration::from_millis(limit.into()).min(LONGEST),
        };
        self.alone.line.insert(place, waiting);
    }

    pub(super) fn inside(
        &mut self,
        token: u64,
        id: u64,
        transaction: u64,
        statement: &Guarded,
    ) -> Result<()> {
        let ticket = Ticket {
            token,
            request: transaction,
        };
        let Some(deadline) = self.alone.held_by(ticket).map(|holder| holder.deadline) else {
            self.refuse_ticket(token, id, ticket);
            return Ok(());
        };
        match self
            .statements
            .guarded(std::slice::from_ref(statement), deadline)
        {
            Ok(_) if Instant::now() >= deadline => {
                self.end_late()?;
                self.refuse_ticket(token, id, ticket);
                Ok(())
            }
            Ok(outcome) => {
                let answer = match outcome {
                    Ok(outcomes) => Response::Wrote(outcomes),
                    Err(error) => Response::Failed(error),
                };
                self.answer(token, id, &answer);
                if self.statements.transaction_lost() {
                    // By a statement of theirs: nobody else was in it.
                    self.end_alone()?;
                }
                Ok(())
            }
            Err(e) => {
                self.alone.holder = None;
                self.fail_batch(&e, Some((token, id)))?;
                self.resume()
            }
        }
    }

    pub(super) fn close(
        &mut self,
        token: u64,
        id: u64,
        transaction: u64,
        key: Option<&str>,
    ) -> Result<()> {
        let ticket = Ticket {
            token,
            request: transaction,
        };
        self.alone.line.retain(|waiting| waiting.ticket != ticket);
        let is_held = self.alone.held_by(ticket).is_some();
        match key {
            None => {
                self.answer(token, id, &Response::Done);
                if is_held { self.end_alone() } else { Ok(()) }
            }
            Some(key) if is_held => {
                self.alone.holder = None;
                if let Err(e) = self.statements.keep_key(key, &[], &[]) {
                    self.fail_batch(&e, Some((token, id)))?;
                } else {
                    self.answer_after_commit(token, id, &Response::Done, None);
                    self.commit_batch()?;
                    self.flush();
                }
                self.resume()
            }
            // Sent again: an earlier writer may have committed it.
            Some(key) => {
                let answer = match self.statements.has_key(key).map_err(poisoned)? {
                    true => Response::Done,
                    false => Response::Failed(self.refusal_of(ticket)),
                };
                self.open_batch()?;
                self.answer_after_commit(token, id, &answer, None);
                Ok(())
            }
        }
    }

    fn refuse_ticket(&mut self, token: u64, id: u64, ticket: Ticket) {
        let refusal = Response::Failed(self.refusal_of(ticket));
        self.answer(token, id, &refusal);
    }

    /// Why a transaction is not the one under way.
    fn refusal_of(&self, ticket: Ticket) -> Error {
        match self.alone.late.iter().find(|(late, _)| *late == ticket) {
            Some((_, limit)) => Error::Statement(format!(
                "the transaction took longer than {limit:?} and was undone; nobody else can write meanwhile"
            )),
            None => Error::Stale,
        }
    }

    /// Begins the next transaction, ends one that is late.
    pub(super) fn follow_line(&mut self) -> Result<()> {
        if let Some(holder) = &self.alone.holder {
            return match Instant::now() >= holder.deadline {
                true => self.end_late(),
                false => Ok(()),
            };
        }
        if self.alone.line.is_empty() || self.recovery.is_some() {
            return Ok(());
        }
        self.finish_sync()?;
        if self.batch.open.is_some() && self.loss.is_none() {
            self.commit_batch()?;
            self.flush();
            self.finish_sync()?;
        }
        // While transactions follow each other, no other moment is without one.
        self.checkpoint_if_due()?;
        if self.loss.is_some() {
            let refusal = Response::Failed(self.refusal());
            for InLine { ticket, .. } in std::mem::take(&mut self.alone.line) {
                self.answer(ticket.token, ticket.request, &refusal);
            }
            return Ok(());
        }
        let Some(next) = self.alone.line.pop_front() else {
            return Ok(());
        };
        self.open_batch()?;
        self.alone.holder = Some(Holder {
            ticket: next.ticket,
            limit: next.limit,
            deadline: Instant::now() + next.limit,
        });
        self.answer(next.ticket.token, next.ticket.request, &Response::Done);
        self.flush();
        Ok(())
    }

    fn end_late(&mut self) -> Result<()> {
        if let Some(holder) = &self.alone.holder {
            self.alone.late.push_back((holder.ticket, holder.limit));
            if self.alone.late.len() > MOST_LATE {
                self.alone.late.pop_front();
            }
        }
        self.end_alone()
    }

    /// Undoes the transaction under way; then everybody goes on.
    pub(super) fn end_alone(&mut self) -> Result<()> {
        if self.alone.holder.take().is_none() {
            return Ok(());
        }
        if self.batch.open.is_some() {
            self.statements.rollback().map_err(poisoned)?;
            self.end_batch();
        }
        self.resume()
    }

    /// A connection ended, and what it was in line for, or held.
    pub(super) fn leave_line(&mut self, token: u64) -> Result<()> {
        self.alone
            .line
            .retain(|waiting| waiting.ticket.token != token);
        let is_held = |holder: &Holder| holder.ticket.token == token;
        match self.alone.holder.as_ref().is_some_and(is_held) {
            true => self.end_alone(),
            false => Ok(()),
        }
    }

    /// Executes what was put aside.
    fn resume(&mut self) -> Result<()> {
        let tokens: Vec<u64> = self.connections.keys().copied().collect();
        for token in tokens {
            let peer = self.connections.get_mut(&token);
            let aside = peer.map_or_else(Vec::new, |peer| std::mem::take(&mut peer.aside));
            let mut used = 0;
            while let Some((id, request, length)) = first_request(&aside[used..])? {
                used += length;
                self.execute(token, id, request, Attempt::First)?;
            }
        }
        Ok(())
    }
}
