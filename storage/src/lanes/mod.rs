//! What the engines for database servers share: many boxes, a lock row for each
//! dialog, a few connections that carry the turns of a process.
//!
//! | file | what |
//! | --- | --- |
//! | `lane.rs` | gathers the requests that wait for a connection |
//! | `phases.rs` | one call of each kind for all of them, and everyone's answers |
//! | `wire.rs` | what an engine brings for these calls |
//! | `shared.rs` | what the callers, the lanes and the keeper of a process share |
//! | `waiting.rs` | the turns of this process that wait for a lock |
//! | `address.rs` | where the password of an address is |
//! | `bounds.rs` | the allowed values of `?pool=` and `?lease=` |
//! | `inbox.rs` | which dialogs have something due in the inbox |
//! | `idle.rs` | the connections of the author's own SQL |
//! | `retry.rs` | retries after deadlocks |
//! | `sql.rs` | reads an author's statement just far enough |
//! | `findings.rs` | what a check says about locks |
//!
//! An engine brings a [`Wire`](wire::Wire) (how one phase of many turns is done on a
//! connection), an [`Author`] (the bot's own SQL) and a keeper, the task that shows that this
//! process is alive and finds out which of its waiters got their locks.

pub(crate) mod address;
pub(crate) mod bounds;
pub(crate) mod findings;
pub(crate) mod idle;
mod inbox;
pub(crate) mod lane;
mod phases;
pub(crate) mod retry;
pub(crate) mod shared;
pub(crate) mod sql;
pub(crate) mod waiting;
pub(crate) mod wire;

use std::sync::Arc;
use std::time::Duration;

use crate::own::Own;
use crate::{
    Begin, Begun, BoxFuture, Commit, DialogKey, Error, Grant, LockAfter, ReplyId, Result, Row,
    Statement, Storage,
};
use shared::{Job, Shared, closed};
use waiting::QueuePlace;
use wire::Turn;

/// The longest user id or update id, and channel, in bytes: an index has no room for
/// much more. One that is longer is refused before it is sent, since it would fail all
/// that travels with it.
const MAX_ID: usize = 1024;
const MAX_CHANNEL: usize = 255;

/// How long a call waits for the server before it says that it is not there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two attempts to connect, or to give something back.
const RECONNECT: Duration = Duration::from_millis(200);

/// The author's own SQL: turns that carry statements, and questions.
pub(crate) trait Author: Send + std::marker::Sync + std::fmt::Debug {
    /// Commits a turn that has statements, relays or changes. Its caller limits the time: it is tried
    /// until the server is there.
    fn commit<'a>(&'a self, turn: &'a Turn) -> BoxFuture<'a, Result<()>>;

    /// Asks a question, in a transaction that only reads.
    fn query(&self, query: Statement) -> BoxFuture<'_, Result<Vec<Row>>>;

    /// Dialogs with unsent replies and without a turn, the oldest turns first.
    fn dialogs_with_unsent(&self, limit: u32) -> BoxFuture<'_, Result<Vec<DialogKey>>>;

    /// [`Own::own`]. Its caller limits the time.
    fn own(&self, statements: Vec<Statement>) -> BoxFuture<'_, Result<Vec<u64>>>;

    /// [`Own::own_query`].
    fn own_query(&self, query: Statement) -> BoxFuture<'_, Result<Vec<Row>>>;

    /// [`Own::numbers_dialogs`].
    fn numbers_dialogs(&self) -> bool;
}

/// The storage of a process that takes turns, kept by a database server.
#[derive(Debug)]
pub struct ServerStorage {
    shared: Arc<Shared>,
    author: Box<dyn Author>,
    keeper: tokio::task::JoinHandle<()>,
}

impl Drop for ServerStorage {
    /// The lanes finish what they were given; locks still held are freed by the
    /// other processes, since nobody shows any more that this one lives.
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

/// A number for this process. Not its caller's: two boxes may have chosen the same.
pub(crate) fn new_owner() -> Result<i64> {
    let owner = getrandom::u64().map_err(|e| Error::Unavailable(e.to_string()))?;
    Ok((owner >> 1 | 1) as i64)
}

impl ServerStorage {
    pub(crate) fn new(
        shared: Arc<Shared>,
        author: Box<dyn Author>,
        keeper: tokio::task::JoinHandle<()>,
    ) -> Self {
        ServerStorage {
            shared,
            author,
            keeper,
        }
    }

    async fn begin_turn(&self, begin: Begin) -> Result<Begun> {
        fits(&begin.dialog, begin.update.as_deref())?;
        let (place, receiver) =
            QueuePlace::take(&self.shared, begin.dialog, begin.update, begin.arrived);
        match tokio::time::timeout(begin.wait, receiver).await {
            Ok(Ok(answer)) => {
                if answer.is_ok() {
                    place.answered();
                }
                answer
            }
            Ok(Err(_)) => Err(closed()),
            Err(_) if !*self.shared.up.borrow() => Err(self.shared.not_there()),
            Err(_) => Err(Error::Busy(
                "an earlier update of this user takes long".to_owned(),
            )),
        }
    }

