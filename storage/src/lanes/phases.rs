//! The phases of a lane's batch: one call of each kind, and everyone's answers.
//!
//! Called by `lane.rs` with what it has gathered. Invariants: a request that releases something
//! (an end, a cancel) is kept until the server has it; a commit that met a lost connection
//! stays in the batch, and is sent again; a begin does not, its row is given up. Bounds:
//! attempts as in `retry.rs`.

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::RECONNECT;
use super::retry::Retry;
use super::shared::{Job, Shared, Stage, To};
use super::wire::{Ask, Asked, Failure, Found, MAX_WAITERS, Reading, Turn, Wire};
use crate::{Begun, DialogKey, Error, Fence, Grant, Granted, LockAfter, Release, Result};

/// The connection is gone.
pub(super) struct Lost;

/// Tries a call until it is not the one that gives way; its answer, or what its
/// callers are told.
macro_rules! insist {
    ($call:expr) => {{
        let mut retry = Retry::default();
        loop {
            match $call.await {
                Ok(answer) => break Ok(Ok(answer)),
                Err(error) if error.is_lost() => break Err(Lost),
                Err(error) if error.is_deadlock() && retry.again().await => {}
                Err(error) => break Ok(Err(error.ours())),
            }
        }
    }};
}

/// Does the phases for one lane.
pub(super) struct Phases {
    pub(super) shared: Weak<Shared>,
    pub(super) owner: i64,
}

impl Phases {
    /// Does all of a batch; what is left in it, when the connection is lost, is to be done again.
    pub(super) async fn work(
        &self,
        wire: &mut impl Wire,
        batch: &mut Batch,
    ) -> std::result::Result<(), Lost> {
        self.commit(wire, &mut batch.commits).await?;
        self.sent(wire, &mut batch.sent).await?;
        self.read(wire, &mut batch.reads).await?;
        self.begin(wire, batch).await?;
        self.cancel(wire, &mut batch.cancels).await
    }

    async fn commit(
        &self,
        wire: &mut impl Wire,
        commits: &mut Vec<(Box<Turn>, To)>,
    ) -> std::result::Result<(), Lost> {
        if commits.len() > 1 {
            let turns: Vec<&Turn> = commits.iter().map(|(turn, _)| &**turn).collect();
            match wire.commit_all(&turns).await {
                Ok(()) => {
                    for (_, to) in commits.drain(..) {
                        drop(to.send(Ok(())));
                    }
                    return Ok(());
                }
                Err(error) if error.is_lost() => return Err(Lost),
                Err(_) => {} // One by one, each gets its own answer.
            }
        }
        while let Some((turn, _)) = commits.first() {
            let answer = insist!(wire.commit_one(turn))?;
            let (_, to) = commits.remove(0);
            drop(to.send(answer.and_then(|answer| answer)));
        }
        Ok(())
    }

    async fn sent(
        &self,
        wire: &mut impl Wire,
        jobs: &mut Vec<Job>,
    ) -> std::result::Result<(), Lost> {
        if jobs.is_empty() {
            return Ok(());
        }
        let (mut marks, mut ends) = (Vec::new(), Vec::new());
        for job in jobs.iter() {
            let Job::Sent {
                dialog,
                fence,
                replies,
                lock,
                ..
            } = job
            else {
                continue;
            };
            marks.extend(replies.iter().map(|id| (dialog, *id)));
            if *lock == LockAfter::GivenBack {
                ends.push((dialog, *fence));
            }
        }
        let answer: Result<()> = insist!(wire.sent(&marks, &ends))?;
        if let Err(error) = &answer {
            tracing::warn!("locks are not given back yet: {error}");
        }
        for job in std::mem::take(jobs) {
            let Job::Sent {
                dialog,
                fence,
                lock,
                to,
                ..
            } = job
            else {
                continue;
            };
            if answer.is_err() && lock == LockAfter::GivenBack {
                // Whatever became of the mark, the lock must go.
                if let Some(shared) = self.shared.upgrade() {
                    shared.release(dialog, fence);
                }
            }
            to.map(|to| to.send(answer.clone()));
        }
        if answer.is_err() {
            tokio::time::sleep(RECONNECT).await;
        }
        Ok(())
    }

    async fn read(
        &self,
        wire: &mut impl Wire,
        reads: &mut Vec<(i64, DialogKey, Fence)>,
    ) -> std::result::Result<(), Lost> {
        let Some(shared) = self.shared.upgrade() else {
            reads.clear();
            return Ok(());
        };
        let readings: Vec<Reading> = {
            let waiters = shared.waiters();
            reads
                .iter()
                // One that is gone has left a cancel behind.
                .filter_map(|(ticket, dialog, fence)| {
                    Some(Reading {
                        ticket: *ticket,
                        dialog: dialog.clone(),
                        update: waiters.get(ticket)?.update.clone(),
                        fence: *fence,
                    })
                })
                .collect()
        };
        if !readings.is_empty() {
            let found = insist!(wire.read(&readings))?;
            if found.is_err() {
                for (_, dialog, fence) in reads.iter() {
                    shared.release(dialog.clone(), *fence);
                }
            }
            let tickets: Vec<i64> = readings.iter().map(|reading| reading.ticket).collect();
            let granted = |(ticket, found)| (ticket, Asked::Granted(found));
            self.answer(
                &shared,
                &tickets,
                found.map(|found| found.into_iter().map(granted).collect()),
            );
        }
        reads.clear();
        Ok(())
    }

