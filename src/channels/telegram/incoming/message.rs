//! A message of Telegram's, and what is in it: <https://core.telegram.org/bots/api#message>.
//!
//! Called by `incoming/mod.rs`. What is beside the content (formatting, the quoted message,
//! where it was forwarded from) is no reason not to read it; a content that cannot be read is
//! one for the dead letters. Of a message whose content we do not know the JSON is read once
//! more, to name it.

use serde::Deserialize;
use serde_json::{Map, Value};

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

#[derive(Deserialize)]
pub(super) struct Message {
    #[serde(default, deserialize_with = "lenient::number")]
    pub(super) message_id: Option<i64>,
    /// Absent in channel posts.
    pub(super) from: Option<User>,
    /// Who speaks in a chat's name.
    pub(super) sender_chat: Option<Place>,
    pub(super) chat: Place,
    #[serde(default, deserialize_with = "lenient::number")]
    message_thread_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::flag")]
    is_topic_message: bool,
    #[serde(default)]
    direct_messages_topic: Part<DirectTopic>,
    #[serde(default, deserialize_with = "lenient::text")]
    business_connection_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub(super) media_group_id: Option<String>,

    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
    #[serde(default)]
    entities: List<Entity>,
    #[serde(default, deserialize_with = "lenient::text")]
    caption: Option<String>,
    #[serde(default)]
    caption_entities: List<Entity>,

    /// Then `document` is the same once more.
    #[serde(default)]
    animation: Part<FileJson>,
    #[serde(default)]
    audio: Part<FileJson>,
    #[serde(default)]
    document: Part<FileJson>,
    /// Its still is in `photo`.
    #[serde(default)]
    live_photo: Part<FileJson>,
    /// One photo in several sizes, the largest last.
    #[serde(default)]
    photo: List<FileJson>,
    #[serde(default)]
    sticker: Part<FileJson>,
    #[serde(default)]
    video: Part<FileJson>,
    #[serde(default)]
    video_note: Part<FileJson>,
    #[serde(default)]
    voice: Part<FileJson>,
    /// Then `location` is the same once more.
    #[serde(default)]
    venue: Part<VenueJson>,
    #[serde(default)]
    location: Part<LocationJson>,
    #[serde(default)]
    contact: Part<ContactJson>,

    #[serde(default)]
    reply_to_message: Part<Replied>,
    #[serde(default)]
    external_reply: Part<External>,
    #[serde(default)]
    quote: Part<Quote>,
    #[serde(default)]
    forward_origin: Part<Origin>,

    #[serde(default)]
    pub(super) new_chat_members: List<User>,
    #[serde(default)]
    pub(super) left_chat_member: Part<User>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(super) migrate_to_chat_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::number")]
    pub(super) migrate_from_chat_id: Option<i64>,
    #[serde(default)]
    successful_payment: Part<Payment>,
    #[serde(default)]
    refunded_payment: Part<Payment>,
    #[serde(default)]
    web_app_data: Part<WebAppData>,
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

impl Message {
    pub(super) fn within(&mut self) -> Within {
        let direct = std::mem::take(&mut self.direct_messages_topic);
        Within::of(
            self.message_thread_id,
            self.is_topic_message,
            direct.readable().map(|topic| topic.topic_id.0),
            self.business_connection_id.take(),
        )
    }

    /// What it says. `raw` is its JSON, where that is at hand.
    ///
    /// # Errors
    /// What cannot be read, in a sentence.
    pub(super) fn content(&mut self, raw: impl FnOnce() -> String) -> Result<Content, String> {
        let quoted = self.quoted();
        let origin = std::mem::take(&mut self.forward_origin);
        let mut content = Content {
            quoted,
            forwarded: origin.readable().map(Origin::forwarded),
            ..Content::default()
        };
        let text = self.text.take();
        let is_text = text.is_some();
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            content.spans = entities::spans(&text, &self.entities.items);
            content.text = text;
            return Ok(content);
        }
        if let Some(caption) = self.caption.take() {
            content.spans = entities::spans(&caption, &self.caption_entities.items);
            content.text = caption;
        }
        let mut strange = None;
        content.files.extend(self.file(&mut strange));
        self.place(&mut content, &mut strange);
        let is_known =
            !content.files.is_empty() || content.location.is_some() || content.contact.is_some();
        match strange {
            _ if is_known || is_text => {}
            Some(what) if content.text.is_empty() => {
                return Err(format!("a {what} that cannot be read"));
            }
            _ => self.name(&mut content, raw),
        }
        Ok(content)
    }

