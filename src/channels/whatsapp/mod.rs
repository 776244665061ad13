//! WhatsApp Cloud API (<https://developers.facebook.com/docs/whatsapp/cloud-api>): events at
//! `POST /whatsapp`, replies as messages of the business's phone number.
//!
//! | file | subject |
//! | --- | --- |
//! | `incoming.rs` | a body's four levels, and whose a message is |
//! | `said.rs` | what one message holds |
//! | `outgoing.rs` | a reply as messages |
//! | `marks.rs` | bold, italic and so on, as WhatsApp writes them |
//! | `api.rs` | the calls, and what the errors mean |
//!
//! Bodies are signed with the app's secret. A user is known by the id that they have for this
//! business (BSUID) where WhatsApp gives one, else by their number: users with a name may have
//! no number. Most refusals come after a message was taken, as a status `failed`, which
//! carries [`Outgoing::key`]. Messages to another of the business's numbers become dead
//! letters. `GET /whatsapp` answers the challenge with which Meta verifies an address.

mod api;
mod incoming;
mod marks;
mod outgoing;
mod said;

use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use serde_json::Value;
use turnkey_storage::ReplyId;

use self::api::{Api, read_method};
use self::incoming::Reader;
use super::incoming::NotHandled;
use super::lenient::readable;
use super::{
    AskFuture, Channel, LocateFuture, NameFuture, PlatformAnswer, Received, Refusal, SendError,
    SendFuture, Sent, meta, named, substitutes,
};
use crate::author::message::{Action, File, Outgoing, Reply, Update};
use crate::config::WhatsAppConfig;
use crate::shared::pacing::Rate;

#[cfg(test)]
pub(super) use self::api::outcome;
pub(super) use self::outgoing::fitting;
#[cfg(test)]
pub(super) use self::outgoing::message;

/// Messages of a phone number in a second, in and out together
/// (<https://developers.facebook.com/docs/whatsapp/cloud-api/overview#throughput>).
const RATE: u32 = 80;

/// To one user: one each six seconds, and as many at once as are borrowed from later
/// (<https://developers.facebook.com/docs/whatsapp/cloud-api/overview#pair-rate-limits>).
const PAIR: Rate = Rate {
    every: Duration::from_secs(6),
    burst: 45,
};

/// Bytes of a body that are taken at least: bodies of 3 MB were seen.
const BATCH: usize = 4 << 20;

/// Units of a toast, which is said as a message.
const LONGEST_TOAST: usize = 200;

/// How the ids of users' messages begin.
const MESSAGE: &str = "wamid.";

pub(super) struct WhatsApp {
    secret: String,
    verify_token: String,
    number: String,
    api: Api,
    not_handled: NotHandled,
}

impl WhatsApp {
    pub(super) fn new(config: &WhatsAppConfig) -> crate::StartResult<Self> {
        Ok(WhatsApp {
            secret: config.secret.to_string(),
            verify_token: config.verify_token.to_string(),
            number: config.phone_number_id.clone(),
            api: Api::new(config)?,
            not_handled: NotHandled::new("whatsapp"),
        })
    }

    /// What a call of a method is answered.
    async fn asked(&self, method: &str, params: &Value, to: &str) -> Result<Value, SendError> {
        let response = self.api.call(method, params, to, None).await?;
        self.api.outcome(&response)?;
        response.json()
    }

    async fn reply(&self, to: &str, reply: &Reply, key: &str) -> Result<Sent, SendError> {
        let uploaded = match outgoing::to_be_uploaded(reply) {
            Some(file) => Some(self.api.upload(file).await?),
            None => None,
        };
        let message = outgoing::message(reply, uploaded.as_deref());
        let message = message.map_err(SendError::Refused)?;
        self.api.say(to, message, key).await
    }
}

impl Channel for WhatsApp {
    fn name(&self) -> &'static str {
        "whatsapp"
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
        let body = readable(body);
        let mut reader = Reader::new(&self.number, &self.api, &self.not_handled, &body);
        reader.read()?;
        Ok(match reader.ends.is_empty() {
            true => Received::Updates(reader.updates),
            false => Received::WithEnds(reader.updates, reader.ends),
        })
    }

    fn fit(&self, reply: &Reply) -> Result<Vec<Reply>, String> {
        fitting(reply)
    }

    fn can(&self, action: &Action) -> Result<(), String> {
        substitutes::can_say("WhatsApp", action, LONGEST_TOAST, |method, params| {
            read_method(method)?;
            meta::check_params(params)
        })
    }

    fn rate(&self) -> Option<Rate> {
        Some(Rate::per_second(RATE))
    }

    fn chat_rate(&self, _: &str) -> Option<Rate> {
        Some(PAIR)
    }

    fn is_paced(&self, action: &Action) -> bool {
        match action {
            Action::Call { method, .. } => method == "messages",
            _ => true,
        }
    }

    fn refuses_late(&self) -> bool {
        true
    }

    /// With a new number comes a new id.
    fn renames_users(&self) -> bool {
        true
    }

    fn send<'a>(&'a self, id: ReplyId, outgoing: &'a Outgoing) -> SendFuture<'a> {
        Box::pin(async move {
            let (to, key) = (outgoing.to.as_str(), outgoing.key(id));
            match &outgoing.action {
                Action::Reply(reply) => self.reply(to, reply, &key).await,
                Action::Toast { text, .. } if text.trim().is_empty() => Ok(Sent::default()),
                Action::Toast { text, .. } => self.reply(to, &text.as_str().into(), &key).await,
                Action::Call { method, params, .. } => {
                    let response = self.api.call(method, params, to, Some(&key)).await?;
                    self.api.outcome(&response)
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
            let method = format!("GET /{}", self.number);
            let params = serde_json::json!({ "fields": "verified_name,display_phone_number" });
            let number = self.asked(&method, &params, "").await?;
            let name = named("WhatsApp", &number["verified_name"])?;
            Ok(match number["display_phone_number"].as_str() {
                Some(number) => format!("{name} ({number})"),
                None => name,
            })
        }))
    }

    fn locate<'a>(&'a self, file: &'a File) -> LocateFuture<'a> {
        Box::pin(async move {
            match &file.id {
                // Its address in the webhook may have gone stale: it lives for minutes.
                Some(id) => self.api.locate(id).await,
                None => Err(SendError::Refused("the file has no id".to_owned())),
            }
        })
    }

    fn typing<'a>(&'a self, update: &'a Update) -> Option<SendFuture<'a>> {
        // It is shown below a message of the user's, which is marked as read.
        let message = Some(update.id.0.as_str()).filter(|id| id.starts_with(MESSAGE))?;
        Some(Box::pin(self.api.typing(message)))
    }
}
