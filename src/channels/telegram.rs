//! Telegram's Bot API (<https://core.telegram.org/bots/api>): updates by webhook
//! at `POST /telegram` (or by polling, `telegram_api.rs`), replies by `sendMessage` and
//! `sendPhoto`.
//!
//! If a turn has a single reply, and it is a text, it rides in the answer to the webhook:
//! Telegram executes it once it has the answer, and posts the update again if it does not get
//! it. So we make no call, and the reply is sent once. Telegram does not report a riding reply
//! that came too fast, so one rides only if the rate limits have room for it. Replies to polled
//! updates are always sent by calls. A pressed button is answered with `answerCallbackQuery`,
//! which ends the button's progress display. Without a token the first reply always rides, and
//! the others are lost.
//!
//! Handled: messages and edits of them (text, photos with their caption), callback queries (the
//! button's data): see `telegram_incoming.rs`. Anything else is answered 200 and logged once
//! for each kind; otherwise Telegram would send it again for a day.
//! `X-Telegram-Bot-Api-Secret-Token` is compared in constant time when a secret is configured.
//! Bound: the new ids of [`MAX_MOVED`] migrated groups are remembered.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, Uri};
use serde::Serialize;
use turnkey_storage::ReplyId;

use super::client::{Client, Response};
use super::content::{self, Formatting, Limits};
use super::incoming::{NotHandled, chat_of, genuine};
use super::lenient::readable;
use super::signature::same_secret;
use super::telegram_api::{moved_to, outcome, webhook_secret};
use super::telegram_incoming::{Found, Within, end_waiting, read};
use super::{
    Channel, Plan, PlatformAnswer, Received, Refusal, SendError, SendFuture, method_address,
};
use crate::author::message::{Action, Button, Kind, Outgoing, Reply, Update};
use crate::config::TelegramConfig;
use crate::shared::pacing::{Pace, Rate};

/// Telegram names no limits for the number of buttons and their labels; beyond these
/// its apps cannot show them.
const LIMITS: Limits = Limits {
    platform: "Telegram",
    text: 4096,
    caption: 1024,
    buttons: 100,
    label: 64,
    data: 64,
    album: 10,
    album_buttons: false,
    says: false,
    formatting: Formatting::Spans,
    spans: usize::MAX,
    mixes: Limits::mixes_all,
    captions: Limits::captions_all,
};

/// "Avoid sending more than one message per second" to a chat; short bursts pass
/// (<https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this>).
const CHAT: Rate = Rate {
    every: Duration::from_secs(1),
    burst: 5,
};

/// "Not more than 20 messages per minute" to a group: 3, and 17 in the next minute.
const GROUP: Rate = Rate {
    every: Duration::from_millis(3500),
    burst: 3,
};

/// Groups whose new ids are remembered; all are forgotten at one more, and asked for
/// again.
const MAX_MOVED: usize = 1000;

pub(super) struct Telegram {
    secret: Option<String>,
    /// Updates are polled for: nothing can ride.
    polls: bool,
    rate: Rate,
    pace: Pace,
    /// None without a token.
    methods: Option<Methods>,
    client: Client,
    not_handled: NotHandled,
    /// The new ids of groups that became supergroups, as Telegram told us.
    moved: RefCell<HashMap<String, String>>,
}

struct Methods {
    send_message: Uri,
    send_photo: Uri,
}

/// `sendMessage`, or `sendPhoto` when there is a photo.
#[derive(Serialize)]
struct Send<'a> {
    /// Only in an answer to a webhook; else it is in the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    chat_id: &'a str,
    #[serde(flatten)]
    within: Within,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    photo: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    caption: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_markup: Option<serde_json::Value>,
}

