//! Calls of the WhatsApp Cloud API, and what its errors mean
//! (<https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes>).
//!
//! Used by `mod.rs`. Invariant: no reason has the token in it. An upload that went well and
//! whose message did not is done again with it: the file's id is not kept.

use std::time::Duration;

use hyper::Uri;
use hyper::header::{AUTHORIZATION, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::client::{Client, Response};
use super::super::lenient::{self, List, Number};
use super::super::signature::sign;
use super::super::upload::{self, Content, Form};
use super::super::{FileAddress, SendError, Sent, meta, method_address, without};
use crate::author::message::Attachment;
use crate::author::start_error::StartError;
use crate::config::WhatsAppConfig;

/// How an address begins that is a group's.
pub(super) const GROUP: &str = "group:";

/// One message to a user in this time is what the platform takes after a burst.
const PAIR: Duration = Duration::from_secs(6);

/// For limits that last for hours: the longest pause that is believed.
const LONG: Duration = Duration::from_secs(3600);

pub(super) struct Api {
    base: String,
    number: String,
    /// What a call's query carries where the token is in no header.
    credentials: String,
    /// What any call's query carries: apps may require it.
    proof: String,
    token: String,
    bearer: HeaderValue,
    messages: Uri,
    media: Uri,
    client: Client,
}

#[derive(Deserialize)]
struct ApiAnswer {
    error: ApiError,
}

/// An error of a call, or of a message that was taken before.
#[derive(Debug, Deserialize)]
pub(super) struct ApiError {
    code: Number,
    #[serde(default, deserialize_with = "lenient::number")]
    error_subcode: Option<i64>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    message: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    title: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    error_data: Option<Details>,
    #[serde(default, deserialize_with = "lenient::flag")]
    is_transient: bool,
}

#[derive(Debug, Deserialize)]
struct Details {
    #[serde(default, deserialize_with = "lenient::text")]
    details: Option<String>,
}

#[derive(Deserialize)]
struct Accepted {
    #[serde(default)]
    messages: List<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(default, deserialize_with = "lenient::text")]
    id: Option<String>,
}

/// Of a file that the platform has.
#[derive(Deserialize)]
struct Media {
    #[serde(default, deserialize_with = "lenient::text")]
    url: Option<String>,
}

