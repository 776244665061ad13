//! Facebook Messenger (<https://developers.facebook.com/docs/messenger-platform>):
//! events at `POST /facebook`, replies by the Send API.
//!
//! Bodies are signed with the app's secret. One request brings up to a thousand
//! events of many users. Taken: messages (text, pictures), quick replies and
//! postbacks. Echoes of the bot's own messages are left out; anything else is
//! logged once for each kind, and does not hold up the rest of its batch.
//! `GET /facebook` answers the challenge that Facebook tries an address with.

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;
use turnkey_storage::ReplyId;

use super::client::{Client, Response};
use super::content::{self, Limits};
use super::incoming::{NotHandled, dialog, field_beside, genuine, parse_json, update_id};
use super::signature::{is_signed, same_secret, sign};
use super::{
    Channel, PlatformAnswer, Received, Refusal, SendError, SendFuture, method_address, without,
};
use crate::author::message::{Button, Kind, Outgoing, Picture, Reply, Update};
use crate::config::FacebookConfig;
use crate::shared::pacing::Rate;

/// Pictures have no caption there: it follows as a text.
const LIMITS: Limits = Limits {
    platform: "Facebook",
    text: 2000,
    caption: 0,
    buttons: 13,
    label: 20,
    data: 1000,
};

/// Calls of a page in a second, for texts and links
/// (<https://developers.facebook.com/docs/graph-api/overview/rate-limiting>).
const RATE: u32 = 300;

/// Bytes of a batch that are taken at least.
const BATCH: usize = 4 << 20;

/// The fields of all events.
const COMMON: [&str; 3] = ["sender", "recipient", "timestamp"];

pub(super) struct Facebook {
    secret: String,
    verify_token: String,
    token: String,
    messages: Uri,
    client: Client,
    not_handled: NotHandled,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(default)]
    object: String,
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    messaging: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Event {
    sender: User,
    #[serde(default)]
    timestamp: u64,
    message: Option<Message>,
    postback: Option<Postback>,
}

#[derive(Deserialize)]
struct User {
    id: String,
}

#[derive(Deserialize)]
struct Message {
    mid: Option<String>,
    text: Option<String>,
    quick_reply: Option<QuickReply>,
    #[serde(default)]
    attachments: Vec<Attachment>,
    #[serde(default)]
    is_echo: bool,
}

#[derive(Deserialize)]
struct QuickReply {
    payload: String,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(rename = "type")]
    kind: String,
    payload: Option<Payload>,
}

#[derive(Deserialize)]
struct Payload {
    url: Option<String>,
}

#[derive(Deserialize)]
struct Postback {
    mid: Option<String>,
    title: Option<String>,
    payload: Option<String>,
}

#[derive(Deserialize)]
struct ApiAnswer {
    error: ApiError,
}

#[derive(Deserialize)]
struct ApiError {
    #[serde(default)]
    message: String,
    code: i64,
    error_subcode: Option<i64>,
    #[serde(default)]
    is_transient: bool,
}

impl Facebook {
    pub(super) fn new(config: &FacebookConfig) -> crate::Result<Self> {
        let base = config.api_url.trim_end_matches('/');
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("access_token", &config.token)
            // Asked for by apps that require it, welcome to all others.
            .append_pair(
                "appsecret_proof",
                &sign(&config.secret, config.token.as_bytes()),
            )
            .finish();
        let address = format!("{base}/me/messages?{query}");
        Ok(Facebook {
            secret: config.secret.to_string(),
            verify_token: config.verify_token.to_string(),
            token: config.token.to_string(),
            messages: method_address(&address, "--facebook-api-url")?,
            client: Client::new(),
            not_handled: NotHandled::new("facebook"),
        })
    }

    /// The update in one event, if it is one that is taken.
    fn update(&self, raw: &str, body: &Bytes) -> Option<Update> {
        let event = serde_json::from_str::<Event>(raw).ok();
        let dialog = event
            .as_ref()
            .and_then(|event| dialog(self.name(), &event.sender.id).ok());
        let (Some(event), Some(dialog)) = (event, dialog) else {
            self.not_handled.log("unreadable event");
            return None;
        };
        let (kind, mid, text, pictures) = match (event.message, event.postback) {
            (Some(message), _) if message.is_echo => return None,
            (Some(message), _) => match content(message) {
                Ok(content) => content,
                Err(kind) => {
                    self.not_handled.log(kind);
                    return None;
                }
            },
            (None, Some(postback)) => {
                let data = postback.payload.or(postback.title).unwrap_or_default();
                (Kind::Button, postback.mid, data, Vec::new())
            }
            (None, None) => {
                self.not_handled.log(field_beside(raw, &COMMON));
                return None;
            }
        };
        let id = match mid {
            Some(mid) if !mid.is_empty() => mid,
            _ => format!("{}:{}:{kind:?}", event.sender.id, event.timestamp),
        };
        Some(Update {
            address: event.sender.id,
            dialog,
            id: update_id(id),
            kind,
            text,
            pictures,
            digest: Vec::new(),
            raw: body.slice_ref(raw.as_bytes()),
        })
    }
}

