//! Messages that come shortly after each other, as one turn: what
//! [`App::overlap`](crate::App::overlap) says.
//!
//! Called by `turn.rs`. Each of them is in the inbox, answered for, and not due before the
//! dialog has been quiet for the window; whoever runs the first then finds the others behind it,
//! under the dialog's lock, so that no two turns share one. Their ids are remembered with the
//! one commit: all or none. The last attempt is the first's alone: what it fails at does not
//! take its neighbours along. A turn that has kept a step stays as it is, for the last attempt, too:
//! the step's result may be of all of them. With [`Overlap::Interrupt`] a turn is run again with
//! what came while its handler ran, unless that has begun a step; the run has no effect then, and
//! its lock is kept, so that it counts how often that was. Bounds: [`MOST`] messages,
//! [`MOST_BYTES`] of them; the window ends after [`WINDOWS`] times its length for a user who never
//! falls silent; [`INTERRUPTIONS`].

use std::sync::Arc;
use std::time::Duration;

use turnkey_storage::inbox::{self, Pending};
use turnkey_storage::{Change, Fence, Result, overlaps};

use crate::author::message::{DialogKey, Kind, Update};
use crate::author::newer::Newer;
use crate::author::overlap::{Overlap, OverlapChange};
use crate::handlers::Interruption;
use crate::turn::context::Bot;
use crate::turn::receipt::{Receipt, may_have_steps, now_ms};

/// Messages of one turn.
const MOST: u32 = 50;

/// Bytes of their rows.
const MOST_BYTES: usize = 4 << 20;

/// A first message waits for so many windows, however often others come behind it.
const WINDOWS: u32 = 10;

/// Runs of a handler in a row that newer messages end; the next one is left to end.
const INTERRUPTIONS: u32 = 10;

/// Takes a message into the inbox and answers; its turn is due after the window, and so are
/// those of the messages that wait already. Whether it is in there.
pub(super) async fn keep(bot: &Bot, receipt: &mut Receipt<'_>, window: Duration) -> bool {
    let now = now_ms();
    receipt.due = now + window.as_millis() as i64;
    receipt.accept().await;
    if receipt.is_accepted() && !window.is_zero() {
        let dialog = &receipt.update.dialog;
        let since = now - (window * WINDOWS).as_millis() as i64;
        let put_off = inbox::put_off(&*bot.storage, dialog, since, now, receipt.due);
        if let Err(error) = put_off.await {
            tracing::warn!("{dialog}: a message's turn may begin without the next: {error}");
        }
    }
    receipt.is_accepted()
}

/// How long an update that came in waits for others; none if it has a turn of its own.
pub(super) async fn window(bot: &Bot, update: &Update) -> Option<Duration> {
    if update.kind != Kind::Message {
        return None;
    }
    let overlap = match overlap_of(bot, &update.dialog).await {
        Ok(overlap) => overlap,
        Err(error) => {
            let dialog = &update.dialog;
            tracing::debug!("{dialog}: cannot look for an overlap of its own: {error}");
            bot.overlap.on(&dialog.channel)
        }
    };
    overlap.window(update)
}

/// The dialog's own if its handler has said so, else its channel's.
async fn overlap_of(bot: &Bot, dialog: &DialogKey) -> Result<Overlap> {
    if bot.inbox.arrivals.has_own_overlaps()
        && let Some(word) = overlaps::of(&*bot.storage, dialog).await?
        // Another version may have words that this one does not know.
        && let Some(own) = Overlap::named(&word)
    {
        return Ok(own);
    }
    Ok(bot.overlap.on(&dialog.channel))
}

/// What changes with the commit of a turn that says this of its dialog.
pub(super) fn changes(bot: &Bot, dialog: &DialogKey, said: OverlapChange) -> Vec<Change> {
    match said {
        OverlapChange::Forget => vec![overlaps::forget(dialog)],
        OverlapChange::Set(overlap) => {
            // Before it holds: whoever comes after the commit looks.
            bot.inbox.arrivals.note_own_overlaps();
            overlaps::set(dialog, &overlap.to_string()).into()
        }
    }
}

/// Notes whether dialogs have their own: those that were there at the start, and those that
/// another box has made. The storage may be away: then the next look tells.
pub(super) async fn look_for_own(bot: &Bot) {
    let arrivals = bot.inbox.arrivals;
    if !arrivals.has_own_overlaps() && overlaps::any(&*bot.storage).await == Ok(true) {
        arrivals.note_own_overlaps();
    }
}

/// What a turn is given.
pub(super) struct Gathered {
    /// Its update, or what it makes together with those that wait behind it.
    pub(super) heard: Arc<Update>,
    /// A newer message may end the handler's run.
    is_interrupted: bool,
    /// The count of arrivals from before the inbox was looked at.
    seen: u64,
}

