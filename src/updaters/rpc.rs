//! Another system starts a turn for a user: `POST /rpc/{channel}/{user_id}` with JSON-RPC
//! 2.0 (<https://www.jsonrpc.org/specification>) and a bearer token.
//!
//! Called by `worker/routes.rs`, only when `TURNKEY_RPC_TOKEN` is set. The handler gets a turn
//! of [`Kind::Rpc`] with method and params; its replies go out through the channel. A call's
//! id, within its channel and user, is the update's id: the same call again gets the same
//! result and has no second effect; a different call with that id is refused. Calls of a batch
//! run in order. Bounds: `--max-body`, `--body-timeout`, [`MAX_BATCH`], [`MAX_DEPTH`].

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use turnkey_storage::Arrival;

use super::body;
use super::webhooks::require_identity;
use crate::author::message::{DialogKey, Kind, MAX_UPDATE_ID, MAX_USER_ID, Update};
use crate::channels::{PlatformAnswer, Refusal, same_secret, what_it_is};
use crate::config::ServerLimits;
use crate::net::request::Body;
use crate::shared::clock::since_1970;
use crate::turn::context::Bot;
use crate::turn::receipt::{Answer, WaitsFor};
use crate::turn::turn;

/// Calls of one request.
const MAX_BATCH: usize = 100;

/// Bytes of the digest that tells calls apart.
const DIGEST: usize = 16;

/// Arrays and objects inside each other: what handlers can read.
const MAX_DEPTH: usize = 100;

const NULL: &str = "null";

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
/// Of the range for servers: the handler failed, and nothing was changed.
const FAILED: i64 = -32000;
/// Not now; the same call may be sent again.
const BUSY: i64 = -32001;
/// The id came before with another call.
const CONFLICT: i64 = -32002;

/// A call, as it was sent: not a number of it is changed by being read.
#[derive(Deserialize)]
struct Sent<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    /// Absent in a notification; null is an id.
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// One that is as it should be.
struct Call<'a> {
    method: String,
    /// JSON.
    params: String,
    id: Option<&'a str>,
}

/// The path's user, if it is the path of a call.
pub(crate) fn target(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("/rpc/")?.split_once('/')
}

/// The answer to a request.
pub(crate) async fn receive(
    bot: &Rc<Bot>,
    token: &str,
    limits: &ServerLimits,
    (channel, user): (&str, &str),
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<PlatformAnswer, Refusal> {
    // Before the body is read: nobody else gets that far.
    verify(token, headers)?;
    require_identity(headers)?;
    let user = percent_decode_str(user).decode_utf8().unwrap_or_default();
    if user.is_empty() || user.len() > MAX_USER_ID {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("a user's id has 1 to {MAX_USER_ID} bytes of UTF-8"),
        ));
    }
    if bot.channels.named(channel).is_none() {
        return Err(Refusal::new(StatusCode::NOT_FOUND, "no such channel"));
    }
    let dialog = DialogKey::new(channel, user);
    let (body, _room) = body::read(bot, body, limits.body, limits.body_timeout).await?;
    let answer = answer(bot, &dialog, &body).await;
    // Notifications are not answered.
    Ok(answer.map_or(
        PlatformAnswer {
            status: StatusCode::NO_CONTENT,
            ..PlatformAnswer::json(Vec::new())
        },
        |answer| PlatformAnswer::json(answer.into_bytes()),
    ))
}

fn verify(token: &str, headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .unwrap_or_default();
    if same_secret(given, token.as_bytes()) {
        return Ok(());
    }
    let reason = "wrong or missing bearer token";
    Err(Refusal::new(StatusCode::UNAUTHORIZED, reason))
}

/// The answer to a call or a batch; none to notifications.
async fn answer(bot: &Rc<Bot>, dialog: &DialogKey, body: &[u8]) -> Option<String> {
    let Ok(raw) = serde_json::from_slice::<&RawValue>(body) else {
        let reason = match what_it_is(body) {
            Some(reason) => format!("not JSON: {reason}"),
            None => "not JSON".to_owned(),
        };
        return Some(error(NULL, PARSE_ERROR, &reason));
    };
    let Ok(batch) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
        return answer_one(bot, dialog, raw).await;
    };
    if batch.is_empty() || batch.len() > MAX_BATCH {
        let reason = format!("a batch has 1 to {MAX_BATCH} calls");
        return Some(error(NULL, INVALID_REQUEST, &reason));
    }
    let mut answers = Vec::new();
    for call in batch {
        answers.extend(answer_one(bot, dialog, call).await);
    }
    (!answers.is_empty()).then(|| format!("[{}]", answers.join(",")))
}

