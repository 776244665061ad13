//! The PostgreSQL engine: one server, any number of boxes.
//!
//! | file | what |
//! | --- | --- |
//! | `server.rs` `parameters.rs` `tls.rs` | the address, and how a connection is set up |
//! | `schema.sql` `functions.sql` `schema.rs` | tables, the SQL of a turn, migrations |
//! | `keeper.rs` | one connection that shows that this process lives |
//! | `lanes.rs` | a few connections that carry the turns, many at once |
//! | `waiting.rs` | those of this process that wait for a lock |
//! | `author.rs` `sql.rs` `values.rs` | the author's own statements and questions |
//! | `text.rs` | texts that PostgreSQL cannot hold as they are |
//! | `errors.rs` | what a failure means for the caller |
//! | `inspect.rs` | dump and check |
//! | `copy/` | its side of a move to or from another database |
//!
//! A program that uses it: [`Server::parse`] its address; [`prepare`] once at each
//! start, on as many boxes as you like; [`connect`] in every process that takes
//! turns.
//!
//! No connection is held while a handler runs: a lock is a row, taken in one short
//! transaction and given back in another. So thousands of turns are in flight on
//! [`DEFAULT_POOL`] connections. The process that holds a row proves that it lives
//! with an advisory lock of its session (freed in half a second when the process is
//! killed) and a lease of [`DEFAULT_LEASE`] (for a box that vanishes). A commit under a
//! lock that was freed meanwhile is refused.

mod author;
mod copy;
mod errors;
mod inspect;
mod keeper;
mod lanes;
mod parameters;
mod schema;
mod server;
mod sql;
mod text;
mod tls;
mod values;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub use copy::{CopyDatabase, copy_source, copy_target};
pub use inspect::{check, dump};
pub use schema::prepare;
pub use server::{DEFAULT_LEASE, DEFAULT_POOL, MAX_POOL, Server};

use crate::{
    Begin, Begun, BoxFuture, Commit, DialogKey, Error, Grant, ReplyId, Result, Row, Statement,
    Storage, Sync,
};
use author::Author;
use lanes::{Job, Shared};
use waiting::Place;

/// How long a call waits for the server before it says that it is not there.
const PATIENCE: Duration = Duration::from_secs(10);

/// The storage of a process that takes turns.
#[derive(Debug)]
pub struct PostgresStorage {
    shared: Arc<Shared>,
    author: Author,
    keeper: tokio::task::JoinHandle<()>,
}

/// Connects this process. To be called in a tokio runtime, after any fork. It
/// returns at once: calls wait until the server is there, or say that it is not.
///
/// # Errors
/// [`Error::Unavailable`] when the kernel gives no random bytes.
pub fn connect(server: &Server, sync: Sync) -> Result<PostgresStorage> {
    // Not the caller's number: two boxes may have chosen the same.
    let owner = getrandom::u64().map_err(|e| Error::Unavailable(e.to_string()))?;
    let owner = (owner >> 1 | 1) as i64;
    let (shared, queues) = Shared::new(owner, server.lanes());
    let keeper = tokio::spawn(keeper::run(server.clone(), Arc::downgrade(&shared)));
    for queue in queues {
        tokio::spawn(lanes::run(
            server.clone(),
            sync,
            Arc::downgrade(&shared),
            shared.up.subscribe(),
            queue,
        ));
    }
    Ok(PostgresStorage {
        author: Author::new(server.clone(), sync),
        shared,
        keeper,
    })
}

impl Drop for PostgresStorage {
    /// The lanes finish what they were given; locks still held are freed by the
    /// other processes, since nobody shows any more that this one lives.
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl PostgresStorage {
    async fn begin_turn(&self, begin: Begin) -> Result<Begun> {
        let (place, receiver) =
            Place::take(&self.shared, begin.dialog, begin.update, begin.arrived);
        match tokio::time::timeout(begin.wait, receiver).await {
            Ok(Ok(answer)) => {
                if answer.is_ok() {
                    place.answered();
                }
                answer
            }
            Ok(Err(_)) => Err(closed()),
            Err(_) if !*self.shared.up.borrow() => Err(not_there()),
            Err(_) => Err(Error::Busy(
                "an earlier update of this user takes long".to_owned(),
            )),
        }
    }

    async fn commit_turn(&self, grant: &mut Grant, commit: Commit) -> Result<()> {
        let end = commit.end;
        let turn = lanes::Turn {
            dialog: grant.dialog.clone(),
            fence: grant.fence,
            version: grant.version,
            commit,
        };
        let done = if turn.commit.statements.is_empty() {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            self.shared.submit(Job::Commit(Box::new(turn), sender));
            patiently(async { receiver.await.unwrap_or_else(|_| Err(closed())) }).await
        } else {
            patiently(self.author.commit(&turn)).await
        };
        done?;
        grant.version = grant.fence.0;
        if end {
            grant.release = disarmed();
        }
        Ok(())
    }

    async fn mark(&self, grant: &Grant, replies: Vec<ReplyId>, end: bool) -> Result<()> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        self.shared.submit(Job::Sent {
            dialog: grant.dialog.clone(),
            fence: grant.fence,
            replies,
            end,
            to: Some(sender),
        });
        patiently(async { receiver.await.unwrap_or_else(|_| Err(closed())) }).await
    }
}

impl Storage for PostgresStorage {
    fn begin(&self, begin: Begin) -> BoxFuture<'_, Result<Begun>> {
        Box::pin(self.begin_turn(begin))
    }

    fn commit<'a>(&'a self, grant: &'a mut Grant, commit: Commit) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.commit_turn(grant, commit))
    }

    fn sent<'a>(&'a self, grant: &'a Grant, replies: Vec<ReplyId>) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.mark(grant, replies, false))
    }

    fn end(&self, mut grant: Grant, replies: Vec<ReplyId>) -> BoxFuture<'_, Result<()>> {
        grant.release = disarmed();
        Box::pin(async move { self.mark(&grant, replies, true).await })
    }

    fn query<'a>(
        &'a self,
        _grant: Option<&'a Grant>,
        query: Statement,
    ) -> BoxFuture<'a, Result<Vec<Row>>> {
        // What was acknowledged is seen by every later transaction of the server.
        Box::pin(patiently(self.author.query(query)))
    }

    fn dialogs_with_unsent(&self, limit: u32) -> BoxFuture<'_, Result<Vec<DialogKey>>> {
        Box::pin(patiently(async move {
            // What this process gave back before must count.
            self.shared.arrived().await?;
            self.author.dialogs_with_unsent(limit).await
        }))
    }
}

async fn patiently<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(PATIENCE, answer)
        .await
        .unwrap_or_else(|_| Err(not_there()))
}

fn not_there() -> Error {
    Error::Unavailable("the PostgreSQL server does not answer".to_owned())
}

fn closed() -> Error {
    Error::Unavailable("the storage was closed".to_owned())
}

/// What a grant holds that needs not be given back any more.
fn disarmed() -> std::sync::Weak<dyn crate::Release> {
    std::sync::Weak::<Shared>::new()
}

impl Shared {
    fn next_ticket(&self) -> i64 {
        self.last_ticket.fetch_add(1, Ordering::Relaxed) + 1
    }
}
