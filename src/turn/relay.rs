//! What one dialog says to another: `Turn::send_to`, `turnkey send`, broadcasts.
//!
//! It is an update of the other dialog, [`Kind::Relayed`], which enters the inbox with the
//! commit of the turn that says it. So it has that dialog's order, attempts, dead letters and
//! once-only like any other update; its turn calls no handler, and its replies are the one
//! that was relayed. Called by `outcome.rs` when a turn says it, by `turn.rs` when it is due,
//! and by the commands. Bound: those of replies of one turn.

use sha2::{Digest, Sha256};
use turnkey_storage::clock::now_us;
use turnkey_storage::inbox::Pending;
use turnkey_storage::{DialogKey, Grant};

use crate::author::error::{Error, Result};
use crate::author::message::{Action, Kind, MAX_UPDATE_ID, MAX_USER_ID, Reply, Target, Update};
use crate::author::turn::MAX_REPLIES;
use crate::channels::Channels;
use crate::handlers::{Handled, Returned, RunEnd};
use crate::turn::names;
use crate::turn::receipt::row_of;

/// How the ids of these updates begin; no platform's do.
pub(crate) const PREFIX: &str = "relay:";

/// A state that nobody has written yet: each kind of handler reads it as a new user's.
const NO_STATE: &str = "null";

/// Why nothing is sent on a channel whose replies ride in answers.
pub(crate) fn nobody(channel: &str) -> String {
    let remedy = match channel {
        "telegram" => "; with TURNKEY_TELEGRAM_TOKEN they are sent",
        _ => "",
    };
    format!("the channel {channel:?} has nobody to send to: its replies ride in answers{remedy}")
}

/// The update that brings a reply to another dialog. `id` is the same whenever the same thing
/// is said again.
///
/// # Errors
/// A sentence: there is nobody to send it to, or the platform would never take it.
pub(crate) fn row(
    channels: &Channels,
    to: DialogKey,
    id: String,
    reply: &Reply,
) -> std::result::Result<Pending, String> {
    let channel = channels
        .named(&to.channel)
        .ok_or_else(|| format!("no channel {:?} is served by this program", to.channel))?;
    if !channel.can_send() {
        return Err(nobody(&to.channel));
    }
    let address = channel.address(&to.user_id);
    if address.is_empty() || to.user_id.len() > MAX_USER_ID {
        return Err(format!("a user's id has 1 to {MAX_USER_ID} bytes"));
    }
    let messages = channel.fit(reply)?.len();
    if messages > MAX_REPLIES {
        return Err(format!(
            "it makes {messages} messages; {MAX_REPLIES} is the limit"
        ));
    }
    to_inbox(to, address, id, reply)
}

/// The same for whoever has no channels to ask.
///
/// # Errors
/// It cannot be written as JSON, or its own turn would refuse it: it quotes the message of a turn
/// of another dialog, or has a name that is none.
pub(crate) fn to_inbox(
    to: DialogKey,
    address: String,
    id: String,
    reply: &Reply,
) -> std::result::Result<Pending, String> {
    debug_assert!(id.len() <= MAX_UPDATE_ID, "an id that no inbox takes");
    check(reply)?;
    let body = serde_json::to_vec(reply).map_err(|e| e.to_string())?;
    let update = Update {
        kind: Kind::Relayed,
        address,
        ..Update::new(to, id, "", body.into())
    };
    row_of(&update).map_err(|e| e.to_string())
}

/// Whether this can be said to a dialog by another one.
///
/// # Errors
/// Why not, in a sentence.
pub(crate) fn check(reply: &Reply) -> std::result::Result<(), String> {
    if reply.quote == Some(Target::This) {
        return Err("what is said to another dialog has no message to quote there".to_owned());
    }
    names::check_reply(reply)
}

/// The id of what a turn says to somebody else: the same at each attempt.
pub(crate) fn id(update: &Update, index: usize) -> String {
    let of = format!("{}:{}:{index}", update.dialog.channel, update.id);
    bounded(PREFIX, &of)
}

/// The id of what is said when an update is given up: another one each time.
pub(super) fn id_given_up(update: &Update, index: usize) -> String {
    let now = now_us();
    let of = format!("{}:{}:{index}:{now}", update.dialog.channel, update.id);
    bounded(PREFIX, &of)
}

/// An id that begins so; of a long one the digest.
pub(crate) fn bounded(prefix: &str, of: &str) -> String {
    match of.len() + prefix.len() <= MAX_UPDATE_ID {
        true => format!("{prefix}{of}"),
        false => format!("{prefix}{}", hex::encode(Sha256::digest(of))),
    }
}

/// What its turn leaves: the state as it was, and the reply.
pub(super) fn handled(update: &Update, state: Option<String>, grant: Grant) -> Returned {
    let said = || -> Result<Handled> {
        let reply: Reply = serde_json::from_slice(update.raw())
            .map_err(|e| Error::msg(format!("what was relayed cannot be read: {e}")).give_up())?;
        Ok(unchanged(state.as_deref(), vec![Action::Reply(reply)]))
    };
    let outcome = said();
    Returned {
        state,
        grant,
        outcome: RunEnd::Ended(outcome),
    }
}

/// What a turn leaves that called no handler: the state as it was, and these.
pub(super) fn unchanged(state: Option<&str>, actions: Vec<Action>) -> Handled {
    Handled {
        state: state.unwrap_or(NO_STATE).to_owned(),
        actions,
        statements: Vec::new(),
        timers: Vec::new(),
        callbacks: Vec::new(),
        overlap: None,
    }
}
