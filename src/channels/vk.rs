//! VK's Callback API (<https://dev.vk.com/en/api/callback/getting-started>): events of
//! a community at `POST /vk` (or by polling, `vk_api.rs`), replies by `messages.send`.
//!
//! The secret is a field of each body. Handled: `message_new` (text, photos, buttons) and
//! `message_edit`. Anything else is answered `ok` and logged once for each kind.
//! `confirmation`, which comes without the secret, is answered with the string that VK gave for
//! it. Events of a community other than the token's are refused.
//!
//! `random_id` is computed from the update's id and the reply's position. VK recognises a
//! second message with the same one, so a reply is sent once.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use turnkey_storage::ReplyId;

use super::client::{Client, Response};
use super::content::{self, Formatting, Limits};
use super::incoming::{NotHandled, dialog, genuine, parse_json, read_json, unreadable, update_id};
use super::lenient::{self, Id, List, Number, readable};
use super::signature::same_secret;
use super::vk_api::API_VERSION;
use super::{
    Channel, Plan, PlatformAnswer, Received, Refusal, SendError, SendFuture, Sent, method_address,
    without,
};
use crate::author::message::{Action, Button, File, FileKind, Kind, Outgoing, Reply, Update};
use crate::config::VkConfig;
use crate::shared::pacing::{Pace, Rate};

/// A picture's address may stand in the text, and is part of its length there.
const LIMITS: Limits = Limits {
    platform: "VK",
    text: 4096,
    caption: 2000,
    buttons: 10,
    label: 40,
    data: 240,
    album: 1,
    album_buttons: false,
    says: false,
    formatting: Formatting::None,
    spans: usize::MAX,
    mixes: Limits::mixes_all,
    captions: Limits::captions_all,
};

/// Characters of a button's payload, which is JSON.
const MAX_PAYLOAD: usize = 255;

/// Rows of buttons inside a message.
const ROWS: usize = 6;

/// Calls of a community's token in a second
/// (<https://dev.vk.com/en/api/api-requests#Limitations>).
const RATE: u32 = 20;

/// VK takes a `Retry-After` only as a date, and dates have whole seconds.
const RETRY_AFTER: Duration = Duration::from_secs(2);

pub(super) struct Vk {
    token: String,
    /// None where updates are polled for: then nothing that is posted is genuine.
    secret: Option<String>,
    confirmation: Option<String>,
    pace: Pace,
    messages_send: Uri,
    client: Client,
    not_handled: NotHandled,
}

/// All that is read before the secret is known to be right.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "lenient::text")]
    secret: Option<String>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "lenient::maybe")]
    event_id: Option<Id>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    group_id: Option<Number>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

/// A message is in an object of its own, since version 5.103; an edited one still is not.
#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message {
    from_id: Number,
    #[serde(default, deserialize_with = "lenient::number")]
    peer_id: Option<i64>,
    /// It is the community's own.
    #[serde(default, deserialize_with = "lenient::flag")]
    out: bool,
    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
    /// A text that holds JSON.
    payload: Option<Box<RawValue>>,
    #[serde(default)]
    attachments: List<Attachment>,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    kind: Option<String>,
    photo: Option<Photo>,
}

#[derive(Deserialize)]
struct Photo {
    #[serde(default, deserialize_with = "lenient::number")]
    id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::number")]
    owner_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::text")]
    access_key: Option<String>,
    #[serde(default)]
    sizes: List<Size>,
}

#[derive(Deserialize)]
struct Size {
    /// Absent while VK still makes this size.
    #[serde(default, deserialize_with = "lenient::text")]
    url: Option<String>,
    #[serde(default, deserialize_with = "lenient::number")]
    width: Option<i64>,
    #[serde(default, deserialize_with = "lenient::number")]
    height: Option<i64>,
}

#[derive(Deserialize)]
struct ApiAnswer {
    /// The message's id.
    response: Option<IgnoredAny>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    error_code: i64,
    #[serde(default)]
    error_msg: String,
}

impl Vk {
    pub(super) fn new(config: &VkConfig, pace: Pace) -> crate::StartResult<Self> {
        let base = config.api_url.trim_end_matches('/');
        let address = format!("{base}/method/messages.send");
        Ok(Vk {
            token: config.token.to_string(),
            secret: config.secret.as_deref().map(str::to_owned),
            confirmation: config.confirmation.as_deref().map(str::to_owned),
            pace,
            messages_send: method_address(&address, "--vk-api-url")?,
            client: Client::new(&config.proxies)?,
            not_handled: NotHandled::new("vk"),
        })
    }

