//! The part of Viber's bot API that does not send: registering a webhook.
//!
//! Called by `updaters/registration.rs`.

use hyper::Uri;
use hyper::header::HeaderValue;
use serde::Deserialize;

use super::client::Client;
use super::register::{Register, Registered, Webhook};
use super::{SendError, method_address, without};
use crate::author::start_error::StartError;
use crate::config::ViberConfig;

/// Viber's `set_webhook`
/// (<https://developers.viber.com/docs/api/rest-bot-api/#setting-a-webhook>). Viber
/// posts to the address before it answers, so the bot must be serving.
pub(super) struct ViberApi {
    token: String,
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
    pub(super) fn new(config: &ViberConfig) -> crate::StartResult<Self> {
        let base = config.api_url.trim_end_matches('/');
        let address = format!("{base}/pa/set_webhook");
        let mut token_header = HeaderValue::from_str(&config.token).map_err(|_| {
            StartError::Refused("the Viber token has characters that no header may have".to_owned())
        })?;
        token_header.set_sensitive(true);
        Ok(ViberApi {
            token: config.token.to_string(),
            token_header,
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
            // Messages come in any case.
            let body = serde_json::json!({
                "url": webhook.url, "event_types": ["conversation_started"],
            });
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
