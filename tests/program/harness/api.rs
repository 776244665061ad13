//! The platforms' APIs, on a server of our own: takes their calls that send, remembers
//! each, and answers as a test wants, in each platform's own words. It runs on a
//! thread of its own, so that it answers whatever the test is doing.

mod telegram;
pub(crate) mod whatsapp;
mod words;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::bot::{LATER, Setup, until};
use crate::harness::client::Failure;
use crate::harness::queues::Queues;

use telegram::Telegram;
pub(crate) use telegram::{Shown, Upload};
use words::{Platform, accepted, accepted_shown, blocked, failing, flood, moved, read};
pub(crate) use words::{fields, respond};

/// How a call is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mood {
    /// Accepted.
    Well,
    /// Too many, to be tried again after so many seconds.
    Flood(u64),
    /// 500, and no JSON.
    Broken,
    /// The API's own words for an error of its own, which is about this message.
    Failing,
    /// Telegram's: accepted, and said to have been deleted at once.
    Deleted,
    /// Accepted, but the answer does not arrive.
    Lost,
    /// The user has blocked the bot.
    Blocked,
    /// The group became a supergroup, with this id (Telegram).
    Moved(i64),
    /// Refused with this status and these words (Telegram).
    Says(u16, &'static str),
    /// Never.
    Hanging,
    /// Accepted, but not answered before [`Api::release`].
    Taken,
    /// Neither accepted nor answered before [`Api::release`].
    Held,
    /// Not accepted, and the connection is closed.
    Reset,
    /// Accepted, after so many milliseconds.
    Slow(u64),
}

/// How often calls go wrong, when a test does not say how each is answered:
/// probabilities of the moods of these names.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) flood: f64,
    pub(crate) broken: f64,
    pub(crate) lost: f64,
    pub(crate) reset: f64,
    pub(crate) slow: f64,
}

impl Weather {
    fn mood(self, random: &mut fastrand::Rng) -> Mood {
        let mut dice = random.f64();
        for (probability, mood) in [
            (self.flood, Mood::Flood(1)),
            (self.broken, Mood::Broken),
            (self.lost, Mood::Lost),
            (self.reset, Mood::Reset),
            (self.slow, Mood::Slow(random.u64(1..50))),
        ] {
            if dice < probability {
                return mood;
            }
            dice -= probability;
        }
        Mood::Well
    }
}

/// A call that sends a message.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) at: Instant,
    /// Whom to.
    pub(crate) chat: String,
    /// The text or caption; "?" without one.
    pub(crate) text: String,
    /// The whole, also of a form.
    pub(crate) body: Value,
    /// The method in the call's address, such as `sendMessage`.
    pub(crate) method: String,
    /// The files that came with it (Telegram).
    pub(crate) uploads: Vec<Upload>,
    /// The user got it.
    pub(crate) accepted: bool,
}

/// The method of what [`Api::rode`] takes.
const IN_AN_ANSWER: &str = "in an answer";

impl Call {
    /// It shows that the bot is writing, and says nothing (Messenger).
    fn is_shown_only(&self) -> bool {
        self.body.get("sender_action").is_some()
    }

    /// It came as a call, not in an answer.
    pub(crate) fn is_ours(&self) -> bool {
        self.method != IN_AN_ANSWER
    }
}

struct State {
    calls: Vec<Call>,
    /// Who asked what the bot is called: the methods.
    named: Vec<String>,
    /// That the bot is typing.
    typed: Vec<Value>,
    /// For the next calls of a chat, in order; then the weather.
    moods: HashMap<String, Vec<Mood>>,
    weather: Weather,
    random: fastrand::Rng,
    /// Rises when held calls are let go.
    releases: watch::Sender<u64>,
    /// VK takes a message with a `random_id` that a chat had before for that one.
    random_ids: HashSet<(String, String)>,
    telegram: Telegram,
}