type Content = (Kind, Option<String>, String, Vec<Picture>);

/// What a message holds; else what sort it is.
fn content(message: Message) -> Result<Content, String> {
    if let Some(pressed) = message.quick_reply {
        return Ok((Kind::Button, message.mid, pressed.payload, Vec::new()));
    }
    let mut other = "empty".to_owned();
    let mut pictures = Vec::new();
    for attachment in message.attachments {
        let url = attachment.payload.and_then(|payload| payload.url);
        match url {
            Some(_) if attachment.kind == "image" => pictures.push(Picture { id: None, url }),
            _ => other = attachment.kind,
        }
    }
    match message.text {
        None if pictures.is_empty() => Err(format!("message.{other}")),
        text => Ok((
            Kind::Message,
            message.mid,
            text.unwrap_or_default(),
            pictures,
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
        let field = |name: &str| {
            form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        };
        let is_ours = same_secret(
            field("hub.verify_token").unwrap_or_default().as_bytes(),
            self.verify_token.as_bytes(),
        );
        let subscribes = field("hub.mode").as_deref() == Some("subscribe");
        Some(match field("hub.challenge") {
            Some(challenge) if is_ours && subscribes => Ok(PlatformAnswer::text(challenge)),
            _ => Err(Refusal::new(
                StatusCode::FORBIDDEN,
                "wrong or missing hub.mode, hub.verify_token or hub.challenge",
            )),
        })
    }

    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let given = headers
            .get("x-hub-signature-256")
            .and_then(|value| value.as_bytes().strip_prefix(b"sha256="))
            .unwrap_or_default();
        genuine(is_signed(&self.secret, body, given), "X-Hub-Signature-256")
    }

    fn parse(&self, _: &HeaderMap, body: &Bytes) -> Result<Received, Refusal> {
        let batch: Batch<'_> = parse_json(body)?;
        let mut updates = Vec::new();
        if batch.object != "page" {
            self.not_handled.log(format!("object {}", batch.object));
            return Ok(Received::Updates(updates));
        }
        for entry in batch.entry {
            if entry.messaging.is_empty() {
                self.not_handled.log("entry without messaging");
            }
            for event in entry.messaging {
                updates.extend(self.update(event.get(), body));
            }
        }
        Ok(Received::Updates(updates))
    }

    fn fit(&self, replies: &[Reply]) -> Result<Vec<Reply>, String> {
        content::fit(replies, &LIMITS)
    }

    fn rate(&self) -> Option<Rate> {
        Some(Rate::per_second(RATE))
    }

    fn send<'a>(&'a self, _: ReplyId, reply: &'a Outgoing) -> SendFuture<'a> {
        Box::pin(async move {
            let body = serde_json::json!({
                "recipient": { "id": reply.to },
                "messaging_type": "RESPONSE",
                "message": message(&reply.reply),
            });
            let uri = self.messages.clone();
            let response = self
                .client
                .post(uri, &[], "application/json", body.to_string().into_bytes())
                .await?;
            outcome(&response, &self.token)
        })
    }
}

fn message(reply: &Reply) -> serde_json::Value {
    let mut message = match &reply.picture {
        Some(url) => serde_json::json!({
            "attachment": { "type": "image", "payload": { "url": url } }
        }),
        None => serde_json::json!({ "text": reply.text }),
    };
    let quick_reply = |button: &Button| {
        serde_json::json!({
            "content_type": "text", "title": button.label, "payload": button.data,
        })
    };
    if !reply.buttons.is_empty() {
        message["quick_replies"] = reply.buttons.iter().map(quick_reply).collect();
    }
    message
}

/// What an answer of the Send API means for the reply
/// (<https://developers.facebook.com/docs/messenger-platform/error-codes>).
pub(super) fn outcome(response: &Response, token: &str) -> Result<(), SendError> {
    if response.status.is_success() {
        return Ok(());
    }
    let ApiAnswer { error } = response.json()?;
    let subcode = error
        .error_subcode
        .map_or(String::new(), |s| format!("/{s}"));
    let reason = format!(
        "{}{subcode}: {}",
        error.code,
        without(token, &error.message)
    );
    Err(match error.code {
        // Too many calls: of the app, the user, the page, this call, Messenger's.
        4 | 17 | 32 | 613 | 80006 => response.too_many(reason),
        _ if response.status == StatusCode::TOO_MANY_REQUESTS => response.too_many(reason),
        // Session or token not valid: with another one it may go out.
        102 | 190 => response.away(reason),
        // Unknown, not available, limits of other sorts: later it may go out.
        1 | 2 | 341 | 368 | 1200 => response.retry(reason),
        _ if error.is_transient || response.status.is_server_error() => response.retry(reason),
        // No such user, they have left, outside of the 24 hours, not allowed.
        _ => SendError::Refused(reason),
    })
}
