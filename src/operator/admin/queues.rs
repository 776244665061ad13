//! What waits in the database, what is due later, which broadcasts are under way, and whether
//! turns can be committed, queried at most once a second.
//!
//! Used by every page and scrape of this worker. Only one query runs at a time, and further
//! requests wait for its result: a storm of scrapes costs the database nothing. Bounds:
//! [`FRESH`], [`PATIENCE`], [`BROADCASTS`], and those of [`turnkey_storage::admin::queues`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use turnkey_storage::admin::{self, Queues};
use turnkey_storage::broadcasts::{self, Broadcast};
use turnkey_storage::schedules::{self, Overview};
use turnkey_storage::{Storage, clock};

use super::later::SCHEDULES;

/// How long a look is told of again.
const FRESH: Duration = Duration::from_secs(1);

/// For the database to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Broadcasts that are told of; the others are in `broadcast list`.
const BROADCASTS: u32 = 20;

/// See the module's page.
#[derive(Default)]
pub(super) struct Cached {
    last: Mutex<Option<(Instant, Outcome)>>,
}

/// What waits, or why that is not known.
#[derive(Clone)]
pub(super) struct Outcome {
    pub(super) queues: Result<Queues, String>,
    /// Those that have not ended.
    pub(super) broadcasts: Arc<[Broadcast]>,
    /// None when that is not known.
    pub(super) later: Option<Overview>,
    /// Why no turn can be committed; none when one can.
    pub(super) cannot_write: Option<String>,
}

impl Cached {
    pub(super) async fn get(&self, storage: &Arc<dyn Storage>) -> Outcome {
        let mut last = self.last.lock().await;
        if let Some((at, outcome)) = &*last
            && at.elapsed() < FRESH
        {
            return outcome.clone();
        }
        let (queues, broadcasts, later, written) = tokio::join!(
            within(admin::queues(&**storage)),
            within(broadcasts::open(&**storage, BROADCASTS)),
            within(schedules::overview(&**storage, clock::now_ms(), SCHEDULES)),
            within(storage.write_ready())
        );
        let outcome = Outcome {
            queues,
            broadcasts: broadcasts.unwrap_or_default().into(),
            later: later.ok(),
            cannot_write: written.err(),
        };
        *last = Some((Instant::now(), outcome.clone()));
        outcome
    }
}

/// Asks the database, for so long.
pub(super) async fn within<T>(
    question: impl Future<Output = turnkey_storage::Result<T>>,
) -> Result<T, String> {
    match timeout(PATIENCE, question).await {
        Ok(answer) => answer.map_err(|e| format!("the database does not answer: {e}")),
        Err(_) => Err(format!(
            "the database has not answered for {} s",
            PATIENCE.as_secs()
        )),
    }
}
