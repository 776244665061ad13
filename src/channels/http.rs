//! Plain HTTP: `POST /http` with `{"user_id":"ann","text":"hi"}` answers
//! `{"replies":[{"text":"1: hi"}]}` once the turn is committed.
//!
//! Instead of or beside the text there may be `"photo":"https://…"`, `files`, `location` and
//! `contact`, or `"button":"data"` for a button that was pressed. A reply's files and buttons
//! are fields beside its text, as handlers in other languages write them:
//! `"files":[{"type":"photo","url":"https://…"}]`, `"buttons":[{"label":"Yes","data":"1"}]`.
//! What a turn asks for beside replies (edits, calls …) is in the same list.
//!
//! An update's id is the `Idempotency-Key` header, else the field `id`, else one generated
//! here. The same id with the same body gets the stored answer, byte for byte; with another
//! body 409. With a token configured, requests carry `Authorization: Bearer TOKEN`.
//!
//! With `Prefer: respond-async` ([RFC 7240](https://www.rfc-editor.org/rfc/rfc7240)) the
//! response is 202 at once, with the address from which the answer can be fetched
//! (`updaters/status.rs`).

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, HeaderName, LOCATION};
use hyper::{HeaderMap, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use turnkey_storage::{ReplyId, Seen};

use super::incoming::parse_json;
use super::signature::same_secret;
use super::{Channel, Plan, PlatformAnswer, Received, Refusal, SendError, SendFuture};
use crate::author::message::{
    Action, Contact, DialogKey, File, FileKind, Format, Kind, Location, MAX_UPDATE_ID, MAX_USER_ID,
    Outgoing, Reply, Update, UpdateId,
};
use crate::config::HttpConfig;
use crate::shared::clock::since_1970;

/// Bytes of the digest that tells bodies apart.
const DIGEST: usize = 16;

/// What an id's bytes look like in a path: all but the unreserved ones of RFC 3986.
const IN_A_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Where answers can be asked for: before the id.
pub(crate) const UPDATES: &str = "/http/updates/";

/// The stored answer to an update that was given up. Those of turns start with `replies`.
const GIVEN_UP: &[u8] = br#"{"error":"the handler failed; this update was given up"}"#;

pub(super) struct Http {
    token: Option<String>,
    /// Starts the ids of updates that have none: different in each process and
    /// each life of it, rising, so that they fall on one page of the index.
    prefix: String,
    made_up: AtomicU64,
}

#[derive(Deserialize)]
#[serde(expecting = "an object with the fields `user_id` and `text`")]
struct Body {
    user_id: String,
    text: Option<String>,
    /// The address of a photo; the text is its caption.
    photo: Option<String>,
    /// Files of any sort.
    #[serde(default)]
    files: Vec<File>,
    location: Option<Location>,
    contact: Option<Contact>,
    /// The data of a button that was pressed; there is no text then.
    button: Option<String>,
    id: Option<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    replies: &'a [Action],
}

impl Http {
    pub(super) fn new(config: &HttpConfig) -> Self {
        let started = since_1970().as_nanos();
        Http {
            token: config.token.as_deref().map(str::to_owned),
            prefix: format!("~{started:x}-{:x}", std::process::id()),
            made_up: AtomicU64::new(0),
        }
    }

    fn make_up_id(&self) -> String {
        let number = self.made_up.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number:010x}", self.prefix)
    }
}

/// Whether a `Prefer` header has `respond-async` among its preferences.
fn prefers_async(headers: &HeaderMap) -> bool {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|preference| preference.split(';').next())
        .any(|name| name.trim().eq_ignore_ascii_case("respond-async"))
}

