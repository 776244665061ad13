//! The pool of connections for the author's SQL: opened when needed, kept when free; and what
//! is done after each attempt on one of them.
//!
//! Used by each engine's `author.rs`. Bounds: as many connections at a time as there are
//! permits; attempts as in `retry.rs`. While the server is unreachable, a connection is tried
//! every [`RECONNECT`]: the caller limits the time.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::closed;
use super::retry::Retry;
use crate::{Error, Result};

/// Before a connection that was lost is replaced.
const RECONNECT: Duration = Duration::from_millis(100);

/// A connection that was idle for so long may have been closed, by the server or by
/// whatever is on the way (a proxy, a firewall): it is tried before it is used.
pub(crate) const TRIED_AFTER: Duration = Duration::from_secs(1);

/// For the answer to such a try.
pub(crate) const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// A connection that can be kept.
pub(crate) trait Kept: Send {
    /// It is known to be of no more use.
    fn is_lost(&self) -> bool;

    /// Asks the server for a sign of life; its caller limits the time.
    fn answers(&mut self) -> impl Future<Output = bool> + Send;
}

/// Whether a connection that was idle for so long is still one.
pub(crate) async fn is_usable(conn: &mut impl Kept, idle: Duration) -> bool {
    if conn.is_lost() {
        return false;
    }
    if idle < TRIED_AFTER {
        return true;
    }
    let answers = tokio::time::timeout(ANSWERS_WITHIN, conn.answers()).await;
    answers.unwrap_or(false)
}

/// How an attempt ended.
pub(crate) enum Attempt<T> {
    Done(T),
    /// Tried again it would end the same way.
    Refused(Error),
    /// The connection is gone; it may have been done.
    Lost,
    /// Others were in the way. Nothing was done.
    GaveWay,
}

/// Connections of one kind.
#[derive(Debug)]
pub(crate) struct Idle<C> {
    /// One for each connection there may be.
    free: Semaphore,
    idle: Mutex<Vec<(C, Instant)>>,
}

impl<C: Kept> Idle<C> {
    pub(crate) fn new(most: usize) -> Self {
        Idle {
            free: Semaphore::new(most),
            idle: Mutex::default(),
        }
    }

    /// The right to use one, in line, and one that is kept or that `open` makes; none,
    /// after a pause, when the server is away.
    pub(crate) async fn connection<E>(
        &self,
        open: impl Future<Output = std::result::Result<C, E>> + Send,
    ) -> Result<(SemaphorePermit<'_>, Option<C>)> {
        let permit = self.free.acquire().await.map_err(|_| closed())?;
        while let Some((mut conn, since)) = self.newest() {
            if is_usable(&mut conn, since.elapsed()).await {
                return Ok((permit, Some(conn)));
            }
        }
        let conn = open.await.ok();
        if conn.is_none() {
            tokio::time::sleep(RECONNECT).await;
        }
        Ok((permit, conn))
    }

    fn newest(&self) -> Option<(C, Instant)> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop()
    }

    /// What is answered after an attempt; none when there is to be another one. The
    /// connection is kept, unless it is lost.
    pub(crate) async fn settle<T>(
        &self,
        conn: C,
        attempt: Attempt<T>,
        retry: &mut Retry,
    ) -> Option<Result<T>> {
        if !conn.is_lost() && !matches!(attempt, Attempt::Lost) {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push((conn, Instant::now()));
        }
        match attempt {
            Attempt::Done(answer) => Some(Ok(answer)),
            Attempt::Refused(error) => Some(Err(error)),
            Attempt::Lost => {
                tokio::time::sleep(RECONNECT).await;
                None
            }
            Attempt::GaveWay => match retry.again().await {
                true => None,
                false => Some(Err(Error::Statement(
                    "its statements wait in a circle with those of other turns".to_owned(),
                ))),
            },
        }
    }
}

/// Makes one attempt after another until there is an answer. `$attempt` is a future
/// that has `$conn` to itself and ends with an [`Attempt`].
macro_rules! settled {
    ($idle:expr, $open:expr, $conn:ident => $attempt:expr) => {{
        let mut retry = $crate::lanes::retry::Retry::default();
        loop {
            let (_permit, conn) = $idle.connection($open).await?;
            let Some(mut $conn) = conn else { continue };
            // Dropped half-way, the connection is closed, which rolls back.
            let attempt = $attempt.await;
            if let Some(answer) = $idle.settle($conn, attempt, &mut retry).await {
                break answer;
            }
        }
    }};
}
pub(crate) use settled;