impl Telegram {
    pub(super) fn new(config: &TelegramConfig, pace: Pace) -> crate::StartResult<Self> {
        let base = config.api_url.trim_end_matches('/');
        let method = |token: &str, name: &str| {
            let address = format!("{base}/bot{token}/{name}");
            method_address(&address, "the Telegram token or --telegram-api-url")
        };
        let methods = match &config.token {
            None => None,
            Some(token) => Some(Methods {
                send_message: method(token, "sendMessage")?,
                send_photo: method(token, "sendPhoto")?,
            }),
        };
        let secret = match &config.token {
            // We give it to Telegram, with the address.
            Some(token) if config.registers => {
                Some(webhook_secret(config.secret.as_deref(), token))
            }
            _ => config.secret.as_deref().map(str::to_owned),
        };
        Ok(Telegram {
            secret,
            polls: config.polls,
            rate: Rate::per_second(config.rate),
            pace,
            methods,
            client: Client::new(&config.proxies)?,
            not_handled: NotHandled::new("telegram"),
            moved: RefCell::default(),
        })
    }

    /// Where a chat is now.
    fn current(&self, chat: &str) -> String {
        let moved = self.moved.borrow();
        moved.get(chat).map_or(chat, String::as_str).to_owned()
    }

    /// A group became a supergroup, and has another id since.
    fn remember(&self, chat: &str, new: &str) {
        let mut moved = self.moved.borrow_mut();
        if moved.len() >= MAX_MOVED {
            moved.clear();
        }
        moved.insert(chat.to_owned(), new.to_owned());
    }

    async fn call(
        &self,
        uri: &Uri,
        chat: &str,
        outgoing: &Outgoing,
        reply: &Reply,
    ) -> Result<Response, SendError> {
        let within = Within::parse(&outgoing.within).map_err(SendError::Refused)?;
        let body = serde_json::to_vec(&render(None, chat, within, reply))
            .map_err(|e| SendError::Refused(e.to_string()))?;
        let uri = uri.clone();
        self.client.post(uri, &[], "application/json", body).await
    }

    /// Takes a place within the limits for a reply that rides, if there is one now.
    fn has_place(&self, chat: &str) -> bool {
        self.pace.ride(self.rate(), self.chat_rate(chat), chat)
    }
}

