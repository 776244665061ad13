//! Messages that come shortly after each other, as one turn: what
//! [`App::overlap`](crate::App::overlap) says.
//!
//! Called by `turn.rs`. Each of them is in the inbox, answered for, and not due before the
//! dialog has been quiet for the window; whoever runs the first then finds the others behind it,
//! under the dialog's lock, so that no two turns share one. Their ids are remembered with the
//! one commit: all or none. The last attempt is the first's alone: what it fails at does not
//! take its neighbours along. A turn that has kept a step stays as it is, for the last attempt, too:
//! the step's result may be of all of them. Bounds: [`MOST`] messages, [`MOST_BYTES`] of them; the window ends
//! after [`WINDOWS`] times its length for a user who never falls silent.

use std::sync::Arc;
use std::time::Duration;

use turnkey_storage::inbox;
use turnkey_storage::{Change, Fence, Result};

use crate::author::message::Update;
use crate::author::overlap::Overlap;
use crate::turn::context::Bot;
use crate::turn::receipt::{Receipt, may_have_steps, now_ms};

/// Messages of one turn.
const MOST: u32 = 50;

/// Bytes of their rows.
const MOST_BYTES: usize = 4 << 20;

/// A first message waits for so many windows, however often others come behind it.
const WINDOWS: u32 = 10;

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

/// What a turn is given: its update, or what it makes together with those that wait behind it.
/// Called under the dialog's lock, before each attempt.
pub(super) async fn gather(bot: &Bot, receipt: &mut Receipt<'_>) -> Result<Arc<Update>> {
    let update = &receipt.update;
    // Once it has kept a step, none joins that turn and none leaves it.
    let fixed = receipt.together.clone();
    let fixed = fixed.filter(|_| !receipt.steps.is_empty());
    let is_last = receipt.attempts > 1 && receipt.attempts >= bot.limits.attempts;
    let may_have_others = bot.overlap.window(update).is_some();
    let is_alone = match &fixed {
        Some(fixed) => fixed.len() == 1,
        None => is_last || !may_have_others,
    };
    if !receipt.is_accepted() || is_alone {
        let update = update.clone();
        receipt.together = may_have_others.then(|| vec![update.id.0.clone()]);
        return Ok(update);
    }
    let rows = inbox::of_dialog(&*bot.storage, &update.dialog, MOST).await?;
    let mut parts = vec![Update::clone(update)];
    let mut bytes = 0;
    let mut behind = rows.iter().skip_while(|row| row.update != update.id.0);
    behind.next();
    for row in behind {
        bytes += row.body.len();
        let Ok(next) = serde_json::from_slice::<Update>(&row.body) else {
            break; // It is buried in its turn.
        };
        let joins = match (&fixed, parts.last()) {
            (Some(fixed), _) => fixed.contains(&next.id.0),
            // One that has a turn behind it may have steps of its own.
            (None, Some(last)) => !may_have_steps(row) && bot.overlap.joins(last, &next),
            (None, None) => false,
        };
        if !joins || bytes > MOST_BYTES {
            break;
        }
        parts.push(next);
    }
    if fixed.is_none() {
        receipt.together = Some(parts.iter().map(|part| part.id.0.clone()).collect());
    }
    let update = &receipt.update;
    Ok(match (parts.len(), bot.overlap) {
        (1, _) => update.clone(),
        (_, Overlap::Latest) => Arc::new(Update::newest(parts)),
        _ => Arc::new(Update::together(parts)),
    })
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
