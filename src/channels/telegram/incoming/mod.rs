//! Reads Telegram's updates, from webhooks and polling alike
//! (<https://core.telegram.org/bots/api#update>).
//!
//! | file | subject |
//! | --- | --- |
//! | `message.rs`, `parts.rs`, `fields.rs` | messages, and what is in them |
//! | `event.rs` | everything else: buttons, members, reactions, questions |
//! | `who.rs` | whose it is |
//! | `asked.rs` | which kinds Telegram is asked for |
//!
//! Called by `telegram/mod.rs`. Every update is one of ours, of some kind: what we do not know
//! is [`Kind::Other`] under its own name, and what cannot be read is for the dead letters.
//! Invariant: the JSON of a plain message is read once.

pub(super) mod asked;
mod event;
mod fields;
mod message;
mod parts;
mod who;

use std::fmt;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::Refusal;
use super::super::incoming::{dialog, parse_json, read_json, unreadable, update_id};
use super::super::lenient::{Id, List, Number, Part};
use super::within::Within;
use crate::author::message::{Chat, Kind, Update};
use event::Event;
use message::{Content, Message};
use who::{Place, User, Who};

const CHANNEL: &str = "telegram";

/// An update, and what else it tells.
pub(super) struct Read {
    pub(super) update: Update,
    /// A group that became a supergroup: its id, and its new one.
    pub(super) moved: Option<(String, String)>,
}

/// An update: a message, or what is in its other field.
struct Envelope<'a> {
    id: Number,
    message: Option<Message<'a>>,
    other: Option<(String, &'a RawValue)>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    UpdateId,
    Message,
    Other(String),
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct OfMap;
        impl<'de> Visitor<'de> for OfMap {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an update")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let (mut id, mut message, mut other) = (None, None, None);
                while let Some(field) = map.next_key()? {
                    match field {
                        Field::UpdateId => id = Some(map.next_value()?),
                        Field::Message => message = map.next_value()?,
                        // What we know, if there should be more than one.
                        Field::Other(name) if other.is_none() || asked::is_known(&name) => {
                            let value = map.next_value::<Option<&RawValue>>()?;
                            other = value.map(|value| (name, value)).or(other);
                        }
                        Field::Other(_) => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(Envelope {
                    id: id.ok_or_else(|| A::Error::missing_field("update_id"))?,
                    message,
                    other,
                })
            }
        }
        json.deserialize_map(OfMap)
    }
}

/// What is read of an update whose other fields cannot be.
#[derive(Deserialize)]
struct OnlyId {
    update_id: Number,
}

/// What is read to end a button's waiting, or to answer a question.
#[derive(Deserialize)]
struct Questions {
    #[serde(default)]
    callback_query: Part<Question>,
    #[serde(default)]
    inline_query: Part<Question>,
    #[serde(default)]
    shipping_query: Part<Question>,
    #[serde(default)]
    pre_checkout_query: Part<Question>,
}

#[derive(Deserialize)]
struct Question {
    id: Id,
}

/// Reads an update. `bot`: the bot's own id.
///
/// # Errors
/// It is none: it has no id.
pub(super) fn read(body: &Bytes, bot: Option<i64>) -> Result<Read, Refusal> {
    let found = match read_json::<Envelope<'_>>(body) {
        Ok(envelope) => {
            let id = envelope.id;
            found(envelope, bot, body).map_err(|reason| (id, reason))
        }
        Err(reason) => {
            let OnlyId { update_id } = parse_json(body)?;
            Err((update_id, reason))
        }
    };
    Ok(found.unwrap_or_else(|(id, reason)| Read {
        update: unreadable(CHANNEL, None, Some(id.0.to_string()), &reason, body.clone()),
        moved: None,
    }))
}

fn found(envelope: Envelope<'_>, bot: Option<i64>, body: &Bytes) -> Result<Read, String> {
    let id = envelope.id;
    if let Some(message) = envelope.message {
        return said(id, Kind::Message, "message", message, bot, body);
    }
    let Some((name, json)) = envelope.other else {
        return Err("an update with nothing in it".to_owned());
    };
    if let Some(kind) = message_kind(&name) {
        match read_json::<Message<'_>>(json.get().as_bytes()) {
            Ok(message) => return said(id, kind, &name, message, bot, body),
            Err(reason) if asked::is_known(&name) => return Err(format!("{name}: {reason}")),
            Err(_) => {}
        }
    }
    let event = read_json::<Event>(json.get().as_bytes());
    let event = event.map_err(|reason| format!("{name}: {reason}"))?;
    happened(id, name, event, body)
}

/// What a message in this field of an update is; none if it holds no message.
fn message_kind(name: &str) -> Option<Kind> {
    Some(match name {
        "channel_post" | "business_message" => Kind::Message,
        "edited_message" | "edited_channel_post" | "edited_business_message" => Kind::Edited,
        // `guest_message`, and what may come.
        _ if name.ends_with("message") || name.ends_with("post") => Kind::Other,
        _ => return None,
    })
}

