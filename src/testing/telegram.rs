//! A small Telegram for tests: a bot polls it as it polls the real one, and what the bot calls
//! is kept for the test to read.
//!
//! Made by authors' tests, given to a bot with `Launch::telegram`. A server on a free port of
//! this machine, in a thread that ends with it. It knows what a bot needs (updates, messages
//! with numbers of their own, files, refusals that the test asks for), and is no judge of what
//! Telegram would take. Bounds: ten seconds for each wait, half a second for a poll, 64 MiB for
//! a call.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, oneshot};
use tokio::task::{LocalSet, spawn_local};

use super::{PATIENCE, PAUSE};
use crate::author::error::{Error, Result};

/// How long a poll is kept waiting.
const POLL: Duration = Duration::from_millis(500);

/// Bytes of a call.
const MAX_BODY: usize = 64 << 20;

/// A call that the bot has made.
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

    fn chat(&self) -> Option<i64> {
        number(&self.params["chat_id"])
    }

    /// It brings something new to a chat.
    fn sends(&self) -> bool {
        self.method.starts_with("send") && self.method != "sendChatAction"
    }
}

#[derive(Default)]
struct State {
    /// What the bot has not taken yet.
    updates: VecDeque<Value>,
    /// Updates and messages so far.
    count: i64,
    calls: Vec<TelegramCall>,
    /// How many of a chat's messages [`Telegram::next`] has returned.
    read: HashMap<i64, usize>,
    /// Of a method's next calls: how they are refused.
    refusals: HashMap<String, VecDeque<(u16, String)>>,
    files: HashMap<String, Bytes>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    came: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A Telegram for tests. See [`guide::testing`](crate::guide::testing).
///
/// ```no_run
/// # fn main() -> turnkey::Result<()> {
/// # let program = "target/debug/bot"; // In a test: env!("CARGO_BIN_EXE_bot").
/// use turnkey::testing::{Program, Telegram};
///
/// let telegram = Telegram::start()?;
/// let bot = Program::of(program).telegram(&telegram).start()?;
/// telegram.says(42, "/start");
/// assert!(telegram.next(42)?.text().contains("Hello"));
/// bot.stop()
/// # }
/// ```
pub struct Telegram {
    port: u16,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    server: Option<JoinHandle<()>>,
}

impl Telegram {
    /// The bot's token there.
    pub const TOKEN: &'static str = "12345:testing";

