//! Facebook Messenger (<https://developers.facebook.com/docs/messenger-platform>):
//! events at `POST /facebook`, replies by the Send API.
//!
//! | file | subject |
//! | --- | --- |
//! | `incoming.rs` | one event of a batch |
//! | `outgoing.rs` | replies as messages |
//!
//! Bodies are signed with the app's secret. One request holds up to a thousand events of many
//! users; "Test" in the app's settings sends one in another form. Echoes of the bot's own
//! messages are dropped; what is nobody's is logged once for each kind, and does not hold up
//! the rest of its batch. What stands in `standby` is another app's to answer: it is heard as
//! `Kind::Other`, and nothing that is said then is sent. Events of a page other than the
//! token's become dead letters. `GET /facebook` answers the challenge with which Facebook
//! verifies an address. Messenger has no edits, deletes and toasts.

mod incoming;
mod outgoing;

use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use turnkey_storage::ReplyId;

use self::incoming::{Place, STANDBY};
pub(super) use self::outgoing::fitting;
use super::account::credentials;
use super::client::{Client, Response};
use super::incoming::{NotHandled, parse_json, read_json, unreadable};
use super::lenient::{self, Id, Number, or_default, readable};
use super::upload::{self, Content, Form};
use super::{
    AskFuture, Channel, NameFuture, Plan, PlatformAnswer, Received, Refusal, SendError, SendFuture,
    Sent, meta, method_address, named, substitutes, without,
};
use crate::author::message::{Action, Outgoing, Reply, Update};
use crate::config::FacebookConfig;
use crate::shared::pacing::{Pace, Rate};

/// Calls of a page in a second, for texts and links
/// (<https://developers.facebook.com/docs/graph-api/overview/rate-limiting>).
const RATE: u32 = 300;

/// Bytes of a batch that are taken at least.
const BATCH: usize = 4 << 20;

/// The page of what the app's settings send as a test.
const TEST: u64 = 0;

/// Units of a toast, which becomes a text.
const LONGEST_TOAST: usize = 2000;

pub(super) struct Facebook {
    secret: String,
    verify_token: String,
    token: String,
    pace: Pace,
    base: String,
    credentials: String,
    messages: Uri,
    client: Client,
    not_handled: NotHandled,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(default, deserialize_with = "lenient::text")]
    object: Option<String>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    entry: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    /// The page.
    #[serde(default, deserialize_with = "lenient::maybe")]
    id: Option<Id>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    messaging: Vec<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    standby: Vec<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    changes: Vec<&'a RawValue>,
}

/// The form in which the app's settings send their tests.
#[derive(Deserialize)]
struct Change<'a> {
    field: String,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ApiAnswer {
    error: ApiError,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default, deserialize_with = "lenient::text")]
    message: Option<String>,
    code: Number,
    #[serde(default, deserialize_with = "lenient::number")]
    error_subcode: Option<i64>,
    #[serde(default, deserialize_with = "lenient::flag")]
    is_transient: bool,
}

/// Of a call that sent a message.
#[derive(Deserialize)]
struct Accepted {
    #[serde(default, deserialize_with = "lenient::text")]
    message_id: Option<String>,
}

impl Facebook {
    pub(super) fn new(config: &FacebookConfig, pace: Pace) -> crate::StartResult<Self> {
        let base = config.api_url.trim_end_matches('/').to_owned();
        let credentials = credentials(config);
        let address = format!("{base}/me/messages?{credentials}");
        Ok(Facebook {
            secret: config.secret.to_string(),
            verify_token: config.verify_token.to_string(),
            token: config.token.to_string(),
            pace,
            messages: method_address(&address, "--facebook-api-url")?,
            base,
            credentials,
            client: Client::new(&config.proxies)?,
            not_handled: NotHandled::new("facebook"),
        })
    }

