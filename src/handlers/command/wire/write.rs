//! Lines to the handler.
//!
//! Called by whoever speaks to a process. Invariant: each is one line, with one line feed at
//! its end, for readers in every language. Bound: [`LONGEST_LINE`].

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{Given, LONGEST_LINE, PROTOCOL};
use crate::author::error::{Error, Result};
use crate::author::message::{
    Called, Chat, Contact, File, Forwarded, Kind, Location, Quoted, Rpc, Sender, Timer, Update,
};

/// The first line of a conversation.
/// `callbacks` is where the addresses of callbacks begin, if the bot has any.
pub(crate) fn hello(worker: usize, callbacks: Option<&str>) -> Vec<u8> {
    let program = concat!("turnkey ", env!("CARGO_PKG_VERSION"));
    let callbacks = callbacks.map_or_else(String::new, |base| {
        format!(",\"callbacks\":{}", serde_json::json!(base))
    });
    format!(
        "{{\"hello\":{{\"protocol\":{PROTOCOL},\"program\":\"{program}\",\"worker\":{worker}{callbacks}}}}}\n"
    )
    .into_bytes()
}

/// The line that starts a turn.
///
/// # Errors
/// It is too long, or the state is no JSON.
pub(crate) fn turn(given: &Given<'_>) -> Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Start<'a> {
        id: u64,
        turn: Turn<'a>,
    }
    #[derive(Serialize)]
    struct Turn<'a> {
        channel: &'a str,
        user: &'a str,
        dialog: &'a str,
        attempt: u32,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        last_attempt: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        given_up: Option<GivenUp<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        state: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        steps: BTreeMap<&'a str, &'a RawValue>,
        #[serde(flatten)]
        heard: Heard<'a>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        updates: Vec<Heard<'a>>,
    }
    #[derive(Serialize)]
    struct GivenUp<'a> {
        error: &'a str,
    }
    let update = given.update;
    let state = given
        .state
        .map(serde_json::from_str::<&RawValue>)
        .transpose()?;
    let mut steps = BTreeMap::new();
    for (name, value) in given.steps {
        steps.insert(name.as_str(), serde_json::from_str(value)?);
    }
    let updates = match update.updates() {
        [_] => Vec::new(),
        several => several.iter().map(|u| Heard::of(u, given.raw)).collect(),
    };
    let start = Start {
        id: given.id,
        turn: Turn {
            channel: &update.dialog.channel,
            user: update.user_id(),
            dialog: &update.dialog.user_id,
            attempt: given.attempt,
            last_attempt: given.is_last_attempt,
            given_up: given.given_up.map(|error| GivenUp { error }),
            state,
            steps,
            heard: Heard::of(update, given.raw),
            updates,
        },
    };
    line(&start)
}

/// An update, and all that is in it.
#[derive(Serialize)]
struct Heard<'a> {
    update: &'a str,
    kind: Kind,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    argument: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    markup: Option<String>,
    #[serde(skip_serializing_if = "is_empty")]
    files: &'a [File],
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'a Location>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<&'a Contact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quoted: Option<&'a Quoted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forwarded: Option<&'a Forwarded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<&'a Sender>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat: Option<&'a Chat>,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    album: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rpc: Option<Rpc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timer: Option<Timer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    called: Option<Called>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<Raw<'a>>,
}

fn is_empty(files: &&[File]) -> bool {
    files.is_empty()
}

impl<'a> Heard<'a> {
    /// With the platform's own JSON, if that is wanted.
    fn of(update: &'a Update, raw: bool) -> Self {
        let (command, argument) = update.command().unzip();
        Heard {
            update: &update.id.0,
            kind: update.kind,
            text: &update.text,
            command,
            argument,
            event: &update.event,
            markup: (!update.spans.is_empty()).then(|| update.markup()),
            files: &update.files,
            location: update.location.as_ref(),
            contact: update.contact.as_ref(),
            quoted: update.quoted.as_ref(),
            forwarded: update.forwarded.as_ref(),
            sender: update.sender.as_ref(),
            chat: update.chat.as_ref(),
            message: &update.message,
            album: &update.album,
            rpc: update.rpc(),
            timer: update.timer(),
            called: update.called(),
            raw: raw.then(|| Raw::of(update.raw())),
        }
    }
}

/// A platform's JSON, or bytes that are none.
#[derive(Serialize)]
#[serde(untagged)]
enum Raw<'a> {
    Json(&'a RawValue),
    Bytes { base64: String },
}

