//! The calls to Telegram's Bot API that do not send: `getUpdates` and `setWebhook`
//! (<https://core.telegram.org/bots/api#getting-updates>).
//!
//! Used through [`Poll`] and [`Register`]. Bounds: [`LIMIT`] updates a call.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::client::Client;
use super::super::lenient::Number;
use super::super::poll::{Asked, Batch, Mark, Poll, PollError};
use super::super::register::{Register, Registered, Webhook};
use super::super::signature::sign;
use super::super::{SendError, method_address};
use super::answers::{Answer, parse};
use super::incoming::asked;
use crate::author::message::Hears;
use crate::config::TelegramConfig;
use crate::shared::scrub;

/// Updates of one answer: the most that Telegram gives.
const LIMIT: u32 = 100;

/// Telegram's most, on its public servers. Ours wait for each other's locks, not for
/// connections.
const MAX_CONNECTIONS: u32 = 100;

/// For the call that only confirms, at the end.
const CONFIRM: Duration = Duration::from_secs(2);

/// The API of one bot.
pub(in super::super) struct TelegramApi {
    get_updates: Uri,
    set_webhook: Uri,
    delete_webhook: Uri,
    /// Of all methods.
    base: String,
    secret: String,
    /// The kinds of updates that are asked for.
    allowed: Vec<&'static str>,
    /// A webhook is to be deleted before the first question.
    delete: Cell<bool>,
    client: Client,
}

#[derive(Deserialize)]
struct Id {
    update_id: Number,
}

impl TelegramApi {
    /// None without a token. `hears`: what is asked for.
    pub(in super::super) fn new(
        config: &TelegramConfig,
        hears: Hears,
    ) -> crate::StartResult<Option<Self>> {
        let Some(token) = config.token.as_deref() else {
            return Ok(None);
        };
        let base = config.api_url.trim_end_matches('/');
        let method = |name: &str| {
            let address = format!("{base}/bot{token}/{name}");
            method_address(&address, "the Telegram token or --telegram-api-url")
        };
        Ok(Some(TelegramApi {
            allowed: asked::updates(hears),
            get_updates: method("getUpdates")?,
            set_webhook: method("setWebhook")?,
            delete_webhook: method("deleteWebhook")?,
            base: format!("{base}/bot{token}/"),
            secret: {
                let secret = webhook_secret(config.secret.as_deref(), token);
                scrub::learn([&*secret]);
                secret
            },
            delete: Cell::new(config.delete_webhook),
            client: Client::new(&config.proxies)?,
        }))
    }

    async fn get(&self, offset: Option<Mark>, limit: u32, wait: Duration) -> Asks {
        if self.delete.get() {
            self.post(&self.delete_webhook, &serde_json::json!({}), Duration::ZERO)
                .await?;
            self.delete.set(false);
        }
        let body = serde_json::json!({
            "offset": offset.unwrap_or(0), "limit": limit, "timeout": wait.as_secs(),
            "allowed_updates": self.allowed,
        });
        self.post(&self.get_updates, &body, wait).await
    }

    /// Calls a method; whatever is not `ok` is an error.
    async fn post(&self, uri: &Uri, body: &serde_json::Value, wait: Duration) -> Asks {
        let body = body.to_string().into_bytes();
        let response = self.client.poll(uri.clone(), body, wait).await?;
        let answer: Answer<'_> = parse(&response)?;
        if answer.ok {
            return Ok(response.body.clone());
        }
        let reason = format!("{}: {}", response.status, answer.description);
        Err(match response.status {
            // What a token that never was, or is no more, is answered with.
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND => PollError::Token(format!(
                "Telegram does not know the token in TURNKEY_TELEGRAM_TOKEN ({reason}); @BotFather shows the right one"
            )),
            StatusCode::CONFLICT if answer.description.contains("webhook") => PollError::Taken(
                "Telegram posts the updates of this bot to a webhook, so it cannot be polled; start it with --delete-webhook to delete that, or with --updater webhooks".to_owned(),
            ),
            StatusCode::CONFLICT => PollError::Taken(
                "another program polls this bot's updates, and Telegram gives them to one only; stop the other, or make a bot of its own for each".to_owned(),
            ),
            _ => PollError::Away {
                reason,
                after: answer.parameters.retry_after().or(response.retry_after),
            },
        })
    }
}

