//! What waits in the database, why some of it was given up, what is due later, which broadcasts
//! are under way, and whether turns can be committed, queried at most once a second.
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
use turnkey_storage::people::{self, People};
use turnkey_storage::reasons::{self, Reason};
use turnkey_storage::schedules::{self, Overview};
use turnkey_storage::{Storage, Sync, clock, standby};

use super::later::SCHEDULES;

/// How long a look is told of again.
const FRESH: Duration = Duration::from_secs(1);

/// How long a count of the dialogs is told of again: it reads many rows.
const COUNTED_AGAIN: Duration = Duration::from_secs(60);

/// Milliseconds.
const DAY: i64 = 86_400_000;

/// For the database to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// Broadcasts that are told of; the others are in `broadcast list`.
const BROADCASTS: u32 = 20;

/// See the module's page.
pub(super) struct Cached {
    /// How many servers the address of a PostgreSQL database names, if turns are to survive the
    /// loss of one.
    servers: Option<usize>,
    last: Mutex<Option<(Instant, Outcome)>>,
    people: Mutex<Option<(Instant, People)>>,
}

/// What waits, or why that is not known.
#[derive(Clone)]
pub(super) struct Outcome {
    pub(super) queues: Result<Queues, String>,
    /// Those that have not ended.
    pub(super) broadcasts: Arc<[Broadcast]>,
    /// None when that is not known.
    pub(super) later: Option<Overview>,
    /// Why dead letters and dead replies failed.
    pub(super) letters: Arc<[Reason]>,
    pub(super) replies: Arc<[Reason]>,
    /// A standby of the database's server may lack turns that were acknowledged.
    pub(super) is_unsynchronised: bool,
    /// Why no turn can be committed; none when one can.
    pub(super) cannot_write: Option<String>,
}

impl Cached {
    /// For a database with this address. What has to survive is asked for only with `--sync full`.
    pub(super) fn new(database: &str, sync: Sync) -> Self {
        let is_postgres = ["postgres:", "postgresql:"]
            .iter()
            .any(|scheme| database.starts_with(scheme));
        let hosts = database.split_once("://").map_or("", |(_, rest)| rest);
        let hosts = hosts.split_once('@').map_or(hosts, |(_, rest)| rest);
        let hosts = hosts.split(['/', '?']).next().unwrap_or_default();
        Cached {
            servers: (is_postgres && sync == Sync::Full).then(|| hosts.split(',').count()),
            last: Mutex::default(),
            people: Mutex::default(),
        }
    }

    /// Who talks to the bot; none when the database does not answer.
    pub(super) async fn people(&self, storage: &Arc<dyn Storage>) -> Option<People> {
        let mut last = self.people.lock().await;
        if let Some((at, people)) = &*last
            && at.elapsed() < COUNTED_AGAIN
        {
            return Some(*people);
        }
        let now = clock::now_ms();
        let counted = people::count(&**storage, now - now.rem_euclid(DAY));
        let counted = within(counted).await.ok()?;
        *last = Some((Instant::now(), counted));
        Some(counted)
    }

    async fn unsynchronised(&self, storage: &dyn Storage) -> bool {
        match self.servers {
            Some(servers) => {
                let asked = standby::lacks_turns(storage, servers > 1);
                within(asked).await.unwrap_or_default()
            }
            None => false,
        }
    }

    pub(super) async fn get(&self, storage: &Arc<dyn Storage>) -> Outcome {
        let mut last = self.last.lock().await;
        if let Some((at, outcome)) = &*last
            && at.elapsed() < FRESH
        {
            return outcome.clone();
        }
        let (queues, broadcasts, later, is_unsynchronised, written) = tokio::join!(
            within(admin::queues(&**storage)),
            within(broadcasts::open(&**storage, BROADCASTS)),
            within(schedules::overview(&**storage, clock::now_ms(), SCHEDULES)),
            self.unsynchronised(&**storage),
            within(storage.write_ready())
        );
        let (mut letters, mut replies) = (Vec::new(), Vec::new());
        if queues.as_ref().is_ok_and(|queues| queues.dead > 0) {
            letters = within(reasons::of_letters(&**storage))
                .await
                .unwrap_or_default();
        }
        if queues.as_ref().is_ok_and(|queues| queues.dead_replies > 0) {
            replies = within(reasons::of_replies(&**storage))
                .await
                .unwrap_or_default();
        }
        let outcome = Outcome {
            queues,
            broadcasts: broadcasts.unwrap_or_default().into(),
            later: later.ok(),
            letters: letters.into(),
            replies: replies.into(),
            is_unsynchronised,
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
