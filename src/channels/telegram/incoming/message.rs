//! A message of Telegram's, and what is in it: <https://core.telegram.org/bots/api#message>.
//!
//! Called by `incoming/mod.rs`. What is beside the content (formatting, the quoted message,
//! where it was forwarded from) is no reason not to read it; a content that cannot be read is
//! one for the dead letters.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::super::lenient::{self, Id, List, Number, Part};
use super::super::entities::{self, Entity};
use super::super::within::Within;
use super::fields::{NOT_CONTENT, SERVICE};
use super::parts::{
    ContactJson, DirectTopic, External, FileJson, LocationJson, Origin, Payment, Quote, Replied,
    VenueJson, WebAppData,
};
use super::who::{Place, User};
use crate::author::message::{Contact, File, FileKind, Forwarded, Location, Quoted, Span};

/// What a message may have. Plain messages have hardly more than the fields that are read at
/// once; the others wait as they came until somebody asks for them.
pub(super) struct Message<'a> {
    pub(super) message_id: Option<i64>,
    /// Absent in channel posts.
    pub(super) from: Option<User>,
    /// Who speaks in a chat's name.
    pub(super) sender_chat: Option<Place>,
    pub(super) chat: Place,
    text: Option<String>,
    others: Vec<(Name<'a>, &'a RawValue)>,
}

/// The name of a field. Read by hand: so an error can say it.
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct OfText;
        impl<'de> Visitor<'de> for OfText {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        json.deserialize_str(OfText)
    }
}

/// A text that may be missing.
#[derive(Deserialize)]
struct Text(#[serde(deserialize_with = "lenient::text")] Option<String>);

/// A number that may be missing.
#[derive(Deserialize)]
struct MaybeNumber(#[serde(deserialize_with = "lenient::number")] Option<i64>);

/// Something that is or is not so.
#[derive(Deserialize)]
struct Flag(#[serde(deserialize_with = "lenient::flag")] bool);

impl<'de: 'a, 'a> Deserialize<'de> for Message<'a> {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        struct OfMap;
        impl<'de> Visitor<'de> for OfMap {
            type Value = Message<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a message")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut message_id = None;
                let (mut from, mut sender_chat, mut chat) = (None, None, None);
                let mut text = None;
                let mut others = Vec::new();
                while let Some(name) = map.next_key::<Name<'de>>()? {
                    match &*name.0 {
                        "message_id" => message_id = map.next_value::<MaybeNumber>()?.0,
                        "from" => from = map.next_value()?,
                        "sender_chat" => sender_chat = map.next_value()?,
                        "chat" => chat = Some(map.next_value()?),
                        "text" => text = map.next_value::<Text>()?.0,
                        "date" => drop(map.next_value::<IgnoredAny>()?),
                        _ => others.push((name, map.next_value()?)),
                    }
                }
                Ok(Message {
                    message_id,
                    from,
                    sender_chat,
                    chat: chat.ok_or_else(|| A::Error::missing_field("chat"))?,
                    text,
                    others,
                })
            }
        }
        json.deserialize_map(OfMap)
    }
}

/// What a message says.
#[derive(Default)]
pub(super) struct Content {
    pub(super) text: String,
    pub(super) spans: Vec<Span>,
    pub(super) files: Vec<File>,
    pub(super) location: Option<Location>,
    pub(super) contact: Option<Contact>,
    pub(super) quoted: Option<Quoted>,
    pub(super) forwarded: Option<Forwarded>,
    /// The field that holds the content, where it is none of the above.
    pub(super) field: Option<String>,
    /// Nobody said it: it tells of something that happened.
    pub(super) is_service: bool,
}