    /// The file; a photo is its largest size.
    fn file(&mut self, strange: &mut Option<&'static str>) -> Option<File> {
        let photo = std::mem::take(&mut self.photo);
        if photo.is_strange {
            *strange = Some("photo");
        }
        let parts = [
            (&mut self.animation, FileKind::Animation),
            (&mut self.document, FileKind::Document),
            (&mut self.audio, FileKind::Audio),
            (&mut self.voice, FileKind::Voice),
            (&mut self.video, FileKind::Video),
            (&mut self.video_note, FileKind::VideoNote),
            (&mut self.sticker, FileKind::Sticker),
        ];
        let mut found = None;
        for (part, kind) in parts {
            match std::mem::take(part) {
                Part::None => {}
                Part::Strange => *strange = Some(kind.name()),
                Part::Some(file) => found = found.or(Some(file.of(kind))),
            }
        }
        let mut photo = photo.items;
        let live = std::mem::take(&mut self.live_photo).readable();
        found
            .or_else(|| Some(photo.pop()?.of(FileKind::Photo)))
            .or_else(|| Some(live?.of(FileKind::Video)))
    }

    fn place(&mut self, content: &mut Content, strange: &mut Option<&'static str>) {
        for (what, is_strange) in [
            ("venue", self.venue.is_strange()),
            ("location", self.location.is_strange()),
            ("contact", self.contact.is_strange()),
        ] {
            if is_strange {
                *strange = Some(what);
            }
        }
        let location = std::mem::take(&mut self.location).readable();
        content.location = match std::mem::take(&mut self.venue) {
            Part::Some(venue) => Some(Location {
                title: venue.title,
                address: venue.address,
                ..venue.location.into()
            }),
            _ => location.map(Location::from),
        };
        content.contact = std::mem::take(&mut self.contact).readable().map(|contact| {
            let name = User::name(contact.first_name, contact.last_name);
            Contact {
                user_id: contact.user_id,
                ..Contact::new(contact.phone_number.0, name)
            }
        });
    }

    /// What has no field of its own in an update: the field of the JSON, and what it says
    /// where that is a text.
    fn name(&mut self, content: &mut Content, raw: impl FnOnce() -> String) {
        let payment = [&mut self.successful_payment, &mut self.refunded_payment];
        let said = payment
            .into_iter()
            .find_map(|part| std::mem::take(part).readable()?.invoice_payload);
        let data = || std::mem::take(&mut self.web_app_data).readable()?.data;
        if let Some(text) = said.or_else(data) {
            content.text = text;
        }
        let field = content_field(&raw());
        content.is_service = SERVICE.contains(&field.as_str()) || field.starts_with("video_chat_");
        content.field = Some(field);
    }

    fn quoted(&mut self) -> Option<Quoted> {
        let part = std::mem::take(&mut self.quote).readable();
        let part = part.and_then(|quote| quote.text);
        let replied = std::mem::take(&mut self.reply_to_message).readable();
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
        let external = std::mem::take(&mut self.external_reply).readable()?;
        let origin = external.origin.readable().unwrap_or_default();
        Some(Quoted {
            message: external.message_id.unwrap_or_default(),
            text: part.unwrap_or_default(),
            sender: origin.forwarded().id,
        })
    }
}

/// The first field of a message that is its content. One that says no is none, as other
/// programs write it.
fn content_field(message: &str) -> String {
    let fields: Map<String, Value> = serde_json::from_str(message).unwrap_or_default();
    let is_set = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        _ => true,
    };
    let mut fields = fields.into_iter();
    let content =
        fields.find(|(name, value)| !NOT_CONTENT.contains(&name.as_str()) && is_set(value));
    content.map_or_else(|| "empty".to_owned(), |(name, _)| name)
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
