//! A Bot API server of our own: takes `sendMessage`, remembers each call, and
//! answers as a test wants. It runs on a thread of its own, so that it answers
//! whatever the test is doing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use crate::bot::Setup;
use crate::client::post;

/// How a call is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    /// Accepted.
    Well,
    /// 429, to be tried again after so many seconds.
    Flood(u64),
    /// 500, and no JSON.
    Broken,
    /// 403: the user has blocked the bot.
    Blocked,
    /// Never.
    Hanging,
}

/// A call of `sendMessage`.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) at: Instant,
    pub(crate) chat: String,
    pub(crate) text: String,
    /// It was answered "ok".
    pub(crate) accepted: bool,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    /// For the next calls of a chat, in order; then [`Mood::Well`].
    moods: HashMap<String, Vec<Mood>>,
}

pub(crate) struct Api {
    port: u16,
    state: Arc<Mutex<State>>,
    /// Dropped to end the thread.
    _stop: tokio::sync::oneshot::Sender<()>,
}

const TOKEN: &str = "12345:secret-of-the-bot";

impl Api {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("a socket");
        let state = Arc::new(Mutex::new(State::default()));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let shared = state.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                tokio::select! { () = serve(listener, shared) => {}, _ = stopped => {} }
            });
        });
        Api {
            port,
            state,
            _stop: stop,
        }
    }

    /// A bot that sends its replies here.
    pub(crate) fn configure(&self, setup: Setup) -> Setup {
        setup
            .args(&[
                "--telegram-api-url",
                &format!("http://127.0.0.1:{}", self.port),
            ])
            .env("TURNKEY_TELEGRAM_TOKEN", TOKEN)
    }

    /// How the next calls of a chat are answered.
    pub(crate) fn be(&self, chat: &str, moods: &[Mood]) {
        let mut state = self.state.lock().expect("no panic under this lock");
        state.moods.insert(chat.to_owned(), moods.to_vec());
    }

    /// All calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state
            .lock()
            .expect("no panic under this lock")
            .calls
            .clone()
    }

    /// The texts that a chat has received, in order.
    pub(crate) fn received(&self, chat: &str) -> Vec<String> {
        let calls = self.calls().into_iter();
        calls
            .filter(|call| call.accepted && call.chat == chat)
            .map(|call| call.text)
            .collect()
    }

    /// How many calls were accepted.
    pub(crate) fn accepted(&self) -> usize {
        let state = self.state.lock().expect("no panic under this lock");
        state.calls.iter().filter(|call| call.accepted).count()
    }
}

async fn serve(listener: std::net::TcpListener, state: Arc<Mutex<State>>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
    while let Ok((stream, _)) = listener.accept().await {
        drop(stream.set_nodelay(true));
        let state = state.clone();
        let service = service_fn(move |request| answer(request, state.clone()));
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn answer(
    request: Request<Incoming>,
    state: Arc<Mutex<State>>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    if path != format!("/bot{TOKEN}/sendMessage") {
        return Ok(respond(
            404,
            json!({"ok": false, "description": "Not Found"}).to_string(),
        ));
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text_of = |field: &str| body[field].as_str().unwrap_or("?").to_owned();
    let (chat, text) = (text_of("chat_id"), text_of("text"));
    let mood = {
        let mut state = state.lock().expect("no panic under this lock");
        let mood = match state.moods.get_mut(&chat) {
            Some(moods) if !moods.is_empty() => moods.remove(0),
            _ => Mood::Well,
        };
        state.calls.push(Call {
            at: Instant::now(),
            chat,
            text,
            accepted: matches!(mood, Mood::Well),
        });
        mood
    };
    Ok(match mood {
        Mood::Well => respond(200, json!({"ok": true, "result": {}}).to_string()),
        Mood::Flood(seconds) => respond(
            429,
            json!({
                "ok": false, "error_code": 429, "description": "Too Many Requests",
                "parameters": {"retry_after": seconds}
            })
            .to_string(),
        ),
        Mood::Broken => respond(500, "<html>oops</html>".to_owned()),
        Mood::Blocked => respond(
            403,
            json!({
                "ok": false, "error_code": 403,
                "description": "Forbidden: bot was blocked by the user"
            })
            .to_string(),
        ),
        Mood::Hanging => std::future::pending().await,
    })
}

fn respond(status: u16, body: String) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status);
    response.body(Full::from(body)).expect("a response")
}

/// An update with a text message of a user, in the private chat with them.
pub(crate) fn text(update: u64, user: u64, text: &str) -> Value {
    json!({
        "update_id": update,
        "message": {
            "message_id": update, "date": 1_700_000_000,
            "from": {"id": user, "is_bot": false, "first_name": "Ann"},
            "chat": {"id": user, "type": "private", "first_name": "Ann"},
            "text": text
        }
    })
}

/// The request in which Telegram posts an update.
pub(crate) fn webhook(update: &Value) -> Request<Full<Bytes>> {
    post("/telegram", update.to_string())
}
