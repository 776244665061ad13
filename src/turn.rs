//! One update, from begin to end. Only this file knows the order:
//!
//! ```text
//! begin   take the dialog's lock, learn whether this update was seen, read the state
//! handle  the author's code
//! commit  state + replies + update id + the author's SQL, in one transaction
//! answer  to the platform: from here on nothing can be lost
//! send    the replies, in order; each marked as sent
//! end     give the lock back, with the last mark
//! ```
//!
//! Called by the updaters with [`start`], for each update, in arrival order.
//! Invariants: once begun, a turn runs to its end in a task of its own, whether
//! or not anybody still waits for its answer; nothing leaves the program before
//! the commit; the lock is given back on every path (a dropped
//! [`Grant`](turnkey_storage::Grant) does it). Bounds: `--max-turns` in flight,
//! `--lock-wait`, `--turn-timeout`, [`MAX_RUNS`].

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use turnkey_storage::{Arrival, Begin, Commit, Error as StorageError, Seen, Storage};

use crate::channels::Channels;
use crate::error::Error;
use crate::handler::{AnyHandler, Call, Handled, MAX_REPLIES};
use crate::message::{Outgoing, Reply, Update};
use crate::outbox;
use crate::scoreboard::{Field, Slot};

/// How often a turn that lost its lock is run again before its update is refused.
/// Each loss means that a writer died or this worker was given up for dead.
const MAX_RUNS: u32 = 5;

/// What a worker's turns share.
pub(crate) struct Bot {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) handler: Box<dyn AnyHandler>,
    pub(crate) channels: Channels,
    pub(crate) limits: Limits,
    pub(crate) history: bool,
    /// This worker's counters; `InFlight` is its number of turns.
    pub(crate) slot: Slot,
    /// Bytes of bodies that are being read.
    pub(crate) body_bytes: Cell<usize>,
    /// The worker is leaving: what cannot be sent at once stays in the outbox.
    pub(crate) draining: watch::Receiver<bool>,
}

/// How much and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Turns in flight in a worker; one more is answered "busy".
    pub(crate) turns: usize,
    /// How long an update waits behind earlier ones of its dialog.
    pub(crate) lock_wait: Duration,
    /// How long a handler may take.
    pub(crate) turn_timeout: Duration,
}

/// How a turn ended, for whoever brought the update.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is committed; this is the channel's answer to it.
    Committed(Vec<u8>),
    /// It was committed earlier, with this answer to this digest.
    Seen(Seen),
    /// Not now: too many turns, the lock is taken, the storage is away.
    Busy(String),
    /// The handler failed; nothing was changed.
    Failed,
}

/// Starts a turn in a task of its own. Dropping the receiver cancels nothing.
pub(crate) fn start(bot: &Rc<Bot>, update: Update, arrived: Arrival) -> oneshot::Receiver<Answer> {
    let (sender, receiver) = oneshot::channel();
    let Some(place) = InFlight::enter(bot) else {
        let busy = format!("{} turns are in flight", bot.limits.turns);
        answer(sender, Answer::Busy(busy));
        return receiver;
    };
    tokio::task::spawn_local(async move {
        run(&place.0, update, arrived, sender).await;
        drop(place);
    });
    receiver
}

/// Sends what earlier turns of a dialog left unsent, without a new update: after
/// a crash, when the user stays silent.
pub(crate) async fn resume(bot: &Rc<Bot>, dialog: turnkey_storage::DialogKey) {
    let Some(place) = InFlight::enter(bot) else {
        return;
    };
    let begin = Begin {
        dialog,
        update: None,
        arrived: Arrival::now(),
        wait: bot.limits.lock_wait,
    };
    // An error here is not the end: the next look at the outbox tries again.
    if let Ok(begun) = bot.storage.begin(begin).await
        && let Some(grant) = begun.grant
        && outbox::send(bot, &grant, begun.unsent).await.is_ok()
        && let Err(error) = bot.storage.end(grant, Vec::new()).await
    {
        tracing::warn!("cannot end a resumed turn: {error}");
    }
    drop(place);
}