/// All secrets of a bot that [`configure`] makes.
pub(crate) const SECRETS: [(&str, &str); 8] = [
    ("TELEGRAM_TOKEN", TOKEN),
    ("VIBER_TOKEN", VIBER_TOKEN),
    ("FACEBOOK_TOKEN", FACEBOOK_TOKEN),
    ("FACEBOOK_SECRET", FACEBOOK_SECRET),
    ("FACEBOOK_VERIFY_TOKEN", "verify me"),
    ("VK_TOKEN", VK_TOKEN),
    ("VK_SECRET", VK_SECRET),
    ("VK_CONFIRMATION", "c0nf1rm"),
];

pub(crate) struct Api {
    pub(crate) port: u16,
    state: Arc<Mutex<State>>,
    /// What gives updates and takes addresses.
    pub(crate) queues: Arc<Queues>,
    /// Dropped to end the thread.
    _stop: tokio::sync::oneshot::Sender<()>,
}

pub(crate) const TOKEN: &str = "12345:secret-of-the-bot";
pub(crate) const VIBER_TOKEN: &str = "4453b6ac12345678-e02c5f12174805f9-daec9cbb5448c51f";
pub(crate) const FACEBOOK_TOKEN: &str = "EAAG/secret of the page";
pub(crate) const FACEBOOK_SECRET: &str = "secret of the app";
pub(crate) const VK_TOKEN: &str = "vk1.a.secret-of-the-group";
pub(crate) const VK_SECRET: &str = "aaQ13axAPQEcczQa";

impl Api {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("a socket");
        let state = Arc::new(Mutex::new(State {
            calls: Vec::new(),
            named: Vec::new(),
            typed: Vec::new(),
            moods: HashMap::new(),
            weather: Weather::default(),
            random: fastrand::Rng::with_seed(7),
            releases: watch::Sender::new(0),
            random_ids: HashSet::new(),
            telegram: Telegram::default(),
        }));
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let queues = Arc::new(Queues::new(port));
        let shared = (state.clone(), queues.clone());
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
            queues,
            _stop: stop,
        }
    }

    /// A bot on all platforms that sends its replies here.
    pub(crate) fn configure(&self, setup: Setup) -> Setup {
        configure(setup, &self.url())
    }

    /// Who asked Telegram and Viber what the bot is called: the methods.
    pub(crate) fn named(&self) -> Vec<String> {
        let state = self.state.lock().expect("no panic under this lock");
        state.named.clone()
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How the next calls of a chat are answered.
    pub(crate) fn be(&self, chat: &str, moods: &[Mood]) {
        let mut state = self.state.lock().expect("no panic under this lock");
        state.moods.insert(chat.to_owned(), moods.to_vec());
    }

    /// How calls are answered of which a test does not say it.
    pub(crate) fn weather(&self, weather: Weather) {
        self.state.lock().expect("no panic under this lock").weather = weather;
    }

    /// Lets all calls go that are held.
    pub(crate) fn release(&self) {
        let state = self.state.lock().expect("no panic under this lock");
        state.releases.send_modify(|releases| *releases += 1);
    }

    /// Answers well from now on, held calls too.
    pub(crate) fn calm(&self) {
        let mut state = self.state.lock().expect("no panic under this lock");
        state.moods.clear();
        state.weather = Weather::default();
        state.releases.send_modify(|releases| *releases += 1);
    }

    /// A message that came without a call: in the answer to a webhook.
    pub(crate) fn rode(&self, chat: &str, text: &str, body: &Value) {
        let mut state = self.state.lock().expect("no panic under this lock");
        state.calls.push(Call {
            at: Instant::now(),
            chat: chat.to_owned(),
            text: text.to_owned(),
            body: body.clone(),
            method: IN_AN_ANSWER.to_owned(),
            uploads: Vec::new(),
            accepted: true,
        });
    }

    /// All calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state
            .lock()
            .expect("no panic under this lock")
            .calls
            .clone()
    }

    /// The bodies of the calls that showed that the bot is typing.
    pub(crate) fn typed(&self) -> Vec<Value> {
        self.state
            .lock()
            .expect("no panic under this lock")
            .typed
            .clone()
    }

    /// The bodies of the calls of a method, in order.
    pub(crate) fn called(&self, method: &str) -> Vec<Value> {
        let calls = self.calls().into_iter();
        calls
            .filter(|call| call.method == method)
            .map(|call| call.body)
            .collect()
    }

    /// The texts that a chat has received, in order.
    pub(crate) fn received(&self, chat: &str) -> Vec<String> {
        let calls = self.calls().into_iter();
        calls
            .filter(|call| call.accepted && call.chat == chat && !call.is_shown_only())
            .map(|call| call.text)
            .collect()
    }

    /// What a chat of Telegram's shows, in order.
    pub(crate) fn shown(&self, chat: &str) -> Vec<Shown> {
        let state = self.state.lock().expect("no panic under this lock");
        state.telegram.shown(chat)
    }

    /// A file that a user of Telegram's sent: its id, where it is, what is in it.
    pub(crate) fn add_file(&self, file: &str, path: &str, bytes: impl Into<Bytes>) {
        let mut state = self.state.lock().expect("no panic under this lock");
        state.telegram.add_file(file, path, bytes.into());
    }

    /// Waits until a chat has received as many texts; they are these.
    pub(crate) async fn receives(&self, chat: &str, all: &[&str]) {
        let what = format!("{all:?} to {chat}");
        until(&what, LATER, || self.received(chat).len() >= all.len()).await;
        assert_eq!(self.received(chat), all, "to {chat}");
    }

    /// So many texts to this chat, once they are there.
    pub(crate) async fn said_to(&self, chat: &str, count: usize) -> Vec<String> {
        let what = format!("{count} texts to {chat}");
        until(&what, LATER, || self.received(chat).len() >= count).await;
        let said = self.received(chat);
        assert_eq!(said.len(), count, "{said:?}");
        said
    }

    /// How many calls were accepted.
    pub(crate) fn accepted(&self) -> usize {
        let state = self.state.lock().expect("no panic under this lock");
        let is_said = |call: &&Call| call.accepted && !call.is_shown_only();
        state.calls.iter().filter(is_said).count()
    }
}

