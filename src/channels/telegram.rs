//! Telegram's Bot API (<https://core.telegram.org/bots/api>): updates by webhook
//! at `POST /telegram`, replies by `sendMessage`.
//!
//! Without a token one reply rides in the answer to the webhook.
//!
//! Taken: messages and edited messages (text, or the caption of a picture),
//! callback queries (the button's data). Anything else is answered 200 and
//! logged once for each kind; else Telegram would send it again for a day.
//! `X-Telegram-Bot-Api-Secret-Token` is compared in constant time when a secret
//! is configured.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use turnkey_storage::{ReplyId, Seen};

use super::client::Client;
use super::{Channel, PlatformAnswer, Refusal, SendError, SendFuture, parse_json, same_secret};
use crate::config::TelegramConfig;
use crate::error::Error;
use crate::message::{DialogKey, Outgoing, Reply, Update, UpdateId};

pub(super) struct Telegram {
    secret: Option<String>,
    /// None without a token: then one reply rides in each answer.
    send_message: Option<Uri>,
    client: Client,
    /// Kinds of updates that were logged as not taken.
    logged: Mutex<HashSet<String>>,
}

/// The fields that are used of an update.
#[derive(Deserialize)]
struct TelegramUpdate {
    update_id: i64,
    message: Option<Message>,
    edited_message: Option<Message>,
    callback_query: Option<CallbackQuery>,
}

#[derive(Deserialize)]
struct Message {
    /// Absent in channel posts.
    from: Option<User>,
    chat: Chat,
    text: Option<String>,
    caption: Option<String>,
}

#[derive(Deserialize)]
struct CallbackQuery {
    from: User,
    /// Absent when the message is too old or was sent in inline mode.
    message: Option<ButtonMessage>,
    data: Option<String>,
}

#[derive(Deserialize)]
struct ButtonMessage {
    chat: Chat,
}

#[derive(Deserialize)]
struct User {
    id: i64,
}

#[derive(Deserialize)]
struct Chat {
    id: i64,
}

#[derive(Serialize)]
struct SendMessage<'a> {
    /// Only in an answer to a webhook; else it is in the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'a str>,
    chat_id: &'a str,
    text: &'a str,
}

/// <https://core.telegram.org/bots/api#making-requests>
#[derive(Deserialize)]
struct ApiAnswer {
    ok: bool,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Default, Deserialize)]
struct Parameters {
    /// Seconds.
    retry_after: Option<u64>,
}

impl Telegram {
    pub(super) fn new(config: &TelegramConfig) -> crate::Result<Self> {
        let send_message = match &config.token {
            None => None,
            Some(token) => {
                let base = config.api_url.trim_end_matches('/');
                let uri = format!("{base}/bot{token}/sendMessage").parse();
                Some(uri.map_err(|_| {
                    // Not the address itself: it holds the token.
                    Error::Start(
                        "the Telegram token or --telegram-api-url has characters that no address may have"
                            .to_owned(),
                    )
                })?)
            }
        };
        Ok(Telegram {
            secret: config.secret.clone(),
            send_message,
            client: Client::new(),
            logged: Mutex::default(),
        })
    }

    /// Logs an update that is not taken, once for each kind.
    fn log_once(&self, raw: &[u8]) {
        let kind = kind(raw).unwrap_or_else(|| "empty".to_owned());
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        // Bounded: whoever posts made-up kinds does not fill the memory.
        if logged.len() < 100 && logged.insert(kind.clone()) {
            tracing::info!("telegram updates of kind {kind:?} are not handled (logged once)");
        }
    }
}

