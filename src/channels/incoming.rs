//! What the channels' `verify` and `parse` share: reading JSON and ids, and messages about
//! requests that are refused, not handled, or unreadable.
//!
//! Bounds: [`MAX_USER_ID`], [`MAX_UPDATE_ID`]; [`MAX_KINDS`] log lines; [`MAX_REASON`]
//! bytes of a reason.

use std::collections::HashSet;
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use hyper::StatusCode;
use sha2::{Digest, Sha256};

use super::Refusal;
use crate::author::message::{DialogKey, MAX_UPDATE_ID, MAX_USER_ID, Update, UpdateId};

/// Bytes of the reason why something cannot be read: it may quote what came in.
const MAX_REASON: usize = 200;

/// Whose it is when that cannot be read either.
const NOBODY: &str = "?";

/// Kinds that are logged: whoever posts made-up ones does not fill the memory.
const MAX_KINDS: usize = 100;

/// 401, unless it is genuine.
pub(super) fn genuine(is_genuine: bool, what: &str) -> Result<(), Refusal> {
    if is_genuine {
        return Ok(());
    }
    let reason = format!("wrong or missing {what}");
    Err(Refusal::new(StatusCode::UNAUTHORIZED, reason))
}

/// Whose update it is. Platforms' ids are far below the limit.
///
/// # Errors
/// A sentence, when it is nobody's.
pub(super) fn dialog(channel: &str, user_id: impl Into<String>) -> Result<DialogKey, String> {
    let user_id = user_id.into();
    if user_id.is_empty() || user_id.len() > MAX_USER_ID {
        return Err(format!("a user's id has 1 to {MAX_USER_ID} bytes"));
    }
    Ok(DialogKey::new(channel, user_id))
}

/// Where a dialog of this key takes place: `USER@CHAT` is a user in a group
/// ([`DialogBy`](crate::DialogBy)), where ids are numbers.
pub(crate) fn chat_of(user_id: &str) -> String {
    let chat = user_id.rsplit_once('@').map(|(_, chat)| chat);
    chat.unwrap_or(user_id).to_owned()
}

/// What cannot be read, for the dead letters: under the platform's id, else under one
/// that the same event has again when it comes again; with its user, if that much can be
/// read.
pub(super) fn unreadable(
    channel: &str,
    user: Option<String>,
    id: Option<String>,
    reason: &str,
    raw: Bytes,
) -> Update {
    let id = id.filter(|id| !id.is_empty());
    let id = update_id(id.unwrap_or_else(|| format!("unreadable-{}", digest(&raw))));
    let user = user.and_then(|user| dialog(channel, user).ok());
    let dialog = user.unwrap_or_else(|| DialogKey::new(channel, NOBODY));
    let end = reason.floor_char_boundary(MAX_REASON);
    Update::unreadable(dialog, id.0, &reason[..end], raw)
}

/// A digest that tells events apart which have no id.
pub(super) fn digest(raw: &[u8]) -> String {
    hex::encode(&Sha256::digest(raw)[..16])
}

/// An update's id. One that is too long stands as its digest.
pub(super) fn update_id(id: impl Into<String>) -> UpdateId {
    let id = id.into();
    if id.len() <= MAX_UPDATE_ID {
        return UpdateId(id);
    }
    UpdateId(hex::encode(Sha256::digest(id)))
}

/// The first field of a JSON object that is not one of those it always has: what
/// sort of event it is, where platforms have no better word for it.
pub(super) fn field_beside(json: &str, common: &[&str]) -> String {
    let fields: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(json).unwrap_or_default();
    let other = fields.keys().find(|key| !common.contains(&key.as_str()));
    other.map_or("empty", |key| key).to_owned()
}

/// Logs what is not handled, once for each kind; and what is meant for others.
pub(super) struct NotHandled {
    channel: &'static str,
    logged: Mutex<HashSet<String>>,
}

impl NotHandled {
    pub(super) fn new(channel: &'static str) -> Self {
        NotHandled {
            channel,
            logged: Mutex::default(),
        }
    }

    pub(super) fn log(&self, kind: impl Into<String>) {
        let kind: String = kind.into().chars().take(64).collect();
        if self.is_new(&kind) {
            let channel = self.channel;
            tracing::info!("{channel} updates of kind {kind:?} are not handled (logged once)");
        }
    }

    /// Why this is not taken: it is meant for another page or community (`what`) than
    /// the one whose token we have.
    pub(super) fn stranger(&self, what: &str, theirs: impl Display, ours: impl Display) -> String {
        let reason =
            format!("it is an event of {what} {theirs}, and the token is of {what} {ours}");
        if self.is_new(&reason) {
            let channel = self.channel;
            tracing::warn!(
                "{channel} does not take what is meant for others: {reason} (said once)"
            );
        }
        reason
    }

    fn is_new(&self, what: &str) -> bool {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        logged.len() < MAX_KINDS && logged.insert(what.to_owned())
    }
}

/// Reads JSON; the refusal says where and which field.
pub(super) fn parse_json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    read_json(body).map_err(|reason| Refusal::new(StatusCode::BAD_REQUEST, reason))
}

/// Reads JSON; the error says where and which field.
pub(super) fn read_json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    // Keeping track of the path costs as much as the parsing: only what is
    // wrong is parsed again for its sake.
    serde_json::from_slice(body).map_err(|_| explain_json::<T>(body))
}

/// What bytes are that somebody takes for JSON; none for what may be text.
pub(crate) fn what_it_is(body: &[u8]) -> Option<&'static str> {
    Some(match body {
        [0x1f, 0x8b, ..] => "the body is packed with gzip; send it as it is",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "the body is packed with zstd; send it as it is",
        [0xef, 0xbb, 0xbf, ..] => {
            "the body begins with a byte order mark (BOM); send UTF-8 without one"
        }
        // Without a mark it is known by the zeros around the bracket that JSON begins with.
        [0xff, 0xfe, 0, 0, ..]
        | [0, 0, 0xfe, 0xff, ..]
        | [0, 0, 0, b'{' | b'[', ..]
        | [b'{' | b'[', 0, 0, 0, ..] => "the body is UTF-32; send UTF-8",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, b'{' | b'[', ..] | [b'{' | b'[', 0, ..] => {
            "the body is UTF-16; send UTF-8"
        }
        _ => return None,
    })
}

fn explain_json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> String {
    if let Some(reason) = what_it_is(body) {
        return format!("not JSON: {reason}");
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Ok(_) => match json.end() {
            Ok(()) => "not JSON".to_owned(),
            Err(error) => format!("not JSON: {error}"),
        },
        Err(error) => {
            let path = error.path().to_string();
            let error = error.into_inner();
            match (error.is_data(), path.as_str()) {
                (true, ".") => error.to_string(),
                (true, path) => format!("field `{path}`: {error}"),
                (false, _) => format!("not JSON: {error}"),
            }
        }
    }
}
