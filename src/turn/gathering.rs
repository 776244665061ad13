//! Messages that come shortly after each other, as one turn: what
//! [`App::overlap`](crate::App::overlap) says.
//!
//! Called by `turn.rs`. Each of them is in the inbox, answered for, and not due before the
//! dialog has been quiet for the window; whoever runs the first then finds the others behind it,
//! under the dialog's lock, so that no two turns share one. Their ids are remembered with the
//! one commit: all or none. The last attempt is the first's alone: what it fails at does not
//! take its neighbours along. Bounds: [`MOST`] messages, [`MOST_BYTES`] of them; the window ends
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
    let is_last = receipt.attempts > 1 && receipt.attempts >= bot.limits.attempts;
    if !receipt.is_accepted() || is_last || bot.overlap.window(update).is_none() {
        return Ok(update.clone());
    }
    let rows = inbox::of_dialog(&*bot.storage, &update.dialog, MOST).await?;
    let mut parts = vec![Update::clone(update)];
    let (mut bytes, mut has_steps) = (0, false);
    let mut behind = rows.iter().skip_while(|row| row.update != update.id.0);
    behind.next();
    for row in behind {
        bytes += row.body.len();
        let Ok(next) = serde_json::from_slice::<Update>(&row.body) else {
            break; // It is buried in its turn.
        };
        let joins = parts
            .last()
            .is_some_and(|last| bot.overlap.joins(last, &next));
        if !joins || bytes > MOST_BYTES {
            break;
        }
        has_steps |= may_have_steps(row);
        parts.push(next);
    }
    receipt.may_have_steps |= has_steps;
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
