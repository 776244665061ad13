//! Reads Telegram's updates, from webhooks and polling alike.
//!
//! Called by `telegram.rs`. If a message was sent in the name of a chat, the user is that chat:
//! its `from` is then an account that all chats share. Where it was sent (a topic, a business
//! connection) is kept for the replies.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Refusal;
use super::incoming::{dialog, field_beside, parse_json, read_json, unreadable, update_id};
use super::lenient::{self, Id, List, Number};
use crate::author::message::{File, FileKind, Kind, Update};

const CHANNEL: &str = "telegram";

/// Accounts that stand for whoever speaks in a chat's name: of groups' anonymous
/// administrators, of channels, of posts that come from a linked channel.
const SHARED: [i64; 3] = [1_087_968_824, 136_817_688, 777_000];

/// A group's topic "General": Telegram finds no such topic when it is named.
const GENERAL: i64 = 1;

/// Fields of a message that are not what it says.
const NOT_CONTENT: [&str; 13] = [
    "author_signature",
    "business_connection_id",
    "chat",
    "date",
    "direct_messages_topic",
    "edit_date",
    "from",
    "is_topic_message",
    "message_id",
    "message_thread_id",
    "reply_to_message",
    "sender_business_bot",
    "sender_chat",
];

/// What an update turned out to hold.
pub(super) enum Found {
    Update(Box<Update>),
    /// A button that is a game's: no data to handle, but it waits. With this it ends.
    Game(Vec<u8>),
    /// Nothing that is handled; of this sort.
    Other(String),
}

/// Where in a chat something was said, as the fields of a call that answers there.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Within {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_thread_id: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    direct_messages_topic_id: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    business_connection_id: Option<String>,
}

impl Within {
    /// Of [`Update::within`].
    ///
    /// # Errors
    /// It is not one of ours.
    pub(super) fn parse(within: &str) -> Result<Self, String> {
        if within.is_empty() {
            return Ok(Within::default());
        }
        serde_json::from_str(within).map_err(|error| format!("no place in a chat: {error}"))
    }

    fn of(
        thread: Option<i64>,
        is_topic: bool,
        direct: Option<DirectTopic>,
        business: Option<String>,
    ) -> Self {
        Within {
            // Elsewhere a thread is only the message that was answered.
            message_thread_id: thread.filter(|thread| is_topic && *thread != GENERAL),
            direct_messages_topic_id: direct.map(|topic| topic.topic_id.0),
            business_connection_id: business,
        }
    }

    fn text(&self) -> String {
        match serde_json::to_string(self) {
            Ok(text) if text != "{}" => text,
            _ => String::new(),
        }
    }
}

/// The fields that are used of an update.
#[derive(Deserialize)]
struct TelegramUpdate {
    update_id: Number,
    message: Option<Message>,
    business_message: Option<Message>,
    edited_message: Option<Message>,
    edited_channel_post: Option<Message>,
    edited_business_message: Option<Message>,
    callback_query: Option<CallbackQuery>,
}

/// What is read of an update whose other fields cannot be.
#[derive(Deserialize)]
struct Envelope {
    update_id: Number,
}

#[derive(Deserialize)]
struct Message {
    /// Absent in channel posts.
    from: Option<User>,
    /// Who speaks in a chat's name.
    sender_chat: Option<Chat>,
    chat: Chat,
    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    caption: Option<String>,
    /// One photo in several sizes, the largest last.
    #[serde(default)]
    photo: List<PhotoSize>,
    #[serde(default, deserialize_with = "lenient::number")]
    message_thread_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::flag")]
    is_topic_message: bool,
    direct_messages_topic: Option<DirectTopic>,
    #[serde(default, deserialize_with = "lenient::text")]
    business_connection_id: Option<String>,
}

#[derive(Deserialize)]
struct PhotoSize {
    file_id: Id,
}

#[derive(Deserialize)]
struct DirectTopic {
    topic_id: Number,
}

#[derive(Deserialize)]
struct CallbackQuery {
    id: Id,
    from: User,
    /// Absent when the message was sent in inline mode.
    message: Option<ButtonMessage>,
    /// Absent in a game's button.
    #[serde(default, deserialize_with = "lenient::text")]
    data: Option<String>,
}

/// The message that a button is under; with its chat only when it is too old.
#[derive(Deserialize)]
struct ButtonMessage {
    chat: Chat,
    #[serde(default, deserialize_with = "lenient::number")]
    message_thread_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::flag")]
    is_topic_message: bool,
    direct_messages_topic: Option<DirectTopic>,
    #[serde(default, deserialize_with = "lenient::text")]
    business_connection_id: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: Number,
}

#[derive(Deserialize)]
struct Chat {
    id: Number,
}

/// What is read to end a button's waiting.
#[derive(Deserialize)]
struct Pressed {
    callback_query: Option<Press>,
}

#[derive(Deserialize)]
struct Press {
    id: Id,
}