/// A bot on all platforms whose APIs are at this address.
pub(crate) fn configure(mut setup: Setup, url: &str) -> Setup {
    for platform in ["telegram", "viber", "facebook", "vk"] {
        setup = setup.args(&[&format!("--{platform}-api-url"), url]);
    }
    for (name, value) in SECRETS {
        setup = setup.env(&format!("TURNKEY_{name}"), value);
    }
    setup
}

type Shared = (Arc<Mutex<State>>, Arc<Queues>);

async fn serve(listener: std::net::TcpListener, state: Shared) {
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
    (state, queues): Shared,
) -> Result<Response<Full<Bytes>>, Failure> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    if let Some(answer) = queues.answer(&head, &body).await {
        return Ok(answer);
    }
    let of_whatsapp = {
        let mut state = state.lock().expect("no panic under this lock");
        whatsapp::answer(&head, &body, &mut state)
    };
    if let Some((answer, waits)) = of_whatsapp {
        if let Some(mut releases) = waits {
            released(&mut releases).await;
        }
        return Ok(answer);
    }
    let path = head.uri.path();
    if let Some(file) = path.strip_prefix(&format!("/file/bot{TOKEN}/")) {
        let state = state.lock().expect("no panic under this lock");
        return Ok(state.telegram.file(file));
    }
    // What somebody else serves, such as files that users sent.
    if let Some(file) = path.strip_prefix("/elsewhere/") {
        return Ok(respond(200, format!("the file {file}")));
    }
    let Some((platform, body, uploads)) = read(&head, &body) else {
        return Ok(respond(
            404,
            json!({"ok": false, "description": "Not Found"}).to_string(),
        ));
    };
    let method = head.uri.path().rsplit('/').next().unwrap_or_default();
    // Who the bot is: no message either.
    if let Some(answer) = words::own_name(method) {
        let mut state = state.lock().expect("no panic under this lock");
        state.named.push(method.to_owned());
        return Ok(respond(200, answer.to_string()));
    }
    // Whoever is busy is seen to write: nothing that anybody gets.
    let is_typing = method == "sendChatAction"
        || method == "messages.setActivity"
        || body.get("sender_action").is_some();
    if is_typing {
        let mut state = state.lock().expect("no panic under this lock");
        state.typed.push(body);
        return Ok(respond(200, accepted_shown(platform)));
    }
    let (chat, text) = match platform {
        Platform::Telegram => (&body["chat_id"], body.get("text").or(body.get("caption"))),
        Platform::Viber => (&body["receiver"], body.get("text")),
        Platform::Facebook => (&body["recipient"]["id"], body["message"].get("text")),
        Platform::Vk if method == "messages.edit" => (&body["peer_id"], body.get("message")),
        Platform::Vk => (&body["peer_ids"], body.get("message")),
    };
    let chat = match chat {
        Value::Null => "?".to_owned(),
        chat => telegram::id(chat),
    };
    let text = text.and_then(Value::as_str).unwrap_or("?").to_owned();
    let random_id = body["random_id"].as_str().unwrap_or_default().to_owned();
    let method = path[path.rfind('/').unwrap_or(0) + 1..].to_owned();
    let called = method.clone();
    let (mood, index, mut releases) = {
        let mut state = state.lock().expect("no panic under this lock");
        let mood = match state.moods.get_mut(&chat) {
            Some(moods) if !moods.is_empty() => moods.remove(0),
            _ => {
                let State {
                    weather, random, ..
                } = &mut *state;
                weather.mood(random)
            }
        };
        state.calls.push(Call {
            at: Instant::now(),
            chat: chat.clone(),
            text,
            body: body.clone(),
            method: method.clone(),
            uploads: uploads.clone(),
            accepted: false,
        });
        (mood, state.calls.len() - 1, state.releases.subscribe())
    };
    match mood {
        Mood::Held => released(&mut releases).await,
        Mood::Slow(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
        _ => {}
    }
    let arrives = matches!(
        mood,
        Mood::Well | Mood::Lost | Mood::Taken | Mood::Held | Mood::Slow(_) | Mood::Deleted
    );
    let mut answered = None;
    if arrives {
        let mut state = state.lock().expect("no panic under this lock");
        let is_new = platform != Platform::Vk
            || random_id.is_empty()
            || state.random_ids.insert((chat, random_id));
        state.calls[index].accepted = is_new;
        if platform == Platform::Telegram {
            let given = state.telegram.call(&method, &body, &uploads);
            state.calls[index].accepted = given.status() == 200;
            answered = Some(given);
        }
    }
    if let Mood::Taken = mood {
        released(&mut releases).await;
    }
    Ok(match mood {
        Mood::Well | Mood::Held | Mood::Taken | Mood::Slow(_) => {
            let host = head.headers.get("host").and_then(|host| host.to_str().ok());
            let host = host.unwrap_or_default();
            answered.unwrap_or_else(|| respond(200, accepted(platform, &called, index, host)))
        }
        Mood::Flood(seconds) => flood(platform, seconds),
        Mood::Broken | Mood::Lost => respond(500, "<html>oops</html>".to_owned()),
        Mood::Blocked => blocked(platform),
        Mood::Moved(new) => moved(new),
        Mood::Says(status, words) => telegram::error(status, words),
        Mood::Failing => failing(platform),
        Mood::Deleted => respond(
            500,
            json!({"ok": false, "error_code": 500, "description":
                "Internal Server Error: sent message was immediately deleted and can't be returned"})
            .to_string(),
        ),
        Mood::Hanging => std::future::pending().await,
        Mood::Reset => return Err("the connection is reset".into()),
    })
}

async fn released(releases: &mut watch::Receiver<u64>) {
    // An error: the test is over.
    drop(releases.changed().await);
}
