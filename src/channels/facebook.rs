//! Facebook Messenger (<https://developers.facebook.com/docs/messenger-platform>):
//! events at `POST /facebook`, replies by the Send API.
//!
//! Bodies are signed with the app's secret. One request holds up to a thousand events of many
//! users; "Test" in the app's settings sends one in another form. Handled: messages (text,
//! pictures), edits of them, quick replies and postbacks. Echoes of the bot's own messages are
//! dropped; anything else is logged once for each kind, and does not hold up the rest of its
//! batch. Events of a page other than the token's become dead letters. `GET /facebook` answers
//! the challenge with which Facebook verifies an address.

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;
use turnkey_storage::ReplyId;

use super::account::credentials;
use super::client::{Client, Response};
use super::content::{self, Formatting, Limits};
use super::incoming::{
    NotHandled, dialog, digest, field_beside, genuine, parse_json, read_json, unreadable, update_id,
};
use super::lenient::{self, Id, List, or_default, readable};
use super::signature::{is_signed, same_secret};
use super::{
    Channel, PlatformAnswer, Received, Refusal, SendError, SendFuture, Sent, method_address,
    without,
};
use crate::author::message::{Button, File, FileKind, Kind, Outgoing, Reply, Update};
use crate::config::FacebookConfig;
use crate::shared::pacing::{Pace, Rate};

/// Pictures have no caption there: it follows as a text.
const LIMITS: Limits = Limits {
    platform: "Facebook",
    text: 2000,
    caption: 0,
    buttons: 13,
    label: 20,
    data: 1000,
    album: 1,
    album_buttons: false,
    says: false,
    formatting: Formatting::None,
    spans: usize::MAX,
    mixes: Limits::mixes_all,
    captions: Limits::captions_all,
};

/// Calls of a page in a second, for texts and links
/// (<https://developers.facebook.com/docs/graph-api/overview/rate-limiting>).
const RATE: u32 = 300;

/// Bytes of a batch that are taken at least.
const BATCH: usize = 4 << 20;

/// The page of what the app's settings send as a test.
const TEST: u64 = 0;

/// The fields of all events.
const COMMON: [&str; 3] = ["sender", "recipient", "timestamp"];

pub(super) struct Facebook {
    secret: String,
    verify_token: String,
    token: String,
    pace: Pace,
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
struct Event {
    sender: Option<User>,
    /// Only to tell events apart.
    #[serde(default, deserialize_with = "lenient::maybe")]
    timestamp: Option<Id>,
    message: Option<Message>,
    message_edit: Option<Edit>,
    postback: Option<Postback>,
}

/// What is read of an event whose other fields cannot be.
#[derive(Deserialize)]
struct SentBy {
    sender: User,
}

#[derive(Deserialize)]
struct User {
    id: Id,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default, deserialize_with = "lenient::text")]
    mid: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
    quick_reply: Option<QuickReply>,
    #[serde(default)]
    attachments: List<Attachment>,
    #[serde(default, deserialize_with = "lenient::flag")]
    is_echo: bool,
}

#[derive(Deserialize)]
struct QuickReply {
    #[serde(default, deserialize_with = "lenient::text")]
    payload: Option<String>,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    kind: Option<String>,
    payload: Option<Payload>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default, deserialize_with = "lenient::text")]
    url: Option<String>,
}

/// An earlier message has another text since.
#[derive(Deserialize)]
struct Edit {
    #[serde(default, deserialize_with = "lenient::text")]
    mid: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
    /// Which edit of the message it is.
    #[serde(default, deserialize_with = "lenient::text")]
    num_edit: Option<String>,
}