    /// The update in a `message_new` or `message_edit`, if it is one that is taken.
    fn update(&self, event: &Event<'_>, body: &Bytes) -> Option<Update> {
        let id = event.event_id.as_ref().map(|id| id.0.clone());
        let left = |user: Option<i64>, reason: &str| {
            let user = user.map(|user| user.to_string());
            Some(unreadable("vk", user, id.clone(), reason, body.clone()))
        };
        let Some(object) = event.object else {
            return left(None, "missing field `object`");
        };
        let wrapped = serde_json::from_str::<Wrapped<'_>>(object.get()).ok();
        let object = wrapped
            .and_then(|wrapped| wrapped.message)
            .unwrap_or(object);
        let message: Message = match read_json(object.get().as_bytes()) {
            Ok(message) => message,
            Err(reason) => return left(None, &reason),
        };
        let user = message.from_id.0;
        let Some(id) = &id else {
            let reason =
                "missing field `event_id`: choose version 5.199 in the community's settings";
            return left(Some(user), reason);
        };
        let is_edit = event.kind == "message_edit";
        if is_edit && message.out {
            return None;
        }
        let attachments = message.attachments;
        let other = attachments
            .items
            .first()
            .and_then(|first| first.kind.clone());
        let mut is_strange = attachments.is_strange;
        let mut files = Vec::new();
        for photo in attachments.items.into_iter().filter_map(|item| item.photo) {
            match picture(photo) {
                Some(picture) => files.push(picture),
                None => is_strange = true,
            }
        }
        let (kind, text) = match payload_of(message.payload.as_deref()) {
            Some(payload) if !is_edit => (Kind::Button, data(&payload)),
            _ if is_edit => (Kind::Edited, message.text.unwrap_or_default()),
            _ => (Kind::Message, message.text.unwrap_or_default()),
        };
        if text.is_empty() && files.is_empty() {
            if is_strange {
                return left(Some(user), "its attachments are not as VK describes them");
            }
            let (kind, other) = (&event.kind, other.as_deref().unwrap_or("empty"));
            self.not_handled.log(format!("{kind}.{other}"));
            return None;
        }
        let dialog = match dialog("vk", user.to_string()) {
            Ok(dialog) => dialog,
            Err(reason) => return left(None, &reason),
        };
        Some(Update {
            kind,
            files,
            address: message.peer_id.unwrap_or(user).to_string(),
            ..Update::new(dialog, update_id(id).0, text, body.clone())
        })
    }
}

/// None when it has neither a name nor an address.
fn picture(photo: Photo) -> Option<File> {
    let id = photo.owner_id.zip(photo.id).map(|(owner, id)| {
        let key = photo.access_key.map(|key| format!("_{key}"));
        format!("photo{owner}_{id}{}", key.unwrap_or_default())
    });
    let area = |size: &Size| {
        size.width
            .unwrap_or(0)
            .saturating_mul(size.height.unwrap_or(0))
    };
    let sizes = photo
        .sizes
        .items
        .into_iter()
        .filter(|size| size.url.is_some());
    let url = sizes.max_by_key(area).and_then(|size| size.url);
    (id.is_some() || url.is_some()).then(|| File {
        id,
        url,
        ..File::new(FileKind::Photo)
    })
}

/// A payload's JSON, which mostly stands in a text.
fn payload_of(payload: Option<&RawValue>) -> Option<String> {
    let json = payload?.get();
    let inner = serde_json::from_str::<String>(json);
    Some(inner.unwrap_or_else(|_| json.to_owned())).filter(|payload| !payload.is_empty())
}

/// A button's payload must be JSON, so data stands in an object.
fn payload(data: &str) -> String {
    serde_json::json!({ "button": data }).to_string()
}

/// A button's data; the payload of a button that is not ours is its JSON.
fn data(payload: &str) -> String {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ours {
        button: String,
    }
    match serde_json::from_str::<Ours>(payload) {
        Ok(ours) => ours.button,
        Err(_) => payload.to_owned(),
    }
}