/// Reads an update.
///
/// # Errors
/// It is none: it has no id.
pub(super) fn read(body: &Bytes) -> Result<Found, Refusal> {
    match read_json::<TelegramUpdate>(body) {
        Ok(update) => Ok(found(update, body)),
        Err(reason) => {
            let Envelope { update_id } = parse_json(body)?;
            Ok(left(update_id, &reason, body))
        }
    }
}

fn left(id: Number, reason: &str, body: &Bytes) -> Found {
    let id = Some(id.0.to_string());
    Found::Update(Box::new(unreadable(
        CHANNEL,
        None,
        id,
        reason,
        body.clone(),
    )))
}

fn found(update: TelegramUpdate, body: &Bytes) -> Found {
    let id = update.update_id;
    let (business, edited) = (update.business_message, update.edited_business_message);
    let is_own = |message: &Message| {
        message
            .from
            .as_ref()
            .is_some_and(|from| from.id.0 != message.chat.id.0)
    };
    if business.as_ref().or(edited.as_ref()).is_some_and(is_own) {
        // What the owner wrote to a customer is nothing to reply to.
        return Found::Other("business message of the owner".to_owned());
    }
    let message = update.message.or(business);
    let edited = update
        .edited_message
        .or(update.edited_channel_post)
        .or(edited);
    match (message, edited, update.callback_query) {
        (Some(message), ..) => said(id, Kind::Message, message, body),
        (None, Some(message), _) => said(id, Kind::Edited, message, body),
        (None, None, Some(query)) => pressed(id, query, body),
        (None, None, None) => Found::Other(sort(body)),
    }
}

fn said(id: Number, kind: Kind, message: Message, body: &Bytes) -> Found {
    let speaker = match (&message.sender_chat, &message.from) {
        (Some(chat), _) => chat.id,
        (None, Some(from)) if !SHARED.contains(&from.id.0) => from.id,
        (None, _) => message.chat.id,
    };
    let pictures: Vec<_> = message
        .photo
        .items
        .into_iter()
        .next_back()
        .map(picture)
        .into_iter()
        .collect();
    let text = match message.text.or(message.caption) {
        Some(text) => text,
        None if !pictures.is_empty() => String::new(),
        None if message.photo.is_strange => return left(id, "a photo without a file", body),
        None => return Found::Other(sort(body)),
    };
    let within = Within::of(
        message.message_thread_id,
        message.is_topic_message,
        message.direct_messages_topic,
        message.business_connection_id,
    );
    update(
        id,
        kind,
        speaker,
        message.chat.id,
        &within,
        text,
        pictures,
        body,
    )
}

fn pressed(id: Number, query: CallbackQuery, body: &Bytes) -> Found {
    let Some(data) = query.data else {
        return Found::Game(answer(&query.id));
    };
    let user = query.from.id;
    let (chat, within) = match query.message {
        None => (user, Within::default()),
        Some(message) => (
            message.chat.id,
            Within::of(
                message.message_thread_id,
                message.is_topic_message,
                message.direct_messages_topic,
                message.business_connection_id,
            ),
        ),
    };
    update(
        id,
        Kind::Button,
        user,
        chat,
        &within,
        data,
        Vec::new(),
        body,
    )
}

#[expect(
    clippy::too_many_arguments,
    reason = "it is the one place that puts them together"
)]
fn update(
    id: Number,
    kind: Kind,
    user: Number,
    chat: Number,
    within: &Within,
    text: String,
    files: Vec<File>,
    body: &Bytes,
) -> Found {
    let dialog = match dialog(CHANNEL, user.0.to_string()) {
        Ok(dialog) => dialog,
        Err(reason) => return left(id, &reason, body),
    };
    let id = update_id(id.0.to_string());
    Found::Update(Box::new(Update {
        kind,
        files,
        address: chat.0.to_string(),
        within: within.text(),
        ..Update::new(dialog, id.0, text, body.clone())
    }))
}

fn picture(size: PhotoSize) -> File {
    File {
        id: Some(size.file_id.0),
        ..File::new(FileKind::Photo)
    }
}

/// The call that ends the waiting of a pressed button; empty for what is none.
pub(super) fn end_waiting(raw: &[u8]) -> Vec<u8> {
    let pressed = serde_json::from_slice::<Pressed>(raw).ok();
    let press = pressed.and_then(|pressed| pressed.callback_query);
    press.map_or(Vec::new(), |press| answer(&press.id))
}

fn answer(query: &Id) -> Vec<u8> {
    let call = serde_json::json!({ "method": "answerCallbackQuery", "callback_query_id": query.0 });
    call.to_string().into_bytes()
}

/// What sort of update it is: the field beside `update_id`, and for a message the
/// field that holds its content, such as `message.sticker`.
fn sort(raw: &[u8]) -> String {
    let raw = String::from_utf8_lossy(raw);
    let kind = field_beside(&raw, &["update_id"]);
    let update = serde_json::from_str::<HashMap<&str, &RawValue>>(&raw).unwrap_or_default();
    match update.get(kind.as_str()) {
        Some(message) if kind.ends_with("message") => {
            format!("{kind}.{}", field_beside(message.get(), &NOT_CONTENT))
        }
        _ => kind,
    }
}
