//! One update, from begin to end. Only this file knows the order:
//!
//! ```text
//! begin   take the dialog's lock, learn whether this update was seen, read the state
//!         (an older update that a dead worker left in the inbox comes first)
//! handle  the author's code; after a failure again, with growing pauses
//! commit  state + replies + update id + the author's SQL, in one transaction
//! answer  to the platform: from here on nothing can be lost
//! send    the replies, in order; each marked as sent
//! end     give the lock back, with the last mark
//! ```
//!
//! A turn that takes longer than `--ack-after` is answered early, once the update is in the
//! inbox (`receipt.rs`); the order stays. Attempts and their end are in `attempts.rs` and
//! `giving_up.rs`.
//!
//! Called by the updaters with [`start`], for each update, in arrival order. Invariants: once
//! begun, a turn runs to its end in a task of its own, whether or not anybody still waits for
//! its answer; nothing leaves the program before the commit; the lock is given back on every
//! path (a dropped [`Grant`](turnkey_storage::Grant) does it). Bounds: `--max-turns` in flight,
//! `--lock-wait` for updates that are not yet accepted, `--turn-timeout`, [`MAX_RUNS`].

use std::collections::BTreeSet;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use turnkey_storage::inbox::{self, Pending};
use turnkey_storage::timers::{self, Timer};
use turnkey_storage::{Arrival, Begin, Begun, DialogKey, Error as StorageError};

use crate::author::error::Error;
use crate::author::message::{Kind, Update};
use crate::author::newer::Newer;
use crate::author::user_lock::Held;
use crate::channels::SendError;
use crate::handlers::{Call, RunEnd};
use crate::shared::scoreboard::Field;
use crate::turn::attempts::{Attempts, Next};
use crate::turn::context::{ACCEPTED_WAIT, Bot, InFlight};
use crate::turn::giving_up::{self, End};
use crate::turn::outcome::{self, Of};
use crate::turn::receipt::{Answer, Receipt, WaitsFor};
use crate::turn::{
    asking, gathering, inherited, meeting, relay, riding, send, stepping, ticking, timing, told,
    typing,
};

/// How often a turn that lost its lock is run again before its update is refused.
/// Each loss means that a writer died or this worker was given up for dead.
const MAX_RUNS: u32 = 5;

/// Dialogs that a turn said something to, and whose turns begin at once; `recovery.rs` finds the
/// others. New updates must not lack their places.
const OTHERS: usize = 16;

/// What whoever waits is told when an older update is not done yet.
const BEHIND: &str = "an earlier update of this user takes long";

/// Starts a turn in a task of its own. The answer comes with the commit, or, should that
/// take longer than `--ack-after`, once the update is in the inbox: it is ours then, and
/// need not be sent again. Where the channel's caller wants the turn's own answer, it
/// comes with the commit in any case. Dropping the receiver cancels nothing.
pub(crate) fn start(
    bot: &Rc<Bot>,
    update: impl Into<Arc<Update>>,
    arrived: Arrival,
) -> oneshot::Receiver<Answer> {
    let update = update.into();
    let waits_for = match bot.channels.of(&update.dialog).waits_for_answer() {
        true => WaitsFor::Answer,
        false => WaitsFor::Commit,
    };
    start_for(bot, update, arrived, waits_for)
}