impl<'a> Raw<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        match serde_json::from_slice(bytes) {
            Ok(json) => Raw::Json(json),
            Err(_) => Raw::Bytes {
                base64: STANDARD.encode(bytes),
            },
        }
    }
}

/// A turn is over its time.
pub(crate) fn cancel(id: u64) -> Vec<u8> {
    format!("{{\"cancel\":{id}}}\n").into_bytes()
}

/// A newer message came: whatever the turn still does is ignored.
pub(crate) fn interrupt(id: u64) -> Vec<u8> {
    format!("{{\"cancel\":{id},\"reason\":\"newer\"}}\n").into_bytes()
}

/// A sign of life is asked for.
pub(crate) fn ping(number: u64) -> Vec<u8> {
    format!("{{\"ping\":{number}}}\n").into_bytes()
}

/// No more turns will come.
pub(crate) fn drain() -> Vec<u8> {
    b"{\"drain\":true}\n".to_vec()
}

/// One line of JSON, whatever a stored text or a platform's JSON has in it: line feeds
/// between its tokens become spaces, and what else some readers split lines at is escaped.
///
/// # Errors
/// It is too long.
pub(crate) fn line(value: &impl Serialize) -> Result<Vec<u8>> {
    let json = serde_json::to_vec(value)?;
    let mut line = Vec::with_capacity(json.len() + 1);
    let mut rest = &json[..];
    // In JSON, none of these is anywhere but within a string, save line feeds and carriage
    // returns, which are nowhere within one.
    while let Some(at) = rest
        .iter()
        .position(|b| matches!(b, b'\n' | b'\r' | 0xe2 | 0xc2))
    {
        line.extend(&rest[..at]);
        rest = &rest[at..];
        let (instead, length): (&[u8], usize) = match rest {
            [b'\n' | b'\r', ..] => (b" ", 1),
            [0xe2, 0x80, 0xa8, ..] => (b"\\u2028", 3),
            [0xe2, 0x80, 0xa9, ..] => (b"\\u2029", 3),
            [0xc2, 0x85, ..] => (b"\\u0085", 2),
            _ => (&rest[..1], 1),
        };
        line.extend(instead);
        rest = &rest[length..];
    }
    line.extend(rest);
    if line.len() >= LONGEST_LINE {
        return Err(Error::msg(format!(
            "a line of {} bytes for the handler; {LONGEST_LINE} is the limit",
            line.len()
        )));
    }
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use turnkey_storage::DialogKey;

    use super::*;

    #[test]
    fn a_turn_is_one_line_whatever_is_in_it() {
        let json = "{\n \"text\": \"a\u{2028}b\u{85}c\",\r\n \"n\": 1 }";
        let mut update = Update::new(
            DialogKey::new("telegram", "7"),
            "9",
            "/start\u{2029} x\ny",
            Bytes::from(json),
        );
        let given = |update: &Update, raw| {
            let given = Given {
                id: 1,
                update,
                attempt: 2,
                is_last_attempt: false,
                given_up: None,
                state: Some("{\n\"n\": 3}"),
                raw,
                steps: &[],
            };
            String::from_utf8(turn(&given).unwrap()).unwrap()
        };
        let line = given(&update, true);
        assert_eq!(
            line.matches(['\n', '\r', '\u{2028}', '\u{2029}', '\u{85}'])
                .count(),
            1
        );
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        let turn = &parsed["turn"];
        assert_eq!(turn["text"], "/start\u{2029} x\ny");
        assert_eq!(turn["command"], "start");
        assert_eq!(turn["state"]["n"], 3);
        assert_eq!(turn["raw"]["text"], "a\u{2028}b\u{85}c");
        assert!(!given(&update, false).contains("raw"));
        assert!(!given(&update, false).contains("steps"));
        let given_steps = Given {
            id: 1,
            update: &update,
            attempt: 2,
            is_last_attempt: false,
            given_up: None,
            state: None,
            raw: false,
            steps: &[
                ("a\"".to_owned(), "[1]".into()),
                ("b".to_owned(), "null".into()),
            ],
        };
        let with_steps = String::from_utf8(super::turn(&given_steps).unwrap()).unwrap();
        assert!(
            with_steps.contains(r#""steps":{"a\"":[1],"b":null}"#),
            "{with_steps}"
        );
        update.raw = Bytes::from_static(&[255, 0]);
        assert!(given(&update, true).contains(r#""raw":{"base64":"/wA="}"#));
    }
}
