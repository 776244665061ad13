//! Callbacks: what a turn opens for others, and what becomes of whoever comes.
//!
//! `outcome.rs` asks for the [`changes`] that go with a turn's commit. `updaters/callback.rs` brings
//! what was posted to an address ([`find`], [`post`]), `asking.rs` what was pressed: one transaction
//! takes the callback and puts its update, [`Kind::Callback`], into the inbox. From there it is an
//! update like any other. Invariant: the token is nowhere in the database, only its hash. Bounds:
//! [`USUAL`], [`LONGEST`], [`DEEPEST`], [`callbacks::PER_DIALOG`].

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use turnkey_storage::callbacks::{self, Callback, MAX_NAME, PER_DIALOG, Taken};
use turnkey_storage::{Change, DialogKey, Pending};

use crate::author::error::{Error, Result};
use crate::author::message::{Called, Delay, Kind, NewCallback, Reply, Token, Update, Use};
use crate::shared::clock::unix_ms;
use crate::turn::context::Bot;
use crate::turn::receipt::row_of;

/// How the ids of their updates begin; no platform's do.
const PREFIX: &str = "callback:";

/// How long one is open if the author says nothing.
const USUAL: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long it may be: a year, if it is a leap year.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// Lists and objects inside each other in what is posted, if a handler is to read it as JSON: with
/// those around it that is what readers in every language follow.
const DEEPEST: usize = 95;

/// Who takes one whose address is posted to.
const POSTED: &str = "posted";

/// What the row has for whoever comes.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The update, but for what will come.
    update: Update,
    /// What was asked, if people are to press a button.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    asked: Option<Asked>,
}

/// A question, where it was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) channel: String,
    /// In the channel's terms.
    pub(super) address: String,
    /// As the author wrote it.
    pub(super) question: Reply,
}

/// A callback's row: for a turn of the dialog of this update.
///
/// # Errors
/// It has a name that is none, or is to be open for too long: in a sentence.
pub(super) fn row(
    update: &Update,
    name: String,
    valid: Option<Delay>,
    hash: String,
    asked: Option<Asked>,
) -> std::result::Result<Callback, String> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("a callback's name has 1 to {MAX_NAME} bytes"));
    }
    let valid = match valid {
        Some(delay) => delay.0.map_err(|why| format!("callback {name:?}: {why}"))?,
        None => USUAL,
    };
    if valid > LONGEST {
        return Err(format!(
            "callback {name:?} is to be open for more than a year"
        ));
    }
    let raw = Vec::new();
    let called = Update {
        kind: Kind::Callback,
        user: update.user.clone(),
        sender: update.sender.clone(),
        chat: update.chat.clone(),
        address: update.address.clone(),
        within: update.within.clone(),
        ..Update::new(
            update.dialog.clone(),
            format!("{PREFIX}{hash}"),
            name.clone(),
            raw.into(),
        )
    };
    let kept = Kept {
        update: called,
        asked,
    };
    Ok(Callback {
        hash,
        dialog: update.dialog.clone(),
        name,
        expires: unix_ms() as i64 + valid.as_millis() as i64,
        taken: String::new(),
        body: serde_json::to_vec(&kept).map_err(|e| e.to_string())?,
    })
}

/// What changes with the commit of a turn for this update that opens these, beside those that its
/// questions open. Called under the dialog's lock.
///
/// # Errors
/// What is wanted cannot be: which, and why. Or the storage is away.
pub(super) async fn changes(
    bot: &Bot,
    update: &Update,
    opened: Vec<NewCallback>,
    of_questions: Vec<Callback>,
) -> Result<Vec<Change>> {
    if opened.is_empty() && of_questions.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = of_questions;
    for NewCallback { name, token, valid } in opened {
        let hash = token.hash(Use::Address);
        if rows.iter().any(|row| row.hash == hash) {
            return Err(Error::msg("two callbacks of one turn have the same token"));
        }
        rows.push(row(update, name, valid, hash, None).map_err(Error::msg)?);
    }
    let open = callbacks::count_open(&*bot.storage, &update.dialog, unix_ms() as i64);
    let all = open.await.map_err(Error::Storage)? + rows.len() as u64;
    if all > PER_DIALOG {
        return Err(Error::msg(format!(
            "this dialog would have {all} callbacks open; {PER_DIALOG} is the limit"
        )));
    }
    Ok(rows.iter().map(callbacks::open).collect())
}

/// The update that a callback starts now, and what was asked; `bring` adds what came.
///
/// # Errors
/// Its row cannot be read, in a sentence.
pub(super) fn fired(
    callback: &Callback,
    bring: impl FnOnce(&mut Called, Option<&Asked>),
) -> std::result::Result<(Pending, Option<Asked>), String> {
    let unread = |e: serde_json::Error| format!("the row of a callback cannot be read: {e}");
    let Kept { mut update, asked } = serde_json::from_slice(&callback.body).map_err(unread)?;
    let mut called = Called::new(&callback.name, unix_ms() as i64);
    bring(&mut called, asked.as_ref());
    update.raw = serde_json::to_vec(&called).map_err(unread)?.into();
    Ok((row_of(&update).map_err(unread)?, asked))
}

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Posted {
    /// Its turn, of this dialog, is in the inbox.
    Taken(DialogKey),
    /// Somebody came before.
    Before,
    /// Its time is over.
    TooLate,
    /// There is no such callback.
    Unknown,
}