impl Channel for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn wants_json_type(&self) -> bool {
        true
    }

    fn waits_for_answer(&self) -> bool {
        true
    }

    fn verify(&self, headers: &HeaderMap, _: &[u8]) -> Result<(), Refusal> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let given = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
            .unwrap_or_default();
        if same_secret(given, token.as_bytes()) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "wrong or missing bearer token",
        ))
    }

    fn parse(&self, headers: &HeaderMap, bytes: &Bytes) -> Result<Received, Refusal> {
        let body: Body = parse_json(bytes)?;
        let bad = |reason: String| Refusal::new(StatusCode::BAD_REQUEST, reason);
        if body.user_id.is_empty() || body.user_id.len() > MAX_USER_ID {
            return Err(bad(format!(
                "field `user_id`: 1 to {MAX_USER_ID} bytes, not {}",
                body.user_id.len()
            )));
        }
        let has_more = body.photo.is_some()
            || !body.files.is_empty()
            || body.location.is_some()
            || body.contact.is_some();
        let (kind, text) = match (body.button, body.text) {
            (Some(data), _) => (Kind::Button, data),
            (None, Some(text)) => (Kind::Message, text),
            (None, None) if has_more => (Kind::Message, String::new()),
            (None, None) => {
                return Err(bad(
                    "missing field `text`, `button`, `photo`, `files`, `location` or `contact`"
                        .to_owned(),
                ));
            }
        };
        let photo = body.photo.map(|url| File {
            url: Some(url),
            ..File::new(FileKind::Photo)
        });
        let id = match headers.get("idempotency-key") {
            Some(key) => Some(
                key.to_str()
                    .map_err(|_| bad("header `Idempotency-Key`: visible ASCII only".to_owned()))?
                    .to_owned(),
            ),
            None => body.id,
        };
        // `~` starts the ids that are made up.
        if let Some(id) = &id
            && (id.is_empty() || id.len() > MAX_UPDATE_ID || id.starts_with('~'))
        {
            return Err(bad(format!(
                "the update's id: 1 to {MAX_UPDATE_ID} bytes, not starting with `~`"
            )));
        }
        let digest = match id.is_some() {
            true => Sha256::digest(bytes)[..DIGEST].to_vec(),
            false => Vec::new(),
        };
        let dialog = DialogKey::new(self.name(), body.user_id);
        let id = id.unwrap_or_else(|| self.make_up_id());
        let update = Update {
            digest,
            kind,
            files: photo.into_iter().chain(body.files).collect(),
            location: body.location,
            contact: body.contact,
            ..Update::new(dialog, id, text, bytes.clone())
        };
        Ok(match prefers_async(headers) {
            true => Received::Async(Box::new(update)),
            false => Received::Updates(vec![update]),
        })
    }

    /// Whoever asks decides what to make of it.
    fn can(&self, _: &Action) -> Result<(), String> {
        Ok(())
    }

    /// As it is, but that marks are spans of a plain text.
    fn fit(&self, reply: &Reply) -> Result<Vec<Reply>, String> {
        let styled = reply.styled()?;
        Ok(vec![Reply {
            text: styled.text,
            spans: styled.spans,
            format: Format::Plain,
            ..reply.clone()
        }])
    }

    /// All replies ride in the answer: there is nobody to send to.
    fn plan(&self, _: &Update, actions: &[Action]) -> Result<Plan, String> {
        let replies = &self.fit_all(actions)?;
        Ok(Plan {
            answer: serde_json::to_vec(&Answer { replies }).map_err(|e| e.to_string())?,
            send: Vec::new(),
        })
    }

    fn can_send(&self) -> bool {
        false
    }

    fn accepted(&self, update: &Update) -> Vec<u8> {
        serde_json::json!({ "id": update.id.0, "status": "pending" })
            .to_string()
            .into_bytes()
    }

    fn answer_async(&self, id: &UpdateId, body: Vec<u8>) -> PlatformAnswer {
        let address = format!("{UPDATES}{}", utf8_percent_encode(&id.0, IN_A_PATH));
        PlatformAnswer {
            status: StatusCode::ACCEPTED,
            headers: vec![
                (LOCATION, address),
                (
                    HeaderName::from_static("preference-applied"),
                    "respond-async".to_owned(),
                ),
            ],
            ..PlatformAnswer::json(body)
        }
    }

    fn unheard(&self, _: &Update) -> Vec<u8> {
        Vec::new()
    }

    fn given_up(&self, _: &Update) -> Vec<u8> {
        GIVEN_UP.to_vec()
    }

    fn answer_seen(&self, digest: &[u8], seen: Seen) -> PlatformAnswer {
        if seen.digest == digest {
            let status = match seen.answer == GIVEN_UP {
                true => StatusCode::GONE,
                false => StatusCode::OK,
            };
            return PlatformAnswer {
                status,
                ..self.answer(seen.answer)
            };
        }
        PlatformAnswer {
            status: StatusCode::CONFLICT,
            ..PlatformAnswer::json(br#"{"error":"this id came before with another body"}"#.to_vec())
        }
    }

    fn send<'a>(&'a self, _: ReplyId, _: &'a Outgoing) -> SendFuture<'a> {
        let refused = SendError::Refused("replies of this channel ride in its answers".to_owned());
        Box::pin(async { Err(refused) })
    }
}