    async fn commit_turn(&self, grant: &mut Grant, commit: Commit) -> Result<()> {
        fits(&grant.dialog, Some(&commit.update))?;
        for relay in &commit.relays {
            fits(&relay.dialog, Some(&relay.update))?;
        }
        let lock = commit.lock;
        let turn = Turn {
            dialog: grant.dialog.clone(),
            fence: grant.fence,
            version: grant.version,
            commit,
        };
        // Those that have nothing of the kind travel together.
        let simple = turn.commit.statements.is_empty()
            && turn.commit.relays.is_empty()
            && turn.commit.changes.is_empty();
        let done = if simple {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            self.shared.submit(Job::Commit(Box::new(turn), sender));
            self.patiently(async { receiver.await.unwrap_or_else(|_| Err(closed())) })
                .await
        } else {
            self.patiently(self.author.commit(&turn)).await
        };
        done?;
        grant.version = grant.fence.0;
        if lock == LockAfter::GivenBack {
            grant.release = disarmed();
        }
        Ok(())
    }

    async fn mark(&self, grant: &Grant, replies: Vec<ReplyId>, lock: LockAfter) -> Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.shared.submit(Job::Sent {
            dialog: grant.dialog.clone(),
            fence: grant.fence,
            replies,
            lock,
            to: Some(sender),
        });
        self.patiently(async { receiver.await.unwrap_or_else(|_| Err(closed())) })
            .await
    }

    async fn patiently<T>(&self, answer: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::time::timeout(PATIENCE, answer)
            .await
            .unwrap_or_else(|_| Err(self.shared.not_there()))
    }
}

impl Own for ServerStorage {
    fn own(&self, statements: Vec<Statement>) -> BoxFuture<'_, Result<Vec<u64>>> {
        Box::pin(self.patiently(self.author.own(statements)))
    }

    fn own_query(&self, query: Statement) -> BoxFuture<'_, Result<Vec<Row>>> {
        Box::pin(self.patiently(self.author.own_query(query)))
    }

    fn due(&self, limit: u32) -> BoxFuture<'_, Result<Vec<DialogKey>>> {
        Box::pin(self.patiently(async move {
            self.shared.arrived().await?;
            inbox::due_dialogs(&*self.author, limit).await
        }))
    }

    fn numbers_dialogs(&self) -> bool {
        self.author.numbers_dialogs()
    }
}

impl Storage for ServerStorage {
    fn begin(&self, begin: Begin) -> BoxFuture<'_, Result<Begun>> {
        Box::pin(self.begin_turn(begin))
    }

    fn commit<'a>(&'a self, grant: &'a mut Grant, commit: Commit) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.commit_turn(grant, commit))
    }

    fn sent<'a>(&'a self, grant: &'a Grant, replies: Vec<ReplyId>) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.mark(grant, replies, LockAfter::Kept))
    }

    fn end(&self, mut grant: Grant, replies: Vec<ReplyId>) -> BoxFuture<'_, Result<()>> {
        grant.release = disarmed();
        Box::pin(async move { self.mark(&grant, replies, LockAfter::GivenBack).await })
    }

    fn query<'a>(
        &'a self,
        _grant: Option<&'a Grant>,
        query: Statement,
    ) -> BoxFuture<'a, Result<Vec<Row>>> {
        // What was acknowledged is seen by every later transaction of the server.
        Box::pin(self.patiently(self.author.query(query)))
    }

    fn dialogs_with_unsent(&self, limit: u32) -> BoxFuture<'_, Result<Vec<DialogKey>>> {
        Box::pin(self.patiently(async move {
            // What this process gave back before must count.
            self.shared.arrived().await?;
            self.author.dialogs_with_unsent(limit).await
        }))
    }

    fn write_ready(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.patiently(async {
            let mut up = self.shared.up.subscribe();
            // It finds no row; a server that takes no writes refuses it all the same. It is
            // tried until there is one that does, or the keeper has noticed.
            let nothing = Statement::new("DELETE FROM turnkey_pause WHERE scope = ?1", ("",));
            tokio::select! {
                biased;
                _ = up.wait_for(|up| !up) => Err(self.shared.away()),
                done = self.author.own(vec![nothing]) => done.map(drop),
            }
        }))
    }
}

fn fits(dialog: &DialogKey, update: Option<&str>) -> Result<()> {
    let refuse = |what: &str, length: usize, most: usize| {
        Err(Error::Unavailable(format!(
            "{what} of {length} bytes is longer than this storage takes, {most}"
        )))
    };
    let id = dialog.user_id.len().max(update.map_or(0, str::len));
    match (id, dialog.channel.len()) {
        (n, _) if n > MAX_ID => refuse("an id", n, MAX_ID),
        (_, n) if n > MAX_CHANNEL => refuse("a channel's name", n, MAX_CHANNEL),
        _ => Ok(()),
    }
}

/// What a grant holds that needs not be given back any more.
fn disarmed() -> std::sync::Weak<dyn crate::Release> {
    std::sync::Weak::<Shared>::new()
}