/// As [`start`], for whoever waits for the turn's own answer or for the row only,
/// whatever the channel is.
pub(crate) fn start_for(
    bot: &Rc<Bot>,
    update: impl Into<Arc<Update>>,
    arrived: Arrival,
    waits_for: WaitsFor,
) -> oneshot::Receiver<Answer> {
    let update = update.into();
    let (sender, receiver) = oneshot::channel();
    let Some(place) = InFlight::enter(bot) else {
        let busy = Answer::Busy(format!("{} turns are in flight", bot.limits.turns));
        drop(sender.send(busy));
        return receiver;
    };
    // Boxed: a task is copied as a whole when it begins and when it ends.
    tokio::task::spawn_local(Box::pin(async move {
        let bot = &place.0;
        let plain = match waits_for {
            WaitsFor::Answer => Vec::new(),
            _ => bot.channels.of(&update.dialog).accepted(&update),
        };
        if let Some(answer) = without_a_turn(bot, &update, arrived).await {
            drop(sender.send(answer));
            return;
        }
        let window = match waits_for {
            WaitsFor::Commit | WaitsFor::Row => gathering::window(bot, &update).await,
            WaitsFor::Answer => None,
        };
        let mut receipt = Receipt::new(&bot.inbox, update, arrived, plain, waits_for, sender);
        if let Some(window) = window {
            let dialog = receipt.update.dialog.clone();
            let is_kept = Box::pin(gathering::keep(bot, &mut receipt, window)).await;
            drop(receipt);
            let bot = bot.clone();
            drop(place);
            if is_kept && bot.inbox.sleep(window).await {
                resume(&bot, dialog).await;
            }
            return;
        }
        if waits_for == WaitsFor::Row {
            receipt.accept().await;
        }
        if !receipt.is_refused() {
            // Not around `run` itself: what runs an older update of the same dialog there
            // has the lock already.
            let dialog = receipt.update.dialog.clone();
            match receipt.wait(user_lock(bot, &dialog)).await {
                Some(Ok(held)) => {
                    run(bot, &mut receipt).await;
                    drop(held);
                }
                Some(Err(reason)) => receipt.answer(Answer::Busy(reason)),
                None => {}
            }
        }
        drop(receipt);
        drop(place);
    }));
    receiver
}

/// The answer to what is no handler's business: a kind of update that the author does not
/// want, and what cannot be read.
async fn without_a_turn(bot: &Bot, update: &Update, arrived: Arrival) -> Option<Answer> {
    if let Err(error) = inherited::note_move(&*bot.storage, update).await {
        return Some(Answer::Busy(told::of_storage(&error)));
    }
    match update.kind {
        Kind::Unreadable if !attempts(bot).bury_unread(update, arrived).await => {
            return Some(Answer::Busy("the storage is away".to_owned()));
        }
        Kind::Unreadable => {}
        kind if !bot.hears.hears(kind) && !asking::is_press(update) => {
            let unheard = bot.slot.unheard();
            if unheard.get(kind as usize) == 0 {
                tracing::info!(
                    "{}: updates of kind {:?}, such as {:?}, are not heard by the handler, and only \
                     counted (said once)",
                    update.dialog.channel,
                    kind.name(),
                    update.event.chars().take(64).collect::<String>()
                );
            }
            unheard.add(kind as usize);
            note_update(bot, update, arrived);
        }
        _ => return None,
    }
    let channel = bot.channels.of(&update.dialog);
    Some(Answer::Accepted(channel.unheard(update)))
}

/// Counts a turn by its kind and channel.
fn tally(bot: &Bot, update: &Update, arrived: Arrival) {
    let channel = note_update(bot, update, arrived);
    bot.slot.tallies().count(update.kind as usize, channel);
}

/// An update of this channel came; the channel's number.
fn note_update(bot: &Bot, update: &Update, arrived: Arrival) -> usize {
    let pace = bot.channels.outlet(&update.dialog).pace;
    if !matches!(update.kind, Kind::Timer | Kind::Relayed) {
        pace.note_update(u64::try_from(arrived.unix_us() / 1000).unwrap_or_default());
    }
    pace.number()
}

/// Takes the author's lock, if there is one. It is given back when it is dropped.
async fn user_lock(bot: &Bot, dialog: &DialogKey) -> Result<Option<Box<dyn Held>>, String> {
    let Some(lock) = &bot.user_lock else {
        return Ok(None);
    };
    match tokio::time::timeout(bot.limits.lock_wait, lock.acquire(dialog)).await {
        Ok(Ok(held)) => Ok(Some(held)),
        Ok(Err(error)) => Err(told::of_user_lock(&error)),
        Err(_) => Err("the user lock is taken".to_owned()),
    }
}

/// Of timers that were set, those that are due before somebody looks for them fire from here. A
/// worker that leaves meanwhile leaves them to the next look.
fn fire_soon(bot: &Rc<Bot>, set: Vec<Timer>) {
    for timer in set {
        let Some(left) = timing::soon(&timer) else {
            continue;
        };
        let bot = bot.clone();
        tokio::task::spawn_local(async move {
            let is_due = bot.inbox.sleep(left).await;
            let one = std::slice::from_ref(&timer);
            if is_due && timers::fire(&*bot.storage, one).await == Ok(1) {
                run_fired(&bot, timer.dialog, &timer.update).await;
            }
        });
    }
}