    /// The updates in one entry of a batch.
    fn entry(&self, raw: &RawValue, body: &Bytes, updates: &mut Vec<Update>) {
        let slice = |raw: &RawValue| body.slice_ref(raw.get().as_bytes());
        let left =
            |raw: &RawValue, reason: &str| unreadable("facebook", None, None, reason, slice(raw));
        let entry: Entry<'_> = match read_json(raw.get().as_bytes()) {
            Ok(entry) => entry,
            Err(reason) => return updates.push(left(raw, &reason)),
        };
        let page = entry.id.and_then(|id| id.0.parse().ok());
        if let (Some(theirs), Some(ours)) = (page, self.pace.account())
            && ![ours, TEST].contains(&theirs)
        {
            // A reply would go out with the token of ours. Those beside it are taken.
            let reason = self.not_handled.stranger("page", theirs, ours);
            return updates.push(left(raw, &reason));
        }
        if entry.messaging.is_empty() && entry.changes.is_empty() && entry.standby.is_empty() {
            self.not_handled.log("entry without messaging");
        }
        for event in entry.messaging {
            updates.extend(self.update(event, Place::Ours, body));
        }
        for event in entry.standby {
            updates.extend(self.update(event, Place::Standby, body));
        }
        for change in entry.changes {
            match read_json::<Change<'_>>(change.get().as_bytes()) {
                Ok(Change {
                    field,
                    value: Some(event),
                }) if field.starts_with("messag") => {
                    updates.extend(self.update(event, Place::Ours, body));
                }
                Ok(Change { field, .. }) => self.not_handled.log(format!("changes.{field}")),
                Err(reason) => updates.push(left(change, &reason)),
            }
        }
    }

    /// The update in one event, if it is one that is taken.
    fn update(&self, raw: &RawValue, place: Place, body: &Bytes) -> Option<Update> {
        match incoming::update(raw.get(), place, body) {
            Ok(update) => Some(update),
            Err(nobodys) => {
                if !nobodys.is_empty() {
                    self.not_handled.log(nobodys);
                }
                None
            }
        }
    }

    async fn reply(&self, to: &str, reply: &Reply) -> Result<Sent, SendError> {
        let message = outgoing::message(reply).map_err(SendError::Refused)?;
        let push = reply.silent.then_some("SILENT_PUSH");
        if let Some(file) = outgoing::to_be_uploaded(reply) {
            let content = Content::open(&file.source).await?;
            let mut form = Form::new()
                .field("recipient", &json!({ "id": to }).to_string())
                .field("messaging_type", "RESPONSE")
                .field("message", &message.to_string());
            if let Some(push) = push {
                form = form.field("notification_type", push);
            }
            let (name, media_type) = (upload::name_of(file), upload::media_type_of(file));
            let form = form.file("filedata", name, media_type, content);
            let response = self.client.upload(self.messages.clone(), form).await?;
            return outcome(&response, &self.token);
        }
        let mut body = json!({
            "recipient": { "id": to },
            "messaging_type": "RESPONSE",
            "message": message,
        });
        if let Some(push) = push {
            body["notification_type"] = push.into();
        }
        let response = self.post(self.messages.clone(), &body).await?;
        outcome(&response, &self.token)
    }

    async fn post(&self, uri: Uri, body: &Value) -> Result<Response, SendError> {
        let body = body.to_string().into_bytes();
        self.client.post(uri, &[], "application/json", body).await
    }

    /// As [`call`](Self::call): what it is answered.
    async fn asked(&self, method: &str, params: &Value, to: &str) -> Result<Value, SendError> {
        let response = self.call(method, params, to).await?;
        outcome(&response, &self.token)?;
        response.json()
    }

    /// Calls a path of the Graph API. `to` is who gets a message that is for nobody.
    async fn call(&self, method: &str, params: &Value, to: &str) -> Result<Response, SendError> {
        let (gets, path) = read_method(method).map_err(SendError::Refused)?;
        let mut address = format!("{}/{path}?{}", self.base, self.credentials);
        let mut params = match params {
            Value::Null => json!({}),
            params => params.clone(),
        };
        if gets {
            let fields = params.as_object().into_iter().flatten();
            let query = form_urlencoded::Serializer::new(String::new())
                .extend_pairs(fields.map(|(name, value)| (name, text_of(value))))
                .finish();
            if !query.is_empty() {
                address = format!("{address}&{query}");
            }
        } else if path.ends_with("/messages") && params.get("recipient").is_none() {
            params["recipient"] = json!({ "id": to });
        }
        let uri = address.parse::<Uri>();
        let uri = uri.map_err(|_| SendError::Refused(format!("{method:?} is no path")))?;
        match gets {
            true => self.client.get(uri, Duration::ZERO).await,
            false => self.post(uri, &params).await,
        }
    }
}

/// A value in a query: as it is where it is a text, else as JSON.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether it is got, and the path: `GET 12345`, else `me/messages`.
///
/// # Errors
/// It is none, in a sentence.
fn read_method(method: &str) -> Result<(bool, &str), String> {
    match meta::read_method(method) {
        Some((gets, path)) => Ok((gets, path.trim_start_matches('/'))),
        None => Err(format!(
            "{method:?} is no path of the Graph API: those are such as me/messages, \
             or GET and a path"
        )),
    }
}

