//! A worker's side of the writer's socket.
//!
//! Made by [`super::connect`], used through [`crate::Storage`]. All calls of a process share
//! one connection. A request is remembered until it is answered: when the writer dies, the
//! client connects to its successor, tells it which locks it holds and repeats unanswered
//! requests, so its callers notice nothing.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | the calls |
//! | `unanswered.rs` | open requests, and who gets the answers |
//! | `connection.rs` | the socket |
//!
//! Bounds: those of `unanswered.rs`; a call fails with [`Error::Unavailable`]
//! after [`PATIENCE`] without an answer.

mod connection;
mod unanswered;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::oneshot;

use self::connection::drive;
pub(crate) use self::unanswered::NoWriter;
use self::unanswered::{Ends, Shared, Then, closed, unexpected};
use super::protocol::{CommitRequest, Request, Response};
use crate::{
    Arrival, Begin, Begun, Commit, DialogKey, Error, Grant, Guarded, LockAfter, Outcome, Owner,
    Release, ReplyId, Result, Statement, Write,
};

/// How long a call waits for a writer that does not answer. A dead one is
/// replaced in milliseconds, a hung one in the worker time-out.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to the writer.
#[derive(Debug)]
pub(crate) struct WriterClient {
    shared: Arc<Shared>,
}

impl WriterClient {
    /// Starts connecting; requests made meanwhile wait.
    pub(crate) fn new(socket: PathBuf, owner: Owner, no_writer: NoWriter) -> Self {
        let shared = Arc::new(Shared::new(socket, owner, no_writer));
        tokio::spawn(drive(shared.clone()));
        WriterClient { shared }
    }

    pub(crate) async fn begin(&self, begin: Begin) -> Result<Begun> {
        let (sender, receiver) = oneshot::channel();
        let request = Request::Begin {
            dialog: begin.dialog.clone(),
            update: begin.update.as_deref(),
            arrived: begin.arrived.order,
            unix_us: begin.arrived.unix_us(),
        };
        let id = self
            .shared
            .send(&request, Then::Begin(begin.dialog.clone(), sender))?;
        let mut place = QueuePlace {
            shared: &self.shared,
            dialog: begin.dialog,
            begin: id,
            answered: false,
        };
        match tokio::time::timeout(begin.wait, receiver).await {
            Ok(answer) => {
                place.answered = true;
                answer.unwrap_or_else(|_| Err(closed()))
            }
            Err(_) if !self.shared.lock().connected => Err(no_answer()),
            Err(_) => Err(Error::Busy(
                "an earlier update of this user takes long".to_owned(),
            )),
        }
    }

    pub(crate) async fn commit(&self, grant: &mut Grant, commit: Commit) -> Result<()> {
        let request = Request::Commit(CommitRequest {
            dialog: grant.dialog.clone(),
            fence: grant.fence,
            read_version: grant.version,
            update: &commit.update,
            digest: &commit.digest,
            answer: &commit.answer,
            state: &commit.state,
            history: commit.history.as_deref(),
            replies: commit.replies.iter().map(String::as_str).collect(),
            statements: commit.statements,
            lock: commit.lock,
            relays: commit.relays,
            changes: commit.changes.into_iter().map(|change| change.0).collect(),
        });
        let ends = match commit.lock {
            LockAfter::GivenBack => Ends::IfDone(grant.fence),
            LockAfter::Kept => Ends::Nothing,
        };
        self.done(&request, ends).await?;
        grant.version = grant.fence.0;
        if commit.lock == LockAfter::GivenBack {
            grant.release = disarmed();
        }
        Ok(())
    }

    pub(crate) async fn sent(&self, grant: &Grant, replies: Vec<ReplyId>) -> Result<()> {
        let request = Request::Sent {
            dialog: grant.dialog.clone(),
            fence: grant.fence,
            replies,
            lock: LockAfter::Kept,
        };
        self.done(&request, Ends::Nothing).await
    }

    pub(crate) async fn end(&self, mut grant: Grant, replies: Vec<ReplyId>) -> Result<()> {
        grant.release = disarmed();
        let request = Request::Sent {
            dialog: grant.dialog.clone(),
            fence: grant.fence,
            replies,
            lock: LockAfter::GivenBack,
        };
        self.done(&request, Ends::Always(grant.fence)).await
    }

    pub(crate) async fn write(&self, write: Write) -> Result<Vec<Outcome>> {
        let request = Request::Write {
            key: write.key.as_deref(),
            statements: write.statements,
        };
        self.ask(&request, outcomes).await
    }

    /// Waits in line for a transaction of the caller's own.
    pub(crate) async fn open(
        &self,
        arrived: Arrival,
        limit: Duration,
        wait: Duration,
    ) -> Result<Alone> {
        let (sender, receiver) = oneshot::channel();
        let request = Request::Open {
            arrived: arrived.order,
            limit: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
        };
        let transaction = self
            .shared
            .send(&request, Then::Done(Ends::Nothing, Some(sender)))?;
        // Dropped before its end, it is undone, or leaves the line.
        let alone = Alone {
            shared: self.shared.clone(),
            transaction,
            over: AtomicBool::new(false),
        };
        match tokio::time::timeout(wait, receiver).await {
            Ok(answer) => answer.unwrap_or_else(|_| Err(closed()))?,
            Err(_) if !self.shared.lock().connected => return Err(no_answer()),
            Err(_) => {
                return Err(Error::Busy(format!(
                    "other transactions came first for {wait:?}"
                )));
            }
        }
        Ok(alone)
    }

