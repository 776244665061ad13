//! The half of the platforms' APIs that gives updates and takes addresses: Telegram's
//! `getUpdates` with its offset and its conflicts, VK's Long Poll with keys that expire and
//! a history that ends, and the calls that register webhooks. Part of `api.rs`.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Response;
use hyper::http::request::Parts;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::harness::api::{FACEBOOK_TOKEN, TOKEN, VIBER_TOKEN, VK_TOKEN, fields, respond};
use crate::harness::client::{once, post};
use crate::platforms::webhooks::{PAGE, viber};

/// What VK's confirmation string is, here.
pub(crate) const CONFIRMATION: &str = "a1b2c3d4";

/// How a platform's queue is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    Fine,
    /// 502.
    Away,
    /// The token is not known.
    Unauthorized,
    /// VK's Long Poll answers with an error, and with status 200.
    Error,
}

/// A call that asks for updates.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) at: Instant,
    /// Telegram's offset, VK's ts.
    pub(crate) from: u64,
    /// The kinds that Telegram is asked for.
    pub(crate) kinds: Value,
}

/// A call that registers something.
#[derive(Clone, Debug)]
pub(crate) struct Registration {
    pub(crate) method: String,
    pub(crate) fields: Value,
}

struct State {
    telegram: Vec<Value>,
    webhook: bool,
    weather: Weather,
    /// The number of the last `getUpdates`: a newer one ends those before.
    poller: u64,
    asks: Vec<Ask>,
    waiting: usize,
    vk: Vec<Value>,
    /// Events before this one are forgotten.
    vk_forgotten: u64,
    vk_key: u64,
    registrations: Vec<Registration>,
    /// Refuse so many registrations first.
    refuse: u32,
    bot_port: u16,
}

pub(crate) struct Queues {
    state: Mutex<State>,
    changed: Notify,
    own_port: u16,
}

/// Long polls are counted while they wait, also when they are broken off.
struct Waiting<'a>(&'a Queues);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.with(|state| state.waiting -= 1);
    }
}

impl Queues {
    pub(crate) fn new(own_port: u16) -> Self {
        Queues {
            state: Mutex::new(State {
                telegram: Vec::new(),
                webhook: false,
                weather: Weather::Fine,
                poller: 0,
                asks: Vec::new(),
                waiting: 0,
                vk: Vec::new(),
                vk_forgotten: 0,
                vk_key: 1,
                registrations: Vec::new(),
                refuse: 0,
                bot_port: 0,
            }),
            changed: Notify::new(),
            own_port,
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().expect("no panic under this lock"));
        self.changed.notify_waiters();
        result
    }

    /// Something happened to Telegram's bot.
    pub(crate) fn push(&self, updates: impl IntoIterator<Item = Value>) {
        self.with(|state| state.telegram.extend(updates));
    }

    /// Something happened in VK's community.
    pub(crate) fn push_vk(&self, events: impl IntoIterator<Item = Value>) {
        self.with(|state| state.vk.extend(events));
    }

    /// Updates that Telegram still keeps.
    pub(crate) fn kept(&self) -> usize {
        self.with(|state| state.telegram.len())
    }

    pub(crate) fn weather(&self, weather: Weather) {
        self.with(|state| state.weather = weather);
    }

    pub(crate) fn has_webhook(&self, webhook: bool) {
        self.with(|state| state.webhook = webhook);
    }

    pub(crate) fn is_posted_to(&self) -> bool {
        self.with(|state| state.webhook)
    }

    /// Another program asks, once.
    pub(crate) fn second_poller(&self) {
        self.with(|state| state.poller += 1);
    }

    pub(crate) fn asks(&self) -> Vec<Ask> {
        self.with(|state| state.asks.clone())
    }

    /// Long polls that wait now.
    pub(crate) fn waiting(&self) -> usize {
        self.with(|state| state.waiting)
    }

    /// VK's key is no longer valid; everything before now is forgotten, or not.
    pub(crate) fn expire_vk(&self, forget: bool) {
        self.with(|state| {
            state.vk_key += 1;
            if forget {
                state.vk_forgotten = state.vk.len() as u64;
            }
        });
    }

    pub(crate) fn registrations(&self) -> Vec<Registration> {
        self.with(|state| state.registrations.clone())
    }

    pub(crate) fn refuse_registrations(&self, count: u32) {
        self.with(|state| state.refuse = count);
    }

    /// Where addresses are tried out.
    pub(crate) fn bot_port(&self, port: u16) {
        self.with(|state| state.bot_port = port);
    }

