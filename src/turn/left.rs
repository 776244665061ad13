//! A user who cannot be reached any more is an event: a turn of [`Kind::Left`] of their dialog.
//!
//! Called by `send.rs` when a platform says so of a reply. The update enters the inbox, so it has
//! the dialog's order and comes after the replies that are on their way. Invariant: what such a
//! turn says makes no further one, however often it is refused, nor does what it says to other
//! dialogs: two that cannot be reached would tell each other so for ever. Bound: one for each
//! turn.

use turnkey_storage::{DialogKey, inbox};

use crate::author::message::{Chat, ChatKind, Kind, Outgoing, Update};
use crate::author::turn::UNREACHABLE;
use crate::turn::context::Bot;
use crate::turn::receipt::row_of;

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
    if !bot.hears.hears(Kind::Left) || is_of_such_a_turn(&outgoing.update) {
        return Ok(());
    }
    let id = crate::turn::relay::bounded(PREFIX, &outgoing.update);
    // In a group the key is `USER@CHAT`.
    let user = dialog.user_id.strip_suffix(&outgoing.to);
    let user = user.and_then(|user| user.strip_suffix('@'));
    let chat = |_| Chat {
        id: outgoing.to.clone(),
        kind: ChatKind::Group,
        ..Chat::default()
    };
    let update = Update {
        kind: Kind::Left,
        user: user.unwrap_or_default().to_owned(),
        chat: user.map(chat),
        event: UNREACHABLE.to_owned(),
        address: outgoing.to.clone(),
        within: outgoing.within.clone(),
        ..Update::new(dialog.clone(), id, reason, bytes::Bytes::new())
    };
    // Such an update can always be written.
    let Ok(row) = row_of(&update) else {
        return Ok(());
    };
    inbox::relay(&*bot.storage, &[row]).await.map(drop)
}

/// Whether a reply was said by a turn of ours, or by one that such a turn said something to: its
/// id stands in that of the relayed update (`relay.rs`).
fn is_of_such_a_turn(update: &str) -> bool {
    update.starts_with(PREFIX) || update.contains(":left:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_such_a_turn_says_to_others_is_known() {
        let left = crate::turn::relay::bounded(PREFIX, "12");
        let relayed = format!("{}telegram:{left}:0", crate::turn::relay::PREFIX);
        for ours in [left.as_str(), relayed.as_str()] {
            assert!(is_of_such_a_turn(ours), "{ours}");
        }
        for other in ["12", "relay:telegram:12:0", "broadcast:7:42", ""] {
            assert!(!is_of_such_a_turn(other), "{other}");
        }
    }
}