    pub(crate) async fn barrier(&self) -> Result<()> {
        self.done(&Request::Barrier, Ends::Nothing).await
    }

    pub(crate) async fn dialogs_with_unsent(&self, limit: u32) -> Result<Vec<DialogKey>> {
        self.ask(&Request::Unsent { limit }, dialogs).await
    }

    pub(crate) async fn owners(&self) -> Result<Vec<Owner>> {
        let owners = |answer| match answer {
            Response::Owners(owners) => Some(owners),
            _ => None,
        };
        self.ask(&Request::Owners, owners).await
    }

    pub(crate) async fn own(&self, statements: Vec<Statement>) -> Result<Vec<u64>> {
        let changed = |answer| match answer {
            Response::Changed(rows) => Some(rows),
            _ => None,
        };
        self.ask(&Request::Own { statements }, changed).await
    }

    pub(crate) async fn due(&self, limit: u32) -> Result<Vec<DialogKey>> {
        let now = crate::clock::now_ms();
        self.ask(&Request::Due { limit, now }, dialogs).await
    }

    /// Asks something that changes no lock; `take` finds what was asked in the answer.
    async fn ask<T: Send + 'static>(
        &self,
        request: &Request<'_>,
        take: fn(Response) -> Option<T>,
    ) -> Result<T> {
        ask(&self.shared, request, take).await
    }

    async fn done(&self, request: &Request<'_>, ends: Ends) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        self.shared.send(request, Then::Done(ends, Some(sender)))?;
        patiently(receiver).await
    }
}

/// A transaction of the caller's own, or a place in line for it.
#[derive(Debug)]
pub(crate) struct Alone {
    shared: Arc<Shared>,
    transaction: u64,
    over: AtomicBool,
}

impl Alone {
    /// No other transaction of this client has it.
    pub(crate) fn number(&self) -> u64 {
        self.transaction
    }

    pub(crate) async fn run(&self, statement: Guarded) -> Result<Outcome> {
        let request = Request::Inside {
            transaction: self.transaction,
            statement,
        };
        let outcomes = ask(&self.shared, &request, outcomes).await?;
        outcomes.into_iter().next().ok_or_else(unexpected)
    }

    /// Commits it under a key, by which it is recognised when it is sent again.
    pub(crate) async fn commit(&self, key: &str) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        let request = Request::Close {
            transaction: self.transaction,
            key: Some(key),
        };
        self.shared
            .send(&request, Then::Done(Ends::Nothing, Some(sender)))?;
        // Not before: if it is not sent, it is undone when this is dropped.
        self.over.store(true, Ordering::Relaxed);
        patiently(receiver).await
    }

    /// Undoes it, or leaves the line.
    pub(crate) fn undo(&self) {
        if !self.over.swap(true, Ordering::Relaxed) {
            self.shared.notify(&Request::Close {
                transaction: self.transaction,
                key: None,
            });
            // It must not go to the next writer.
            self.shared.forget(self.transaction);
        }
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.undo();
    }
}

/// A place in a dialog's queue. Dropping it gives the place up, be it that the wait
/// ran out or that the caller went away; a grant that crosses this is dropped, and
/// so given back.
struct QueuePlace<'a> {
    shared: &'a Shared,
    dialog: DialogKey,
    begin: u64,
    answered: bool,
}

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.shared.notify(&Request::Cancel {
                dialog: self.dialog.clone(),
                begin: self.begin,
            });
        }
    }
}

impl Drop for WriterClient {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake.notify_one();
    }
}

async fn ask<T: Send + 'static>(
    shared: &Shared,
    request: &Request<'_>,
    take: fn(Response) -> Option<T>,
) -> Result<T> {
    let (sender, receiver) = oneshot::channel();
    let to = move |answer: Result<Response>| {
        let answer = answer.and_then(|answer| take(answer).ok_or_else(unexpected));
        // Its caller may have gone.
        drop(sender.send(answer));
    };
    shared.send(request, Then::Asked(Box::new(to)))?;
    patiently(receiver).await
}

async fn patiently<T>(receiver: oneshot::Receiver<Result<T>>) -> Result<T> {
    match tokio::time::timeout(PATIENCE, receiver).await {
        Ok(answer) => answer.unwrap_or_else(|_| Err(closed())),
        Err(_) => Err(no_answer()),
    }
}

fn no_answer() -> Error {
    Error::Unavailable("the writer does not answer".to_owned())
}

fn disarmed() -> Weak<dyn Release> {
    Weak::<Shared>::new()
}

fn outcomes(answer: Response) -> Option<Vec<Outcome>> {
    match answer {
        Response::Wrote(outcomes) => Some(outcomes),
        _ => None,
    }
}

fn dialogs(answer: Response) -> Option<Vec<DialogKey>> {
    match answer {
        Response::Dialogs(dialogs) => Some(dialogs),
        _ => None,
    }
}