impl Channel for Facebook {
    fn name(&self) -> &'static str {
        "facebook"
    }

    fn max_body(&self, configured: usize) -> usize {
        configured.max(BATCH)
    }

    fn challenge(&self, query: &str) -> Option<Result<PlatformAnswer, Refusal>> {
        Some(meta::challenge(query, &self.verify_token))
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        meta::verify(headers, body, &self.secret)
    }

    fn parse(&self, _: &HeaderMap, body: &Bytes) -> Result<Received, Refusal> {
        let body = &readable(body);
        let batch: Batch<'_> = parse_json(body)?;
        let object = batch.object.unwrap_or_default();
        let mut updates = Vec::new();
        if object != "page" {
            self.not_handled.log(format!("object {object}"));
            return Ok(Received::Updates(updates));
        }
        for entry in batch.entry {
            self.entry(entry, body, &mut updates);
        }
        Ok(Received::Updates(updates))
    }

    fn fit(&self, reply: &Reply) -> Result<Vec<Reply>, String> {
        fitting(reply)
    }

    fn can(&self, action: &Action) -> Result<(), String> {
        substitutes::can_say("Messenger", action, LONGEST_TOAST, |method, params| {
            read_method(method)?;
            meta::check_params(params)
        })
    }

    fn plan(&self, update: &Update, actions: &[Action]) -> Result<Plan, String> {
        let mut send = self.fit_all(actions)?;
        if update.event.starts_with(STANDBY) {
            let before = send.len();
            send.retain(|action| matches!(action, Action::Call { .. } | Action::SendTo { .. }));
            if send.len() < before {
                self.not_handled.log("replies in standby");
            }
        }
        Ok(Plan {
            answer: Vec::new(),
            send,
        })
    }

    fn plan_late(&self, update: &Update, actions: &[Action]) -> Result<Vec<Action>, String> {
        self.plan(update, actions).map(|plan| plan.send)
    }

    fn rate(&self) -> Option<Rate> {
        Some(Rate::per_second(RATE))
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
        Box::pin(async move { self.asked(method, &params, &update.address).await })
    }

    fn own_name(&self) -> Option<NameFuture<'_>> {
        Some(Box::pin(async move {
            let params = json!({ "fields": "name" });
            let page = self.asked("GET me", &params, "").await?;
            named("Facebook", &page["name"])
        }))
    }

    fn typing<'a>(&'a self, update: &'a Update) -> Option<SendFuture<'a>> {
        if update.event.starts_with(STANDBY) {
            return None;
        }
        Some(Box::pin(async move {
            let body =
                json!({ "recipient": { "id": update.address }, "sender_action": "typing_on" });
            let response = self.post(self.messages.clone(), &body).await?;
            outcome(&response, &self.token)
        }))
    }
}

/// What an answer of the Send API means for what was asked
/// (<https://developers.facebook.com/docs/messenger-platform/error-codes>).
pub(super) fn outcome(response: &Response, token: &str) -> Result<Sent, SendError> {
    if response.status.is_success() {
        let accepted = serde_json::from_slice::<Accepted>(&response.body);
        return Ok(Sent {
            message: accepted.ok().and_then(|accepted| accepted.message_id),
            gone: None,
        });
    }
    let ApiAnswer { error } = response.json()?;
    let (code, subcode) = (error.code.0, error.error_subcode);
    let of_sort = subcode.map_or(String::new(), |subcode| format!("/{subcode}"));
    let message = error.message.unwrap_or_default();
    let reason = format!("{code}{of_sort}: {}", without(token, &message));
    Err(match (code, subcode) {
        // Too many calls: of the app, the user, the page, this call, Messenger's.
        (4 | 17 | 32 | 613 | 80006, _) => response.too_many(reason),
        _ if response.status == StatusCode::TOO_MANY_REQUESTS => response.too_many(reason),
        // Session or token not valid, the page restricted for a time: later it may go out.
        (102 | 190, _) | (10, Some(1_893_063)) => response.away(reason),
        // The user is not there, does not take messages, or there is none of that id.
        (551, _) | (_, Some(1_545_041 | 2_018_001 | 2_018_108)) => SendError::Unreachable(reason),
        // Unknown, not available, limits of other sorts: later it may go out.
        (1 | 2 | 341 | 368 | 1200, _) => response.retry(reason),
        _ if error.is_transient || response.status.is_server_error() => response.retry(reason),
        // Outside of the 24 hours, not allowed, nothing that can be sent.
        _ => SendError::Refused(reason),
    })
}
