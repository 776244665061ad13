//! Names that dialogs give to messages: from a name to the platform's id before something is
//! sent, and from the platform's answer to a name afterwards.
//!
//! Called by `send.rs`, which holds the dialog's lock, so nobody else changes the names of this
//! dialog. Invariant: a name is noted before its reply is marked as sent; a crash in between
//! sends the reply again, and the name is the second message's. Bound: the length of a name,
//! [`LONGEST`].

use std::borrow::Cow;

use turnkey_storage::{DialogKey, Storage, messages};

use crate::author::message::{Action, Outgoing, Reply, Target};
use crate::channels::Sent;

/// Bytes of a name.
const LONGEST: usize = 64;

/// Whether the names in an action can be kept.
///
/// # Errors
/// One is empty or too long, in a sentence.
pub(super) fn check(action: &Action) -> Result<(), String> {
    match action {
        Action::Reply(reply) => check_reply(reply),
        Action::Edit { message, .. } | Action::Delete { message } => check_all([name_of(message)]),
        Action::Call { name, .. } => check_all([name.as_deref()]),
        _ => Ok(()),
    }
}

/// The same of a reply.
///
/// # Errors
/// Likewise.
pub(super) fn check_reply(reply: &Reply) -> Result<(), String> {
    let quoted = reply.quote.as_ref().and_then(name_of);
    check_all([reply.name.as_deref(), quoted])
}

fn name_of(target: &Target) -> Option<&str> {
    match target {
        Target::Named(name) => Some(name),
        _ => None,
    }
}

fn check_all<const N: usize>(names: [Option<&str>; N]) -> Result<(), String> {
    let mut names = names.into_iter().flatten();
    match names.find(|name| name.is_empty() || name.len() > LONGEST) {
        Some(name) => Err(format!(
            "a message's name has 1 to {LONGEST} bytes, not {}",
            name.len()
        )),
        None => Ok(()),
    }
}

/// The action with the platform's ids in place of names. None: the message that it changes is
/// not known here (any more). A quote of such a message is left out.
///
/// # Errors
/// The storage is away.
pub(super) async fn resolve<'a>(
    storage: &dyn Storage,
    dialog: &DialogKey,
    outgoing: &'a Outgoing,
) -> turnkey_storage::Result<Option<Cow<'a, Outgoing>>> {
    let target = match &outgoing.action {
        Action::Edit { message, .. } | Action::Delete { message } => Some(message),
        Action::Reply(reply) => reply.quote.as_ref(),
        _ => None,
    };
    let Some(Target::Named(name)) = target else {
        return Ok(Some(Cow::Borrowed(outgoing)));
    };
    let id = messages::find(storage, dialog, name).await?;
    let mut resolved = outgoing.clone();
    match &mut resolved.action {
        Action::Edit { message, .. } | Action::Delete { message } => match id {
            Some(id) => *message = Target::Message(id),
            None => return Ok(None),
        },
        Action::Reply(reply) => reply.quote = id.map(Target::Message),
        _ => {}
    }
    Ok(Some(Cow::Owned(resolved)))
}

/// Notes what the platform said of an action: the id of a message that has a name, or that a
/// named one is gone.
///
/// # Errors
/// The storage is away.
pub(super) async fn learn(
    storage: &dyn Storage,
    dialog: &DialogKey,
    action: &Action,
    sent: &Sent,
) -> turnkey_storage::Result<()> {
    match action {
        Action::Reply(reply) => note(storage, dialog, reply.name.as_deref(), sent).await,
        Action::Call { name, .. } => note(storage, dialog, name.as_deref(), sent).await,
        Action::Edit {
            message: Target::Named(name),
            ..
        } => match (&sent.gone, &sent.message) {
            (Some(_), _) => messages::remove(storage, dialog, name).await,
            // Some platforms put another message in the place of the old one.
            (None, Some(id)) => messages::set(storage, dialog, name, id).await,
            (None, None) => messages::used(storage, dialog, name).await,
        },
        Action::Delete {
            message: Target::Named(name),
        } => messages::remove(storage, dialog, name).await,
        _ => Ok(()),
    }
}

async fn note(
    storage: &dyn Storage,
    dialog: &DialogKey,
    name: Option<&str>,
    sent: &Sent,
) -> turnkey_storage::Result<()> {
    match (name, &sent.message) {
        (Some(name), Some(id)) => messages::set(storage, dialog, name, id).await,
        _ => Ok(()),
    }
}