impl Channel for Vk {
    fn name(&self) -> &'static str {
        "vk"
    }

    fn verify(&self, _: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let body = String::from_utf8_lossy(body);
        let head = serde_json::from_str::<Head>(&body);
        let is_genuine = head.is_ok_and(|head| {
            // VK asks for the confirmation without the secret. Its answer is worth
            // nothing to anybody else.
            let secret = self.secret.as_ref();
            head.kind == "confirmation"
                || secret
                    .zip(head.secret.as_ref())
                    .is_some_and(|(secret, given)| same_secret(given.as_bytes(), secret.as_bytes()))
        });
        genuine(is_genuine, "secret")
    }

    fn parse(&self, _: &HeaderMap, body: &Bytes) -> Result<Received, Refusal> {
        let body = &readable(body);
        let event: Event<'_> = parse_json(body)?;
        let group = event.group_id.and_then(|group| u64::try_from(group.0).ok());
        if let (Some(theirs), Some(ours)) = (group, self.pace.account())
            && theirs != ours
        {
            let reason = self.not_handled.stranger("community", theirs, ours);
            return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
        }
        let update = match event.kind.as_str() {
            "confirmation" => {
                // Of the settings, else as it was asked for when the address was
                // registered.
                let known = self.confirmation.clone();
                let confirmation = known.or_else(|| self.pace.confirmation()).ok_or_else(|| {
                    let reason = "TURNKEY_VK_CONFIRMATION is not set";
                    Refusal::new(StatusCode::BAD_REQUEST, reason)
                })?;
                return Ok(Received::Answer(PlatformAnswer::text(confirmation)));
            }
            "message_new" | "message_edit" => self.update(&event, body),
            other => {
                self.not_handled.log(other);
                None
            }
        };
        Ok(match update {
            Some(update) => Received::Updates(vec![update]),
            None => Received::Answer(self.answer(b"ok".to_vec())),
        })
    }

    fn fit(&self, reply: &Reply) -> Result<Vec<Reply>, String> {
        content::only_photos_and_data(reply, LIMITS.platform)?;
        let send = content::fit(reply, &LIMITS)?;
        for button in send.iter().flat_map(|reply| &reply.buttons).flatten() {
            if payload(button.data().unwrap_or_default()).chars().count() > MAX_PAYLOAD {
                let label = &button.label;
                return Err(format!("the data of button {label:?} is too long for VK"));
            }
        }
        Ok(send)
    }

    fn plan(&self, _: &Update, actions: &[Action]) -> Result<Plan, String> {
        Ok(Plan {
            answer: b"ok".to_vec(),
            send: self.fit_all(actions)?,
        })
    }

    fn rate(&self) -> Option<Rate> {
        Some(Rate::per_second(RATE))
    }

    fn accepted(&self, _: &Update) -> Vec<u8> {
        b"ok".to_vec()
    }

    fn answer(&self, body: Vec<u8>) -> PlatformAnswer {
        PlatformAnswer::text(body)
    }

    fn retry_after(&self) -> String {
        httpdate::fmt_http_date(SystemTime::now() + RETRY_AFTER)
    }

    fn send<'a>(&'a self, id: ReplyId, outgoing: &'a Outgoing) -> SendFuture<'a> {
        Box::pin(async move {
            let body = form(&self.token, id, outgoing, content::reply(outgoing)?);
            let uri = self.messages_send.clone();
            let media_type = "application/x-www-form-urlencoded";
            let response = self
                .client
                .post(uri, &[], media_type, body.into_bytes())
                .await?;
            outcome(&response, &self.token)
        })
    }
}

fn form(token: &str, id: ReplyId, outgoing: &Outgoing, reply: &Reply) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("access_token", token)
        .append_pair("v", API_VERSION)
        .append_pair("peer_id", &outgoing.to)
        .append_pair("random_id", &random_id(id, &outgoing.update).to_string());
    match content::photo(&reply.files) {
        // A picture that VK has already, such as one that a user sent.
        Some(picture) if !picture.contains("://") => {
            form.append_pair("message", &reply.text)
                .append_pair("attachment", picture);
        }
        // Others would have to be uploaded first; VK shows a link as a picture.
        Some(link) => {
            let text = [reply.text.as_str(), link].join("\n");
            form.append_pair("message", text.trim_start());
        }
        None => {
            form.append_pair("message", &reply.text);
        }
    }
    if !reply.buttons.is_empty() {
        form.append_pair("keyboard", &keyboard(&reply.buttons));
    }
    form.finish()
}

fn keyboard(buttons: &[Vec<Button>]) -> String {
    let all: Vec<&Button> = buttons.iter().flatten().collect();
    let in_a_row = all.len().div_ceil(ROWS);
    let rows: Vec<Vec<_>> = all
        .chunks(in_a_row.max(1))
        .map(|row| row.iter().map(|button| key(button)).collect())
        .collect();
    serde_json::json!({ "inline": true, "buttons": rows }).to_string()
}

fn key(button: &Button) -> serde_json::Value {
    serde_json::json!({ "action": {
        "type": "text", "label": button.label, "payload": payload(button.data().unwrap_or_default()),
    } })
}

/// 1 to 2^31 - 1. The update's id is part of it: a new database counts its turns
/// from the start again, and VK would take its first replies for old ones.
pub(super) fn random_id(id: ReplyId, update: &str) -> u32 {
    let mut digest = Sha256::new();
    digest.update(id.turn.0.to_be_bytes());
    digest.update(id.index.to_be_bytes());
    digest.update(update);
    let digest = digest.finalize();
    let first = digest
        .iter()
        .take(4)
        .fold(0, |n, byte| n << 8 | u32::from(*byte));
    (first & 0x7fff_ffff).max(1)
}

/// What an answer of the API means for the reply
/// (<https://dev.vk.com/en/reference/errors>).
pub(super) fn outcome(response: &Response, token: &str) -> Result<Sent, SendError> {
    let answer: ApiAnswer = response.json()?;
    let error = match (answer.error, answer.response) {
        (Some(error), _) => error,
        (None, Some(_)) => return Ok(Sent::default()),
        (None, None) => return Err(response.away("neither response nor error".to_owned())),
    };
    let reason = format!("{}: {}", error.error_code, without(token, &error.error_msg));
    Err(match error.error_code {
        // Too many a second; the limit of this method.
        6 | 29 => response.too_many(reason),
        // Too much of the same.
        9 => SendError::TooMany {
            reason,
            after: response.retry_after,
            all: false,
        },
        // The token, of the community or the app: with another one it may go out.
        5 | 27 | 28 => response.away(reason),
        // Unknown, internal: later it may go out.
        1 | 10 => response.retry(reason),
        // The user does not allow it, is gone; the message cannot be.
        _ => SendError::Refused(reason),
    })
}
