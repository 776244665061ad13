//! The connections that carry turns.
//!
//! A lane is a task with one connection and a queue. Each dialog has its pair of
//! lanes, one for what takes a lock and one for what commits or gives back, so that
//! what a process asks of either kind for one dialog arrives in order. A lane takes
//! all that waits, makes one call of each kind (`functions.sql`), and answers
//! everyone: while one batch is under way the next one gathers. Round trips cost
//! more than anything else here, and few lanes are faster than many.
//!
//! Invariants: what gives something back (an end, a cancel) is kept until the
//! server has it; a commit is sent again after a lost connection, since it is
//! recognised by update id and fence; a begin is not, its row is given up.
//! Bounds: [`MAX_BATCH`] requests a call.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_postgres::{Client, Row};

use super::server::Purpose;
use super::text::{original, stored};
use super::waiting::{Stage, Waiters};
use super::{Server, errors};
use crate::{
    Begun, Commit, DialogKey, Error, Fence, Grant, Release, ReplyId, Result, Seen, Sync, Unsent,
};

/// Requests that travel together.
const MAX_BATCH: usize = 128;

/// Waiters of one dialog; one more is refused, as by the SQLite engine.
const MAX_WAITERS: i32 = 1000;

/// Between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(200);

/// Attempts at a call that was chosen to give way in a deadlock.
const ATTEMPTS: u32 = 5;

type To = oneshot::Sender<Result<()>>;

/// A turn to be written.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) dialog: DialogKey,
    pub(super) fence: Fence,
    pub(super) version: u64,
    pub(super) commit: Commit,
}

/// What a lane is asked.
pub(super) enum Job {
    /// Only those without statements of the author's.
    Commit(Box<Turn>, To),
    Sent {
        dialog: DialogKey,
        fence: Fence,
        replies: Vec<ReplyId>,
        end: bool,
        to: Option<To>,
    },
    Begin {
        ticket: i64,
        dialog: DialogKey,
    },
    Read {
        ticket: i64,
        dialog: DialogKey,
        fence: Fence,
    },
    Cancel {
        ticket: i64,
        dialog: DialogKey,
    },
}

enum Order {
    Do(Job),
    /// Say when all before it is done.
    Tell(oneshot::Sender<()>),
}

impl Job {
    /// What must be durable before it is answered goes another way than what need
    /// not be: begins do not stand in line behind a sync.
    fn waits_for_the_disk(&self) -> bool {
        matches!(self, Job::Commit(..) | Job::Sent { .. })
    }

    fn dialog(&self) -> &DialogKey {
        match self {
            Job::Commit(turn, _) => &turn.dialog,
            Job::Sent { dialog, .. }
            | Job::Begin { dialog, .. }
            | Job::Read { dialog, .. }
            | Job::Cancel { dialog, .. } => dialog,
        }
    }
}

/// What the callers, the lanes and the keeper of a process share.
pub(super) struct Shared {
    pub(super) owner: i64,
    pub(super) waiting: Mutex<Waiters>,
    pub(super) last_ticket: AtomicI64,
    /// This process is known to live: its locks are its own.
    pub(super) up: watch::Sender<bool>,
    lanes: Vec<mpsc::UnboundedSender<Order>>,
    hasher: foldhash::fast::RandomState,
}

pub(super) struct Queue(mpsc::UnboundedReceiver<Order>);

