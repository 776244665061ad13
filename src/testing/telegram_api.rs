//! The server behind a test's Telegram: what a bot may call there, and what it is answered.
//!
//! Used by `telegram.rs`. It knows what a bot needs (updates, messages with numbers of their own,
//! files, refusals that the test asks for), and is no judge of what Telegram would take. Bounds:
//! half a second for a poll, 64 MiB for a call.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use tokio::task::spawn_local;

/// The bot's token there.
pub(super) const TOKEN: &str = "12345:testing";

/// How long a poll is kept waiting.
const POLL: Duration = Duration::from_millis(500);

/// Bytes of a call.
const MAX_BODY: usize = 64 << 20;

/// A call that the bot has made.
///
/// ```
/// # fn main() {}
/// # fn test(telegram: &turnkey::testing::Telegram) -> turnkey::Result<()> {
/// let call = telegram.call("a bill", |call| call.method == "sendInvoice")?;
/// assert_eq!(call.params["currency"], "XTR");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TelegramCall {
    /// The method, such as `sendMessage`.
    pub method: String,
    /// Its parameters. Of a file that was uploaded, here is its name.
    pub params: Value,
}

impl TelegramCall {
    /// The text or the caption; empty without one.
    pub fn text(&self) -> &str {
        let text = self.params["text"].as_str();
        text.or(self.params["caption"].as_str()).unwrap_or_default()
    }

    pub(super) fn chat(&self) -> Option<i64> {
        number(&self.params["chat_id"])
    }

    /// It brings something to a chat that stays: a draft and "is typing" do not.
    pub(super) fn sends(&self) -> bool {
        let is_passing = matches!(&*self.method, "sendChatAction" | "sendMessageDraft");
        self.method.starts_with("send") && !is_passing
    }
}

#[derive(Default)]
pub(super) struct State {
    /// What the bot has not taken yet.
    pub(super) updates: VecDeque<Value>,
    /// Updates and messages so far.
    pub(super) count: i64,
    pub(super) calls: Vec<TelegramCall>,
    /// How many of a chat's messages the test has read.
    pub(super) read: HashMap<i64, usize>,
    /// Of a method's next calls: how they are refused.
    pub(super) refusals: HashMap<String, VecDeque<(u16, String)>>,
    pub(super) files: HashMap<String, Bytes>,
}

#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) came: Notify,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) fn next(&mut self) -> i64 {
        self.count += 1;
        self.count
    }

    pub(super) fn push(&mut self, mut update: Value) {
        update["update_id"] = self.next().into();
        self.updates.push_back(update);
    }

    /// Does what is called for: the result, or the status and the words of a refusal.
    fn obey(&mut self, method: &str, params: Value) -> std::result::Result<Value, (u16, String)> {
        match method {
            "getMe" => {
                return Ok(json!({
                    "id": 12345, "is_bot": true, "first_name": "Bot", "username": "testing_bot",
                }));
            }
            "getFile" => {
                let id = params["file_id"].as_str().unwrap_or_default();
                return match self.files.contains_key(id) {
                    true => Ok(json!({ "file_id": id, "file_path": format!("files/{id}") })),
                    false => Err((400, "Bad Request: invalid file_id".to_owned())),
                };
            }
            "deleteWebhook" | "setWebhook" => return Ok(true.into()),
            _ => {}
        }
        let refusals = self.refusals.get_mut(method);
        if let Some(refusal) = refusals.and_then(VecDeque::pop_front) {
            return Err(refusal);
        }
        let mut params = params;
        let chat = number(&params["chat_id"]).unwrap_or_default();
        let message = |state: &mut State, number: Option<i64>| {
            let number = number.unwrap_or_else(|| state.next());
            let mut message = shown(number, chat);
            message["text"] = params["text"].clone();
            message
        };
        let result = match method {
            "sendChatAction" => true.into(),
            "sendMediaGroup" => {
                let album = params["media"].as_array().map_or(1, Vec::len);
                (0..album).map(|_| message(self, None)).collect()
            }
            _ if method.starts_with("editMessage") => message(self, number(&params["message_id"])),
            _ if method.starts_with("send") || method == "copyMessage" => {
                let sent = message(self, None);
                // Presses say under which message they are.
                params["message_id"] = sent["message_id"].clone();
                sent
            }
            _ => true.into(),
        };
        self.calls.push(TelegramCall {
            method: method.to_owned(),
            params,
        });
        Ok(result)
    }
}

pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((stream, _)) = listener.accept().await {
        let shared = shared.clone();
        spawn_local(async move {
            let answers = service_fn(move |request| answer(shared.clone(), request));
            let http = hyper::server::conn::http1::Builder::new();
            // The bot hangs up as it likes.
            drop(http.serve_connection(TokioIo::new(stream), answers).await);
        });
    }
}

async fn answer(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> std::result::Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let body = body.map(|whole| whole.to_bytes()).unwrap_or_default();
    let of_files = format!("/file/bot{}/files/", TOKEN);
    if let Some(id) = path.strip_prefix(&of_files) {
        return Ok(match shared.state().files.get(id) {
            Some(bytes) => Response::new(Full::new(bytes.clone())),
            None => respond(Err((404, "Not Found".to_owned()))),
        });
    }
    let of_bot = format!("/bot{}/", TOKEN);
    let Some(method) = path.strip_prefix(&of_bot) else {
        return Ok(respond(Err((401, "Unauthorized".to_owned()))));
    };
    let form = head.headers.get("content-type");
    let form = form.and_then(|media_type| media_type.to_str().ok()?.split_once("boundary="));
    let params = match form {
        Some((_, boundary)) => fields(boundary, &body),
        None => serde_json::from_slice(&body).unwrap_or_else(|_| json!({})),
    };
    if method == "getUpdates" {
        return Ok(respond(Ok(updates(&shared, &params).await)));
    }
    Ok(respond(shared.state().obey(method, params)))
}

/// The updates from this offset on, once there are some; those before are done.
async fn updates(shared: &Shared, params: &Value) -> Value {
    let offset = number(&params["offset"]).unwrap_or_default();
    let look = || {
        let mut state = shared.state();
        let id = |update: &Value| number(&update["update_id"]).unwrap_or_default();
        state.updates.retain(|update| id(update) >= offset);
        let most = number(&params["limit"]).map_or(100, |most| most.clamp(1, 100) as usize);
        state.updates.iter().take(most).cloned().collect::<Vec<_>>()
    };
    let mut came = std::pin::pin!(shared.came.notified());
    came.as_mut().enable();
    let mut found = look();
    if found.is_empty() {
        drop(tokio::time::timeout(POLL, came).await);
        found = look();
    }
    found.into()
}

fn respond(result: std::result::Result<Value, (u16, String)>) -> Response<Full<Bytes>> {
    let (status, body) = match result {
        Ok(result) => (200, json!({ "ok": true, "result": result })),
        Err((status, words)) => (
            status,
            json!({ "ok": false, "error_code": status, "description": words }),
        ),
    };
    let mut response = Response::new(Full::new(body.to_string().into()));
    if let Ok(status) = hyper::StatusCode::from_u16(status) {
        *response.status_mut() = status;
    }
    response
}

/// The fields of a form (RFC 7578); of a file its name. What is no text there is JSON.
fn fields(boundary: &str, body: &[u8]) -> Value {
    let mut all = Map::new();
    let whole = String::from_utf8_lossy(body);
    for part in whole.split(&format!("--{boundary}")) {
        let Some((head, content)) = part.split_once("\r\n\r\n") else {
            continue;
        };
        let quoted = |name: &str| {
            let (_, value) = head.split_once(&format!("; {name}=\""))?;
            Some(value.split_once('"')?.0.to_owned())
        };
        let Some(name) = quoted("name") else {
            continue;
        };
        let text = content.strip_suffix("\r\n").unwrap_or(content);
        let value = match (quoted("filename"), serde_json::from_str(text)) {
            (Some(file), _) => file.into(),
            (None, Ok(value @ (Value::Object(_) | Value::Array(_) | Value::Bool(_)))) => value,
            (None, _) => text.into(),
        };
        all.insert(name, value);
    }
    all.into()
}

pub(super) fn shown(message: i64, chat: i64) -> Value {
    json!({
        "message_id": message, "date": 1_700_000_000,
        "chat": { "id": chat, "type": "private", "first_name": "Ann" },
    })
}

pub(super) fn person(user: i64) -> Value {
    json!({ "id": user, "is_bot": false, "first_name": "Ann", "language_code": "en" })
}

pub(super) fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A number that may be written as text, as in forms.
pub(super) fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_no_message() {
        let sends = |method: &str| {
            let (method, params) = (method.to_owned(), Value::Null);
            TelegramCall { method, params }.sends()
        };
        for method in ["sendMessage", "sendPhoto", "sendInvoice"] {
            assert!(sends(method), "{method}");
        }
        for method in ["sendMessageDraft", "sendChatAction", "editMessageText"] {
            assert!(!sends(method), "{method}");
        }
    }
}
