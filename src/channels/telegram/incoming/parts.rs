//! What a message may be made of, as Telegram's JSON has it, and as we say it: files, places,
//! contacts, what was answered, where it was forwarded from.
//!
//! Used by `message.rs` and `event.rs`. What helps and is not needed is none where it cannot be
//! read; what a part cannot do without makes the part strange.

use serde::Deserialize;

use super::super::super::lenient::{self, Id, Number, Part, Real};
use super::who::{Place, User};
use crate::author::message::{File, FileKind, Forwarded, Location};

#[derive(Deserialize)]
pub(super) struct DirectTopic {
    pub(super) topic_id: Number,
}

#[derive(Deserialize)]
pub(super) struct FileJson {
    pub(super) file_id: Id,
    #[serde(default, deserialize_with = "lenient::any_text")]
    pub(super) file_name: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    pub(super) mime_type: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    pub(super) file_size: Option<Number>,
}

#[derive(Deserialize)]
pub(super) struct LocationJson {
    pub(super) latitude: Real,
    pub(super) longitude: Real,
}

#[derive(Deserialize)]
pub(super) struct VenueJson {
    pub(super) location: LocationJson,
    #[serde(default, deserialize_with = "lenient::any_text")]
    pub(super) title: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    pub(super) address: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ContactJson {
    pub(super) phone_number: Id,
    #[serde(default, deserialize_with = "lenient::any_text")]
    pub(super) first_name: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    pub(super) last_name: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    pub(super) user_id: Option<String>,
}

/// The message that was answered, of this chat.
#[derive(Deserialize)]
pub(super) struct Replied {
    pub(super) message_id: Number,
    pub(super) from: Option<User>,
    pub(super) sender_chat: Option<Place>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    pub(super) text: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    pub(super) caption: Option<String>,
    /// It only stands for the topic that the message is in.
    pub(super) forum_topic_created: Option<serde::de::IgnoredAny>,
}

/// The message that was answered, of another chat.
#[derive(Deserialize)]
pub(super) struct External {
    #[serde(default, deserialize_with = "lenient::any_text")]
    pub(super) message_id: Option<String>,
    #[serde(default)]
    pub(super) origin: Part<Origin>,
}

#[derive(Deserialize)]
pub(super) struct Quote {
    #[serde(default, deserialize_with = "lenient::any_text")]
    pub(super) text: Option<String>,
}

/// <https://core.telegram.org/bots/api#messageorigin>: one of four.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Origin {
    pub(super) sender_user: Option<User>,
    #[serde(deserialize_with = "lenient::any_text")]
    pub(super) sender_user_name: Option<String>,
    pub(super) sender_chat: Option<Place>,
    pub(super) chat: Option<Place>,
}

#[derive(Deserialize)]
pub(super) struct Payment {
    #[serde(default, deserialize_with = "lenient::any_text")]
    pub(super) invoice_payload: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct WebAppData {
    #[serde(default, deserialize_with = "lenient::any_text")]
    pub(super) data: Option<String>,
}

impl FileJson {
    pub(super) fn of(self, kind: FileKind) -> File {
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
    pub(super) fn forwarded(self) -> Forwarded {
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