impl Channel for Telegram {
    fn name(&self) -> &'static str {
        "telegram"
    }

    fn verify(&self, headers: &HeaderMap, _: &[u8]) -> Result<(), Refusal> {
        let Some(secret) = &self.secret else {
            return Ok(());
        };
        let given = headers
            .get("x-telegram-bot-api-secret-token")
            .map_or(&b""[..], |value| value.as_bytes());
        if same_secret(given, secret.as_bytes()) {
            return Ok(());
        }
        Err(Refusal::new(
            StatusCode::UNAUTHORIZED,
            "wrong or missing X-Telegram-Bot-Api-Secret-Token",
        ))
    }

    fn parse(&self, _: &HeaderMap, body: &Bytes) -> Result<Vec<Update>, Refusal> {
        let update: TelegramUpdate = parse_json(body)?;
        let found = match (
            update.message.or(update.edited_message),
            update.callback_query,
        ) {
            (Some(message), _) => {
                let user = message.from.map_or(message.chat.id, |from| from.id);
                message
                    .text
                    .or(message.caption)
                    .map(|text| (user, message.chat.id, text))
            }
            (None, Some(query)) => {
                let chat = query
                    .message
                    .map_or(query.from.id, |message| message.chat.id);
                query.data.map(|data| (query.from.id, chat, data))
            }
            (None, None) => None,
        };
        let Some((user, chat, text)) = found else {
            self.log_once(body);
            return Ok(Vec::new());
        };
        Ok(vec![Update {
            dialog: DialogKey::new(self.name(), user.to_string()),
            id: UpdateId(update.update_id.to_string()),
            text,
            address: chat.to_string(),
            digest: Vec::new(),
            raw: body.clone(),
        }])
    }

    fn replies_in_answer(&self) -> bool {
        self.send_message.is_none()
    }

    /// Without a token nothing can be sent, but one call may ride in the answer
    /// (<https://core.telegram.org/bots/api#making-requests-when-getting-updates>).
    fn answer(&self, update: &Update, replies: &[Reply]) -> Vec<u8> {
        let (None, Some(reply)) = (&self.send_message, replies.first()) else {
            return Vec::new();
        };
        if replies.len() > 1 {
            tracing::warn!(
                "{}: only the first of {} replies is sent: set TURNKEY_TELEGRAM_TOKEN",
                update.dialog,
                replies.len()
            );
        }
        let call = SendMessage {
            method: Some("sendMessage"),
            chat_id: &update.address,
            text: &reply.text,
        };
        // Strings always serialise.
        serde_json::to_vec(&call).unwrap_or_default()
    }

    fn answer_seen(&self, _: &[u8], seen: Seen) -> PlatformAnswer {
        PlatformAnswer {
            status: StatusCode::OK,
            body: seen.answer,
        }
    }

    fn send<'a>(&'a self, _: ReplyId, reply: &'a Outgoing) -> SendFuture<'a> {
        Box::pin(async move {
            let retry = |reason: String| SendError::Retry {
                reason,
                after: None,
            };
            let uri = self
                .send_message
                .clone()
                .ok_or_else(|| retry("no Telegram token is configured".to_owned()))?;
            let body = serde_json::to_vec(&SendMessage {
                method: None,
                chat_id: &reply.to,
                text: &reply.reply.text,
            })
            .map_err(|e| SendError::Refused(e.to_string()))?;
            let (status, body) = self.client.post(uri, body).await.map_err(retry)?;
            outcome(status, &body)
        })
    }
}

/// What sort of update it is: the field beside `update_id`, and for a message the
/// field that holds its content, such as `message.sticker`.
fn kind(raw: &[u8]) -> Option<String> {
    const NOT_CONTENT: [&str; 7] = [
        "message_id",
        "from",
        "chat",
        "date",
        "edit_date",
        "sender_chat",
        "message_thread_id",
    ];
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(raw).ok()?;
    let (kind, value) = fields.iter().find(|(key, _)| *key != "update_id")?;
    let content = value
        .as_object()
        .filter(|_| kind.ends_with("message"))
        .and_then(|o| o.keys().find(|key| !NOT_CONTENT.contains(&key.as_str())));
    Some(match content {
        Some(content) => format!("{kind}.{content}"),
        None => kind.clone(),
    })
}

/// What an answer of the Bot API means for the reply.
fn outcome(status: StatusCode, body: &[u8]) -> Result<(), SendError> {
    let Ok(answer) = serde_json::from_slice::<ApiAnswer>(body) else {
        return Err(SendError::Retry {
            reason: format!("{status} without a Bot API answer"),
            after: None,
        });
    };
    if answer.ok {
        return Ok(());
    }
    let reason = format!("{status}: {}", answer.description);
    // 401 and 404 mean a wrong token: whoever mends it wants the replies to go
    // out then. 400 and 403 are about this reply or chat and will not change.
    Err(match status {
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN => SendError::Refused(reason),
        _ => SendError::Retry {
            reason,
            after: answer.parameters.retry_after.map(Duration::from_secs),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_api_are_told_apart() {
        let of = |status: u16, body: &str| {
            outcome(StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };
        assert!(of(200, r#"{"ok":true,"result":{}}"#).is_ok());
        let blocked = r#"{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked by the user"}"#;
        assert!(matches!(of(403, blocked), Err(SendError::Refused(r)) if r.contains("blocked")));
        let flood = r#"{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":35}}"#;
        assert!(
            matches!(of(429, flood), Err(SendError::Retry { after: Some(a), .. }) if a.as_secs() == 35)
        );
        assert!(matches!(of(502, "<html>"), Err(SendError::Retry { .. })));
    }
}
