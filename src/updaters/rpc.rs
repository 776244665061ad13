//! Another system starts a turn for a user: `POST /rpc/{channel}/{user_id}` with JSON-RPC
//! 2.0 (<https://www.jsonrpc.org/specification>) and a bearer token.
//!
//! Called by `worker/routes.rs`, only when `TURNKEY_RPC_TOKEN` is set. The handler is
//! given a turn of [`Kind::Rpc`] with method and params; its replies go out through the
//! channel. A call's id, within its channel and user, is the update's id: the same call
//! again gets the same result and has no second effect; another call under that id is
//! refused. Calls of a batch run in order. Bounds: `--max-body`, `--body-timeout`,
//! [`MAX_BATCH`].

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::{HeaderMap, Request, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use turnkey_storage::Arrival;

use crate::author::message::{DialogKey, Kind, MAX_UPDATE_ID, MAX_USER_ID, Update};
use crate::channels::{PlatformAnswer, Refusal, same_secret};
use crate::config::ServerLimits;
use crate::turn::turn::{self, Answer, Bot, WaitsFor};

/// Calls of one request.
const MAX_BATCH: usize = 100;

/// Bytes of the digest that tells calls apart.
const DIGEST: usize = 16;

const PARSE_ERROR: i64 = -32700;
const INVALID_REQUEST: i64 = -32600;
/// Of the range for servers: the handler failed, and nothing was changed.
const FAILED: i64 = -32000;
/// Not now; the same call may be sent again.
const BUSY: i64 = -32001;
/// The id came before with another call.
const CONFLICT: i64 = -32002;

#[derive(Deserialize)]
struct Call {
    jsonrpc: String,
    method: String,
    #[serde(default)]
    params: Option<Value>,
    /// Absent in a notification; null is an id.
    #[serde(default, deserialize_with = "present")]
    id: Option<Value>,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
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
    request: Request<Incoming>,
) -> Result<PlatformAnswer, Refusal> {
    let (head, body) = request.into_parts();
    // Before the body is read: nobody else gets that far.
    verify(token, &head.headers)?;
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
    let body = Limited::new(body, limits.body).collect();
    let body = match tokio::time::timeout(limits.body_timeout, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) => {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Refusal::new(status, error.to_string()));
        }
        Err(_) => {
            let reason = "the body took too long";
            return Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, reason));
        }
    };
    let answer = answer(bot, &dialog, &body).await;
    // Notifications are not answered.
    Ok(answer.map_or(
        PlatformAnswer {
            status: StatusCode::NO_CONTENT,
            ..PlatformAnswer::json(Vec::new())
        },
        |answer| PlatformAnswer::json(answer.to_string().into_bytes()),
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
async fn answer(bot: &Rc<Bot>, dialog: &DialogKey, body: &[u8]) -> Option<Value> {
    let Ok(raw) = serde_json::from_slice::<&RawValue>(body) else {
        return Some(error(Value::Null, PARSE_ERROR, "not JSON"));
    };
    let Ok(batch) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
        return answer_one(bot, dialog, raw).await;
    };
    if batch.is_empty() || batch.len() > MAX_BATCH {
        let reason = format!("a batch has 1 to {MAX_BATCH} calls");
        return Some(error(Value::Null, INVALID_REQUEST, &reason));
    }
    let mut answers = Vec::new();
    for call in batch {
        answers.extend(answer_one(bot, dialog, call).await);
    }
    (!answers.is_empty()).then_some(Value::Array(answers))
}

async fn answer_one(bot: &Rc<Bot>, dialog: &DialogKey, raw: &RawValue) -> Option<Value> {
    let (call, id) = match read(raw) {
        Ok(read) => read,
        Err(answer) => return Some(answer),
    };
    let update = update(dialog, &call, id.as_ref());
    let digest = update.digest.clone();
    let ended = turn::start_for(bot, update, Arrival::now(), WaitsFor::Answer).await;
    let id = id?;
    let committed = |answer: Vec<u8>| match serde_json::from_slice::<Value>(&answer) {
        Ok(result) => json!({ "jsonrpc": "2.0", "result": result, "id": id.clone() }),
        Err(e) => error(id.clone(), FAILED, &format!("no result was stored: {e}")),
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

/// A call and its id, if it is one; else the answer to it.
fn read(raw: &RawValue) -> Result<(Call, Option<Value>), Value> {
    let mut call: Call = serde_json::from_str(raw.get())
        .map_err(|e| error(Value::Null, INVALID_REQUEST, &e.to_string()))?;
    let id = call.id.take();
    let is_id = matches!(
        id,
        None | Some(Value::Null | Value::String(_) | Value::Number(_))
    );
    let wrong = if !is_id {
        "`id` is a string or a number"
    } else if call.jsonrpc != "2.0" {
        "`jsonrpc` is \"2.0\""
    } else if !matches!(call.params, None | Some(Value::Array(_) | Value::Object(_))) {
        "`params` is an array or an object"
    } else {
        return Ok((call, id));
    };
    let id = id.filter(|_| is_id).unwrap_or_default();
    Err(error(id, INVALID_REQUEST, wrong))
}

fn update(dialog: &DialogKey, call: &Call, id: Option<&Value>) -> Update {
    let asked = json!({ "method": call.method, "params": call.params });
    let raw = Bytes::from(asked.to_string());
    let digest = Sha256::digest(&raw)[..DIGEST].to_vec();
    let id = match id {
        // Null says as little as none.
        None | Some(Value::Null) => made_up_id(),
        // Update ids are the channel's: the user is part of it. As JSON, 1 is not "1".
        Some(id) => format!("rpc:{}:{id}", dialog.user_id),
    };
    let id = match id.len() {
        ..=MAX_UPDATE_ID => id,
        _ => format!("rpc:{}", hex::encode(Sha256::digest(id))),
    };
    let mut update = Update::new(dialog.clone(), id, &call.method, raw);
    update.kind = Kind::Rpc;
    update.digest = digest;
    update
}

/// No other call's: a moment, a process, a number.
fn made_up_id() -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |now| now.as_nanos());
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    format!("~rpc:{now:x}-{:x}-{number:x}", std::process::id())
}

fn error(id: Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "error": { "code": code, "message": message }, "id": id })
}