    /// The answer to a call that is of this half.
    pub(crate) async fn answer(&self, head: &Parts, body: &[u8]) -> Option<Response<Full<Bytes>>> {
        let path = head.uri.path();
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        if let Some(method) = path.strip_prefix("/bot") {
            let (token, method) = method.split_once('/')?;
            let known = token == TOKEN && self.with(|s| s.weather != Weather::Unauthorized);
            return match method {
                "getUpdates" | "setWebhook" | "deleteWebhook" if !known => {
                    Some(telegram_error(401, "Unauthorized"))
                }
                "getUpdates" => Some(self.get_updates(&json).await),
                // What no chat has to show for.
                "answerCallbackQuery" | "sendChatAction" => {
                    self.register(method, json);
                    Some(ok(json!(true)))
                }
                "setWebhook" | "deleteWebhook" => {
                    if self.is_refused() {
                        return Some(telegram_error(400, "Bad Request: bad webhook"));
                    }
                    self.register(method, json);
                    self.has_webhook(method == "setWebhook");
                    Some(ok(json!(true)))
                }
                _ => None,
            };
        }
        if path == "/pa/set_webhook" {
            let token = head.headers.get("x-viber-auth-token")?.to_str().ok()?;
            assert_eq!(token, VIBER_TOKEN);
            return Some(self.set_viber(json).await);
        }
        if path == "/me" {
            let query = fields(head.uri.query()?.as_bytes());
            let is_known = query["access_token"] == FACEBOOK_TOKEN;
            let me = json!({ "id": PAGE, "name": "Page of Tea" });
            return is_known.then(|| respond(200, me.to_string()));
        }
        if path == "/lp/1" {
            return Some(self.long_poll(&fields(head.uri.query()?.as_bytes())).await);
        }
        let method = path.strip_prefix("/method/groups.")?;
        Some(self.groups(method, &fields(body)).await)
    }

    fn register(&self, method: &str, fields: Value) {
        self.with(|state| {
            let method = method.to_owned();
            state.registrations.push(Registration { method, fields });
        });
    }

    fn is_refused(&self) -> bool {
        self.with(|state| {
            let refused = state.refuse > 0;
            state.refuse = state.refuse.saturating_sub(1);
            refused
        })
    }

    async fn get_updates(&self, ask: &Value) -> Response<Full<Bytes>> {
        let from = ask["offset"].as_u64().unwrap_or(0);
        let wait = Duration::from_secs(ask["timeout"].as_u64().unwrap_or(0));
        assert!(wait <= Duration::from_secs(50), "{ask}");
        let deadline = tokio::time::Instant::now() + wait;
        let (me, limit) = self.with(|state| {
            let again = state.asks.last().is_some_and(|last| {
                last.from == from && last.at.elapsed() < Duration::from_millis(500)
            });
            state.asks.push(Ask {
                at: Instant::now(),
                from,
                kinds: ask["allowed_updates"].clone(),
            });
            state.poller += 1;
            state.waiting += 1;
            (state.poller, if again { 1 } else { 100 })
        });
        let _waiting = Waiting(self);
        loop {
            let changed = self.changed.notified();
            let answer = {
                let mut state = self.state.lock().expect("no panic under this lock");
                if state.weather == Weather::Away {
                    Some(respond(502, "<html>Bad Gateway</html>".to_owned()))
                } else if state.webhook {
                    Some(telegram_error(
                        409,
                        "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first",
                    ))
                } else if state.poller != me {
                    Some(telegram_error(
                        409,
                        "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running",
                    ))
                } else {
                    let id = |update: &Value| {
                        let id = &update["update_id"];
                        let text = || id.as_str().and_then(|id| id.parse().ok());
                        id.as_u64().or_else(text).expect("an id")
                    };
                    state.telegram.retain(|update| id(update) >= from);
                    let given: Vec<_> = state.telegram.iter().take(limit).cloned().collect();
                    let answer = json!({"ok": true, "result": given});
                    (!given.is_empty()).then(|| as_clients_wrote(&answer))
                }
            };
            if let Some(answer) = answer {
                return answer;
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return ok(json!([]));
            }
        }
    }

    async fn set_viber(&self, fields: Value) -> Response<Full<Bytes>> {
        let port = self.known_bot_port().await;
        let event = json!({"event": "webhook", "timestamp": 1, "message_token": 1});
        // As Viber does before it answers.
        let tried = once(port, viber(&event)).await;
        if tried.status != 200 || self.is_refused() {
            let no = json!({"status": 1, "status_message": "invalidUrl"});
            return respond(200, no.to_string());
        }
        self.register("set_webhook", fields);
        let yes = json!({"status": 0, "status_message": "ok", "event_types": []});
        respond(200, yes.to_string())
    }

    async fn known_bot_port(&self) -> u16 {
        loop {
            let changed = self.changed.notified();
            let port = self
                .state
                .lock()
                .expect("no panic under this lock")
                .bot_port;
            if port != 0 {
                return port;
            }
            changed.await;
        }
    }

