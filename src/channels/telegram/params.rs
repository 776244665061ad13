//! The parameters of the calls that say something (<https://core.telegram.org/bots/api#sendmessage>
//! and those behind it).
//!
//! Made by `render.rs`; read again where a message rode in an answer and must be sent after
//! all (`rode.rs`). A field that is not set is not there.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::entities::Entity;
use super::within::Within;
use crate::author::message::FileKind;

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Params<'a> {
    /// Only in an answer to a webhook; else it is in the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chat_id: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_thread_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) direct_messages_topic_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) business_connection_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message_ids: Option<[i64; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inline_message_id: Option<Cow<'a, str>>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) entities: Vec<Entity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) link_preview_options: Option<LinkPreview>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) caption: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) caption_entities: Vec<Entity>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) photo: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) document: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) voice: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) audio: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) video: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) video_note: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sticker: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) animation: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) media: Option<OneOrMore<'a>>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) latitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) longitude: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) phone_number: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) first_name: Option<Cow<'a, str>>,

    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) disable_notification: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) protect_content: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_parameters: Option<ReplyParameters<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reply_markup: Option<ReplyMarkup>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct LinkPreview {
    pub(super) is_disabled: bool,
}

/// <https://core.telegram.org/bots/api#replyparameters>
#[derive(Deserialize, Serialize)]
pub(super) struct ReplyParameters<'a> {
    pub(super) message_id: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) chat_id: Option<Cow<'a, str>>,
    /// What is quoted may be gone: that is no reason to say nothing.
    pub(super) allow_sending_without_reply: bool,
}

/// Of `editMessageMedia` one, of `sendMediaGroup` a list.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum OneOrMore<'a> {
    One(Box<Media<'a>>),
    More(Vec<Media<'a>>),
}

/// <https://core.telegram.org/bots/api#inputmedia>
#[derive(Deserialize, Serialize)]
pub(super) struct Media<'a> {
    #[serde(rename = "type")]
    pub(super) kind: Cow<'a, str>,
    pub(super) media: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) caption: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) caption_entities: Vec<Entity>,
}

/// One of three.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum ReplyMarkup {
    Inline {
        inline_keyboard: Vec<Vec<InlineButton>>,
    },
    Keyboard {
        keyboard: Vec<Vec<Key>>,
        resize_keyboard: bool,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        one_time_keyboard: bool,
    },
    Remove {
        remove_keyboard: bool,
    },
}

/// <https://core.telegram.org/bots/api#inlinekeyboardbutton>
#[derive(Default, Deserialize, Serialize)]
pub(super) struct InlineButton {
    pub(super) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) callback_data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) web_app: Option<WebApp>,
}

/// <https://core.telegram.org/bots/api#keyboardbutton>
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Key {
    pub(super) text: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) request_contact: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) request_location: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) web_app: Option<WebApp>,
}

#[derive(Deserialize, Serialize)]
pub(super) struct WebApp {
    pub(super) url: String,
}

impl<'a> Params<'a> {
    /// For a call that says something there.
    pub(super) fn to(chat: &'a str, within: Within) -> Self {
        Params {
            chat_id: Some(chat.into()),
            message_thread_id: within.message_thread_id,
            direct_messages_topic_id: within.direct_messages_topic_id,
            business_connection_id: within.business_connection_id,
            ..Params::default()
        }
    }

    /// The field of a file of this kind.
    pub(super) fn set_file(&mut self, kind: FileKind, file: Cow<'a, str>) {
        let field = match kind {
            FileKind::Photo => &mut self.photo,
            FileKind::Document => &mut self.document,
            FileKind::Voice => &mut self.voice,
            FileKind::Audio => &mut self.audio,
            FileKind::Video => &mut self.video,
            FileKind::VideoNote => &mut self.video_note,
            FileKind::Sticker => &mut self.sticker,
            FileKind::Animation => &mut self.animation,
        };
        *field = Some(file);
    }
}