impl Channel for Telegram {
    fn name(&self) -> &'static str {
        "telegram"
    }

    /// Without a secret nothing else keeps a web page from posting.
    fn wants_json_type(&self) -> bool {
        true
    }

    fn verify(&self, headers: &HeaderMap, _: &[u8]) -> Result<(), Refusal> {
        let Some(secret) = &self.secret else {
            return Ok(());
        };
        let given = headers
            .get("x-telegram-bot-api-secret-token")
            .map_or(&b""[..], |value| value.as_bytes());
        let is_genuine = same_secret(given, secret.as_bytes());
        genuine(is_genuine, "X-Telegram-Bot-Api-Secret-Token")
    }

    fn parse(&self, _: &HeaderMap, body: &Bytes) -> Result<Received, Refusal> {
        Ok(match read(&readable(body))? {
            Found::Update(update) => Received::Updates(vec![*update]),
            Found::Game(answer) => {
                self.not_handled.log("callback_query.game_short_name");
                Received::Answer(PlatformAnswer::json(answer))
            }
            Found::Other(sort) => {
                self.not_handled.log(sort);
                Received::Updates(Vec::new())
            }
        })
    }

    fn fit(&self, reply: &Reply) -> Result<Vec<Reply>, String> {
        content::only_photos_and_data(reply, LIMITS.platform)?;
        content::fit(reply, &LIMITS)
    }

    /// A pressed button stops waiting in any case.
    fn accepted(&self, update: &Update) -> Vec<u8> {
        match update.kind {
            Kind::Button | Kind::Unreadable => end_waiting(update.raw()),
            _ => Vec::new(),
        }
    }

    fn plan(&self, update: &Update, actions: &[Action]) -> Result<Plan, String> {
        let send = self.fit_all(actions)?;
        let ride = |reply: &Reply| {
            let method = Some(match reply.files.is_empty() {
                false => "sendPhoto",
                true => "sendMessage",
            });
            let (chat, within) = (
                self.current(&update.address),
                Within::parse(&update.within)?,
            );
            serde_json::to_vec(&render(method, &chat, within, reply)).map_err(|e| e.to_string())
        };
        if self.methods.is_none() {
            if send.len() > 1 {
                tracing::warn!(
                    "{}: only the first of {} replies is sent: set TURNKEY_TELEGRAM_TOKEN",
                    update.dialog,
                    send.len()
                );
            }
            return Ok(Plan {
                answer: match send.first() {
                    Some(Action::Reply(first)) => ride(first)?,
                    _ => Vec::new(),
                },
                send: Vec::new(),
            });
        }
        if update.kind == Kind::Button {
            let answer = end_waiting(update.raw());
            return Ok(Plan { answer, send });
        }
        match send.as_slice() {
            // What becomes of it we would not learn; of a picture it matters.
            [Action::Reply(only)]
                if only.files.is_empty()
                    && only.name.is_none()
                    && !self.polls
                    && self.has_place(&update.address) =>
            {
                Ok(Plan {
                    answer: ride(only)?,
                    send: Vec::new(),
                })
            }
            _ => Ok(Plan {
                answer: Vec::new(),
                send,
            }),
        }
    }

    fn address(&self, user_id: &str) -> String {
        chat_of(user_id)
    }

    fn can_send(&self) -> bool {
        self.methods.is_some()
    }

    fn rate(&self) -> Option<Rate> {
        Some(self.rate)
    }

    fn chat_rate(&self, to: &str) -> Option<Rate> {
        // Groups and channels have negative ids.
        Some(if to.starts_with('-') { GROUP } else { CHAT })
    }

    fn rode(&self, answer: &[u8]) -> Option<Action> {
        let call: serde_json::Value = serde_json::from_slice(answer).ok()?;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let reply = match call["method"].as_str()? {
            "sendMessage" => Reply::from(text(&call["text"])?),
            "sendPhoto" => Reply::photo(text(&call["photo"])?)
                .caption(text(&call["caption"]).unwrap_or_default()),
            _ => return None,
        };
        let rows = call["reply_markup"]["inline_keyboard"].as_array();
        let buttons = rows
            .into_iter()
            .flatten()
            .filter_map(|row| Some((text(&row[0]["text"])?, text(&row[0]["callback_data"])?)));
        let reply = buttons.fold(reply, |reply, (label, data)| reply.button(label, data));
        Some(reply.into())
    }

    fn send<'a>(&'a self, _: ReplyId, outgoing: &'a Outgoing) -> SendFuture<'a> {
        Box::pin(async move {
            let reply = content::reply(outgoing)?;
            let methods = self
                .methods
                .as_ref()
                .ok_or_else(|| SendError::away("no Telegram token is configured"))?;
            let uri = match reply.files.is_empty() {
                false => methods.send_photo.clone(),
                true => methods.send_message.clone(),
            };
            let chat = self.current(&outgoing.to);
            let mut response = self.call(&uri, &chat, outgoing, reply).await?;
            if let Some(new) = moved_to(&response)
                && new != chat
            {
                self.remember(&outgoing.to, &new);
                response = self.call(&uri, &new, outgoing, reply).await?;
            }
            outcome(&response)
        })
    }
}

fn render<'a>(
    method: Option<&'a str>,
    chat: &'a str,
    within: Within,
    reply: &'a Reply,
) -> Send<'a> {
    let text = Some(reply.text.as_str()).filter(|text| !text.is_empty());
    let photo = content::photo(&reply.files);
    let button = |button: &Button| serde_json::json!({ "text": button.label, "callback_data": button.data() });
    let rows: Vec<Vec<_>> = reply
        .buttons
        .iter()
        .map(|row| row.iter().map(button).collect())
        .collect();
    Send {
        method,
        chat_id: chat,
        within,
        text: text.filter(|_| !photo.is_some()),
        photo,
        caption: text.filter(|_| photo.is_some()),
        reply_markup: (!rows.is_empty()).then(|| serde_json::json!({ "inline_keyboard": rows })),
    }
}