async fn answer_one(bot: &Rc<Bot>, dialog: &DialogKey, raw: &RawValue) -> Option<String> {
    let call = match read(raw) {
        Ok(call) => call,
        Err(answer) => return Some(answer),
    };
    let mut update = update(dialog, &call);
    update.address = bot.channels.of(dialog).address(&dialog.user_id);
    let digest = update.digest.clone();
    let ended = turn::start_for(bot, update, Arrival::now(), WaitsFor::Answer).await;
    let id = call.id?;
    let committed = |answer: Vec<u8>| match serde_json::from_slice::<&RawValue>(&answer) {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","result":{result},"id":{id}}}"#),
        Err(e) => error(id, FAILED, &format!("no result was stored: {e}")),
    };
    Some(match ended {
        Ok(Answer::Committed(answer) | Answer::Accepted(answer)) => committed(answer),
        Ok(Answer::Seen(seen)) if seen.digest == digest => committed(seen.answer),
        Ok(Answer::Seen(_)) => error(id, CONFLICT, "this id came before with another call"),
        Ok(Answer::Busy(reason)) => error(id, BUSY, &reason),
        Ok(Answer::Failed) => error(id, FAILED, "the handler failed; nothing was changed"),
        Err(_) => error(id, BUSY, "the worker is stopping"),
    })
}

/// A call, if it is one; else the answer to it, with its id if it has one.
fn read(raw: &RawValue) -> Result<Call<'_>, String> {
    let sent: Sent<'_> = serde_json::from_str(raw.get())
        .map_err(|e| error(NULL, INVALID_REQUEST, &e.to_string()))?;
    let id = sent.id.map(RawValue::get);
    if id.is_some_and(|id| !is_id(id)) {
        return Err(error(NULL, INVALID_REQUEST, "`id` is a string or a number"));
    }
    let wrong = |reason: &str| Err(error(id.unwrap_or(NULL), INVALID_REQUEST, reason));
    if text(sent.jsonrpc).as_deref() != Some("2.0") {
        return wrong("`jsonrpc` is \"2.0\"");
    }
    let Some(method) = text(sent.method) else {
        return wrong("`method` is a string");
    };
    let params = sent.params.map_or(NULL, RawValue::get);
    if sent.params.is_some() && !params.starts_with(['[', '{']) {
        return wrong("`params` is an array or an object");
    }
    let Some(params) = canonical(params, MAX_DEPTH) else {
        return wrong("`params` cannot be read, or is nested too deep");
    };
    Ok(Call { method, params, id })
}

fn text(json: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(json?.get()).ok()
}

fn is_id(json: &str) -> bool {
    json == NULL || json.starts_with(['"', '-']) || json.starts_with(|c: char| c.is_ascii_digit())
}

/// The same JSON in one way of writing it, so that a call is known again: without spaces,
/// names in order. Numbers stay as they are, of any size.
fn canonical(json: &str, depth: usize) -> Option<String> {
    let depth = depth.checked_sub(1)?;
    Some(match json.as_bytes().first()? {
        b'{' => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(json).ok()?;
            let mut parts = Vec::new();
            for (name, value) in fields {
                let name = serde_json::to_string(&name).ok()?;
                parts.push(format!("{name}:{}", canonical(value.get(), depth)?));
            }
            format!("{{{}}}", parts.join(","))
        }
        b'[' => {
            let values: Vec<&RawValue> = serde_json::from_str(json).ok()?;
            let mut parts = Vec::new();
            for value in values {
                parts.push(canonical(value.get(), depth)?);
            }
            format!("[{}]", parts.join(","))
        }
        b'"' => serde_json::to_string(&serde_json::from_str::<String>(json).ok()?).ok()?,
        _ => json.to_owned(),
    })
}

fn update(dialog: &DialogKey, call: &Call<'_>) -> Update {
    let Call { method, params, id } = call;
    let raw = Bytes::from(format!(
        r#"{{"method":{},"params":{params}}}"#,
        json!(method)
    ));
    let digest = Sha256::digest(&raw)[..DIGEST].to_vec();
    let id = match id {
        // Null says as little as none.
        None | Some(NULL) => made_up_id(),
        // Update ids are the channel's: the user is part of it. As JSON, 1 is not "1". A
        // text that no Unicode can be made of stands for itself.
        Some(id) => {
            let known = canonical(id, 1);
            format!("rpc:{}:{}", dialog.user_id, known.as_deref().unwrap_or(id))
        }
    };
    let id = match id.len() {
        ..=MAX_UPDATE_ID => id,
        _ => format!("rpc:{}", hex::encode(Sha256::digest(id))),
    };
    let mut update = Update::new(dialog.clone(), id, method, raw);
    update.kind = Kind::Rpc;
    update.digest = digest;
    update
}

/// No other call's: a moment, a process, a number.
fn made_up_id() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let now = since_1970().as_nanos();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("~rpc:{now:x}-{:x}-{number:x}", std::process::id())
}

/// `id` is JSON.
fn error(id: &str, code: i64, message: &str) -> String {
    let error = json!({ "code": code, "message": message });
    format!(r#"{{"jsonrpc":"2.0","error":{error},"id":{id}}}"#)
}
