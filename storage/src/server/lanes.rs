//! The connections that carry turns.
//!
//! A lane is a task with one connection and a queue. Each dialog has its pair of
//! lanes, one for what takes a lock and one for what commits or gives back, so that
//! what a process asks of either kind for one dialog arrives in order. A lane takes
//! all that waits, makes one call of each kind (an engine's [`Wire`]), and answers
//! everyone: while one batch is under way the next one gathers. Round trips cost
//! more than anything else here, and few lanes are faster than many.
//!
//! Invariants: what gives something back (an end, a cancel) is kept until the
//! server has it; a commit is sent again after a lost connection, since it is
//! recognised by update id and fence; a begin is not, its row is given up.
//! Bounds: [`MAX_BATCH`] requests a call, attempts at one that gives way as `retry.rs`
//! has them, [`HANGS_AFTER`] for one whose server the keeper has lost.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::idle::{Kept, is_usable};
use super::retry::Retry;
use super::waiting::{Stage, Waiters};
use crate::{
    Begun, Commit, DialogKey, Error, Fence, Grant, Granted, Pending, Release, ReplyId, Result,
    Seen, Unsent,
};

/// Requests that travel together.
pub(crate) const MAX_BATCH: usize = 128;

/// Waiters of one dialog; one more is refused, as by the SQLite engine.
pub(crate) const MAX_WAITERS: i32 = 1000;

/// Between two attempts to connect.
const RECONNECT: Duration = Duration::from_millis(200);

/// Before the next connection, when one was lost: a server may take connections and
/// refuse whatever is asked.
const PAUSE: Duration = Duration::from_millis(20);

/// When the keeper's session ends while a call is under way, and the call is not
/// answered for so long after that, it never will be: the server hangs, or another one
/// has taken its place.
const HANGS_AFTER: Duration = Duration::from_secs(2);

type To = oneshot::Sender<Result<()>>;

/// A turn to be written.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) dialog: DialogKey,
    pub(crate) fence: Fence,
    pub(crate) version: u64,
    pub(crate) commit: Commit,
}

/// A lock that is asked for.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) ticket: i64,
    pub(crate) dialog: DialogKey,
    pub(crate) update: Option<String>,
    /// Microseconds since 1970.
    pub(crate) arrived: i64,
}

/// A lock that was handed over: what the turn needs to know is asked for.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) ticket: i64,
    pub(crate) dialog: DialogKey,
    pub(crate) update: Option<String>,
    pub(crate) fence: Fence,
}

/// What became of an [`Ask`].
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "short-lived; a box would cost every turn an allocation"
)]
pub(crate) enum Asked {
    Granted(Found),
    Queued,
    Refused,
}

/// What a turn needs to know.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) fence: Fence,
    pub(crate) version: u64,
    pub(crate) state: Option<String>,
    pub(crate) seen: Option<Seen>,
    pub(crate) unsent: Vec<Unsent>,
    /// The oldest of the dialog in the inbox, be it this one, earlier or later.
    pub(crate) oldest: Option<Pending>,
}

/// Why a call failed.
pub(crate) trait Failure: Send {
    /// The whole reason in one line.
    fn words(&self) -> String;

    /// The connection is gone, or about to be: connect again.
    fn is_lost(&self) -> bool;

    /// Others were in the way, and this one was chosen to give way.
    fn is_deadlock(&self) -> bool;

    /// What its callers are told.
    fn ours(&self) -> Error;
}

/// A lane's connection as an engine makes it. Each call does one phase of many turns,
/// all or nothing, and is sorted by dialog: so two calls never wait for each other in
/// a circle.
pub(crate) trait Wire: Kept + Sized + 'static {
    type Failed: Failure;

    /// Takes locks, or places in their queues.
    fn begin(
        &mut self,
        owner: i64,
        asks: &[Ask],
    ) -> impl Future<Output = std::result::Result<Vec<(i64, Asked)>, Self::Failed>> + Send;

    /// Reads under locks that are held.
    fn read(
        &mut self,
        readings: &[Reading],
    ) -> impl Future<Output = std::result::Result<Vec<(i64, Found)>, Self::Failed>> + Send;

    /// Writes many turns; fails when anything is not as it should be.
    fn commit_all(
        &mut self,
        turns: &[&Turn],
    ) -> impl Future<Output = std::result::Result<(), Self::Failed>> + Send;

    /// Writes one turn, or finds out why not.
    fn commit_one(
        &mut self,
        turn: &Turn,
    ) -> impl Future<Output = std::result::Result<Result<()>, Self::Failed>> + Send;

    /// Forgets replies that were sent, and gives locks back.
    fn sent(
        &mut self,
        replies: &[(&DialogKey, ReplyId)],
        ends: &[(&DialogKey, Fence)],
    ) -> impl Future<Output = std::result::Result<(), Self::Failed>> + Send;

    /// Gives up places in queues, or locks that were granted meanwhile.
    fn cancel(
        &mut self,
        owner: i64,
        places: &[(i64, DialogKey)],
    ) -> impl Future<Output = std::result::Result<(), Self::Failed>> + Send;
}