/// The body of an answer that is `ok`.
type Asks = Result<Bytes, PollError>;

/// The secret of the webhook: the configured one, else one that whoever knows the token,
/// and so each worker, can make.
pub(super) fn webhook_secret(configured: Option<&str>, token: &str) -> String {
    configured.map_or_else(|| sign(token, b"turnkey webhook"), str::to_owned)
}

impl Poll for TelegramApi {
    fn channel(&self) -> &'static str {
        "telegram"
    }

    fn platform(&self) -> &'static str {
        "Telegram"
    }

    fn ask(&self, mark: Option<Mark>, wait: Duration) -> Asked<'_, Batch> {
        Box::pin(async move {
            let body = self.get(mark, LIMIT, wait).await?;
            let answer: Answer<'_> =
                serde_json::from_slice(&body).map_err(|e| SendError::retry(e.to_string()))?;
            let raw = answer.result.map_or("[]", RawValue::get);
            let raw: Vec<&RawValue> =
                serde_json::from_str(raw).map_err(|e| SendError::retry(e.to_string()))?;
            let mut updates = Vec::with_capacity(raw.len());
            let given = raw.len();
            for update in raw {
                // Whatever else is in it, it is one update, and the others are others.
                let mark = serde_json::from_str::<Id>(update.get())
                    .ok()
                    .and_then(|id| Mark::try_from(id.update_id.0).ok());
                match mark {
                    Some(id) => updates.push((id + 1, body.slice_ref(update.get().as_bytes()))),
                    None => {
                        tracing::error!("Telegram gave an update without an id: it is left out")
                    }
                }
            }
            if updates.is_empty() && given > 0 {
                return Err(SendError::retry("updates without ids").into());
            }
            // After an idle week the ids begin anew, anywhere: where nothing is left, the
            // next question must not exclude those.
            let next = updates.last().map(|(mark, _)| *mark);
            Ok(Batch { updates, next })
        })
    }

    fn forgets(&self) -> bool {
        true
    }

    /// Of polled updates only pressed buttons have an answer.
    fn call(&self, answer: Vec<u8>) -> Asked<'_, ()> {
        Box::pin(async move {
            let body: serde_json::Value =
                serde_json::from_slice(&answer).map_err(|e| SendError::retry(e.to_string()))?;
            let method = body["method"].as_str().unwrap_or_default();
            let uri = format!("{}{method}", self.base).parse();
            let uri: Uri = uri.map_err(|_| SendError::retry("an answer without a method"))?;
            self.post(&uri, &body, Duration::ZERO).await.map(drop)
        })
    }

    fn confirm(&self, mark: Mark) -> Asked<'_, ()> {
        Box::pin(async move {
            let confirm = self.get(Some(mark), 1, Duration::ZERO);
            match tokio::time::timeout(CONFIRM, confirm).await {
                Ok(answer) => answer.map(drop),
                Err(_) => Err(SendError::retry("no answer").into()),
            }
        })
    }
}

impl Register for TelegramApi {
    fn channel(&self) -> &'static str {
        "telegram"
    }

    fn platform(&self) -> &'static str {
        "Telegram"
    }

    fn register<'a>(&'a self, webhook: &'a Webhook) -> Registered<'a> {
        Box::pin(async move {
            let body = serde_json::json!({
                "url": webhook.url, "secret_token": self.secret,
                "max_connections": MAX_CONNECTIONS, "allowed_updates": self.allowed,
            });
            self.post(&self.set_webhook, &body, Duration::ZERO).await?;
            Ok(())
        })
    }
}
