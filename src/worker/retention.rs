//! Deletes old data: ids and answers of updates, and copies of replies that may be refused later,
//! after `--keep-seen`; names of messages after `--keep-names`; turns of the history after
//! `--keep-history`; callbacks a week after their time was over or they were taken.
//!
//! Run by the first worker only. The tables are scanned in steps of 500 rows with a pause after
//! each, so that turns wait for one step at most. There is no index on the time, which
//! would cost every turn, so a round reads all rows. An interrupted round starts over. Bounds:
//! [`PAUSE`], [`ROUND`].

use std::rc::Rc;
use std::time::Duration;

use turnkey_storage::retention::{Kept, Sweep};

use crate::config::Config;
use crate::turn::context::Bot;
use crate::turn::receipt::now_ms;

/// After each step: 50,000 rows a second at most, which is more than come in.
const PAUSE: Duration = Duration::from_millis(10);

/// Between two rounds, and after a step that failed.
const ROUND: Duration = Duration::from_secs(60);

/// How long whoever comes with a callback is told that its time is over, or that it was taken.
const CALLBACKS: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is swept, and how long each is kept.
pub(crate) fn kept(config: &Config) -> Vec<(Kept, Duration)> {
    let mut all = vec![
        (Kept::Updates, config.keep_seen.0),
        (Kept::Taken, config.keep_seen.0),
        (Kept::Names, config.keep_names.0),
    ];
    all.push((Kept::Callbacks, CALLBACKS));
    all.extend(config.keep_history.map(|age| (Kept::History, age.0)));
    all
}

/// Sweeps until the worker leaves.
pub(crate) async fn run(bot: Rc<Bot>, all: Vec<(Kept, Duration)>) {
    loop {
        let mut gone = 0;
        for &(kept, age) in &all {
            let cutoff = now_ms().saturating_sub(age.as_millis() as i64);
            let mut sweep = Sweep::of(kept);
            loop {
                match sweep.step(&*bot.storage, cutoff).await {
                    Ok(step) => {
                        gone += step.gone;
                        if step.over {
                            break;
                        }
                    }
                    Err(error) => {
                        tracing::warn!("cannot forget what is old: {error}");
                        break;
                    }
                }
                if !bot.inbox.sleep(PAUSE).await {
                    return;
                }
            }
        }
        if gone > 0 {
            tracing::debug!("{gone} old rows are gone (--keep-seen, --keep-names, --keep-history)");
        }
        if !bot.inbox.sleep(ROUND).await {
            return;
        }
    }
}