#[derive(Deserialize)]
struct Postback {
    #[serde(default, deserialize_with = "lenient::text")]
    mid: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    title: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
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
    pub(super) fn new(config: &FacebookConfig, pace: Pace) -> crate::StartResult<Self> {
        let base = config.api_url.trim_end_matches('/');
        let address = format!("{base}/me/messages?{}", credentials(config));
        Ok(Facebook {
            secret: config.secret.to_string(),
            verify_token: config.verify_token.to_string(),
            token: config.token.to_string(),
            pace,
            messages: method_address(&address, "--facebook-api-url")?,
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
        if entry.messaging.is_empty() && entry.changes.is_empty() {
            self.not_handled.log("entry without messaging");
        }
        for event in entry.messaging {
            updates.extend(self.update(event.get(), body));
        }
        for change in entry.changes {
            match read_json::<Change<'_>>(change.get().as_bytes()) {
                Ok(Change {
                    field,
                    value: Some(event),
                }) if field.starts_with("messag") => {
                    updates.extend(self.update(event.get(), body));
                }
                Ok(Change { field, .. }) => self.not_handled.log(format!("changes.{field}")),
                Err(reason) => updates.push(left(change, &reason)),
            }
        }
    }

    /// The update in one event, if it is one that is taken.
    fn update(&self, raw: &str, body: &Bytes) -> Option<Update> {
        match self.said(raw) {
            Ok(None) => None,
            Ok(Some((sender, said))) => match dialog("facebook", sender.as_str()) {
                Ok(dialog) => Some(Update {
                    kind: said.kind,
                    files: said.files,
                    ..Update::new(
                        dialog,
                        update_id(said.id).0,
                        said.text,
                        body.slice_ref(raw.as_bytes()),
                    )
                }),
                Err(reason) => Some(left(raw, &reason, body)),
            },
            Err(reason) => Some(left(raw, &reason, body)),
        }
    }

    /// Who says what in an event, if it is one that is taken.
    ///
    /// # Errors
    /// It cannot be read, for this reason.
    fn said(&self, raw: &str) -> Result<Option<(String, Said)>, String> {
        let event: Event = read_json(raw.as_bytes())?;
        let (kind, mid, text, files) = match (event.message, event.postback, event.message_edit) {
            (Some(message), ..) if message.is_echo => return Ok(None),
            (Some(message), ..) => {
                let is_strange = message.attachments.is_strange;
                match content(message) {
                    Ok(content) => content,
                    Err(_) if is_strange => {
                        let reason = "its attachments are not as Facebook describes them";
                        return Err(reason.to_owned());
                    }
                    Err(kind) => {
                        self.not_handled.log(kind);
                        return Ok(None);
                    }
                }
            }
            (None, Some(postback), _) => {
                let data = postback.payload.or(postback.title).unwrap_or_default();
                (Kind::Button, postback.mid, data, Vec::new())
            }
            (None, None, Some(edit)) => {
                let edition = edit.mid.zip(edit.num_edit);
                let mid = edition.map(|(mid, number)| format!("{mid}:edit:{number}"));
                (Kind::Edited, mid, edit.text.unwrap_or_default(), Vec::new())
            }
            (None, None, None) => {
                self.not_handled.log(field_beside(raw, &COMMON));
                return Ok(None);
            }
        };
        let sender = event.sender.ok_or("missing field `sender`")?.id.0;
        let id = match mid {
            Some(mid) if !mid.is_empty() => mid,
            _ => {
                let time = event.timestamp.map_or(String::new(), |time| time.0);
                format!("{sender}:{time}:{kind:?}:{}", digest_of_json(raw))
            }
        };
        Ok(Some((
            sender,
            Said {
                kind,
                id,
                text,
                files,
            },
        )))
    }
}

/// What is read of an update.
struct Said {
    kind: Kind,
    id: String,
    text: String,
    files: Vec<File>,
}

fn left(raw: &str, reason: &str, body: &Bytes) -> Update {
    let sent = serde_json::from_str::<SentBy>(raw);
    let user = sent.ok().map(|sent| sent.sender.id.0);
    unreadable(
        "facebook",
        user,
        None,
        reason,
        body.slice_ref(raw.as_bytes()),
    )
}

/// The same for the same JSON, however it is written.
fn digest_of_json(raw: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(raw) {
        Ok(value) => digest(value.to_string().as_bytes()),
        Err(_) => digest(raw.as_bytes()),
    }
}

type Content = (Kind, Option<String>, String, Vec<File>);

/// What a message holds; else what sort it is.
fn content(message: Message) -> Result<Content, String> {
    if let Some(data) = message.quick_reply.and_then(|pressed| pressed.payload) {
        return Ok((Kind::Button, message.mid, data, Vec::new()));
    }
    let mut other = "empty".to_owned();
    let mut files = Vec::new();
    for attachment in message.attachments.items {
        let url = attachment.payload.and_then(|payload| payload.url);
        match (url, attachment.kind) {
            // A sticker was an image, too, until August 2026.
            (Some(url), Some(kind)) if ["image", "sticker"].contains(&kind.as_str()) => {
                files.push(File {
                    url: Some(url),
                    ..File::new(FileKind::Photo)
                });
            }
            (_, Some(kind)) => other = kind,
            (_, None) => {}
        }
    }
    match message.text {
        None if files.is_empty() => Err(format!("message.{other}")),
        text => Ok((Kind::Message, message.mid, text.unwrap_or_default(), files)),
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
        content::only_photos_and_data(reply, LIMITS.platform)?;
        content::fit(reply, &LIMITS)
    }

    fn rate(&self) -> Option<Rate> {
        Some(Rate::per_second(RATE))
    }

    fn send<'a>(&'a self, _: ReplyId, outgoing: &'a Outgoing) -> SendFuture<'a> {
        Box::pin(async move {
            let reply = content::reply(outgoing)?;
            let body = serde_json::json!({
                "recipient": { "id": outgoing.to },
                "messaging_type": "RESPONSE",
                "message": message(reply),
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
    let mut message = match content::photo(&reply.files) {
        Some(url) => serde_json::json!({
            "attachment": { "type": "image", "payload": { "url": url } }
        }),
        None => serde_json::json!({ "text": reply.text }),
    };
    let quick_reply = |button: &Button| {
        serde_json::json!({
            "content_type": "text", "title": button.label, "payload": button.data(),
        })
    };
    if !reply.buttons.is_empty() {
        message["quick_replies"] = reply.buttons.iter().flatten().map(quick_reply).collect();
    }
    message
}

/// What an answer of the Send API means for the reply
/// (<https://developers.facebook.com/docs/messenger-platform/error-codes>).
pub(super) fn outcome(response: &Response, token: &str) -> Result<Sent, SendError> {
    if response.status.is_success() {
        return Ok(Sent::default());
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
