//! Calls of the Bot API's methods, uploads included.
//!
//! Used by `mod.rs`. A call is made again, at once and once, where the answer says how: to the
//! new id of a group, with a caption in place of a text, a moment later. Invariant: no error
//! has the token in it. Bounds: those of `client.rs`.

use std::time::Duration;

use hyper::Uri;
use serde_json::Value;

use super::super::client::{Client, Response};
use super::super::upload::{Content, Form, media_type_of, name_of};
use super::super::{FileAddress, SendError, method_address};
use super::answers::{self, Answer};
use super::render::{Body, Call, part};
use crate::config::TelegramConfig;

/// Before a call is made again that was refused because a server was busy.
const A_MOMENT: Duration = Duration::from_secs(1);

/// The methods of one bot.
pub(super) struct Methods {
    /// Their addresses without the names.
    base: String,
    /// Where files are.
    files: String,
    /// Of what is called most.
    send_message: Uri,
}

impl Methods {
    /// None without a token.
    pub(super) fn new(config: &TelegramConfig) -> crate::StartResult<Option<Self>> {
        let Some(token) = config.token.as_deref() else {
            return Ok(None);
        };
        let server = config.api_url.trim_end_matches('/');
        let base = format!("{server}/bot{token}/");
        Ok(Some(Methods {
            send_message: method_address(
                &format!("{base}sendMessage"),
                "the Telegram token or --telegram-api-url",
            )?,
            base,
            files: format!("{server}/file/bot{token}/"),
        }))
    }

    fn uri(&self, method: &str) -> Result<Uri, SendError> {
        if method == "sendMessage" {
            return Ok(self.send_message.clone());
        }
        let address = format!("{}{method}", self.base);
        address
            .parse()
            .map_err(|_| SendError::Refused(format!("{method:?} is no method of Telegram's")))
    }

    /// Makes a call.
    pub(super) async fn call(
        &self,
        client: &Client,
        call: &Call<'_>,
    ) -> Result<Response, SendError> {
        let uri = self.uri(&call.method)?;
        if call.uploads.is_empty() {
            let body = call.params.json()?;
            return client.post(uri, &[], "application/json", body).await;
        }
        let mut form = Form::new();
        if let Value::Object(fields) = call.params.value()? {
            for (name, value) in fields {
                // What is no text is JSON in a form, too.
                let value = match value {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                form = form.field(&name, &value);
            }
        }
        for (index, file) in call.uploads.iter().enumerate() {
            let content = Content::open(&file.source).await?;
            form = form.file(&part(index), name_of(file), media_type_of(file), content);
        }
        client.upload(uri, form).await
    }

    /// As [`call`](Methods::call), once more a moment later if the server seems to have been
    /// busy.
    pub(super) async fn call_twice(
        &self,
        client: &Client,
        call: &Call<'_>,
    ) -> Result<Response, SendError> {
        let response = self.call(client, call).await?;
        if !answers::is_perhaps_busy(&response) {
            return Ok(response);
        }
        tokio::time::sleep(A_MOMENT).await;
        self.call(client, call).await
    }

    /// Where the file of `getFile`'s answer is. A server of one's own that was started with
    /// `--local` names a path of its box.
    pub(super) fn file(&self, response: &Response) -> Result<FileAddress, SendError> {
        let file: Value = result(response)?;
        let path = file["file_path"].as_str().unwrap_or_default();
        if path.is_empty() {
            return Err(SendError::Refused("Telegram has no such file".to_owned()));
        }
        let mut address = FileAddress::new(&format!("{}{}", self.files, in_an_address(path)))?;
        if path.starts_with('/') {
            address.path = Some(path.into());
        }
        Ok(address)
    }
}

/// The result of an answer.
///
/// # Errors
/// Why there is none.
pub(super) fn result(response: &Response) -> Result<Value, SendError> {
    let answer: Answer<'_> = answers::parse(response)?;
    if !answer.ok {
        return Err(answers::error(response, &answer));
    }
    match answer.result {
        Some(result) => serde_json::from_str(result.get()).map_err(|_| response.not_the_api()),
        None => Ok(Value::Null),
    }
}

/// A path whose other characters are percent-encoded.
fn in_an_address(path: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const OTHERS: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'/')
        .remove(b'.')
        .remove(b'-')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(path.trim_start_matches('/'), OTHERS).to_string()
}

impl Body<'_> {
    fn json(&self) -> Result<Vec<u8>, SendError> {
        let json = match self {
            Body::Ours(params) => serde_json::to_vec(params),
            Body::Any(params) => serde_json::to_vec(params),
        };
        json.map_err(|e| SendError::Refused(e.to_string()))
    }

    pub(super) fn value(&self) -> Result<Value, SendError> {
        let value = match self {
            Body::Ours(params) => serde_json::to_value(params),
            Body::Any(params) => serde_json::to_value(params),
        };
        value.map_err(|e| SendError::Refused(e.to_string()))
    }
}

impl Call<'_> {
    /// The chat that is meant, if one is.
    pub(super) fn chat(&self) -> Option<String> {
        match &self.params {
            Body::Ours(params) => params.chat_id.as_deref().map(str::to_owned),
            Body::Any(params) => match params.get("chat_id")? {
                Value::String(chat) => Some(chat.clone()),
                other => Some(other.to_string()),
            },
        }
    }

    /// The same, for another chat.
    pub(super) fn move_to(&mut self, chat: String) {
        match &mut self.params {
            Body::Ours(params) => params.chat_id = Some(chat.into()),
            Body::Any(params) => {
                params.insert("chat_id".to_owned(), chat.into());
            }
        }
    }

    /// As the answer to a webhook has it.
    ///
    /// # Errors
    /// It uploads files.
    pub(super) fn riding(mut self) -> Result<Vec<u8>, String> {
        if !self.uploads.is_empty() {
            return Err("files are uploaded by calls, which need a token".to_owned());
        }
        match &mut self.params {
            Body::Ours(params) => params.method = Some(self.method),
            Body::Any(params) => {
                params.insert("method".to_owned(), self.method.into());
            }
        }
        self.params.json().map_err(|e| e.to_string())
    }
}
