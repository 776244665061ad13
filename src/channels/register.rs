//! Platforms that can be told where to post updates.
//!
//! Called by `updaters/registration.rs`, which knows when; here and in `telegram_api.rs`
//! and `vk_api.rs` are the calls. Facebook takes an address only from the app's owner:
//! the line at the start says what to enter (`notices.rs`).

use std::future::Future;
use std::pin::Pin;

use hyper::Uri;
use hyper::header::HeaderValue;
use serde::Deserialize;

use super::client::Client;
use super::poll::PollError;
use super::telegram_api::TelegramApi;
use super::vk_api::VkApi;
use super::{SendError, method_address, without};
use crate::author::error::Error;
use crate::config::{Config, ViberConfig};
use crate::shared::pacing::Pace;

/// Where a platform is to post.
pub(crate) struct Webhook {
    pub(crate) url: String,
    /// What all workers know of the channel.
    pub(crate) pace: Pace,
}

pub(crate) type Registered<'a> = Pin<Box<dyn Future<Output = Result<(), PollError>> + 'a>>;

/// A platform that can be told.
pub(crate) trait Register {
    /// Its channel.
    fn channel(&self) -> &'static str;

    /// Its name, for people.
    fn platform(&self) -> &'static str;

    /// Tells it. May be called again with the same webhook.
    fn register<'a>(&'a self, webhook: &'a Webhook) -> Registered<'a>;
}

/// The platforms of this configuration.
///
/// # Errors
/// What is wrong with the configuration, in a sentence.
pub(crate) fn platforms(config: &Config) -> crate::Result<Vec<Box<dyn Register>>> {
    let mut platforms: Vec<Box<dyn Register>> = Vec::new();
    if let Some(api) = TelegramApi::new(&config.telegram)? {
        platforms.push(Box::new(api));
    }
    if let Some(config) = &config.viber {
        platforms.push(Box::new(ViberApi::new(config)?));
    }
    if let Some(config) = &config.vk {
        platforms.push(Box::new(VkApi::new(config)?));
    }
    Ok(platforms)
}

/// Viber's `set_webhook`
/// (<https://developers.viber.com/docs/api/rest-bot-api/#setting-a-webhook>). Viber
/// posts to the address before it answers, so the bot must be serving.
struct ViberApi {
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
    fn new(config: &ViberConfig) -> crate::Result<Self> {
        let base = config.api_url.trim_end_matches('/');
        let address = format!("{base}/pa/set_webhook");
        let mut token_header = HeaderValue::from_str(&config.token).map_err(|_| {
            Error::Start("the Viber token has characters that no header may have".to_owned())
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
