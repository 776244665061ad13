//! What the Bot API's answers mean (<https://core.telegram.org/bots/api#making-requests>).
//!
//! Used by `calls.rs` and `api.rs`. The words of its errors are those of Telegram's own server
//! (<https://github.com/tdlib/telegram-bot-api>, <https://github.com/tdlib/td>).

use std::time::Duration;

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::client::Response;
use super::super::lenient;
use super::super::{SendError, Sent};

/// How Telegram says, with 500, that a message was posted and taken away at once, by
/// another bot of the group say.
const DELETED: &str = "sent message was immediately deleted";

/// How it says, with 400, that there is no such chat for this bot, or that nobody may write
/// there: what is sent to it is refused from now on. With 403 it says so in any words.
const NOWHERE: [&str; 9] = [
    "chat not found",
    "user not found",
    "group chat was deactivated",
    "have no write access to the chat",
    "chat_write_forbidden",
    "chat_restricted",
    "channel_private",
    "peer_id_invalid",
    "user_deactivated",
];

/// The message that was to be changed is not there, or not ours to change any more.
const GONE: [&str; 5] = [
    "message to edit not found",
    "message can't be edited",
    "message to delete not found",
    "message_id_invalid",
    "message_edit_time_expired",
];

/// It is that already.
const SAME: &str = "message is not modified";

/// Whoever asked waits no longer.
const TOO_LATE: [&str; 2] = ["query is too old", "query id is invalid"];

/// With 404, which stands for a wrong token else.
const NO_METHOD: &str = "method not found";

/// Of a message that is no text but a file with one.
const NO_TEXT: &str = "there is no text in the message to edit";

/// Besides a wrong id it also stands for a server that was busy (429, 5xx) when it was asked
/// for the file.
const PERHAPS_BUSY: &str = "wrong file_id or the file is temporarily unavailable";

#[derive(Deserialize)]
pub(super) struct Answer<'a> {
    pub(super) ok: bool,
    #[serde(borrow, default)]
    pub(super) result: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub(super) description: String,
    #[serde(default, deserialize_with = "lenient::or_default")]
    pub(super) parameters: Parameters,
}

#[derive(Default, Deserialize)]
pub(super) struct Parameters {
    /// Seconds.
    #[serde(default, deserialize_with = "lenient::number")]
    retry_after: Option<i64>,
    /// The id that a group has since it became a supergroup.
    #[serde(default, deserialize_with = "lenient::number")]
    migrate_to_chat_id: Option<i64>,
}

/// What is read of a message that was sent.
#[derive(Deserialize)]
struct Message {
    #[serde(default, deserialize_with = "lenient::any_text")]
    message_id: Option<String>,
    chat: Option<Chat>,
}

#[derive(Deserialize)]
struct Chat {
    id: lenient::Number,
}

impl Parameters {
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let seconds = u64::try_from(self.retry_after?).ok()?;
        Some(Duration::from_secs(seconds))
    }
}

/// What the API says.
///
/// # Errors
/// It is not the API that speaks.
pub(super) fn parse<'a, T: Deserialize<'a>>(response: &'a Response) -> Result<T, SendError> {
    serde_json::from_slice(&response.body).map_err(|_| response.not_the_api())
}

/// What an answer means for what was asked for.
pub(in super::super) fn outcome(response: &Response) -> Result<Sent, SendError> {
    let answer: Answer<'_> = parse(response)?;
    if answer.ok {
        return Ok(answer.result.map_or_else(Sent::default, sent));
    }
    let says = answer.description.to_lowercase();
    // It was accepted; each further attempt would post it again.
    if says.contains(DELETED) || says.contains(SAME) {
        return Ok(Sent::default());
    }
    if response.status == StatusCode::BAD_REQUEST {
        if GONE.iter().any(|gone| says.contains(gone)) {
            return Ok(Sent::gone(answer.description));
        }
        if TOO_LATE.iter().any(|late| says.contains(late)) {
            return Ok(Sent::default());
        }
    }
    Err(error(response, &answer))
}

/// Why the answer is no result.
pub(super) fn error(response: &Response, answer: &Answer<'_>) -> SendError {
    let status = response.status;
    let reason = format!("{status}: {}", answer.description);
    let after = answer.parameters.retry_after();
    // 401 and 404 mean a wrong token: whoever mends it wants the replies to go
    // out then. 400 and 403 are about this reply or chat and will not change.
    match status {
        StatusCode::NOT_FOUND if answer.description.contains(NO_METHOD) => {
            SendError::Refused(reason)
        }
        StatusCode::UNAUTHORIZED
        | StatusCode::NOT_FOUND
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => SendError::Away {
            reason,
            after: after.or(response.retry_after),
        },
        StatusCode::FORBIDDEN => SendError::Unreachable(reason),
        StatusCode::BAD_REQUEST if is_nowhere(&answer.description) => {
            SendError::Unreachable(reason)
        }
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => SendError::Refused(reason),
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
    }
}

fn is_nowhere(description: &str) -> bool {
    let says = description.to_lowercase();
    NOWHERE.iter().any(|nowhere| says.contains(nowhere))
}

/// The message that a result is, with its chat: see [`super::target`]. The first one of an
/// album.
fn sent(result: &RawValue) -> Sent {
    let json = result.get();
    let message = match json.as_bytes().first() {
        Some(b'{') => serde_json::from_str::<Message>(json).ok(),
        Some(b'[') => {
            let all = serde_json::from_str::<Vec<Message>>(json);
            all.ok().and_then(|all| all.into_iter().next())
        }
        // `true`, as of edits of messages that were sent in inline mode.
        _ => None,
    };
    let id = message
        .as_ref()
        .and_then(|message| message.message_id.as_deref());
    match (
        id,
        message.as_ref().and_then(|message| message.chat.as_ref()),
    ) {
        (Some(id), Some(chat)) => Sent::message(super::target::named(chat.id.0, id)),
        (Some(id), None) => Sent::message(id),
        (None, _) => Sent::default(),
    }
}

/// The id that the group has by now, if that is why it was refused.
pub(super) fn moved_to(response: &Response) -> Option<String> {
    let answer: Answer<'_> = parse(response).ok()?;
    let new = answer.parameters.migrate_to_chat_id?;
    (!answer.ok).then(|| new.to_string())
}

/// Whether the message whose text was to be changed has a caption in its place.
pub(super) fn has_caption(response: &Response) -> bool {
    says(response, NO_TEXT)
}

/// Whether the same call may well succeed in a moment, though it was refused.
pub(super) fn is_perhaps_busy(response: &Response) -> bool {
    says(response, PERHAPS_BUSY)
}

fn says(response: &Response, words: &str) -> bool {
    response.status == StatusCode::BAD_REQUEST
        && parse::<Answer<'_>>(response)
            .is_ok_and(|answer| answer.description.to_lowercase().contains(words))
}