/// Makes the connections of an engine's lanes.
pub(crate) trait Connect: Send + 'static {
    type Wire: Wire;

    fn connect(
        &self,
    ) -> impl Future<Output = std::result::Result<Self::Wire, <Self::Wire as Wire>::Failed>> + Send;
}

/// What a lane is asked.
pub(crate) enum Job {
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
pub(crate) struct Shared {
    /// As it is called in messages, such as `PostgreSQL`.
    pub(crate) engine: &'static str,
    pub(crate) owner: i64,
    pub(crate) waiting: Mutex<Waiters>,
    pub(crate) last_ticket: AtomicI64,
    /// This process is known to live: its locks are its own.
    pub(crate) up: watch::Sender<bool>,
    /// Why it is not known to live, as the keeper heard it last.
    pub(crate) trouble: Mutex<String>,
    /// A waiter was queued.
    pub(crate) queued: Notify,
    lanes: Vec<mpsc::UnboundedSender<Order>>,
    hasher: foldhash::fast::RandomState,
}

pub(crate) struct Queue(mpsc::UnboundedReceiver<Order>);

impl Shared {
    pub(crate) fn new(engine: &'static str, owner: i64, lanes: usize) -> (Arc<Self>, Vec<Queue>) {
        let (lanes, queues) = (0..lanes)
            .map(|_| {
                let (sender, receiver) = mpsc::unbounded_channel();
                (sender, Queue(receiver))
            })
            .unzip();
        let shared = Arc::new(Shared {
            engine,
            owner,
            waiting: Mutex::default(),
            last_ticket: AtomicI64::new(0),
            up: watch::Sender::new(false),
            trouble: Mutex::default(),
            queued: Notify::new(),
            lanes,
            hasher: foldhash::fast::RandomState::default(),
        });
        (shared, queues)
    }

    pub(crate) fn submit(&self, job: Job) {
        let pair = self.hasher.hash_one(job.dialog()) as usize % (self.lanes.len() / 2);
        let lane = 2 * pair + usize::from(job.waits_for_the_disk());
        // A lane ends after this only: nobody is left to be told.
        drop(self.lanes[lane].send(Order::Do(job)));
    }

    /// Resolves when all that was asked before is done.
    pub(crate) async fn arrived(&self) -> Result<()> {
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

/// The connection is gone.
struct Lost;

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

struct Lane {
    shared: Weak<Shared>,
    owner: i64,
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
        shared,
        owner,
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
            done = self.work(wire, &mut batch) => done,
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
        if let (false, Some(shared)) = (asked.is_empty(), self.shared.upgrade()) {
            // They may have their locks: those go back.
            let tickets: Vec<i64> = asked.iter().map(|(ticket, _)| *ticket).collect();
            self.answer(&shared, &tickets, Err(shared.not_there()));
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

    async fn work(
        &mut self,
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
                end,
                ..
            } = job
            else {
                continue;
            };
            marks.extend(replies.iter().map(|id| (dialog, *id)));
            if *end {
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
                end,
                to,
                ..
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
    fn answer(&self, shared: &Arc<Shared>, tickets: &[i64], answers: Result<Vec<(i64, Asked)>>) {
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

#[derive(Default)]
struct Batch {
    commits: Vec<(Box<Turn>, To)>,
    sent: Vec<Job>,
    begins: Vec<(i64, DialogKey)>,
    /// Begins that were sent and not answered.
    asked: Vec<(i64, DialogKey)>,
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