async fn run(
    bot: &Rc<Bot>,
    mut update: Update,
    arrived: Arrival,
    receipt: oneshot::Sender<Answer>,
) {
    let dialog = update.dialog.clone();
    for _ in 0..MAX_RUNS {
        // begin
        let begin = Begin {
            dialog: dialog.clone(),
            update: Some(update.id.0.clone()),
            arrived,
            wait: bot.limits.lock_wait,
        };
        let begun = match bot.storage.begin(begin).await {
            Ok(begun) => begun,
            Err(error) => return answer(receipt, Answer::Busy(error.to_string())),
        };
        let Some(mut grant) = begun.grant else {
            let seen = begun.seen.unwrap_or_else(|| Seen {
                digest: Vec::new(),
                answer: Vec::new(),
            });
            return answer(receipt, Answer::Seen(seen));
        };

        // An earlier turn was cut off between its commit and its last reply:
        // those replies come first.
        if let Some(seen) = begun.seen {
            answer(receipt, Answer::Seen(seen));
            if outbox::send(bot, &grant, begun.unsent).await.is_ok() {
                end(bot, grant, Vec::new(), &dialog).await;
            }
            return;
        }
        if let Err(error) = outbox::send(bot, &grant, begun.unsent).await {
            let busy = format!("replies of an earlier turn cannot be sent yet: {error}");
            return answer(receipt, Answer::Busy(busy));
        }

        // handle
        let returned = bot
            .handler
            .call(Call {
                update,
                state: begun.state,
                storage: bot.storage.clone(),
                grant,
                timeout: bot.limits.turn_timeout,
            })
            .await;
        update = returned.update;
        grant = returned.grant;
        let handled = match returned.outcome {
            Ok(handled) => handled,
            Err(error) => return fail(bot, &update, receipt, &error),
        };

        // commit
        let plan = match bot.channels.of(&dialog).plan(&update, &handled.replies) {
            Ok(plan) => plan,
            Err(reason) => return fail(bot, &update, receipt, &Error::msg(reason)),
        };
        let platform_answer = plan.answer;
        let outgoing = outgoing(&update, plan.send);
        let commit = match prepare_commit(bot, &update, handled, &outgoing, &platform_answer) {
            Ok(commit) => commit,
            Err(error) => return fail(bot, &update, receipt, &error),
        };
        let ended = commit.end;
        match bot.storage.commit(&mut grant, commit).await {
            Ok(()) => {}
            // The lock was lost, or the same update was handled under another
            // dialog: begin again, and learn.
            Err(StorageError::Stale | StorageError::Seen) => continue,
            Err(StorageError::Statement(reason)) => {
                let error = Error::msg(format!("its SQL failed: {reason}"));
                return fail(bot, &update, receipt, &error);
            }
            Err(error) => return answer(receipt, Answer::Busy(error.to_string())),
        }
        bot.slot.add(Field::Turns, 1);

        // answer
        answer(receipt, Answer::Committed(platform_answer));

        // send, end
        if !ended {
            match outbox::send_new(bot, &grant, outgoing).await {
                Ok(last) => end(bot, grant, last, &dialog).await,
                // They stay in the outbox; the lock goes back.
                Err(error) => tracing::warn!("{dialog}: replies wait in the outbox: {error}"),
            }
        }
        return;
    }
    let busy = format!("the lock was lost {MAX_RUNS} times");
    answer(receipt, Answer::Busy(busy));
}

fn outgoing(update: &Update, replies: Vec<Reply>) -> Vec<Outgoing> {
    let one = |reply| Outgoing {
        to: update.address.clone(),
        update: update.id.0.clone(),
        reply,
    };
    replies.into_iter().map(one).collect()
}

fn prepare_commit(
    bot: &Bot,
    update: &Update,
    handled: Handled,
    outgoing: &[Outgoing],
    platform_answer: &[u8],
) -> crate::Result<Commit> {
    if outgoing.len() > MAX_REPLIES {
        return Err(Error::msg(format!(
            "its replies make {} messages; {MAX_REPLIES} is the limit",
            outgoing.len()
        )));
    }
    let history = if bot.history {
        Some(serde_json::to_string(&serde_json::json!({
            "update_id": update.id.0,
            "text": update.text,
            "replies": handled.replies,
        }))?)
    } else {
        None
    };
    Ok(Commit {
        update: update.id.0.clone(),
        digest: update.digest.clone(),
        answer: platform_answer.to_vec(),
        state: handled.state,
        replies: outgoing
            .iter()
            .map(serde_json::to_string)
            .collect::<Result<_, _>>()?,
        statements: handled.statements,
        history,
        pending: false,
        end: outgoing.is_empty(),
    })
}

fn fail(bot: &Bot, update: &Update, receipt: oneshot::Sender<Answer>, error: &Error) {
    bot.slot.add(Field::Failed, 1);
    tracing::error!("{} update {} failed: {error}", update.dialog, update.id);
    // What went wrong is the author's business, not the sender's: it is in the log.
    answer(receipt, Answer::Failed);
}

async fn end(
    bot: &Bot,
    grant: turnkey_storage::Grant,
    sent: Vec<turnkey_storage::ReplyId>,
    dialog: &turnkey_storage::DialogKey,
) {
    if let Err(error) = bot.storage.end(grant, sent).await {
        // The lock is given back all the same; the mark is not on the disk.
        tracing::warn!("{dialog}: a reply may be sent twice: {error}");
    }
}

/// Whoever brought the update may have hung up: the turn stands all the same.
fn answer(receipt: oneshot::Sender<Answer>, answer: Answer) {
    drop(receipt.send(answer));
}

/// A place among the turns in flight.
struct InFlight(Rc<Bot>);

impl InFlight {
    fn enter(bot: &Rc<Bot>) -> Option<Self> {
        if bot.slot.get(Field::InFlight) >= bot.limits.turns as u64 {
            return None;
        }
        bot.slot.add(Field::InFlight, 1);
        Some(InFlight(bot.clone()))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.slot.subtract(Field::InFlight, 1);
    }
}