impl Api {
    pub(super) fn new(config: &WhatsAppConfig) -> crate::StartResult<Self> {
        let (token, number) = (config.token.to_string(), config.phone_number_id.clone());
        let base = config.api_url.trim_end_matches('/').to_owned();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
            let reason = "TURNKEY_WHATSAPP_TOKEN has characters that no header may have";
            StartError::Refused(reason.to_owned())
        })?;
        bearer.set_sensitive(true);
        let proof = form_urlencoded::Serializer::new(String::new())
            .append_pair("appsecret_proof", &sign(&config.secret, token.as_bytes()))
            .finish();
        let credentials = form_urlencoded::Serializer::new(proof.clone())
            .append_pair("access_token", &token)
            .finish();
        let settings = "--whatsapp-api-url";
        let messages = method_address(&format!("{base}/{number}/messages?{proof}"), settings)?;
        let media = method_address(&format!("{base}/{number}/media?{credentials}"), settings)?;
        Ok(Api {
            messages,
            media,
            base,
            number,
            credentials,
            proof,
            token,
            bearer,
            client: Client::new(&config.proxies)?,
        })
    }

    async fn post(&self, uri: Uri, body: &Value) -> Result<Response, SendError> {
        let body = body.to_string().into_bytes();
        let headers = [("authorization", &self.bearer)];
        self.client
            .post(uri, &headers, "application/json", body)
            .await
    }

    /// Sends a message: its kind, content and context.
    pub(super) async fn say(
        &self,
        to: &str,
        mut message: Value,
        key: &str,
    ) -> Result<Sent, SendError> {
        address(&mut message, to);
        message["biz_opaque_callback_data"] = key.into();
        let response = self.post(self.messages.clone(), &message).await?;
        outcome(&response, &self.token)
    }

    /// Says that a message was read, and that an answer is being written: for 25 s, or until
    /// it comes.
    pub(super) async fn typing(&self, message: &str) -> Result<Sent, SendError> {
        let body = json!({
            "messaging_product": "whatsapp",
            "status": "read",
            "message_id": message,
            "typing_indicator": { "type": "text" },
        });
        let response = self.post(self.messages.clone(), &body).await?;
        outcome(&response, &self.token)
    }

    /// Gives the platform a file: its id, which lives for 30 days.
    pub(super) async fn upload(&self, file: &Attachment) -> Result<String, SendError> {
        let content = Content::open(&file.source).await?;
        let (name, media_type) = (upload::name_of(file), upload::media_type_of(file));
        let form = Form::new()
            .field("messaging_product", "whatsapp")
            .field("type", media_type)
            .file("file", name, media_type, content);
        let response = self.client.upload(self.media.clone(), form).await?;
        outcome(&response, &self.token)?;
        match response.json::<Named>()?.id {
            Some(id) => Ok(id),
            None => Err(SendError::retry("an upload without an id")),
        }
    }

    /// Where a file that a user sent can be fetched: good for five minutes.
    pub(super) async fn locate(&self, id: &str) -> Result<FileAddress, SendError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if id.is_empty() || !id.chars().all(is_plain) {
            return Err(SendError::Refused("it is no id of a file".to_owned()));
        }
        let (base, number) = (&self.base, &self.number);
        let credentials = &self.credentials;
        let uri = format!("{base}/{id}?phone_number_id={number}&{credentials}").parse();
        let uri = uri.map_err(|_| SendError::Refused("it is no id of a file".to_owned()))?;
        let response = self.client.get(uri, Duration::ZERO).await?;
        outcome(&response, &self.token)?;
        let Some(url) = response.json::<Media>()?.url else {
            return Err(SendError::retry("a file without an address"));
        };
        let mut address = FileAddress::new(&url)?;
        address.headers = vec![(AUTHORIZATION, self.bearer.clone())];
        Ok(address)
    }

    /// Calls any method: see [`read_method`]. A message that is for nobody is for `to`.
    pub(super) async fn call(
        &self,
        method: &str,
        params: &Value,
        to: &str,
        key: Option<&str>,
    ) -> Result<Response, SendError> {
        let (gets, path) = read_method(method).map_err(SendError::Refused)?;
        let path = match path.strip_prefix('/') {
            Some(path) => path.to_owned(),
            None => format!("{}/{path}", self.number),
        };
        let refused = |_| SendError::Refused(format!("{method:?} is no path"));
        if gets {
            let fields = params.as_object().into_iter().flatten();
            let query = form_urlencoded::Serializer::new(self.credentials.clone())
                .extend_pairs(fields.map(|(name, value)| (name, text_of(value))))
                .finish();
            let uri = format!("{}/{path}?{query}", self.base).parse();
            return self.client.get(uri.map_err(refused)?, Duration::ZERO).await;
        }
        let mut params = match params {
            Value::Null => json!({}),
            params => params.clone(),
        };
        let is_message = path == format!("{}/messages", self.number);
        if is_message && params.get("type").is_some() {
            address(&mut params, to);
            if let (Some(key), None) = (key, params.get("biz_opaque_callback_data")) {
                params["biz_opaque_callback_data"] = key.into();
            }
        }
        let uri = format!("{}/{path}?{}", self.base, self.proof).parse();
        self.post(uri.map_err(refused)?, &params).await
    }

    /// What an answer of a call means.
    pub(super) fn outcome(&self, response: &Response) -> Result<Sent, SendError> {
        outcome(response, &self.token)
    }

    /// An error of a message that was taken before, in words.
    pub(super) fn in_words(&self, error: &ApiError) -> String {
        error.in_words(&self.token)
    }
}

