//! A user who cannot be reached any more is an event: a turn of [`Kind::Left`] of their dialog.
//!
//! Called by `send.rs` when a platform says so of a reply. The update enters the inbox, so it has
//! the dialog's order and comes after the replies that are on their way. Invariant: what such a
//! turn says makes no further one, however often it is refused. Bound: one for each turn.

use turnkey_storage::inbox::{self, Pending};
use turnkey_storage::{DialogKey, clock};

use crate::author::message::{Kind, Outgoing, Update};
use crate::author::turn::UNREACHABLE;
use crate::turn::context::Bot;

/// How the ids of these updates begin; no platform's do.
const PREFIX: &str = "left:";

/// Notes that nothing reaches this dialog any more, if its handler hears of that.
///
/// # Errors
/// The storage is away.
pub(super) async fn note(
    bot: &Bot,
    dialog: &DialogKey,
    outgoing: &Outgoing,
    reason: &str,
) -> turnkey_storage::Result<()> {
    if !bot.hears.hears(Kind::Left) || outgoing.update.starts_with(PREFIX) {
        return Ok(());
    }
    let id = crate::turn::relay::bounded(PREFIX, &outgoing.update);
    let update = Update {
        kind: Kind::Left,
        event: UNREACHABLE.to_owned(),
        address: outgoing.to.clone(),
        within: outgoing.within.clone(),
        ..Update::new(dialog.clone(), id, reason, bytes::Bytes::new())
    };
    let Ok(body) = serde_json::to_vec(&update) else {
        return Ok(());
    };
    let row = Pending {
        dialog: dialog.clone(),
        update: update.id.0,
        arrived: clock::now_us(),
        body,
        attempts: 0,
        due: 0,
        error: None,
    };
    inbox::relay(&*bot.storage, &[row]).await.map(drop)
}
