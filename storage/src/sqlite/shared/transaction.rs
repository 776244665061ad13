//! Interactive transactions: a closure asks and writes, and everybody else waits.
//!
//! Part of [`SharedDatabase`]; the writer's side is `writer/alone.rs`. Bounds: the time that
//! [`Opening::transaction_limit`](super::Opening::transaction_limit) says; [`WAIT`] in line;
//! [`ATTEMPTS`] when writers die.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::SharedDatabase;
use crate::sqlite::client::Alone;
use crate::{Arrival, Error, Guarded, Outcome, Params, Result, Statement};

/// How long one waits in line, at each attempt.
const WAIT: Duration = Duration::from_secs(10);

/// How often a transaction is begun again when the writer dies in it.
const ATTEMPTS: u32 = 10;

/// A transaction under way: nobody else writes. It ends with the closure that was given it.
#[derive(Clone, Debug)]
pub struct Transaction {
    own: Arc<Own>,
}

#[derive(Debug)]
struct Own {
    alone: Alone,
    /// The writer died, and the transaction with it.
    is_lost: AtomicBool,
}

impl Transaction {
    /// Runs a statement, which sees what those before it did, and says what it did. One that
    /// fails changes nothing; the transaction goes on.
    ///
    /// # Errors
    /// [`Error::Statement`]: it failed, or the transaction's time was over. [`Error::Stale`]: the
    /// transaction is gone with its writer, and is begun again when the closure returns.
    pub async fn run(&self, sql: impl Into<String>, params: impl Params) -> Result<Outcome> {
        self.execute(sql.into(), params, None).await
    }

    /// The same with a statement that must affect so many rows, as
    /// [`Write::expect`](crate::Write::expect) says.
    ///
    /// # Errors
    /// As [`run`](Transaction::run), and [`Error::Rows`]; then it has changed nothing.
    pub async fn expect(
        &self,
        rows: u64,
        sql: impl Into<String>,
        params: impl Params,
    ) -> Result<Outcome> {
        self.execute(sql.into(), params, Some(rows)).await
    }

    async fn execute(
        &self,
        sql: String,
        params: impl Params,
        rows: Option<u64>,
    ) -> Result<Outcome> {
        let statement = Statement::new(sql, params);
        let outcome = self.own.alone.run(Guarded { statement, rows }).await;
        if matches!(outcome, Err(Error::Stale)) {
            self.own.is_lost.store(true, Ordering::Relaxed);
        }
        outcome
    }
}

impl SharedDatabase {
    /// Runs a closure in a transaction that has the writer to itself: what it reads stays true
    /// until its end. Those who ask are served in the order in which they came. It is
    /// committed when the closure returns `Ok`, and durable when this returns; undone when it
    /// returns an error, which is returned.
    ///
    /// All other writes wait meanwhile, and it may take five seconds
    /// ([`transaction_limit`](super::Opening::transaction_limit)): ask the network before it, not
    /// in it. A single [`write`](SharedDatabase::write) with guards is several times as fast.
    /// When the writer dies the closure runs again, from its start.
    ///
    /// ```no_run
    /// # async fn example(database: turnkey_storage::sqlite::SharedDatabase) -> turnkey_storage::Result<()> {
    /// let left = database
    ///     .transaction(async |tx| {
    ///         let found = tx.run("SELECT balance FROM account WHERE id = ?1", "a").await?;
    ///         let balance: i64 = found.rows[0].get("balance")?;
    ///         let left = balance - balance / 10;
    ///         tx.expect(1, "UPDATE account SET balance = ?1 WHERE id = ?2", (left, "a")).await?;
    ///         Ok(left)
    ///     })
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Busy`]: others came first for ten seconds. [`Error::Statement`]: its time was
    /// over, and it was undone. [`Error::Unavailable`]: nobody answered; if it was
    /// at the commit, it may have taken effect.
    pub async fn transaction<T, F>(&self, mut run: impl FnMut(Transaction) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let arrived = Arrival::now();
        for _ in 0..ATTEMPTS {
            let writer = &self.inner.storage.writer;
            // Each time anew: what was spent inside was no wait.
            let alone = writer.open(arrived, self.inner.limit, WAIT).await;
            let alone = alone.map_err(|error| self.explained(error))?;
            let own = Arc::new(Own {
                alone,
                is_lost: AtomicBool::new(false),
            });
            let outcome = run(Transaction { own: own.clone() }).await;
            if own.is_lost.load(Ordering::Relaxed) {
                continue;
            }
            let value = match outcome {
                Ok(value) => value,
                Err(error) => {
                    // Also when the closure has left a handle elsewhere.
                    own.alone.undo();
                    return Err(error);
                }
            };
            let key = format!("{:x}.{}", self.inner.owner.0, own.alone.number());
            match own.alone.commit(&key).await {
                Ok(()) => return Ok(value),
                Err(Error::Stale) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Unavailable(format!(
            "the writer died {ATTEMPTS} times in the middle of a transaction"
        )))
    }
}
