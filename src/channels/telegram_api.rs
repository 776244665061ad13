//! The calls to Telegram's Bot API that do not send: `getUpdates` and `setWebhook`
//! (<https://core.telegram.org/bots/api#getting-updates>); and the meaning of its answers.
//!
//! Used by `telegram.rs`, and through [`Poll`] and [`Register`]. Bounds: [`LIMIT`] updates a call.

use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use hyper::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::{Client, Response};
use super::lenient::{self, Number};
use super::poll::{Asked, Batch, Mark, Poll, PollError};
use super::register::{Register, Registered, Webhook};
use super::signature::sign;
use super::{SendError, Sent, method_address};
use crate::author::message::{Hears, Kind};
use crate::config::TelegramConfig;
use crate::shared::scrub;

/// Updates of one answer: the most that Telegram gives.
const LIMIT: u32 = 100;

/// What is taken; `channels/telegram_incoming.rs` reads it.
const ALLOWED: [&str; 3] = ["message", "business_message", "callback_query"];

/// What is taken too where edits are handled.
const EDITS: [&str; 2] = ["edited_message", "edited_business_message"];

/// Telegram's most, on its public servers. Ours wait for each other's locks, not for
/// connections.
const MAX_CONNECTIONS: u32 = 100;

/// How Telegram says, with 500, that a message was posted and taken away at once, by
/// another bot of the group say.
const DELETED: &str = "sent message was immediately deleted";

/// For the call that only confirms, at the end.
const CONFIRM: Duration = Duration::from_secs(2);

/// The API of one bot.
pub(super) struct TelegramApi {
    get_updates: Uri,
    set_webhook: Uri,
    delete_webhook: Uri,
    answer_callback_query: Uri,
    secret: String,
    /// The kinds of updates that are asked for.
    allowed: Vec<&'static str>,
    /// A webhook is to be deleted before the first question.
    delete: Cell<bool>,
    client: Client,
}

/// <https://core.telegram.org/bots/api#making-requests>
#[derive(Deserialize)]
struct Answer<'a> {
    ok: bool,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    description: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    /// Seconds.
    #[serde(default, deserialize_with = "lenient::number")]
    retry_after: Option<i64>,
    /// The id that a group has since it became a supergroup.
    #[serde(default, deserialize_with = "lenient::number")]
    migrate_to_chat_id: Option<i64>,
}

impl Parameters {
    fn retry_after(&self) -> Option<Duration> {
        let seconds = u64::try_from(self.retry_after?).ok()?;
        Some(Duration::from_secs(seconds))
    }
}

#[derive(Deserialize)]
struct Id {
    update_id: Number,
}

impl TelegramApi {
    /// None without a token. `hears`: what is asked for.
    pub(super) fn new(config: &TelegramConfig, hears: Hears) -> crate::StartResult<Option<Self>> {
        let Some(token) = config.token.as_deref() else {
            return Ok(None);
        };
        let base = config.api_url.trim_end_matches('/');
        let method = |name: &str| {
            let address = format!("{base}/bot{token}/{name}");
            method_address(&address, "the Telegram token or --telegram-api-url")
        };
        let mut allowed = ALLOWED.to_vec();
        if hears.hears(Kind::Edited) {
            allowed.extend(EDITS);
        }
        Ok(Some(TelegramApi {
            allowed,
            get_updates: method("getUpdates")?,
            set_webhook: method("setWebhook")?,
            delete_webhook: method("deleteWebhook")?,
            answer_callback_query: method("answerCallbackQuery")?,
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

fn parse<'a, T: Deserialize<'a>>(response: &'a Response) -> Result<T, SendError> {
    serde_json::from_slice(&response.body).map_err(|_| response.not_the_api())
}

/// The secret of the webhook: the configured one, else one that whoever knows the token,
/// and so each worker, can make.
pub(super) fn webhook_secret(configured: Option<&str>, token: &str) -> String {
    configured.map_or_else(|| sign(token, b"turnkey webhook"), str::to_owned)
}

/// What an answer of the Bot API means for the reply.
pub(super) fn outcome(response: &Response) -> Result<Sent, SendError> {
    let status = response.status;
    let answer: Answer<'_> = parse(response)?;
    if answer.ok {
        return Ok(Sent::default());
    }
    // It was accepted; each further attempt would post it again.
    if answer.description.contains(DELETED) {
        return Ok(Sent::default());
    }
    let reason = format!("{status}: {}", answer.description);
    let after = answer.parameters.retry_after();
    // 401 and 404 mean a wrong token: whoever mends it wants the replies to go
    // out then. 400 and 403 are about this reply or chat and will not change.
    Err(match status {
        StatusCode::UNAUTHORIZED
        | StatusCode::NOT_FOUND
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => SendError::Away {
            reason,
            after: after.or(response.retry_after),
        },
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => SendError::Refused(reason),
        // Whether the chat or the bot was too fast Telegram does not say.
        StatusCode::TOO_MANY_REQUESTS => SendError::TooMany {
            reason,
            after: after.or(response.retry_after),
            all: false,
        },
        _ => SendError::Retry {
            reason,
            after: after.or(response.retry_after),
        },
    })
}

/// The id that the group has by now, if that is why it was refused.
pub(super) fn moved_to(response: &Response) -> Option<String> {
    let answer: Answer<'_> = parse(response).ok()?;
    let new = answer.parameters.migrate_to_chat_id?;
    (!answer.ok).then(|| new.to_string())
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
            let uri = &self.answer_callback_query;
            self.post(uri, &body, Duration::ZERO).await.map(drop)
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