    async fn begin(
        &self,
        wire: &mut impl Wire,
        batch: &mut Batch,
    ) -> std::result::Result<(), Lost> {
        let Some(shared) = self.shared.upgrade() else {
            batch.begins.clear();
            return Ok(());
        };
        let asks: Vec<Ask> = {
            let mut waiters = shared.waiters();
            std::mem::take(&mut batch.begins)
                .into_iter()
                .filter_map(|(ticket, dialog)| {
                    let waiter = waiters.get_mut(&ticket)?; // Given up before it was sent.
                    waiter.stage = Stage::Sent;
                    Some(Ask {
                        ticket,
                        dialog,
                        update: waiter.update.clone(),
                        arrived: waiter.arrived,
                    })
                })
                .collect()
        };
        if asks.is_empty() {
            return Ok(());
        }
        let tickets: Vec<i64> = asks.iter().map(|ask| ask.ticket).collect();
        let places = asks.iter().map(|ask| (ask.ticket, ask.dialog.clone()));
        batch.asked = places.collect();
        let answers = insist!(wire.begin(self.owner, &asks))?;
        let asked = std::mem::take(&mut batch.asked);
        debug_assert!(
            answers
                .as_ref()
                .is_ok_and(|answers| answers.len() == asks.len())
                || answers.is_err(),
            "each that was asked for is answered"
        );
        if answers.is_err() {
            // They may have their locks: those go back.
            batch.cancels.extend(asked);
        }
        self.answer(&shared, &tickets, answers);
        Ok(())
    }

    async fn cancel(
        &self,
        wire: &mut impl Wire,
        cancels: &mut Vec<(i64, DialogKey)>,
    ) -> std::result::Result<(), Lost> {
        if cancels.is_empty() {
            return Ok(());
        }
        cancels.sort_by(|a, b| order(&a.1, &b.1));
        let answer: Result<()> = insist!(wire.cancel(self.owner, cancels))?;
        match answer {
            Ok(()) => cancels.clear(),
            // Kept, and tried again with the next batch.
            Err(error) => {
                tracing::warn!("places in queues are not given up yet: {error}");
                tokio::time::sleep(RECONNECT).await;
            }
        }
        Ok(())
    }

    /// Answers begins that were sent.
    pub(super) fn answer(
        &self,
        shared: &Arc<Shared>,
        tickets: &[i64],
        answers: Result<Vec<(i64, Asked)>>,
    ) {
        let answers = match answers {
            Ok(answers) => answers,
            Err(error) => {
                for ticket in tickets {
                    let waiter = shared.waiters().remove(ticket);
                    if let Some(waiter) = waiter {
                        drop(waiter.to.send(Err(error.clone())));
                    }
                }
                return;
            }
        };
        for (ticket, asked) in answers {
            let mut waiters = shared.waiters();
            if matches!(asked, Asked::Queued) {
                if let Some(waiter) = waiters.get_mut(&ticket)
                    && waiter.stage == Stage::Sent
                {
                    waiter.stage = Stage::Queued(Instant::now());
                    shared.queued.notify_one();
                }
                continue;
            }
            let Some(waiter) = waiters.remove(&ticket) else {
                continue; // Its cancel follows.
            };
            drop(waiters);
            let answer = match asked {
                Asked::Granted(found) => Ok(begun(
                    shared,
                    waiter.dialog,
                    waiter.update.as_deref(),
                    waiter.arrived,
                    found,
                )),
                _ => Err(Error::Busy(format!(
                    "{MAX_WAITERS} updates of this user wait already"
                ))),
            };
            // When nobody takes it, the grant inside is dropped and given back.
            drop(waiter.to.send(answer));
        }
    }
}

/// What a lane does at once.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) commits: Vec<(Box<Turn>, To)>,
    pub(super) sent: Vec<Job>,
    pub(super) begins: Vec<(i64, DialogKey)>,
    /// Begins that were sent and not answered.
    pub(super) asked: Vec<(i64, DialogKey)>,
    pub(super) reads: Vec<(i64, DialogKey, Fence)>,
    pub(super) cancels: Vec<(i64, DialogKey)>,
}

impl Batch {
    /// All processes lock the rows of a batch in the same order. Stable: what was
    /// asked for one dialog stays in order.
    pub(super) fn sort(&mut self) {
        self.commits.sort_by(|a, b| order(&a.0.dialog, &b.0.dialog));
        self.sent.sort_by(|a, b| order(a.dialog(), b.dialog()));
        self.begins.sort_by(|a, b| order(&a.1, &b.1));
        self.reads.sort_by(|a, b| order(&a.1, &b.1));
    }
}

fn order(a: &DialogKey, b: &DialogKey) -> std::cmp::Ordering {
    (&a.user_id, &a.channel).cmp(&(&b.user_id, &b.channel))
}

fn begun(
    shared: &Arc<Shared>,
    dialog: DialogKey,
    update: Option<&str>,
    arrived: i64,
    found: Found,
) -> Begun {
    // Who only repeats an answer waits for nobody.
    let oldest = found.oldest.filter(|_| found.seen.is_none());
    let earlier = oldest.filter(|oldest| oldest.goes_before(update, arrived));
    let release: Weak<Shared> = Arc::downgrade(shared);
    // Also when it is dropped at once: so it is given back.
    let grant = Grant {
        dialog,
        fence: found.fence,
        version: found.version,
        open: false,
        release,
    };
    if found.unsent.is_empty()
        && let Some(seen) = found.seen
    {
        return Begun::Seen(seen);
    }
    Begun::Granted(Granted {
        grant,
        seen: found.seen,
        state: crate::unless_forgotten(found.version, found.state),
        unsent: found.unsent,
        earlier,
    })
}
