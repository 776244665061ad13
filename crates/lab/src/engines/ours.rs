//! Our engines, through the `Storage` contract alone: whatever `database.rs` opens by
//! URL can be measured here.
//!
//! A turn is what a bot's turn is: lock and read in one call; write, keep the update's
//! id and answer, and unlock in another. It is acknowledged when `commit` returns.
//! Bound: `in_flight` turns at any time.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use turnkey_storage::{
    Address, Arrival, Begin, Begun, Commit, Database, DialogKey, LockAfter, Storage, sqlite,
};

use super::super::measure::{self, Meter};
use super::super::order::{Load, Window};
use super::super::state::{self, Random};
use super::lanes;
use crate::error::Error;

/// For a lock: longer than any turn here takes.
const WAIT: Duration = Duration::from_secs(30);

/// Turns at once while users are made.
const FILLING: usize = 256;

/// Of a request's body: SHA-256, as the channel `http` keeps it.
const DIGEST: [u8; 32] = [0x5a; 32];

const ANSWER: &[u8] = br#"{"replies":[{"text":"1: hi"}]}"#;

/// The one place that opens an engine of ours.
pub(super) fn open(load: &Load) -> crate::error::Result<Arc<dyn Storage>> {
    let owner = sqlite::random_owner().map_err(Error::start)?;
    load.url
        .parse::<Address>()
        .map_err(Error::start)?
        .connect(load.sync.storage(), owner)
        .map_err(Error::start)
}

pub(super) fn dialog(user: u64) -> DialogKey {
    DialogKey::new("http", state::user_id(user))
}

pub(super) fn commit(update: String, state: String) -> Commit {
    Commit {
        update,
        digest: DIGEST.to_vec(),
        answer: ANSWER.to_vec(),
        state,
        lock: LockAfter::GivenBack,
        ..Commit::default()
    }
}

/// Makes the tables, ours and those of these migrations. Those of a file are its writer's to
/// make.
pub(super) fn prepare(load: &Load, migrations: &[String]) -> crate::error::Result<()> {
    if load.engine.has_writer() {
        return Ok(());
    }
    let address = load.url.parse::<Address>().map_err(Error::start)?;
    Database::at(&address, load.sync.storage())
        .and_then(|database| database.prepare(migrations))
        .map_err(Error::start)?;
    Ok(())
}

/// Makes the users by turns that do not count.
pub(super) fn fill(load: &Load) -> crate::error::Result<()> {
    prepare(load, &[])?;
    super::runtime()?.block_on(async {
        let storage = open(load)?;
        let mut lanes = JoinSet::new();
        let lane_count = FILLING.min(load.users as usize).max(1) as u64;
        for lane in 0..lane_count {
            let (storage, load) = (storage.clone(), load.clone());
            lanes.spawn(async move {
                for user in (lane..load.users).step_by(lane_count as usize) {
                    let update = format!("fill-{user}");
                    let begun = storage.begin(begin(user, &update)).await;
                    let Begun::Granted(mut granted) = begun.map_err(Error::start)? else {
                        return Err(Error::Start("a user was there before".to_owned()));
                    };
                    let state = state::padded(0, load.state_bytes);
                    storage
                        .commit(&mut granted.grant, commit(update, state))
                        .await
                        .map_err(Error::start)?;
                }
                Ok::<_, Error>(())
            });
        }
        while let Some(ended) = lanes.join_next().await {
            ended??;
        }
        Ok(())
    })
}

pub(super) fn begin(user: u64, update: &str) -> Begin {
    Begin {
        dialog: dialog(user),
        update: Some(update.to_owned()),
        arrived: Arrival::now(),
        wait: WAIT,
    }
}

pub(super) fn turns(
    load: &Load,
    start: impl FnOnce() -> crate::error::Result<Window>,
) -> crate::error::Result<Meter> {
    lanes::local(async {
        let storage = open(load)?;
        // One call through the whole path: connected, and answered.
        storage.dialogs_with_unsent(1).await.map_err(Error::start)?;
        let meter = Meter::new(start()?)?;
        let meter = lanes::run(load, meter, |lane, pace, meter| {
            let (storage, load) = (storage.clone(), load.clone());
            async move {
                let mut random = Random::new(load.seed.wrapping_add(lane as u64 * 7919));
                while let Some(began) = pace.next().await {
                    let user = random.below(load.users);
                    turn(&*storage, &load, &meter, user, lane, began).await?;
                }
                Ok(())
            }
        });
        meter.await
    })
}

async fn turn(
    storage: &dyn Storage,
    load: &Load,
    meter: &RefCell<Meter>,
    user: u64,
    lane: usize,
    began: u64,
) -> crate::error::Result<()> {
    // Ids rise, as a platform's do; the seed tells the processes apart.
    let update = format!("{}.{}.{lane}", measure::now(), load.seed);
    let begun = match storage.begin(begin(user, &update)).await {
        Ok(Begun::Granted(granted)) => granted,
        Ok(Begun::Seen(_)) => return Err(Error::Start("an update's id came twice".to_owned())),
        Err(error) => {
            meter.borrow_mut().error(format!("begin: {}", kind(&error)));
            // Not a busy loop when nobody answers.
            tokio::time::sleep(Duration::from_millis(1)).await;
            return Ok(());
        }
    };
    let mut grant = begun.grant;
    let state = state::next(begun.state.as_deref(), load.state_bytes)?;
    let committed = storage.commit(&mut grant, commit(update, state)).await;
    let mut meter = meter.borrow_mut();
    match committed {
        Ok(()) => meter.acknowledge(began),
        Err(error) => {
            if !is_certain(&error) {
                meter.uncertain();
            }
            meter.error(format!("commit: {}", kind(&error)));
        }
    }
    Ok(())
}

/// A commit that failed so did not happen.
pub(super) fn is_certain(error: &turnkey_storage::Error) -> bool {
    use turnkey_storage::Error as E;
    matches!(error, E::Stale | E::Full | E::Statement(_))
}

pub(super) fn kind(error: &turnkey_storage::Error) -> &'static str {
    use turnkey_storage::Error as E;
    match error {
        E::Busy(_) => "busy",
        E::Unavailable(_) => "unavailable",
        E::Full => "disk full",
        E::Stale => "stale",
        E::Seen => "seen",
        E::Statement(_) => "statement",
        _ => "other",
    }
}

pub(super) fn sum(load: &Load) -> crate::error::Result<u64> {
    let mut sum = 0;
    turnkey_storage::tools::dump(
        &load.url.parse::<Address>().map_err(Error::start)?,
        false,
        |line| {
            sum += state::count(Some(&line.state))
                .map_err(|e| std::io::Error::other(e.to_string()))?;
            Ok::<_, DumpError>(())
        },
    )
    .map_err(|DumpError(sentence)| Error::Start(format!("cannot read the counters: {sentence}")))?;
    Ok(sum)
}

/// Why a database could not be read, in words.
struct DumpError(String);

impl From<turnkey_storage::Error> for DumpError {
    fn from(error: turnkey_storage::Error) -> Self {
        DumpError(error.to_string())
    }
}

impl From<std::io::Error> for DumpError {
    fn from(error: std::io::Error) -> Self {
        DumpError(error.to_string())
    }
}
