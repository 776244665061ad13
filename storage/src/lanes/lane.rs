//! The connections that carry turns.
//!
//! A lane is a task with one connection and a queue (`shared.rs` says for which dialogs). It
//! takes all waiting requests, makes one call of each kind (`phases.rs`), and answers everyone;
//! while one batch is under way the next one gathers. Round trips cost more than anything else
//! here, so few lanes are faster than many.
//!
//! Invariants: a request that releases something (an end, a cancel) is kept until the server
//! has it; a commit is sent again after a lost connection, since it is recognised by update id
//! and fence; a begin is not, its row is given up. Bounds: [`MAX_BATCH`] requests a call,
//! [`HANGS_AFTER`] for a call once the keeper has lost the server.

use std::collections::VecDeque;
use std::sync::Weak;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::RECONNECT;
use super::idle::is_usable;
use super::phases::{Batch, Lost, Phases};
use super::shared::{Job, Order, Queue, Shared};
use super::wire::{Connect, Failure, MAX_BATCH, Wire};

/// Before the next connection, when one was lost: a server may take connections and
/// refuse whatever is asked.
const PAUSE: Duration = Duration::from_millis(20);

/// When the keeper's session ends while a call is under way, and the call is not
/// answered for so long after that, it never will be: the server hangs, or another one
/// has taken its place.
const HANGS_AFTER: Duration = Duration::from_secs(2);

struct Lane {
    phases: Phases,
    /// Taken from the queue and not done.
    orders: VecDeque<Order>,
}

/// Serves a lane until its storage is dropped.
pub(crate) async fn run<C: Connect>(
    connect: C,
    shared: Weak<Shared>,
    mut up: watch::Receiver<bool>,
    mut queue: Queue,
) {
    let Some((owner, engine)) = shared.upgrade().map(|shared| (shared.owner, shared.engine)) else {
        return;
    };
    let mut lane = Lane {
        phases: Phases { shared, owner },
        orders: VecDeque::new(),
    };
    let mut failures = 0_u32;
    loop {
        let mut wire = match connect.connect().await {
            Ok(wire) => wire,
            Err(error) => {
                if failures == 0 {
                    tracing::debug!("no connection to {engine}: {}", error.words());
                }
                failures += 1;
                if lane.phases.shared.strong_count() == 0 {
                    return;
                }
                tokio::time::sleep(RECONNECT).await;
                continue;
            }
        };
        failures = 0;
        // No lock may be taken before the others can see that this process lives.
        if up.wait_for(|up| *up).await.is_err() {
            return;
        }
        let mut used = Instant::now();
        loop {
            if !lane.gather(&mut queue).await {
                return;
            }
            if !is_usable(&mut wire, used.elapsed()).await
                || lane.serve(&mut wire, &mut up).await.is_err()
            {
                break;
            }
            used = Instant::now();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Resolves when the keeper has lost its session for [`HANGS_AFTER`] or longer, or has
/// another one by now.
async fn hangs(up: &mut watch::Receiver<bool>) {
    // At the storage's end what is under way is finished.
    if *up.borrow_and_update() && up.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(HANGS_AFTER).await;
}

impl Lane {
    /// Waits for something to do and takes all there is; false at the end.
    async fn gather(&mut self, queue: &mut Queue) -> bool {
        if self.orders.is_empty() {
            match queue.0.recv().await {
                Some(order) => self.orders.push_back(order),
                None => return false,
            }
        }
        while self.orders.len() < MAX_BATCH {
            match queue.0.try_recv() {
                Ok(order) => self.orders.push_back(order),
                Err(_) => break,
            }
        }
        true
    }

    /// Does what was gathered. What must be done again is put back.
    async fn serve(
        &mut self,
        wire: &mut impl Wire,
        up: &mut watch::Receiver<bool>,
    ) -> std::result::Result<(), Lost> {
        let mut batch = Batch::default();
        let mut tell = Vec::new();
        for order in self.orders.drain(..) {
            match order {
                Order::Tell(to) => tell.push(to),
                Order::Do(Job::Commit(turn, to)) if !to.is_closed() => {
                    batch.commits.push((turn, to))
                }
                Order::Do(Job::Commit(..)) => {} // Nobody waits for it any more.
                Order::Do(job @ Job::Sent { .. }) => batch.sent.push(job),
                Order::Do(Job::Begin { ticket, dialog }) => batch.begins.push((ticket, dialog)),
                Order::Do(Job::Read {
                    ticket,
                    dialog,
                    fence,
                }) => {
                    batch.reads.push((ticket, dialog, fence));
                }
                Order::Do(Job::Cancel { ticket, dialog }) => batch.cancels.push((ticket, dialog)),
            }
        }
        batch.sort();
        let done = tokio::select! {
            done = self.phases.work(wire, &mut batch) => done,
            () = hangs(up) => Err(Lost),
        };
        // Empty, unless the connection was lost.
        let Batch {
            commits,
            sent,
            begins,
            asked,
            reads,
            mut cancels,
        } = batch;
        if let (false, Some(shared)) = (asked.is_empty(), self.phases.shared.upgrade()) {
            // They may have their locks: those go back.
            let tickets: Vec<i64> = asked.iter().map(|(ticket, _)| *ticket).collect();
            self.phases
                .answer(&shared, &tickets, Err(shared.not_there()));
            cancels.extend(asked);
        }
        let commits = commits.into_iter().map(|(turn, to)| Job::Commit(turn, to));
        let begins = begins
            .into_iter()
            .map(|(ticket, dialog)| Job::Begin { ticket, dialog });
        let reads = reads.into_iter().map(|(ticket, dialog, fence)| Job::Read {
            ticket,
            dialog,
            fence,
        });
        let cancels = cancels
            .into_iter()
            .map(|(ticket, dialog)| Job::Cancel { ticket, dialog });
        let again = commits
            .chain(sent)
            .chain(reads)
            .chain(begins)
            .chain(cancels);
        self.orders.extend(again.map(Order::Do));
        match done {
            Ok(()) => tell.into_iter().for_each(|to| to.send(()).unwrap_or(())),
            Err(Lost) => self.orders.extend(tell.into_iter().map(Order::Tell)),
        }
        done
    }
}