/// What a turn is given now. Called under the dialog's lock, before each attempt.
pub(super) async fn gather(bot: &Bot, receipt: &mut Receipt<'_>) -> Result<Gathered> {
    let update = receipt.update.clone();
    receipt.steps.begin_attempt();
    // Once it has kept a step, none joins that turn and none leaves it.
    let fixed = receipt.together.clone();
    let fixed = fixed.filter(|_| !receipt.steps.is_empty());
    let is_last = receipt.attempts > 1 && receipt.attempts >= bot.limits.attempts;
    let overlap = match update.kind {
        Kind::Message => overlap_of(bot, &update.dialog).await?,
        _ => Overlap::Each,
    };
    let may_have_others = overlap.window(&update).is_some();
    let is_alone = match &fixed {
        Some(fixed) => fixed.len() == 1,
        None => is_last || !may_have_others,
    };
    if !receipt.is_accepted() || is_alone {
        receipt.together = may_have_others.then(|| vec![update.id.0.clone()]);
        return Ok(Gathered {
            heard: update,
            is_interrupted: false,
            seen: 0,
        });
    }
    let seen = bot.inbox.arrivals.count(&update.dialog);
    let rows = inbox::of_dialog(&*bot.storage, &update.dialog, MOST).await?;
    let parts = parts(overlap, &update, &rows, fixed.as_deref());
    let is_interrupted = overlap == Overlap::Interrupt && fixed.is_none();
    if fixed.is_none() {
        receipt.together = Some(parts.iter().map(|part| part.id.0.clone()).collect());
    }
    Ok(Gathered {
        heard: match (parts.len(), overlap) {
            (1, _) => update,
            (_, Overlap::Latest) => Arc::new(Update::newest(parts)),
            _ => Arc::new(Update::together(parts)),
        },
        is_interrupted,
        seen,
    })
}

/// An update and those that wait behind it and belong to it, of the rows of its dialog; of a
/// turn that is `fixed`, those with these ids.
fn parts(
    overlap: Overlap,
    update: &Update,
    rows: &[Pending],
    fixed: Option<&[String]>,
) -> Vec<Update> {
    let mut parts = vec![update.clone()];
    let mut bytes = 0;
    let mut behind = rows.iter().skip_while(|row| row.update != update.id.0);
    behind.next();
    for row in behind {
        bytes += row.body.len();
        let Ok(next) = serde_json::from_slice::<Update>(&row.body) else {
            break; // It is buried in its turn.
        };
        let joins = match (fixed, parts.last()) {
            (Some(fixed), _) => fixed.contains(&next.id.0),
            // One that has a turn behind it may have steps of its own.
            (None, Some(last)) => !may_have_steps(row) && overlap.joins(last, &next),
            (None, None) => false,
        };
        if !joins || bytes > MOST_BYTES {
            break;
        }
        parts.push(next);
    }
    parts
}

/// What ends a handler's run before its end: one more message that belongs to what it has.
/// `before` is how many of its runs ended so.
pub(super) fn interruption(
    bot: &Bot,
    receipt: &Receipt<'_>,
    gathered: &Gathered,
    newer: Newer,
    before: u32,
) -> Interruption {
    if !gathered.is_interrupted || before >= INTERRUPTIONS {
        return Interruption::default();
    }
    let (storage, first) = (bot.storage.clone(), receipt.update.clone());
    let (seen, had) = (gathered.seen, gathered.heard.updates().len());
    let steps = receipt.steps.clone();
    Interruption::new(async move {
        let is_there = async || {
            let rows = inbox::of_dialog(&*storage, &first.dialog, MOST).await?;
            let has_more = parts(Overlap::Interrupt, &first, &rows, None).len() > had;
            // What is paid for stays what it was paid for.
            Ok(has_more && !steps.hold_it())
        };
        newer.until_there(&first, Some(seen), is_there).await;
    })
}

/// Says that a run of a handler was ended so.
pub(super) fn interrupted(heard: &Update, before: u32) {
    let (dialog, parts) = (&heard.dialog, heard.updates().len());
    tracing::debug!(
        "{dialog}: the run of {parts} messages is interrupted by a newer one ({} of {INTERRUPTIONS})",
        before + 1
    );
}

/// What a turn's commit changes for those that it took along: all but its own update.
pub(super) fn handled(bot: &Bot, heard: &Update, fence: Fence) -> Vec<Change> {
    let handled = |update: &Update| {
        let answer = bot.channels.of(&update.dialog).accepted(update);
        inbox::handled(&update.dialog, &update.id.0, fence, &update.digest, &answer)
    };
    let along = heard.updates().iter().skip(1);
    along.flat_map(handled).collect()
}
