//! The part of Viber's bot API that does not send: registering a webhook.
//!
//! Called by `updaters/registration.rs`.

use hyper::Uri;
use hyper::header::HeaderValue;
use serde::Deserialize;

use super::super::client::Client;
use super::super::register::{Register, Registered, Webhook};
use super::super::{SendError, method_address, without};
use super::token_header;
use crate::author::message::{Hears, Kind};
use crate::config::ViberConfig;

/// The events that are asked for, each for the kind that it becomes. Messages come in any case.
const EVENTS: [(Kind, &str); 4] = [
    (Kind::Opened, "conversation_started"),
    (Kind::Joined, "subscribed"),
    (Kind::Left, "unsubscribed"),
    (Kind::Other, "failed"),
];

/// Viber's `set_webhook`
/// (<https://developers.viber.com/docs/api/rest-bot-api/#setting-a-webhook>). Viber
/// posts to the address before it answers, so the bot must be serving.
pub(in super::super) struct ViberApi {
    token: String,
    hears: Hears,
    token_header: HeaderValue,
    set_webhook: Uri,
    client: Client,
}

#[derive(Deserialize)]
struct ViberAnswer {
    status: i64,
    #[serde(default)]
    status_message: String,
}

impl ViberApi {
    /// `hears`: what is asked for.
    pub(in super::super) fn new(config: &ViberConfig, hears: Hears) -> crate::StartResult<Self> {
        let base = config.api_url.trim_end_matches('/');
        let address = format!("{base}/pa/set_webhook");
        Ok(ViberApi {
            token: config.token.to_string(),
            hears,
            token_header: token_header(config)?,
            set_webhook: method_address(&address, "--viber-api-url")?,
            client: Client::new(&config.proxies)?,
        })
    }
}

impl Register for ViberApi {
    fn channel(&self) -> &'static str {
        "viber"
    }

    fn platform(&self) -> &'static str {
        "Viber"
    }

    fn register<'a>(&'a self, webhook: &'a Webhook) -> Registered<'a> {
        Box::pin(async move {
            let wanted = EVENTS.iter().filter(|(kind, _)| self.hears.hears(*kind));
            let wanted: Vec<&str> = wanted.map(|(_, event)| *event).collect();
            let body = serde_json::json!({ "url": webhook.url, "event_types": wanted });
            let headers = [("x-viber-auth-token", &self.token_header)];
            let uri = self.set_webhook.clone();
            let body = body.to_string().into_bytes();
            let response = self
                .client
                .post(uri, &headers, "application/json", body)
                .await?;
            let answer: ViberAnswer = response.json()?;
            if answer.status == 0 {
                return Ok(());
            }
            let reason = format!("{}: {}", answer.status, answer.status_message);
            Err(SendError::retry(without(&self.token, &reason)).into())
        })
    }
}