/// The callback of this token.
///
/// # Errors
/// The storage is away.
pub(crate) async fn find(bot: &Bot, token: &Token) -> turnkey_storage::Result<Option<Callback>> {
    callbacks::find(&*bot.storage, &token.hash(Use::Address)).await
}

/// Takes a callback for whoever has posted this to its address. It is durable when this returns.
///
/// # Errors
/// The storage is away; or the row cannot be read.
pub(crate) async fn post(
    bot: &Bot,
    callback: &Callback,
    media_type: &str,
    body: &[u8],
) -> Result<Posted> {
    let bring = |called: &mut Called, _: Option<&Asked>| {
        called.body = read(body);
        called.media_type = media_type.to_owned();
    };
    let (update, _) = fired(callback, bring).map_err(Error::msg)?;
    let now = unix_ms() as i64;
    let taken = callbacks::take(&*bot.storage, &callback.hash, POSTED, &update, now);
    Ok(match taken.await.map_err(Error::Storage)? {
        Taken::ByThis => Posted::Taken(update.dialog),
        Taken::ByOther(_) => Posted::Before,
        Taken::TooLate => Posted::TooLate,
        Taken::Unknown => Posted::Unknown,
    })
}

/// What was posted, as a handler is given it.
fn read(body: &[u8]) -> Value {
    if body.is_empty() {
        return Value::Null;
    }
    match (
        serde_json::from_slice::<Value>(body),
        std::str::from_utf8(body),
    ) {
        (Ok(json), _) if levels(&json) <= DEEPEST => json,
        (_, Ok(text)) => text.into(),
        (_, Err(_)) => serde_json::json!({ "base64": STANDARD.encode(body) }),
    }
}

/// Lists and objects inside each other. (The reader of JSON has a bound of its own.)
fn levels(json: &Value) -> usize {
    let deepest = |inner: usize| 1 + inner;
    match json {
        Value::Array(list) => deepest(list.iter().map(levels).max().unwrap_or(0)),
        Value::Object(fields) => deepest(fields.values().map(levels).max().unwrap_or(0)),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn update() -> Update {
        let mut update = Update::new(DialogKey::new("telegram", "7@-100"), "u1", "hi", "".into());
        update.user = "7".to_owned();
        update.address = "-100".to_owned();
        update.within = "{}".to_owned();
        update
    }

    #[test]
    fn what_is_posted_is_read() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        for (body, expected) in [
            (&b""[..], Value::Null),
            (b"{\"a\":[1.5]}", json!({"a": [1.5]})),
            (b" 7 ", json!(7)),
            (b"a=1&b=2", json!("a=1&b=2")),
            (b"\"\\ud800\"", json!("\"\\ud800\"")),
            (b"\xff\0", json!({"base64": "/wA="})),
        ] {
            assert_eq!(read(body), expected, "{body:?}");
        }
        assert!(read(deep(95).as_bytes()).is_array());
        assert!(read(deep(96).as_bytes()).is_string());
        assert!(read(deep(10_000).as_bytes()).is_string());
    }

    #[test]
    fn a_callback_is_a_turn_of_the_dialog_that_opened_it() {
        let row = row(&update(), "paid".to_owned(), None, "ab".to_owned(), None).unwrap();
        let bring = |called: &mut Called, _: Option<&Asked>| called.body = json!({"n": 1});
        let (pending, asked) = fired(&row, bring).unwrap();
        assert_eq!((pending.update.as_str(), asked), ("callback:ab", None));
        let fired: Update = serde_json::from_slice(&pending.body).unwrap();
        assert_eq!((fired.kind, fired.user_id()), (Kind::Callback, "7"));
        assert_eq!(
            (fired.address.as_str(), fired.within.as_str()),
            ("-100", "{}")
        );
        let called = fired.called().unwrap();
        assert_eq!(
            (called.name.as_str(), &called.body),
            ("paid", &json!({"n": 1}))
        );
        assert!(called.by.is_none() && called.button.is_none());
    }

    #[test]
    fn what_cannot_be_opened_is_refused() {
        let refused = |name: &str, valid: Option<&str>| {
            let valid = valid.map(Delay::from);
            let row = row(&update(), name.to_owned(), valid, "ab".to_owned(), None);
            row.err().unwrap_or_default()
        };
        assert_eq!(refused("paid", Some("366d")), "");
        assert!(refused("paid", Some("367d")).contains("for more than a year"));
        assert!(refused("paid", Some("soon")).contains("is no time such as"));
        assert!(refused("", None).contains("1 to 64 bytes"));
        assert!(refused(&"x".repeat(65), None).contains("1 to 64 bytes"));
    }
}
