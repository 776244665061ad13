//! Viber's bot API (<https://developers.viber.com/docs/api/rest-bot-api/>): events at
//! `POST /viber`, replies by `send_message`.
//!
//! Bodies are signed with the bot's token. Handled: messages (text, pictures) and
//! `conversation_started`, which may be answered with one welcome message, which rides in the
//! answer. Anything else is answered 200 and logged once for each kind.
//!
//! A pressed button arrives as a message whose text is the button's data. To tell it from the
//! same text typed, each message with buttons carries digests of their data as `tracking_data`,
//! which Viber returns with the user's next message.

use bytes::Bytes;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Uri};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use turnkey_storage::ReplyId;

use super::client::{Client, Response};
use super::content::{self, Formatting, Limits};
use super::incoming::{NotHandled, dialog, genuine, parse_json, read_json, unreadable, update_id};
use super::lenient::{self, Id, readable};
use super::signature::is_signed;
use super::{
    Channel, Plan, PlatformAnswer, Received, Refusal, SendError, SendFuture, Sent, method_address,
    without,
};
use crate::author::message::{Action, File, FileKind, Kind, Outgoing, Reply, Update};
use crate::author::start_error::StartError;
use crate::config::ViberConfig;

/// A message has at most 30 kB, as JSON. So that it always fits, labels and data have
/// limits of our own here.
const LIMITS: Limits = Limits {
    platform: "Viber",
    text: 7000,
    caption: 512,
    buttons: 24,
    label: 40,
    data: 100,
    album: 1,
    album_buttons: false,
    says: false,
    formatting: Formatting::None,
    spans: usize::MAX,
    mixes: Limits::mixes_all,
    captions: Limits::captions_all,
};

/// Of the first Viber version that knows `Silent` buttons.
const SILENT_BUTTONS: u8 = 6;

pub(super) struct Viber {
    token: String,
    token_header: HeaderValue,
    sender: String,
    send_message: Uri,
    client: Client,
    not_handled: NotHandled,
}

#[derive(Deserialize)]
struct Head {
    event: String,
    /// Larger than 2^53: never a float.
    #[serde(default, deserialize_with = "lenient::maybe")]
    message_token: Option<Id>,
}

#[derive(Deserialize)]
struct MessageEvent {
    sender: User,
    message: Message,
}

#[derive(Deserialize)]
struct StartedEvent {
    user: User,
    /// What the link carried that the user followed.
    #[serde(default, deserialize_with = "lenient::text")]
    context: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: Id,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
    /// Of a picture: where it is, for an hour.
    #[serde(default, deserialize_with = "lenient::text")]
    media: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    tracking_data: Option<String>,
}

/// What is read of an update.
struct Said {
    user: String,
    kind: Kind,
    text: String,
    files: Vec<File>,
}

/// What `tracking_data` holds of ours.
#[derive(Default, Deserialize, Serialize)]
struct Tracking {
    buttons: Vec<String>,
}

#[derive(Serialize)]
struct SendMessage<'a> {
    /// Not in a message of welcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<&'a str>,
    sender: Sender<'a>,
    #[serde(rename = "type")]
    kind: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    media: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_api_version: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyboard: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct Sender<'a> {
    name: &'a str,
}

#[derive(Deserialize)]
struct ApiAnswer {
    status: i64,
    #[serde(default)]
    status_message: String,
}

impl Viber {
    pub(super) fn new(config: &ViberConfig) -> crate::StartResult<Self> {
        let base = config.api_url.trim_end_matches('/');
        let address = format!("{base}/pa/send_message");
        let mut token_header = HeaderValue::from_str(&config.token).map_err(|_| {
            StartError::Refused("the Viber token has characters that no header may have".to_owned())
        })?;
        token_header.set_sensitive(true);
        Ok(Viber {
            token: config.token.to_string(),
            token_header,
            sender: config.sender.clone(),
            send_message: method_address(&address, "--viber-api-url")?,
            client: Client::new(&config.proxies)?,
            not_handled: NotHandled::new("viber"),
        })
    }

    /// What a user says; none if it is nothing that is taken.
    ///
    /// # Errors
    /// It cannot be read, for this reason.
    fn message(&self, body: &[u8]) -> Result<Option<Said>, String> {
        let MessageEvent { sender, message } = read_json(body)?;
        let is_picture = message.kind == "picture";
        let files: Vec<File> = match message.media.filter(|_| is_picture) {
            Some(url) => vec![File {
                url: Some(url),
                ..File::new(FileKind::Photo)
            }],
            None => Vec::new(),
        };
        let text = match message.text {
            Some(text) if message.kind == "text" || is_picture => text,
            None if !files.is_empty() => String::new(),
            None if message.kind == "text" => return Err("a text without a text".to_owned()),
            None if is_picture => return Err("a picture without an address".to_owned()),
            _ => {
                self.not_handled.log(format!("message.{}", message.kind));
                return Ok(None);
            }
        };
        let tracking = message.tracking_data.unwrap_or_default();
        let pressed = serde_json::from_str::<Tracking>(&tracking)
            .is_ok_and(|tracking| tracking.buttons.contains(&digest(&text)));
        Ok(Some(Said {
            user: sender.id.0,
            kind: if pressed { Kind::Button } else { Kind::Message },
            text,
            files,
        }))
    }

