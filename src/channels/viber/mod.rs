//! Viber's bot API (<https://developers.viber.com/docs/api/rest-bot-api/>): events at
//! `POST /viber`, replies by `send_message`.
//!
//! | file | subject |
//! | --- | --- |
//! | `incoming.rs` | what Viber posts |
//! | `outgoing.rs` | replies as messages and keyboards |
//! | `api.rs` | registering a webhook |
//!
//! Bodies are signed with the bot's token. `conversation_started` may be answered with one
//! welcome message, which rides in the answer. What says only what became of the bot's own
//! messages is answered 200 and logged once for each kind. Viber has no edits, deletes, quotes
//! and toasts; it fetches files from their addresses, and wants to be told their size.

mod api;
mod incoming;
mod outgoing;

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Uri};
use serde::Deserialize;
use serde_json::{Map, Value};
use turnkey_storage::ReplyId;

pub(super) use self::api::ViberApi;
use self::incoming::{Head, Said};
pub(super) use self::outgoing::fitting;
use super::client::{Client, Response};
use super::download;
use super::incoming::{NotHandled, dialog, genuine, parse_json, unreadable, update_id};
use super::lenient::{self, Id, readable};
use super::signature::is_signed;
use super::{
    AskFuture, Channel, NameFuture, Plan, PlatformAnswer, Received, Refusal, SendError, SendFuture,
    Sent, method_address, named, substitutes, without,
};
use crate::author::message::{Action, Kind, Outgoing, Reply, Update};
use crate::author::start_error::StartError;
use crate::config::ViberConfig;

/// Units of a toast, which becomes a text.
const LONGEST_TOAST: usize = 7000;

/// Bytes of a file that Viber takes at most.
const LARGEST_FILE: u64 = 50 << 20;

pub(super) struct Viber {
    token: String,
    token_header: HeaderValue,
    sender: String,
    base: String,
    send_message: Uri,
    client: Client,
    not_handled: NotHandled,
}

#[derive(Deserialize)]
struct ApiAnswer {
    #[serde(deserialize_with = "status")]
    status: i64,
    #[serde(default, deserialize_with = "lenient::text")]
    status_message: Option<String>,
    /// The message's id.
    #[serde(default, deserialize_with = "lenient::maybe")]
    message_token: Option<Id>,
}

fn status<'de, D: serde::Deserializer<'de>>(json: D) -> Result<i64, D::Error> {
    lenient::Number::deserialize(json).map(|number| number.0)
}

impl Viber {
    pub(super) fn new(config: &ViberConfig) -> crate::StartResult<Self> {
        let base = config.api_url.trim_end_matches('/').to_owned();
        let address = format!("{base}/pa/send_message");
        Ok(Viber {
            token: config.token.to_string(),
            token_header: token_header(config)?,
            sender: config.sender.clone(),
            send_message: method_address(&address, "--viber-api-url")?,
            base,
            client: Client::new(&config.proxies)?,
            not_handled: NotHandled::new("viber"),
        })
    }

    async fn post(&self, uri: Uri, body: Vec<u8>) -> Result<Response, SendError> {
        let headers = [("x-viber-auth-token", &self.token_header)];
        let media_type = "application/json";
        self.client.post(uri, &headers, media_type, body).await
    }

    async fn reply(&self, to: &str, reply: &Reply) -> Result<Sent, SendError> {
        let size = match outgoing::to_be_measured(reply) {
            Some(address) => Some(self.size(address).await?),
            None => None,
        };
        let body = outgoing::render(&self.sender, Some(to), reply, size);
        let body = body.map_err(SendError::Refused)?;
        let response = self.post(self.send_message.clone(), body).await?;
        outcome(&response, &self.token)
    }

    /// As [`call`](Self::call): what it is answered.
    async fn asked(&self, method: &str, params: &Value, to: &str) -> Result<Value, SendError> {
        let response = self.call(method, params, to).await?;
        outcome(&response, &self.token)?;
        response.json()
    }