fn said(
    id: Number,
    kind: Kind,
    name: &str,
    message: Message<'_>,
    bot: Option<i64>,
    body: &Bytes,
) -> Result<Read, String> {
    let mut message = message;
    let content = message.content()?;
    let within = message.within();
    let mut kind = kind;
    let is_owners = |message: &Message<'_>| {
        let from = message.from.as_ref();
        from.is_some_and(|from| from.id.0 != message.chat.id.0)
    };
    let member = match kind {
        _ if name.ends_with("business_message") && is_owners(&message) => {
            // What the owner wrote to a customer is nothing to reply to.
            kind = Kind::Business;
            None
        }
        Kind::Message => member(&message, bot, &mut kind),
        _ => None,
    };
    if content.is_service && kind == Kind::Message {
        kind = Kind::Other;
    }
    let moved = message.number("migrate_to_chat_id");
    let was = message.number("migrate_from_chat_id");
    let album = message.id("media_group_id").unwrap_or_default();
    let chat = message.chat;
    let who =
        member.unwrap_or_else(|| Who::speaks(message.from, message.sender_chat.as_ref(), &chat));
    let address = chat.id.0.to_string();
    let moved = moved.map(|new| (address.clone(), new.to_string()));
    let was = was.map(|old| old.to_string());
    let event = match (name, content.field) {
        ("message", None) => String::new(),
        ("message", Some(field)) if field == "successful_payment" => field,
        (name, None) => name.to_owned(),
        (name, Some(field)) => format!("{name}.{field}"),
    };
    let content = Content {
        field: None,
        ..content
    };
    let mut update = Update {
        kind,
        event,
        spans: content.spans,
        files: content.files,
        location: content.location,
        contact: content.contact,
        quoted: content.quoted,
        forwarded: content.forwarded,
        message: message
            .message_id
            .map(|id| id.to_string())
            .unwrap_or_default(),
        album,
        ..update(id, who, Some(chat), &within, address, content.text, body)?
    };
    if let Some(chat) = &mut update.chat {
        chat.was = was;
    }
    Ok(Read { update, moved })
}

/// Who came or went, where that is what the message tells; the first of several. Of the bot
/// itself `my_chat_member` tells as well.
fn member(message: &Message<'_>, bot: Option<i64>, kind: &mut Kind) -> Option<Who> {
    let left = message.part::<User>("left_chat_member").readable();
    let (members, happened) = match left {
        Some(left) => (vec![left], Kind::Left),
        None => match message.part::<List<User>>("new_chat_members") {
            Part::Some(new) => (new.items, Kind::Joined),
            _ => return None,
        },
    };
    if members.is_empty() {
        return None;
    }
    let other = members.into_iter().find(|member| Some(member.id.0) != bot);
    *kind = match other {
        Some(_) => happened,
        None => Kind::Other,
    };
    other.map(Who::from)
}

fn happened(id: Number, name: String, event: Event, body: &Bytes) -> Result<Read, String> {
    let happened = event.happened(&name)?;
    let who = match happened.who {
        Some(who) => who,
        // A poll is in many chats, and is nobody's.
        None => {
            let id = id.0.to_string();
            let own = happened.id.as_deref().unwrap_or(&id);
            return Ok(Read {
                update: Update {
                    kind: happened.kind,
                    address: String::new(),
                    ..Update::new(
                        dialog(CHANNEL, format!("{name}:{own}"))?,
                        id.as_str(),
                        happened.text,
                        body.clone(),
                    )
                }
                .of_event(name),
                moved: None,
            });
        }
    };
    let chat = happened.chat;
    let update = Update {
        kind: happened.kind,
        message: happened.message,
        location: happened.location,
        ..update(
            id,
            who,
            chat,
            &happened.within,
            happened.address,
            happened.text,
            body,
        )?
    };
    let event = match happened.detail {
        None => name,
        Some(detail) => format!("{name}.{detail}"),
    };
    Ok(Read {
        update: update.of_event(event),
        moved: None,
    })
}

impl Update {
    fn of_event(mut self, event: String) -> Self {
        self.event = event;
        self
    }
}

fn update(
    id: Number,
    who: Who,
    chat: Option<Place>,
    within: &Within,
    address: String,
    text: String,
    body: &Bytes,
) -> Result<Update, String> {
    let dialog = dialog(CHANNEL, who.id.to_string())?;
    let id = update_id(id.0.to_string());
    Ok(Update {
        sender: Some(who.sender),
        chat: chat.map(|chat: Place| -> Chat { chat.chat(within.topic()) }),
        address,
        within: within.text(),
        ..Update::new(dialog, id.0, text, body.clone())
    })
}

/// The call that ends the waiting of a pressed button; empty for what is none.
pub(super) fn end_waiting(raw: &[u8]) -> Vec<u8> {
    match question(raw, "answercallbackquery") {
        Some((field, id)) => {
            let call = serde_json::json!({ "method": "answerCallbackQuery", field: id });
            call.to_string().into_bytes()
        }
        None => Vec::new(),
    }
}

/// The question that this method (in small letters) answers, if it is in this update: the
/// field of the call that names it, and its id.
pub(super) fn question(raw: &[u8], method: &str) -> Option<(&'static str, String)> {
    let questions: Questions = serde_json::from_slice(raw).ok()?;
    let (field, question) = match method {
        "answercallbackquery" => ("callback_query_id", questions.callback_query),
        "answerinlinequery" => ("inline_query_id", questions.inline_query),
        "answershippingquery" => ("shipping_query_id", questions.shipping_query),
        "answerprecheckoutquery" => ("pre_checkout_query_id", questions.pre_checkout_query),
        _ => return None,
    };
    Some((field, question.readable()?.id.0))
}