/// Whom a message is for, unless it says so: a group; a user by their number, or else by the
/// id that they have for this business.
fn address(message: &mut Value, to: &str) {
    let Some(fields) = message.as_object_mut() else {
        return;
    };
    fields.insert("messaging_product".to_owned(), "whatsapp".into());
    if fields.contains_key("to") || fields.contains_key("recipient") {
        return;
    }
    let (kind, field, to) = match to.strip_prefix(GROUP) {
        Some(group) => ("group", "to", group),
        None if to.bytes().all(|byte| byte.is_ascii_digit()) => ("individual", "to", to),
        None => ("individual", "recipient", to),
    };
    fields.insert("recipient_type".to_owned(), kind.into());
    fields.insert(field.to_owned(), to.into());
}

/// A value in a query: as it is where it is a text, else as JSON.
fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether it is got, and the path: `messages` is the number's own, `/12345` is anything's,
/// `GET /12345` is got.
///
/// # Errors
/// It is none, in a sentence.
pub(super) fn read_method(method: &str) -> Result<(bool, &str), String> {
    let names_something = |path: &str| path != "/" && !path.starts_with("//");
    meta::read_method(method)
        .filter(|(_, path)| names_something(path))
        .ok_or_else(|| {
            format!(
                "{method:?} is no path of the Graph API: those are such as messages, which is \
                 the phone number's, /12345/subscribed_apps, or GET and a path"
            )
        })
}

impl ApiError {
    fn in_words(&self, token: &str) -> String {
        let code = self.code.0;
        let of_sort = self
            .error_subcode
            .map_or(String::new(), |subcode| format!("/{subcode}"));
        let message = self.message.as_deref().or(self.title.as_deref());
        let mut reason = format!("{code}{of_sort}: {}", message.unwrap_or_default());
        let details = self.error_data.as_ref();
        if let Some(details) = details.and_then(|data| data.details.as_deref()) {
            reason = format!("{reason} ({details})");
        }
        without(token, &reason)
    }
}

/// What an answer means for what was asked.
pub(in crate::channels) fn outcome(response: &Response, token: &str) -> Result<Sent, SendError> {
    if response.status.is_success() {
        let accepted = serde_json::from_slice::<Accepted>(&response.body).ok();
        let message = accepted.and_then(|accepted| accepted.messages.items.into_iter().next());
        return Ok(Sent {
            message: message.and_then(|message| message.id),
            gone: None,
        });
    }
    let ApiAnswer { error } = response.json()?;
    let reason = error.in_words(token);
    Err(match error.code.0 {
        // Calls of the app, of the account, messages a second, registrations.
        4 | 80007 | 130_429 | 133_016 => response.too_many(reason),
        // Messages to this user: one each six seconds after a burst.
        131_056 => SendError::TooMany {
            reason,
            after: response.retry_after.or(Some(PAIR)),
            all: false,
        },
        // Too many were blocked or reported: it lasts for hours.
        131_048 => SendError::TooMany {
            reason,
            after: response.retry_after.or(Some(LONG)),
            all: true,
        },
        // Permissions, the token, the account, its payments: a human must see to it.
        0
        | 3
        | 10
        | 190
        | 200..=299
        | 368
        | 131_005
        | 131_031
        | 131_037
        | 131_042
        | 131_045
        | 130_497 => response.away(reason),
        // Something went wrong there, or is being maintained.
        1 | 2 | 131_000 | 131_016 | 131_057 | 135_000 => response.retry(reason),
        // No such user, not one of those who test, ourselves.
        131_021 | 131_026 | 131_030 => SendError::Unreachable(reason),
        _ if response.status == hyper::StatusCode::TOO_MANY_REQUESTS => response.too_many(reason),
        _ if error.is_transient || response.status.is_server_error() => response.retry(reason),
        // Outside of the 24 hours, opted out, not for this user now, nothing that can be sent.
        _ => SendError::Refused(reason),
    })
}