    /// Calls a method; `to` is whom it is about where none is named.
    async fn call(&self, method: &str, params: &Value, to: &str) -> Result<Response, SendError> {
        let mut fields = object(params).map_err(SendError::Refused)?;
        let mut or = |name: &str, value: Value| {
            fields.entry(name).or_insert(value);
        };
        match method {
            "send_message" => {
                or("receiver", to.into());
                or("sender", serde_json::json!({ "name": self.sender }));
            }
            "broadcast_message" => or("sender", serde_json::json!({ "name": self.sender })),
            "get_user_details" => or("id", to.into()),
            _ => {}
        }
        let uri = format!("{}/pa/{method}", self.base).parse::<Uri>();
        let uri = uri.map_err(|_| SendError::Refused(format!("{method:?} is no method")))?;
        self.post(uri, Value::Object(fields).to_string().into_bytes())
            .await
    }

    /// How many bytes a file has: as its server says, else as many as come.
    ///
    /// # Errors
    /// It is not there, or larger than Viber takes.
    async fn size(&self, address: &str) -> Result<u64, SendError> {
        let uri = address
            .parse::<Uri>()
            .map_err(|_| SendError::Refused("the file's address cannot be read".to_owned()))?;
        let file = download::to_pass_on(&self.client, uri, LARGEST_FILE).await?;
        Ok(file.length())
    }
}

fn token_header(config: &ViberConfig) -> crate::StartResult<HeaderValue> {
    let mut header = HeaderValue::from_str(&config.token).map_err(|_| {
        StartError::Refused("the Viber token has characters that no header may have".to_owned())
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// What a method is called with; nothing is an empty object.
fn object(params: &Value) -> Result<Map<String, Value>, String> {
    match params {
        Value::Null => Ok(Map::new()),
        Value::Object(fields) => Ok(fields.clone()),
        _ => Err("a method is called with an object".to_owned()),
    }
}

impl Channel for Viber {
    fn name(&self) -> &'static str {
        "viber"
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let given = headers
            .get("x-viber-content-signature")
            .map_or(&b""[..], |value| value.as_bytes());
        let is_genuine = is_signed(&self.token, body, given);
        genuine(is_genuine, "X-Viber-Content-Signature")
    }

    fn parse(&self, _: &HeaderMap, body: &Bytes) -> Result<Received, Refusal> {
        let body = &readable(body);
        let head: Head = parse_json(body)?;
        let said = match head.event.as_str() {
            "message" => incoming::message(body).map(Some),
            "conversation_started" => incoming::of_user(Kind::Opened, body).map(Some),
            "subscribed" => incoming::of_user(Kind::Joined, body)
                .or_else(|reason| incoming::of_id(Kind::Joined, body).map_err(|_| reason))
                .map(Some),
            "unsubscribed" => incoming::of_id(Kind::Left, body).map(Some),
            // Viber tries out the address before it accepts it.
            "webhook" => Ok(None),
            // What became of the bot's own messages: one or two of each.
            "delivered" | "seen" => {
                self.not_handled.log(head.event.as_str());
                Ok(None)
            }
            other => {
                let said = incoming::unknown(body);
                if said.is_none() {
                    self.not_handled.log(other);
                }
                Ok(said)
            }
        };
        let token = head.message_token.as_ref();
        let id = token.map(|token| format!("{}-{}", token.0, head.event));
        let left = |reason: &str| unreadable("viber", None, id.clone(), reason, body.clone());
        let said = match (said, &id) {
            (Ok(None), _) => return Ok(Received::Answer(PlatformAnswer::json(Vec::new()))),
            (Ok(Some(said)), Some(id)) => update(said, id, &head, body),
            (Ok(Some(_)), None) => Err("missing field `message_token`".to_owned()),
            (Err(reason), _) => Err(reason),
        };
        let update = said.unwrap_or_else(|reason| left(&reason));
        Ok(Received::Updates(vec![update]))
    }

    fn fit(&self, reply: &Reply) -> Result<Vec<Reply>, String> {
        fitting(&self.sender, reply)
    }

    fn can(&self, action: &Action) -> Result<(), String> {
        substitutes::can_say("Viber", action, LONGEST_TOAST, |method, params| {
            let is_plain = |c: char| c.is_ascii_lowercase() || c == '_';
            if method.is_empty() || !method.chars().all(is_plain) {
                return Err(format!(
                    "{method:?} is no method of Viber's: those are such as get_user_details"
                ));
            }
            object(params).map(|_| ())
        })
    }

    fn plan(&self, update: &Update, actions: &[Action]) -> Result<Plan, String> {
        let mut send = self.fit_all(actions)?;
        let answer = match send.first() {
            // A file whose size is not known yet cannot ride.
            Some(Action::Reply(first))
                if update.kind == Kind::Opened && outgoing::to_be_measured(first).is_none() =>
            {
                let welcome = outgoing::render(&self.sender, None, first, None)?;
                send.remove(0);
                welcome
            }
            _ => Vec::new(),
        };
        Ok(Plan { answer, send })
    }

    fn rode(&self, answer: &[u8]) -> Option<Action> {
        outgoing::read(answer).map(Action::Reply)
    }

    fn send<'a>(&'a self, _: ReplyId, outgoing: &'a Outgoing) -> SendFuture<'a> {
        Box::pin(async move {
            let to = outgoing.to.as_str();
            match &outgoing.action {
                Action::Reply(reply) => self.reply(to, reply).await,
                Action::Toast { text, .. } if text.is_empty() => Ok(Sent::default()),
                Action::Toast { text, .. } => self.reply(to, &text.as_str().into()).await,
                Action::Call { method, params, .. } => {
                    let response = self.call(method, params, to).await?;
                    outcome(&response, &self.token)
                }
                other => Err(substitutes::not_said(self.can(other))),
            }
        })
    }

    fn ask<'a>(&'a self, update: &'a Update, method: &'a str, params: Value) -> AskFuture<'a> {
        Box::pin(async move { self.asked(method, &params, &update.dialog.user_id).await })
    }

    fn own_name(&self) -> Option<NameFuture<'_>> {
        Some(Box::pin(async move {
            let account = self.asked("get_account_info", &Value::Null, "").await?;
            named("Viber", &account["name"])
        }))
    }
}