    fn render(&self, receiver: Option<&str>, reply: &Reply) -> Result<Vec<u8>, String> {
        let has_buttons = !reply.buttons.is_empty();
        let photo = content::photo(&reply.files);
        let tracking = Tracking {
            buttons: reply
                .buttons
                .iter()
                .flatten()
                .filter_map(|b| b.data().map(digest))
                .collect(),
        };
        let buttons: Vec<_> = reply
            .buttons
            .iter()
            .flatten()
            .map(|button| {
                serde_json::json!({
                    "Columns": 6, "Rows": 1, "Text": button.label,
                    "ActionType": "reply", "ActionBody": button.data().unwrap_or_default(), "Silent": true,
                })
            })
            .collect();
        let message = SendMessage {
            receiver,
            sender: Sender { name: &self.sender },
            kind: if photo.is_some() { "picture" } else { "text" },
            text: &reply.text,
            media: photo,
            tracking_data: has_buttons
                .then(|| serde_json::to_string(&tracking))
                .transpose()
                .map_err(|e| e.to_string())?,
            min_api_version: has_buttons.then_some(SILENT_BUTTONS),
            keyboard: has_buttons
                .then(|| serde_json::json!({ "Type": "keyboard", "Buttons": buttons })),
        };
        serde_json::to_vec(&message).map_err(|e| e.to_string())
    }
}

/// Short, since 24 of them must fit into 4096 characters.
fn digest(data: &str) -> String {
    hex::encode(&Sha256::digest(data)[..8])
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
            "message" => self.message(body),
            "conversation_started" => read_json(body).map(|event: StartedEvent| {
                Some(Said {
                    user: event.user.id.0,
                    kind: Kind::Opened,
                    text: event.context.unwrap_or_default(),
                    files: Vec::new(),
                })
            }),
            // Viber tries out the address before it accepts it.
            "webhook" => Ok(None),
            other => {
                self.not_handled.log(other);
                Ok(None)
            }
        };
        let token = head.message_token.as_ref();
        let id = token.map(|token| format!("{}-{}", token.0, head.event));
        let left = |reason: &str| unreadable("viber", None, id.clone(), reason, body.clone());
        let said = match (said, &id) {
            (Ok(None), _) => return Ok(Received::Answer(PlatformAnswer::json(Vec::new()))),
            (Ok(Some(said)), Some(id)) => dialog("viber", said.user.clone()).map(|dialog| Update {
                kind: said.kind,
                files: said.files,
                ..Update::new(dialog, update_id(id).0, said.text, body.clone())
            }),
            (Ok(Some(_)), None) => Err("missing field `message_token`".to_owned()),
            (Err(reason), _) => Err(reason),
        };
        let update = said.unwrap_or_else(|reason| left(&reason));
        Ok(Received::Updates(vec![update]))
    }

    fn fit(&self, reply: &Reply) -> Result<Vec<Reply>, String> {
        content::only_photos_and_data(reply, LIMITS.platform)?;
        content::fit(reply, &LIMITS)
    }

    fn plan(&self, update: &Update, actions: &[Action]) -> Result<Plan, String> {
        let mut send = self.fit_all(actions)?;
        let answer = match send.first() {
            Some(Action::Reply(first)) if update.kind == Kind::Opened => {
                let welcome = self.render(None, first)?;
                send.remove(0);
                welcome
            }
            _ => Vec::new(),
        };
        Ok(Plan { answer, send })
    }

    fn rode(&self, answer: &[u8]) -> Option<Action> {
        let message: serde_json::Value = serde_json::from_slice(answer).ok()?;
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let said = text(&message["text"]).unwrap_or_default();
        let reply = match text(&message["media"]) {
            Some(media) => Reply::photo(media).caption(said),
            None => Reply::from(said),
        };
        let buttons = message["keyboard"]["Buttons"].as_array();
        let buttons = buttons
            .into_iter()
            .flatten()
            .filter_map(|button| Some((text(&button["Text"])?, text(&button["ActionBody"])?)));
        let reply = buttons.fold(reply, |reply, (label, data)| reply.button(label, data));
        Some(reply.into())
    }

    fn send<'a>(&'a self, _: ReplyId, outgoing: &'a Outgoing) -> SendFuture<'a> {
        Box::pin(async move {
            let reply = content::reply(outgoing)?;
            let body = self
                .render(Some(&outgoing.to), reply)
                .map_err(SendError::Refused)?;
            let headers = [("x-viber-auth-token", &self.token_header)];
            let uri = self.send_message.clone();
            let response = self
                .client
                .post(uri, &headers, "application/json", body)
                .await?;
            outcome(&response, &self.token)
        })
    }
}

/// What an answer of the API means for the reply
/// (<https://developers.viber.com/docs/api/rest-bot-api/#error-codes>).
pub(super) fn outcome(response: &Response, token: &str) -> Result<Sent, SendError> {
    let answer: ApiAnswer = response.json()?;
    let reason = format!("{}: {}", answer.status, answer.status_message);
    let reason = without(token, &reason);
    Err(match answer.status {
        0 => return Ok(Sent::default()),
        // Bad or missing data; the user is unknown, has left, or has no device for
        // it; too new for their version; not allowed to this user or country.
        3 | 4 | 5 | 6 | 11 | 13 | 14 | 16 | 17 | 18 | 20 | 21 | 22 => SendError::Refused(reason),
        12 => response.too_many(reason),
        // About the bot's address, token or account: whoever mends it wants the replies to
        // go out then.
        1 | 2 | 7 | 8 | 9 | 10 | 15 | 19 => response.away(reason),
        // A general error.
        _ => response.retry(reason),
    })
}