    async fn groups(&self, method: &str, form: &HashMap<String, String>) -> Response<Full<Bytes>> {
        let known = form["access_token"] == VK_TOKEN;
        if !known || self.with(|state| state.weather == Weather::Unauthorized) {
            let error = json!({"error_code": 5, "error_msg": format!(
                "User authorization failed: invalid access_token {VK_TOKEN}")});
            return respond(200, json!({ "error": error }).to_string());
        }
        let response = match method {
            "setLongPollSettings" if self.is_refused() => {
                let error = json!({"error_code": 15, "error_msg": "Access denied"});
                return respond(200, json!({ "error": error }).to_string());
            }
            "getById" => json!({"groups": [{"id": 1, "name": "Tea of VK"}], "profiles": []}),
            "getLongPollServer" => {
                let (key, ts) = self.with(|state| (state.vk_key, state.vk.len()));
                json!({"key": format!("k{key}"), "ts": ts.to_string(),
                    "server": format!("http://127.0.0.1:{}/lp/1", self.own_port)})
            }
            "getCallbackConfirmationCode" => json!({"code": CONFIRMATION}),
            "getCallbackServers" => {
                let all = self.registrations();
                let added = all.iter().filter(|call| call.method == "addCallbackServer");
                let item = |call: &Registration| {
                    json!({"id": 7, "url": call.fields["url"],
                    "status": "ok"})
                };
                json!({"count": 1, "items": added.map(item).collect::<Vec<_>>()})
            }
            "addCallbackServer" => {
                let port = self.known_bot_port().await;
                let asked = post("/vk", r#"{"type":"confirmation","group_id":1}"#);
                let tried = once(port, asked).await;
                if tried.text() != CONFIRMATION {
                    let error = json!({"error_code": 100, "error_msg": "not confirmed"});
                    return respond(200, json!({ "error": error }).to_string());
                }
                json!({"server_id": 7})
            }
            _ => json!(1),
        };
        if !method.starts_with("get") {
            self.register(method, json!(form));
        }
        respond(200, json!({ "response": response }).to_string())
    }

    async fn long_poll(&self, query: &HashMap<String, String>) -> Response<Full<Bytes>> {
        assert_eq!(query["act"], "a_check");
        let from: u64 = query["ts"].parse().expect("a ts");
        let wait = Duration::from_secs(query["wait"].parse().expect("a time"));
        let deadline = tokio::time::Instant::now() + wait;
        self.with(|state| {
            state.waiting += 1;
            state.asks.push(Ask {
                at: Instant::now(),
                from,
                kinds: Value::Null,
            });
        });
        let _waiting = Waiting(self);
        loop {
            let changed = self.changed.notified();
            let answer = {
                let state = self.state.lock().expect("no panic under this lock");
                let now = state.vk.len() as u64;
                if state.weather == Weather::Away {
                    return respond(502, String::new());
                } else if state.weather == Weather::Error {
                    let key = &query["key"];
                    Some(json!({"error": format!("internal, {key}")}))
                } else if query["key"] != format!("k{}", state.vk_key) {
                    Some(json!({"failed": 2}))
                } else if from < state.vk_forgotten {
                    // A number here, a text elsewhere.
                    Some(json!({"failed": 1, "ts": now}))
                } else {
                    let new = &state.vk[from.min(now) as usize..];
                    (!new.is_empty()).then(|| json!({"ts": now.to_string(), "updates": new}))
                }
            };
            if let Some(answer) = answer {
                return as_clients_wrote(&answer);
            }
            if tokio::time::timeout_at(deadline, changed).await.is_err() {
                return respond(
                    200,
                    json!({"ts": from.to_string(), "updates": []}).to_string(),
                );
            }
        }
    }
}

/// Stands for two bytes that are no UTF-8, in what [`as_clients_wrote`] writes.
pub(crate) const NO_UTF8: &str = "NO-UTF8";

/// Stands for half of a surrogate pair.
pub(crate) const HALF: &str = "HALF-A-PAIR";

/// JSON with what users' clients put into it, and platforms pass on.
pub(crate) fn clients_json(json: &Value) -> Bytes {
    let text = json.to_string().replace(HALF, "\\ud83d");
    let mut bytes = Vec::new();
    for (place, part) in text.split(NO_UTF8).enumerate() {
        if place > 0 {
            bytes.extend([0xff, 0xfe]);
        }
        bytes.extend(part.as_bytes());
    }
    bytes.into()
}

fn as_clients_wrote(json: &Value) -> Response<Full<Bytes>> {
    let mut response = respond(200, String::new());
    *response.body_mut() = Full::from(clients_json(json));
    response
}

fn ok(result: Value) -> Response<Full<Bytes>> {
    respond(200, json!({"ok": true, "result": result}).to_string())
}

fn telegram_error(code: u16, description: &str) -> Response<Full<Bytes>> {
    let error = json!({"ok": false, "error_code": code, "description": description});
    respond(code, error.to_string())
}