    /// Starts it.
    ///
    /// # Errors
    /// The system has no port or no thread.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let (stop, stopped) = oneshot::channel();
        let served = shared.clone();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let server = std::thread::Builder::new()
            .name("telegram".to_owned())
            .spawn(move || {
                LocalSet::new().block_on(&runtime, async {
                    tokio::select! {
                        () = serve(listener, served) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Telegram {
            port,
            shared,
            stop: Some(stop),
            server: Some(server),
        })
    }

    /// Its address, for `--telegram-api-url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A user writes to the bot, in private.
    pub fn says(&self, user: i64, text: &str) {
        let text = Map::from_iter([("text".to_owned(), text.into())]);
        self.message_of(user, text);
    }

    /// A user sends something else, in private: fields of Telegram's `Message`, such as
    /// `{"photo": [{"file_id": "x", …}], "caption": "…"}`.
    ///
    /// # Errors
    /// They are no object.
    pub fn message(&self, user: i64, fields: Value) -> Result<()> {
        let Value::Object(fields) = fields else {
            return Err(Error::msg("a message's fields are a JSON object"));
        };
        self.message_of(user, fields);
        Ok(())
    }

    fn message_of(&self, user: i64, fields: Map<String, Value>) {
        let mut state = self.shared.state();
        let mut message = shown(state.next(), user);
        message["from"] = person(user);
        if let Some(all) = message.as_object_mut() {
            all.extend(fields);
        }
        state.push(json!({ "message": message }));
        self.shared.came.notify_waiters();
    }

    /// A user presses the button that carries this data, under the last message to them that
    /// has it.
    ///
    /// # Errors
    /// They have no such button.
    pub fn presses(&self, user: i64, data: &str) -> Result<()> {
        let mut state = self.shared.state();
        let has = |call: &&TelegramCall| {
            let keyboard = &call.params["reply_markup"]["inline_keyboard"];
            let mut buttons = rows(keyboard).flat_map(rows);
            call.chat() == Some(user) && buttons.any(|button| button["callback_data"] == data)
        };
        let Some(call) = state.calls.iter().rev().find(has) else {
            return Err(Error::msg(format!("{user} has no button with {data:?}")));
        };
        let mut message = shown(number(&call.params["message_id"]).unwrap_or(1), user);
        message["text"] = call.text().into();
        let id = state.next().to_string();
        state.push(json!({ "callback_query": {
            "id": id, "from": person(user), "message": message,
            "chat_instance": "1", "data": data,
        } }));
        self.shared.came.notify_waiters();
        Ok(())
    }

    /// Any update, as Telegram writes it; its `update_id` is given here.
    ///
    /// # Errors
    /// It is no object.
    pub fn update(&self, update: Value) -> Result<()> {
        if !update.is_object() {
            return Err(Error::msg("an update is a JSON object"));
        }
        self.shared.state().push(update);
        self.shared.came.notify_waiters();
        Ok(())
    }

    /// What [`Turn::download`](crate::Turn::download) fetches for a file of this id.
    pub fn file(&self, id: &str, bytes: impl Into<Vec<u8>>) {
        let bytes = Bytes::from(bytes.into());
        self.shared.state().files.insert(id.to_owned(), bytes);
    }

    /// Refuses the next call of this method with a status and these words, such as 403 and
    /// `Forbidden: bot was blocked by the user`.
    pub fn refuse(&self, method: &str, status: u16, words: &str) {
        let mut state = self.shared.state();
        let next = state.refusals.entry(method.to_owned()).or_default();
        next.push_back((status, words.to_owned()));
    }

    /// All that the bot has called so far, in order; polls and questions of the start are left
    /// out.
    pub fn calls(&self) -> Vec<TelegramCall> {
        self.shared.state().calls.clone()
    }

    /// The next message that the bot sends to this user, or has sent: each is returned once.
    ///
    /// # Errors
    /// None came within ten seconds.
    pub fn next(&self, user: i64) -> Result<TelegramCall> {
        self.wait(&format!("a message to {user}"), |state| {
            let read = state.read.entry(user).or_default();
            let of_user = |call: &&TelegramCall| call.sends() && call.chat() == Some(user);
            let next = state.calls.iter().filter(of_user).nth(*read).cloned();
            *read += usize::from(next.is_some());
            next
        })
    }

    /// The first call of which this is true, once there is one.
    ///
    /// # Errors
    /// None came within ten seconds.
    pub fn call(&self, what: &str, is_it: impl Fn(&TelegramCall) -> bool) -> Result<TelegramCall> {
        self.wait(what, |state| {
            let mut calls = state.calls.iter();
            calls.find(|call| is_it(call)).cloned()
        })
    }

    fn wait<T>(&self, what: &str, look: impl Fn(&mut State) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut state = self.shared.state();
            if let Some(found) = look(&mut state) {
                return Ok(found);
            }
            if Instant::now() > deadline {
                return Err(Error::msg(format!(
                    "{what} did not come within {PATIENCE:?}; the bot called {:?}",
                    state.calls
                )));
            }
            drop(state);
            std::thread::sleep(PAUSE);
        }
    }
}

impl Drop for Telegram {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(server) = self.server.take() {
            drop(server.join());
        }
    }
}

impl State {
    fn next(&mut self) -> i64 {
        self.count += 1;
        self.count
    }

    fn push(&mut self, mut update: Value) {
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

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
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
    let of_files = format!("/file/bot{}/files/", Telegram::TOKEN);
    if let Some(id) = path.strip_prefix(&of_files) {
        return Ok(match shared.state().files.get(id) {
            Some(bytes) => Response::new(Full::new(bytes.clone())),
            None => respond(Err((404, "Not Found".to_owned()))),
        });
    }
    let of_bot = format!("/bot{}/", Telegram::TOKEN);
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

fn shown(message: i64, chat: i64) -> Value {
    json!({
        "message_id": message, "date": 1_700_000_000,
        "chat": { "id": chat, "type": "private", "first_name": "Ann" },
    })
}

fn person(user: i64) -> Value {
    json!({ "id": user, "is_bot": false, "first_name": "Ann", "language_code": "en" })
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A number that may be written as text, as in forms.
fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}