/// # Errors
/// Its user's id cannot be.
fn update(said: Said, id: &str, head: &Head, body: &Bytes) -> Result<Update, String> {
    let token = head.message_token.as_ref();
    Ok(Update {
        kind: said.kind,
        event: head.event.clone(),
        files: said.files,
        location: said.location,
        contact: said.contact,
        sender: said.sender,
        message: match said.kind {
            Kind::Message | Kind::Button => token.map_or(String::new(), |token| token.0.clone()),
            _ => String::new(),
        },
        ..Update::new(
            dialog("viber", said.user)?,
            update_id(id).0,
            said.text,
            body.clone(),
        )
    })
}

/// What an answer of the API means for what was asked
/// (<https://developers.viber.com/docs/api/rest-bot-api/#error-codes>).
pub(super) fn outcome(response: &Response, token: &str) -> Result<Sent, SendError> {
    let answer: ApiAnswer = response.json()?;
    let message = answer.status_message.unwrap_or_default();
    let reason = format!("{}: {message}", answer.status);
    let reason = without(token, &reason);
    Err(match answer.status {
        0 => {
            return Ok(Sent {
                message: answer.message_token.map(|token| token.0),
                gone: None,
            });
        }
        // No such user; they have left.
        5 | 6 => SendError::Unreachable(reason),
        // Bad or missing data; no device for it, or too old a version of Viber; not allowed
        // to this user or country.
        3 | 4 | 11 | 13 | 14 | 16 | 17 | 18 | 20 | 21 | 22 => SendError::Refused(reason),
        // Also a hundred messages in an hour to somebody who says nothing: that is theirs alone.
        12 => SendError::TooMany {
            reason,
            after: response.retry_after,
            all: false,
        },
        // About the bot's address, token or account: whoever mends it wants the replies to
        // go out then.
        1 | 2 | 7 | 8 | 9 | 10 | 15 | 19 => response.away(reason),
        // A general error.
        _ => response.retry(reason),
    })
}