impl Shared {
    pub(super) fn new(owner: i64, lanes: usize) -> (Arc<Self>, Vec<Queue>) {
        let (lanes, queues) = (0..lanes)
            .map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                (sender, Queue(receiver))
            })
            .unzip();
        let shared = Arc::new(Shared {
            owner,
            waiting: Mutex::default(),
            last_ticket: AtomicI64::new(0),
            up: watch::Sender::new(false),
            lanes,
            hasher: foldhash::fast::RandomState::default(),
        });
        (shared, queues)
    }

    pub(super) fn submit(&self, job: Job) {
        let pair = self.hasher.hash_one(job.dialog()) as usize % (self.lanes.len() / 2);
        let lane = 2 * pair + usize::from(job.waits_for_the_disk());
        // A lane ends after this only: nobody is left to be told.
        drop(self.lanes[lane].send(Order::Do(job)));
    }

    /// Resolves when all that was asked before is done.
    pub(super) async fn arrived(&self) -> Result<()> {
        let mut told = Vec::new();
        for lane in &self.lanes {
            let (sender, receiver) = oneshot::channel();
            drop(lane.send(Order::Tell(sender)));
            told.push(receiver);
        }
        for receiver in told {
            receiver.await.map_err(|_| super::closed())?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

impl Release for Shared {
    fn release(&self, dialog: DialogKey, fence: Fence) {
        self.submit(Job::Sent {
            dialog,
            fence,
            replies: Vec::new(),
            end: true,
            to: None,
        });
    }
}

/// The prepared calls of a connection.
struct Calls {
    client: Client,
    begin: tokio_postgres::Statement,
    read: tokio_postgres::Statement,
    commit: tokio_postgres::Statement,
    commit_all: tokio_postgres::Statement,
    sent: tokio_postgres::Statement,
    cancel: tokio_postgres::Statement,
}

/// The connection is gone.
struct Lost;

struct Lane {
    shared: Weak<Shared>,
    owner: i64,
    /// Taken from the queue and not done.
    orders: VecDeque<Order>,
}

/// Serves a lane until its storage is dropped.
pub(super) async fn run(
    server: Server,
    sync: Sync,
    shared: Weak<Shared>,
    mut up: watch::Receiver<bool>,
    mut queue: Queue,
) {
    let Some(owner) = shared.upgrade().map(|shared| shared.owner) else {
        return;
    };
    let mut lane = Lane {
        shared,
        owner,
        orders: VecDeque::new(),
    };
    let mut failures = 0_u32;
    loop {
        let calls = match server.client(Purpose::Lane, sync).await {
            Ok(client) => Calls::prepare(client).await,
            Err(error) => Err(error),
        };
        let calls = match calls {
            Ok(calls) => calls,
            Err(error) => {
                if failures == 0 {
                    tracing::debug!("no connection to PostgreSQL: {}", errors::words(&error));
                }
                failures += 1;
                if lane.shared.strong_count() == 0 {
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
        loop {
            if !lane.gather(&mut queue).await {
                return;
            }
            if calls.client.is_closed() || lane.serve(&calls).await.is_err() {
                break;
            }
        }
    }
}

impl Calls {
    async fn prepare(client: Client) -> std::result::Result<Self, tokio_postgres::Error> {
        let columns = "ticket, fence, version, state, digest, answer, turns, numbers, bodies";
        Ok(Calls {
            begin: client
                .prepare(&format!(
                    "SELECT status, {columns} FROM turnkey_begin($1, $2, $3, $4, $5, $6, $7)"
                ))
                .await?,
            read: client
                .prepare(&format!(
                    "SELECT 0 AS status, {columns} FROM turnkey_read($1, $2, $3, $4, $5)"
                ))
                .await?,
            commit: client.prepare(COMMIT).await?,
            commit_all: client
                .prepare(
                    "SELECT turnkey_commit_all($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
                )
                .await?,
            sent: client.prepare("SELECT turnkey_sent($1, $2, $3, $4, $5, $6, $7)").await?,
            cancel: client.prepare("SELECT turnkey_cancel($1, $2, $3, $4)").await?,
            client,
        })
    }
}

/// Writes one turn; also called by `author.rs`.
pub(super) const COMMIT: &str =
    "SELECT turnkey_commit($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// One turn through [`COMMIT`].
pub(super) async fn commit_one(
    client: &Client,
    statement: &tokio_postgres::Statement,
    turn: &Turn,
) -> std::result::Result<Result<()>, tokio_postgres::Error> {
    let replies: Vec<Cow<'_, str>> = turn.commit.replies.iter().map(|r| stored(r)).collect();
    let row = client
        .query_one(
            statement,
            &[
                &stored(&turn.dialog.channel),
                &stored(&turn.dialog.user_id),
                &(turn.fence.0 as i64),
                &(turn.version as i64),
                &stored(&turn.commit.update),
                &turn.commit.digest,
                &turn.commit.answer,
                &stored(&turn.commit.state),
                &turn.commit.history.as_deref().map(stored),
                &turn.commit.end,
                &replies,
            ],
        )
        .await?;
    Ok(match row.get::<_, i32>(0) {
        0 => Ok(()),
        1 => Err(Error::Seen),
        _ => Err(Error::Stale),
    })
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
    async fn serve(&mut self, calls: &Calls) -> std::result::Result<(), Lost> {
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
        let done = self.work(calls, &mut batch).await;
        // Empty, unless the connection was lost.
        let Batch {
            commits,
            sent,
            begins,
            reads,
            cancels,
        } = batch;
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

    async fn work(&mut self, calls: &Calls, batch: &mut Batch) -> std::result::Result<(), Lost> {
        self.commit(calls, &mut batch.commits).await?;
        self.sent(calls, &mut batch.sent).await?;
        self.read(calls, &mut batch.reads).await?;
        self.begin(calls, &mut batch.begins, &mut batch.cancels)
            .await?;
        self.cancel(calls, &mut batch.cancels).await
    }

    async fn commit(
        &self,
        calls: &Calls,
        commits: &mut Vec<(Box<Turn>, To)>,
    ) -> std::result::Result<(), Lost> {
        if commits.len() > 1 {
            match commit_all(calls, commits).await {
                Ok(()) => {
                    for (_, to) in commits.drain(..) {
                        drop(to.send(Ok(())));
                    }
                    return Ok(());
                }
                Err(error) if errors::is_lost(&error) => return Err(Lost),
                Err(_) => {} // One by one, each gets its own answer.
            }
        }
        let mut attempts = 0;
        while let Some((turn, _)) = commits.first() {
            let answer = match commit_one(&calls.client, &calls.commit, turn).await {
                Ok(answer) => answer,
                Err(error) if errors::is_lost(&error) => return Err(Lost),
                Err(error) if errors::is_deadlock(&error) && attempts < ATTEMPTS => {
                    attempts += 1;
                    continue;
                }
                Err(error) => Err(errors::ours(&error)),
            };
            attempts = 0;
            let (_, to) = commits.remove(0);
            drop(to.send(answer));
        }
        Ok(())
    }

    async fn sent(&self, calls: &Calls, jobs: &mut Vec<Job>) -> std::result::Result<(), Lost> {
        if jobs.is_empty() {
            return Ok(());
        }
        let mut replies = (Vec::new(), Vec::new(), Vec::<i64>::new(), Vec::<i32>::new());
        let mut ends = (Vec::new(), Vec::new(), Vec::<i64>::new());
        for job in jobs.iter() {
            let Job::Sent {
                dialog,
                fence,
                replies: ids,
                end,
                ..
            } = job
            else {
                continue;
            };
            for id in ids {
                replies.0.push(stored(&dialog.channel));
                replies.1.push(stored(&dialog.user_id));
                replies.2.push(id.turn.0 as i64);
                replies.3.push(id.index as i32);
            }
            if *end {
                ends.0.push(stored(&dialog.channel));
                ends.1.push(stored(&dialog.user_id));
                ends.2.push(fence.0 as i64);
            }
        }
        let answer = call(
            &calls.client,
            &calls.sent,
            &[
                &replies.0, &replies.1, &replies.2, &replies.3, &ends.0, &ends.1, &ends.2,
            ],
        )
        .await?;
        if let Err(error) = &answer {
            tracing::warn!("locks are not given back yet: {error}");
        }
        for job in std::mem::take(jobs) {
            let Job::Sent {
                dialog,
                fence,
                replies,
                end,
                to,
            } = job
            else {
                continue;
            };
            if answer.is_err() && end {
                // Whatever became of the mark, the lock must go.
                if let Some(shared) = self.shared.upgrade() {
                    shared.release(dialog, fence);
                }
            }
            drop(replies);
            to.map(|to| to.send(answer.clone().map(drop)));
        }
        if answer.is_err() {
            tokio::time::sleep(RECONNECT).await;
        }
        Ok(())
    }

    async fn read(
        &self,
        calls: &Calls,
        reads: &mut Vec<(i64, DialogKey, Fence)>,
    ) -> std::result::Result<(), Lost> {
        let Some(shared) = self.shared.upgrade() else {
            reads.clear();
            return Ok(());
        };
        let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        {
            let waiters = shared.waiters();
            for (ticket, dialog, fence) in reads.iter() {
                // One that is gone has left a cancel behind.
                let Some(waiter) = waiters.get(ticket) else {
                    continue;
                };
                columns.0.push(*ticket);
                columns.1.push(fence.0 as i64);
                columns.2.push(stored(&dialog.channel).into_owned());
                columns.3.push(stored(&dialog.user_id).into_owned());
                columns
                    .4
                    .push(waiter.update.as_deref().map(|u| stored(u).into_owned()));
            }
        }
        if !columns.0.is_empty() {
            let rows = call(
                &calls.client,
                &calls.read,
                &[&columns.0, &columns.1, &columns.2, &columns.3, &columns.4],
            )
            .await?;
            if rows.is_err() {
                for (_, dialog, fence) in reads.iter() {
                    shared.release(dialog.clone(), *fence);
                }
            }
            self.answer(&shared, &columns.0, rows);
        }
        reads.clear();
        Ok(())
    }

    async fn begin(
        &self,
        calls: &Calls,
        begins: &mut Vec<(i64, DialogKey)>,
        cancels: &mut Vec<(i64, DialogKey)>,
    ) -> std::result::Result<(), Lost> {
        let Some(shared) = self.shared.upgrade() else {
            begins.clear();
            return Ok(());
        };
        let mut columns = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        {
            let mut waiters = shared.waiters();
            for (ticket, dialog) in begins.iter() {
                let Some(waiter) = waiters.get_mut(ticket) else {
                    continue; // Given up before it was sent.
                };
                waiter.stage = Stage::Sent;
                columns.0.push(*ticket);
                columns.1.push(stored(&dialog.channel).into_owned());
                columns.2.push(stored(&dialog.user_id).into_owned());
                columns
                    .3
                    .push(waiter.update.as_deref().map(|u| stored(u).into_owned()));
                columns.4.push(waiter.arrived);
            }
        }
        let begins = std::mem::take(begins);
        if columns.0.is_empty() {
            return Ok(());
        }
        let mut attempts = 0;
        let answer = loop {
            let answer = calls
                .client
                .query(
                    &calls.begin,
                    &[
                        &self.owner,
                        &MAX_WAITERS,
                        &columns.0,
                        &columns.1,
                        &columns.2,
                        &columns.3,
                        &columns.4,
                    ],
                )
                .await;
            match answer {
                Err(error) if errors::is_deadlock(&error) && attempts < ATTEMPTS => attempts += 1,
                other => break other,
            }
        };
        match answer {
            Ok(rows) => self.answer(&shared, &columns.0, Ok(rows)),
            Err(error) => {
                // They may have their locks: those go back.
                cancels.extend(
                    begins
                        .into_iter()
                        .filter(|(ticket, _)| columns.0.contains(ticket)),
                );
                let lost = errors::is_lost(&error);
                self.answer(&shared, &columns.0, Err(errors::ours(&error)));
                if lost {
                    return Err(Lost);
                }
            }
        }
        Ok(())
    }

    async fn cancel(
        &self,
        calls: &Calls,
        cancels: &mut Vec<(i64, DialogKey)>,
    ) -> std::result::Result<(), Lost> {
        if cancels.is_empty() {
            return Ok(());
        }
        cancels.sort_by(|a, b| order(&a.1, &b.1));
        let tickets: Vec<i64> = cancels.iter().map(|(ticket, _)| *ticket).collect();
        let channels: Vec<_> = cancels.iter().map(|(_, d)| stored(&d.channel)).collect();
        let users: Vec<_> = cancels.iter().map(|(_, d)| stored(&d.user_id)).collect();
        let answer = call(
            &calls.client,
            &calls.cancel,
            &[&self.owner, &tickets, &channels, &users],
        )
        .await?;
        match answer {
            Ok(_) => cancels.clear(),
            // Kept, and tried again with the next batch.
            Err(error) => {
                tracing::warn!("places in queues are not given up yet: {error}");
                tokio::time::sleep(RECONNECT).await;
            }
        }
        Ok(())
    }

    /// Answers begins that were sent.
    fn answer(&self, shared: &Arc<Shared>, tickets: &[i64], rows: Result<Vec<Row>>) {
        let rows = match rows {
            Ok(rows) => rows,
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
        for row in rows {
            let ticket: i64 = row.get("ticket");
            let status: i32 = row.get("status");
            let mut waiters = shared.waiters();
            if status == 1 {
                if let Some(waiter) = waiters.get_mut(&ticket)
                    && waiter.stage == Stage::Sent
                {
                    waiter.stage = Stage::Queued(Instant::now());
                }
                continue;
            }
            let Some(waiter) = waiters.remove(&ticket) else {
                continue; // Its cancel follows.
            };
            drop(waiters);
            let answer = match status {
                0 => Ok(begun(shared, waiter.dialog, &row)),
                _ => Err(Error::Busy(format!(
                    "{MAX_WAITERS} updates of this user wait already"
                ))),
            };
            // When nobody takes it, the grant inside is dropped and given back.
            drop(waiter.to.send(answer));
        }
    }
}

#[derive(Default)]
struct Batch {
    commits: Vec<(Box<Turn>, To)>,
    sent: Vec<Job>,
    begins: Vec<(i64, DialogKey)>,
    reads: Vec<(i64, DialogKey, Fence)>,
    cancels: Vec<(i64, DialogKey)>,
}

impl Batch {
    /// All processes lock the rows of a batch in the same order. Stable: what was
    /// asked for one dialog stays in order.
    fn sort(&mut self) {
        self.commits.sort_by(|a, b| order(&a.0.dialog, &b.0.dialog));
        self.sent.sort_by(|a, b| order(a.dialog(), b.dialog()));
        self.begins.sort_by(|a, b| order(&a.1, &b.1));
        self.reads.sort_by(|a, b| order(&a.1, &b.1));
    }
}

fn order(a: &DialogKey, b: &DialogKey) -> std::cmp::Ordering {
    (&a.user_id, &a.channel).cmp(&(&b.user_id, &b.channel))
}

/// A call of one of our functions: its rows, or what its callers are told.
async fn call(
    client: &Client,
    statement: &tokio_postgres::Statement,
    parameters: &[&(dyn tokio_postgres::types::ToSql + std::marker::Sync)],
) -> std::result::Result<Result<Vec<Row>>, Lost> {
    let mut attempts = 0;
    loop {
        return match client.query(statement, parameters).await {
            Ok(rows) => Ok(Ok(rows)),
            Err(error) if errors::is_lost(&error) => Err(Lost),
            Err(error) if errors::is_deadlock(&error) && attempts < ATTEMPTS => {
                attempts += 1;
                continue;
            }
            Err(error) => Ok(Err(errors::ours(&error))),
        };
    }
}

async fn commit_all(
    calls: &Calls,
    commits: &[(Box<Turn>, To)],
) -> std::result::Result<(), tokio_postgres::Error> {
    macro_rules! column {
        ($turn:ident => $value:expr) => {
            commits.iter().map(|($turn, _)| $value).collect::<Vec<_>>()
        };
    }
    let mut replies = (Vec::<i64>::new(), Vec::<i32>::new(), Vec::new());
    for (turn, _) in commits {
        for (index, body) in turn.commit.replies.iter().enumerate() {
            replies.0.push(turn.fence.0 as i64);
            replies.1.push(index as i32);
            replies.2.push(stored(body));
        }
    }
    calls
        .client
        .query(
            &calls.commit_all,
            &[
                &column!(turn => stored(&turn.dialog.channel)),
                &column!(turn => stored(&turn.dialog.user_id)),
                &column!(turn => turn.fence.0 as i64),
                &column!(turn => turn.version as i64),
                &column!(turn => stored(&turn.commit.update)),
                &column!(turn => &turn.commit.digest),
                &column!(turn => &turn.commit.answer),
                &column!(turn => stored(&turn.commit.state)),
                &column!(turn => turn.commit.history.as_deref().map(stored)),
                &column!(turn => turn.commit.end),
                &replies.0,
                &replies.1,
                &replies.2,
            ],
        )
        .await
        .map(drop)
}

fn begun(shared: &Arc<Shared>, dialog: DialogKey, row: &Row) -> Begun {
    let fence = Fence(row.get::<_, i64>("fence") as u64);
    let seen = row.get::<_, Option<Vec<u8>>>("digest").map(|digest| Seen {
        digest,
        answer: row.get::<_, Option<Vec<u8>>>("answer").unwrap_or_default(),
    });
    let turns: Vec<i64> = row.get::<_, Option<_>>("turns").unwrap_or_default();
    let numbers: Vec<i32> = row.get::<_, Option<_>>("numbers").unwrap_or_default();
    let bodies: Vec<String> = row.get::<_, Option<_>>("bodies").unwrap_or_default();
    let unsent: Vec<Unsent> = turns
        .into_iter()
        .zip(numbers)
        .zip(bodies)
        .map(|((turn, n), body)| Unsent {
            id: ReplyId {
                turn: Fence(turn as u64),
                index: n as u32,
            },
            body: original(body),
        })
        .collect();
    let release: Weak<Shared> = Arc::downgrade(shared);
    let grant = Grant {
        dialog,
        fence,
        version: row.get::<_, Option<i64>>("version").unwrap_or(0) as u64,
        open: false,
        release,
    };
    Begun {
        // Nothing to do but repeat the answer: dropped, the grant is given back.
        grant: (seen.is_none() || !unsent.is_empty()).then_some(grant),
        seen,
        state: row.get::<_, Option<String>>("state").map(original),
        unsent,
    }
}