/// Begins the turns of these dialogs, whose updates are in the inbox.
fn resume_soon(bot: &Rc<Bot>, dialogs: impl IntoIterator<Item = DialogKey>) {
    for dialog in dialogs {
        let bot = bot.clone();
        tokio::task::spawn_local(async move { resume(&bot, dialog).await });
    }
}

/// Does what earlier turns of a dialog left, without a new update: after a crash, when
/// the user stays silent. Replies that were not sent, then updates in the inbox. Should
/// the platform's limits not allow it yet, the result says when they will.
pub(crate) async fn resume(bot: &Rc<Bot>, dialog: DialogKey) -> Option<Duration> {
    let place = InFlight::enter(bot)?;
    let held = user_lock(bot, &dialog).await.ok()?;
    let left = do_what_is_left(bot, dialog).await;
    drop((held, place));
    left
}

/// As [`resume`], for an update that was put into the inbox just now: where it is alone there, its
/// turn takes two calls of the storage instead of six.
pub(crate) async fn run_fired(bot: &Rc<Bot>, dialog: DialogKey, update: &str) {
    let Ok(mut rows) = inbox::of_dialog(&*bot.storage, &dialog, 2).await else {
        return; // `recovery.rs` finds it.
    };
    let alone = rows.len() == 1 && rows[0].update == update && rows[0].attempts == 0;
    let Some(row) = rows.pop().filter(|_| alone) else {
        resume(bot, dialog).await;
        return;
    };
    let Some(place) = InFlight::enter(bot) else {
        return;
    };
    let Ok(held) = user_lock(bot, &dialog).await else {
        return;
    };
    if !*bot.draining.borrow() {
        run_row(bot, row, Found::Fresh).await;
    }
    drop((held, place));
}

async fn do_what_is_left(bot: &Rc<Bot>, dialog: DialogKey) -> Option<Duration> {
    loop {
        let begin = Begin {
            dialog: dialog.clone(),
            update: None,
            arrived: Arrival::now(),
            wait: bot.limits.lock_wait,
        };
        // An error here is not the end: the next look tries again.
        let Ok(Begun::Granted(begun)) = bot.storage.begin(begin).await else {
            return None;
        };
        let grant = begun.grant;
        match send::send(bot, &grant, begun.unsent).await {
            Ok(()) => {}
            Err(SendError::Retry { after, .. }) => return after,
            Err(_) => return None,
        }
        if let Err(error) = bot.storage.end(grant, Vec::new()).await {
            tracing::warn!("cannot end a resumed turn: {error}");
        }
        let row = begun.earlier?;
        if !row.pause().is_zero() || *bot.draining.borrow() || !run_row(bot, row, Found::Left).await
        {
            return None;
        }
    }
}

/// An update in the inbox.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Whoever began it is gone, perhaps because of it: its attempt is counted before it runs.
    Left,
    /// It was put there just now.
    Fresh,
}

/// Runs an update of the inbox, once it is due. False: it is still there.
fn run_row<'a>(
    bot: &'a Rc<Bot>,
    row: Pending,
    found: Found,
) -> Pin<Box<dyn Future<Output = bool> + 'a>> {
    Box::pin(async move {
        let mut update: Update = match serde_json::from_slice(&row.body) {
            Ok(update) => update,
            Err(error) => return attempts(bot).bury_unreadable(row, &error.to_string()).await,
        };
        if update.kind == Kind::Unreadable {
            return attempts(bot).bury_unreadable(row, &update.text).await;
        }
        if update.kind == Kind::Timer {
            ticking::arrived(&mut update, &row);
        }
        let pause = row.pause();
        let mut receipt = Receipt::recovered(&bot.inbox, Arc::new(update), row);
        receipt.is_recovered = found == Found::Left;
        if !bot.inbox.sleep(pause).await {
            return false;
        }
        run(bot, &mut receipt).await;
        !receipt.is_accepted()
    })
}

fn attempts(bot: &Bot) -> Attempts<'_> {
    Attempts {
        inbox: &bot.inbox,
        channels: &bot.channels,
        most: bot.limits.attempts,
    }
}