impl Message<'_> {
    /// A field that is not read at once.
    pub(super) fn part<T: DeserializeOwned>(&self, name: &str) -> Part<T> {
        let found = self.others.iter().find(|(other, _)| other.0 == name);
        match found.map(|(_, json)| serde_json::from_str::<Option<T>>(json.get())) {
            None | Some(Ok(None)) => Part::None,
            Some(Ok(Some(part))) => Part::Some(part),
            Some(Err(_)) => Part::Strange,
        }
    }

    /// A number among these.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        self.part::<Number>(name).readable().map(|number| number.0)
    }

    /// An id among these.
    pub(super) fn id(&self, name: &str) -> Option<String> {
        self.part::<Id>(name).readable().map(|id| id.0)
    }

    pub(super) fn within(&self) -> Within {
        if self.others.is_empty() {
            return Within::default();
        }
        let is_topic = self.part::<Flag>("is_topic_message").readable();
        let direct = self.part::<DirectTopic>("direct_messages_topic").readable();
        Within::of(
            self.number("message_thread_id"),
            is_topic.is_some_and(|flag| flag.0),
            direct.map(|topic| topic.topic_id.0),
            self.id("business_connection_id"),
        )
    }

    /// What it says.
    ///
    /// # Errors
    /// What cannot be read, in a sentence.
    pub(super) fn content(&mut self) -> Result<Content, String> {
        let text = self.text.take();
        let is_text = text.is_some();
        let mut content = Content {
            text: text.unwrap_or_default(),
            ..Content::default()
        };
        if self.others.is_empty() && is_text {
            return Ok(content);
        }
        content.quoted = self.quoted();
        let origin = self.part::<Origin>("forward_origin").readable();
        content.forwarded = origin.map(Origin::forwarded);
        if !content.text.is_empty() {
            content.spans = self.spans(&content.text, "entities");
            return Ok(content);
        }
        let mut strange = None;
        match self.part::<Text>("caption") {
            Part::Some(Text(Some(caption))) => {
                content.spans = self.spans(&caption, "caption_entities");
                content.text = caption;
            }
            Part::Strange => strange = Some("caption"),
            _ => {}
        }
        content.files.extend(self.file(&mut strange));
        self.place(&mut content, &mut strange);
        let is_known =
            !content.files.is_empty() || content.location.is_some() || content.contact.is_some();
        match strange {
            _ if is_known || is_text => {}
            Some(what) if content.text.is_empty() => {
                return Err(format!("a {what} that cannot be read"));
            }
            _ => self.name(&mut content),
        }
        Ok(content)
    }

    fn spans(&self, text: &str, name: &str) -> Vec<Span> {
        match self.part::<List<Entity>>(name) {
            Part::Some(list) => entities::spans(text, &list.items),
            _ => Vec::new(),
        }
    }

    /// The file; a photo is its largest size.
    fn file(&self, strange: &mut Option<&'static str>) -> Option<File> {
        let mut found = None;
        for kind in [
            // Then `document` is the same once more.
            FileKind::Animation,
            FileKind::Document,
            FileKind::Audio,
            FileKind::Voice,
            FileKind::Video,
            FileKind::VideoNote,
            FileKind::Sticker,
        ] {
            match self.part::<FileJson>(kind.name()) {
                Part::None => {}
                Part::Strange => *strange = Some(kind.name()),
                Part::Some(file) => found = found.or(Some(file.of(kind))),
            }
        }
        // One photo in several sizes, the largest last.
        let mut photo = match self.part::<List<FileJson>>("photo") {
            Part::Some(sizes) => sizes,
            _ => List::default(),
        };
        if photo.is_strange {
            *strange = Some("photo");
        }
        // Its still is in `photo`.
        let live = || self.part::<FileJson>("live_photo").readable();
        found
            .or_else(|| Some(photo.items.pop()?.of(FileKind::Photo)))
            .or_else(|| Some(live()?.of(FileKind::Video)))
    }

    fn place(&self, content: &mut Content, strange: &mut Option<&'static str>) {
        let venue = self.part::<VenueJson>("venue");
        let location = self.part::<LocationJson>("location");
        let contact = self.part::<ContactJson>("contact");
        for (what, is_strange) in [
            ("venue", venue.is_strange()),
            ("location", location.is_strange()),
            ("contact", contact.is_strange()),
        ] {
            if is_strange {
                *strange = Some(what);
            }
        }
        content.location = match venue {
            // Then `location` is the same once more.
            Part::Some(venue) => Some(Location {
                title: venue.title,
                address: venue.address,
                ..venue.location.into()
            }),
            _ => location.readable().map(Location::from),
        };
        content.contact = contact.readable().map(|contact| {
            let name = User::name(contact.first_name, contact.last_name);
            Contact {
                user_id: contact.user_id,
                ..Contact::new(contact.phone_number.0, name)
            }
        });
    }

    /// What has no field of its own in an update: the field of the JSON, and what it says
    /// where that is a text.
    fn name(&self, content: &mut Content) {
        let field = self.content_field();
        let text = match field {
            "successful_payment" | "refunded_payment" => {
                let payment = self.part::<Payment>(field).readable();
                payment.and_then(|payment| payment.invoice_payload)
            }
            "web_app_data" => {
                let data = self.part::<WebAppData>(field).readable();
                data.and_then(|data| data.data)
            }
            _ => None,
        };
        if let Some(text) = text {
            content.text = text;
        }
        content.is_service = SERVICE.contains(&field) || field.starts_with("video_chat_");
        content.field = Some(field.to_owned());
    }

    /// The first field that is its content. One that says no is none, as other programs
    /// write it.
    fn content_field(&self) -> &str {
        let is_set = |json: &RawValue| !matches!(json.get(), "null" | "false" | "[]");
        let mut others = self.others.iter();
        let content = others.find(|(name, json)| !NOT_CONTENT.contains(&&*name.0) && is_set(json));
        content.map_or("empty", |(name, _)| &name.0)
    }

    fn quoted(&self) -> Option<Quoted> {
        let part = self.part::<Quote>("quote").readable();
        let part = part.and_then(|quote| quote.text);
        let replied = self.part::<Replied>("reply_to_message").readable();
        if let Some(replied) = replied.filter(|replied| replied.forum_topic_created.is_none()) {
            let sender = match (replied.sender_chat, replied.from) {
                (Some(chat), _) => Some(chat.id.0),
                (None, Some(from)) if !from.is_shared() => Some(from.id.0),
                (None, _) => None,
            };
            return Some(Quoted {
                message: replied.message_id.0.to_string(),
                text: part
                    .or(replied.text)
                    .or(replied.caption)
                    .unwrap_or_default(),
                sender: sender.map(|id| id.to_string()),
            });
        }
        let external = self.part::<External>("external_reply").readable()?;
        let origin = external.origin.readable().unwrap_or_default();
        Some(Quoted {
            message: external.message_id.unwrap_or_default(),
            text: part.unwrap_or_default(),
            sender: origin.forwarded().id,
        })
    }
}
