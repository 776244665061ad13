//! The end of an update that is given up: whoever wants to know is told, and its user by them.
//!
//! Called by `turn.rs` when `attempts.rs` says that there is no other attempt. What the author
//! wrote for that (`App::given_up`, or a handler in another language that asked for it) runs as
//! a turn with the state as it was, and its commit buries the update: so its replies are in the
//! outbox if and only if the update is a dead letter. Invariant: whatever it does, the update is
//! given up. Bounds: `--turn-timeout`; [`MOST_RUNS`], if it kills its process.

use std::collections::BTreeSet;
use std::rc::Rc;

use tokio::time::Instant;
use turnkey_storage::inbox::GIVING_UP;
use turnkey_storage::timers::Timer;
use turnkey_storage::{Commit, DialogKey, Error as StorageError, Grant, dead};

use crate::author::error::Error;
use crate::author::message::{Kind, Outgoing};
use crate::author::newer::Newer;
use crate::handlers::{AnyHandler, Call, Interruption, RunEnd};
use crate::shared::scrub::told;
use crate::turn::attempts::Attempts;
use crate::turn::context::{Bot, GivenUp};
use crate::turn::outcome::{self, Of};
use crate::turn::receipt::{Answer, Receipt, now_ms};
use crate::turn::{asking, stepping, told as words, typing};

/// How often it is begun for an update from the inbox, where an earlier one never came back.
const MOST_RUNS: u32 = 3;

/// What is left to do after a commit: replies to send, the answer, dialogs that something was
/// said to, timers that were set.
pub(super) type Left = (Vec<Outgoing>, Vec<u8>, BTreeSet<DialogKey>, Vec<Timer>);

/// How it ended.
pub(super) enum End {
    /// It is given up, and this is to be sent.
    Told(Grant, Left),
    /// It is given up, and nobody is told; or that could not be written, and it stays.
    Over,
    /// The lock was lost, or somebody else has done the update.
    LockLost,
}

/// Gives the receipt's update up, for this reason.
pub(super) async fn give_up(
    bot: &Rc<Bot>,
    attempts: Attempts<'_>,
    receipt: &mut Receipt<'_>,
    (state, grant): (Option<String>, Grant),
    why: &str,
) -> End {
    let begun = receipt.attempts / GIVING_UP;
    // Whatever the error was, there is no other attempt.
    let over = (receipt.attempts % GIVING_UP).max(attempts.most);
    let (Some(handler), true) = (whom(bot, receipt), begun < MOST_RUNS) else {
        attempts.bury(receipt, why).await;
        return End::Over;
    };
    receipt.attempts_before = over + begun * GIVING_UP;
    receipt.attempts += GIVING_UP;
    receipt.error = Some(why.to_owned());
    if receipt.is_accepted() && !receipt.note(receipt.attempts, why, now_ms()).await {
        return End::Over;
    }
    let (grant, done) = run(bot, handler, receipt, (state, grant), why).await;
    if std::mem::take(&mut receipt.is_overtaken) {
        return End::LockLost;
    }
    let mut grant = grant;
    let error = match done {
        Ok((mut commit, outgoing, set)) => {
            let letter = attempts.letter_of(receipt, why);
            commit.changes.extend(dead::with_commit(&letter));
            let answer = commit.answer.clone();
            let others = commit.relays.iter().map(|row| row.dialog.clone()).collect();
            match bot.storage.commit(&mut grant, commit).await {
                Ok(()) => {
                    attempts.buried(&letter);
                    return End::Told(grant, (outgoing, answer, others, set));
                }
                Err(StorageError::Stale | StorageError::Seen) => return End::LockLost,
                Err(StorageError::Statement(reason)) => {
                    Error::msg(format!("its SQL failed: {reason}"))
                }
                Err(error) => {
                    receipt.answer(Answer::Busy(words::of_storage(&error)));
                    return End::Over;
                }
            }
        }
        // It ended with the worker: the next start does it.
        Err(_) if receipt.is_uncharged => return End::Over,
        Err(error) => error,
    };
    let error = error.to_string();
    let update = &receipt.update;
    tracing::error!(
        "{} update {}: what is to be done when it is given up failed: {}",
        update.dialog,
        update.id,
        told(&error)
    );
    attempts.bury(receipt, why).await;
    End::Over
}

/// Who is told of this update: nobody of one that no handler was called with.
fn whom<'a>(bot: &'a Bot, receipt: &Receipt<'_>) -> Option<&'a dyn AnyHandler> {
    let update = &receipt.update;
    let is_handled = match update.kind {
        Kind::Relayed | Kind::Unreadable => false,
        Kind::Button => !asking::is_press(update),
        _ => true,
    };
    match &bot.given_up {
        _ if !is_handled => None,
        GivenUp::Nobody => None,
        GivenUp::Handler => Some(&*bot.handler),
        GivenUp::Other(other) => Some(&**other),
    }
}

async fn run(
    bot: &Rc<Bot>,
    handler: &dyn AnyHandler,
    receipt: &mut Receipt<'_>,
    (state, grant): (Option<String>, Grant),
    why: &str,
) -> (Grant, crate::Result<(Commit, Vec<Outgoing>, Vec<Timer>)>) {
    let update = receipt.update.clone();
    let until = Instant::now() + bot.limits.turn_timeout;
    // Its trace is the author's business, not its user's.
    let why = why.lines().next().unwrap_or_default();
    let called = handler.call(Call {
        update: update.clone(),
        attempt: receipt.attempts % GIVING_UP,
        is_last_attempt: true,
        given_up: Some(why.into()),
        state,
        storage: bot.storage.clone(),
        grant,
        timeout: bot.limits.turn_timeout,
        platform: bot.channels.clone(),
        steps: receipt.steps.clone(),
        newer: Newer::new(bot.inbox.arrivals, until),
        interruption: Interruption::default(),
    });
    let returned = stepping::during(receipt, typing::during(bot, &update, called)).await;
    let done = match returned.outcome {
        RunEnd::Ended(Ok(handled)) => {
            outcome::prepare(bot, receipt, &update, handled, Of::GivenUp).await
        }
        RunEnd::Ended(Err(error)) => Err(error),
        RunEnd::Interrupted => Err(Error::msg("it was interrupted")),
    };
    (returned.grant, done)
}