/// What few turns need is boxed: each turn's task has room for all that is not.
async fn run(bot: &Rc<Bot>, receipt: &mut Receipt<'_>) {
    let update = receipt.update.clone();
    let dialog = &update.dialog;
    let attempts = attempts(bot);
    let patience = Instant::now() + bot.limits.lock_wait;
    let mut losses = 0;
    let mut interruptions = 0;
    'begin: while losses < MAX_RUNS {
        // begin
        let was_accepted = receipt.is_accepted();
        let begin = Begin {
            dialog: dialog.clone(),
            update: Some(update.id.0.clone()),
            arrived: receipt.arrived,
            wait: match was_accepted {
                true => ACCEPTED_WAIT,
                false => bot.limits.lock_wait,
            },
        };
        let begun = match receipt.wait(bot.storage.begin(begin)).await {
            Some(Ok(Begun::Granted(granted))) => granted,
            Some(Ok(Begun::Seen(seen))) => {
                let rode = riding::rode(bot, receipt, &seen);
                receipt.answer(Answer::Seen(seen));
                if Box::pin(riding::send_what_rode(bot, dialog, rode)).await {
                    attempts.take_out(receipt).await;
                }
                return;
            }
            // It was accepted while it waited: from now on it has more patience.
            Some(Err(StorageError::Busy(_))) if receipt.is_accepted() && !was_accepted => continue,
            Some(Err(error)) => return receipt.answer(Answer::Busy(told::of_storage(&error))),
            None => return,
        };
        let mut grant = begun.grant;

        // An earlier turn was cut off between its commit and its last reply:
        // those replies come first.
        if let Some(seen) = begun.seen {
            let rode = riding::rode(bot, receipt, &seen);
            receipt.answer(Answer::Seen(seen));
            let sent = Box::pin(send::send(bot, &grant, begun.unsent));
            if sent.await.is_ok() {
                send::end(bot, grant, Vec::new(), dialog).await;
            }
            if Box::pin(riding::send_what_rode(bot, dialog, rode)).await {
                attempts.take_out(receipt).await;
            }
            return;
        }

        // An older update is in the inbox, and whoever accepted it is gone: it comes
        // first, as a turn of its own.
        if let Some(row) = begun.earlier {
            drop(grant);
            if !receipt
                .behind(patience, run_row(bot, row, Found::Left))
                .await
            {
                return receipt.answer(Answer::Busy(BEHIND.to_owned()));
            }
            continue;
        }
        if !begun.unsent.is_empty() {
            let sending = Box::pin(send::send(bot, &grant, begun.unsent));
            if let Err(error) = receipt.during(sending).await {
                return receipt.answer(Answer::Busy(told::of_replies(&error)));
            }
        }

        // handle
        let mut state = begun.state;
        let is_new = state.is_none();
        if is_new {
            match inherited::state(bot, &update).await {
                Ok(inherited) => state = inherited,
                Err(error) => return receipt.answer(Answer::Busy(told::of_storage(&error))),
            }
        }
        let (outgoing, platform_answer, others, set) = 'attempt: loop {
            let why = 'failed: {
                match attempts.start(receipt).await {
                    Next::Attempt => {}
                    Next::GiveUp(why) => break 'failed why,
                    Next::Over => return,
                }
                if let Err(error) = stepping::read(bot, receipt).await {
                    return receipt.answer(Answer::Busy(told::of_storage(&error)));
                }
                let gathered = match gathering::gather(bot, receipt).await {
                    Ok(gathered) => gathered,
                    Err(error) => return receipt.answer(Answer::Busy(told::of_storage(&error))),
                };
                let heard = &gathered.heard;
                let returned = match heard.kind {
                    Kind::Relayed => relay::handled(heard, state, grant),
                    Kind::Button if asking::is_press(heard) => {
                        let handled = Box::pin(asking::handled(bot, heard, state, grant));
                        let (returned, asker) = handled.await;
                        // Its answer is in the inbox.
                        resume_soon(bot, asker);
                        returned
                    }
                    _ => {
                        let until = Instant::now() + bot.limits.turn_timeout;
                        let newer = Newer::new(bot.inbox.arrivals, until);
                        let handled = bot.handler.call(Call {
                            update: heard.clone(),
                            attempt: receipt.attempts,
                            is_last_attempt: receipt.attempts >= bot.limits.attempts,
                            given_up: None,
                            state,
                            storage: bot.storage.clone(),
                            grant,
                            timeout: bot.limits.turn_timeout,
                            platform: bot.channels.clone(),
                            steps: receipt.steps.clone(),
                            newer,
                            interruption: gathering::interruption(
                                bot,
                                receipt,
                                &gathered,
                                newer,
                                interruptions,
                            ),
                        });
                        stepping::during(receipt, typing::during(bot, heard, handled)).await
                    }
                };
                state = returned.state;
                grant = returned.grant;
                // It knows it before its commit does: the update is done. Begin again, and learn.
                if std::mem::take(&mut receipt.is_overtaken) {
                    attempts.undo(receipt);
                    losses += 1;
                    continue 'begin;
                }

                // commit
                let prepared = match returned.outcome {
                    RunEnd::Ended(Ok(handled)) => {
                        outcome::prepare(bot, receipt, heard, handled, Of::Handler).await
                    }
                    // It ended with the worker: its update is left to the next start.
                    RunEnd::Ended(Err(_)) if receipt.is_uncharged => return,
                    RunEnd::Ended(Err(error)) => Err(error),
                    RunEnd::Interrupted => {
                        gathering::interrupted(heard, interruptions);
                        attempts.undo(receipt);
                        interruptions += 1;
                        continue 'attempt;
                    }
                };
                let error = match prepared {
                    Ok((mut commit, outgoing, set)) => {
                        let gathered = gathering::handled(bot, heard, grant.fence());
                        commit.changes.extend(gathered);
                        commit.changes.extend(stepping::forgotten(receipt));
                        let met = meeting::of(bot, heard, is_new).map(|(who, changes)| {
                            commit.changes.extend(changes);
                            who
                        });
                        let answer = commit.answer.clone();
                        let others: BTreeSet<_> =
                            commit.relays.iter().map(|row| row.dialog.clone()).collect();
                        match bot.storage.commit(&mut grant, commit).await {
                            Ok(()) => {
                                meeting::kept(bot, met);
                                bot.slot.add(Field::Turns, 1);
                                tally(bot, &receipt.update, receipt.arrived);
                                bot.slot.histogram().record(receipt.age());
                                break 'attempt (outgoing, answer, others, set);
                            }
                            // The lock was lost, or the same update was handled under
                            // another dialog: begin again, and learn.
                            Err(StorageError::Stale | StorageError::Seen) => {
                                attempts.undo(receipt);
                                losses += 1;
                                continue 'begin;
                            }
                            Err(StorageError::Statement(reason)) => {
                                Error::msg(format!("its SQL failed: {reason}"))
                            }
                            Err(error) => {
                                return receipt.answer(Answer::Busy(told::of_storage(&error)));
                            }
                        }
                    }
                    Err(error) => error,
                };
                bot.slot.add(Field::Failed, 1);
                match attempts.failed(receipt, &error).await {
                    Next::Attempt => continue 'attempt,
                    Next::GiveUp(why) => why,
                    Next::Over => return,
                }
            };
            // It is given up, and its user may be told.
            let given_up = giving_up::give_up(bot, attempts, receipt, (state, grant), &why);
            match Box::pin(given_up).await {
                End::Told(held, left) => {
                    grant = held;
                    break left;
                }
                End::Over => return,
                End::LockLost => {
                    losses += 1;
                    continue 'begin;
                }
            }
        };
        receipt.settled();

        // answer
        receipt.answer(Answer::Committed(platform_answer));

        fire_soon(bot, set);
        // What was said to others is in the inbox: their turns are due.
        resume_soon(bot, others.into_iter().take(OTHERS));

        // send, end
        if !outgoing.is_empty() {
            let replies = outgoing.len() as u64;
            bot.slot.add(Field::Sending, replies);
            match Box::pin(send::send_new(bot, &grant, outgoing)).await {
                Ok(last) => send::end(bot, grant, last, dialog).await,
                // They stay in the outbox; the lock goes back.
                Err(error) => tracing::warn!("{dialog}: replies wait in the outbox: {error}"),
            }
            bot.slot.subtract(Field::Sending, replies);
        }
        return;
    }
    receipt.answer(Answer::Busy(format!("the lock was lost {MAX_RUNS} times")));
}
