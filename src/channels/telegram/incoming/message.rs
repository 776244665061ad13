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

use super::super::super::lenient::{self, Id, List, Number, Part, Real};
use super::super::entities::{self, Entity};
use super::super::within::Within;
use super::who::{Place, User};
use crate::author::message::{Contact, File, FileKind, Forwarded, Location, Quoted, Span};

/// Fields of a message that are not what it says.
const NOT_CONTENT: [&str; 50] = [
    "author_signature",
    "business_connection_id",
    "caption",
    "caption_entities",
    "chat",
    "date",
    "direct_messages_topic",
    "edit_date",
    "effect_id",
    "entities",
    "ephemeral_message_id",
    "external_reply",
    "forward_date",
    "forward_from",
    "forward_from_chat",
    "forward_from_message_id",
    "forward_origin",
    "forward_sender_name",
    "forward_signature",
    "from",
    "guest_bot_caller_chat",
    "guest_bot_caller_user",
    "guest_query_id",
    "has_media_spoiler",
    "has_protected_content",
    "is_automatic_forward",
    "is_from_offline",
    "is_paid_post",
    "is_topic_message",
    "link_preview_options",
    "media_group_id",
    "message_id",
    "message_thread_id",
    "paid_star_count",
    "quote",
    "receiver_user",
    "reply_markup",
    "reply_to_checklist_task_id",
    "reply_to_message",
    "reply_to_poll_option_id",
    "reply_to_story",
    "sender_boost_count",
    "sender_business_bot",
    "sender_chat",
    "sender_tag",
    "show_caption_above_media",
    "suggested_post_info",
    "text",
    "via_bot",
    "was_edited",
];

/// Contents that Telegram writes itself when something happened to a chat: nobody said
/// anything. What a user did for the bot (paid, shared, sent from a web app) is not here.
const SERVICE: [&str; 40] = [
    "boost_added",
    "channel_chat_created",
    "chat_background_set",
    "chat_owner_changed",
    "chat_owner_left",
    "checklist_tasks_added",
    "checklist_tasks_done",
    "community_chat_added",
    "community_chat_joined",
    "community_chat_removed",
    "connected_website",
    "delete_chat_photo",
    "direct_message_price_changed",
    "forum_topic_closed",
    "forum_topic_created",
    "forum_topic_edited",
    "forum_topic_reopened",
    "general_forum_topic_hidden",
    "general_forum_topic_unhidden",
    "giveaway_completed",
    "giveaway_created",
    "group_chat_created",
    "managed_bot_created",
    "message_auto_delete_timer_changed",
    "migrate_from_chat_id",
    "migrate_to_chat_id",
    "new_chat_photo",
    "new_chat_title",
    "paid_message_price_changed",
    "pinned_message",
    "poll_option_added",
    "poll_option_deleted",
    "proximity_alert_triggered",
    "supergroup_chat_created",
    "suggested_post_approval_failed",
    "suggested_post_approved",
    "suggested_post_declined",
    "video_chat_ended",
    "video_chat_scheduled",
    "video_chat_started",
];

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

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

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

#[derive(Deserialize)]
pub(super) struct DirectTopic {
    pub(super) topic_id: Number,
}

#[derive(Deserialize)]
struct FileJson {
    file_id: Id,
    #[serde(default, deserialize_with = "lenient::any_text")]
    file_name: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    mime_type: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    file_size: Option<Number>,
}

#[derive(Deserialize)]
pub(super) struct LocationJson {
    latitude: Real,
    longitude: Real,
}

#[derive(Deserialize)]
struct VenueJson {
    location: LocationJson,
    #[serde(default, deserialize_with = "lenient::any_text")]
    title: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    address: Option<String>,
}

#[derive(Deserialize)]
struct ContactJson {
    phone_number: Id,
    #[serde(default, deserialize_with = "lenient::any_text")]
    first_name: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    last_name: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    user_id: Option<String>,
}

/// The message that was answered, of this chat.
#[derive(Deserialize)]
struct Replied {
    message_id: Number,
    from: Option<User>,
    sender_chat: Option<Place>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    text: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    caption: Option<String>,
    /// It only stands for the topic that the message is in.
    forum_topic_created: Option<serde::de::IgnoredAny>,
}

/// The message that was answered, of another chat.
#[derive(Deserialize)]
struct External {
    #[serde(default, deserialize_with = "lenient::any_text")]
    message_id: Option<String>,
    #[serde(default)]
    origin: Part<Origin>,
}

#[derive(Deserialize)]
struct Quote {
    #[serde(default, deserialize_with = "lenient::any_text")]
    text: Option<String>,
}

/// <https://core.telegram.org/bots/api#messageorigin>: one of four.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Origin {
    sender_user: Option<User>,
    #[serde(deserialize_with = "lenient::any_text")]
    sender_user_name: Option<String>,
    sender_chat: Option<Place>,
    chat: Option<Place>,
}

#[derive(Deserialize)]
struct Payment {
    #[serde(default, deserialize_with = "lenient::any_text")]
    invoice_payload: Option<String>,
}

#[derive(Deserialize)]
struct WebAppData {
    #[serde(default, deserialize_with = "lenient::any_text")]
    data: Option<String>,
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

impl FileJson {
    fn of(self, kind: FileKind) -> File {
        File {
            id: Some(self.file_id.0),
            name: self.file_name,
            media_type: self.mime_type,
            size: self.file_size.and_then(|size| u64::try_from(size.0).ok()),
            ..File::new(kind)
        }
    }
}

impl From<LocationJson> for Location {
    fn from(json: LocationJson) -> Self {
        Location::new(json.latitude.0, json.longitude.0)
    }
}

impl Origin {
    fn forwarded(self) -> Forwarded {
        if let Some(user) = self.sender_user {
            return Forwarded {
                id: Some(user.id.0.to_string()),
                name: user.full_name(),
            };
        }
        if let Some(place) = self.sender_chat.or(self.chat) {
            return Forwarded {
                id: Some(place.id.0.to_string()),
                name: place.name(),
            };
        }
        Forwarded {
            id: None,
            name: self.sender_user_name.unwrap_or_default(),
        }
    }
}
