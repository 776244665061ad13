//! From an action to the call that does it.
//!
//! Used by `mod.rs`, for what is sent and for what rides in an answer. What comes in was made
//! to fit by `fit.rs`.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::entities::entities;
use super::methods;
use super::params::{
    InlineButton, Key, LinkPreview, Media, OneOrMore, Params, ReplyMarkup, ReplyParameters, WebApp,
};
use super::target::{Target, target};
use super::within::Within;
use crate::author::message::{
    Action, Attachment, Button, FileKind, Keyboard, Press, Reply, Request, Source, Target as Named,
};

/// A call, and the files that are uploaded with it.
pub(super) struct Call<'a> {
    pub(super) method: Cow<'a, str>,
    pub(super) params: Body<'a>,
    /// Each stands in the parameters as `attach://` and [`part`].
    pub(super) uploads: Vec<&'a Attachment>,
}

/// Parameters of ours, or an author's.
pub(super) enum Body<'a> {
    Ours(Box<Params<'a>>),
    Any(Map<String, Value>),
}

/// The name of an upload's part of the form.
pub(super) fn part(index: usize) -> String {
    format!("file{index}")
}

/// The call that does this in that chat.
///
/// # Errors
/// Nothing can: such a row was written by another version.
pub(super) fn render<'a>(
    action: &'a Action,
    chat: &'a str,
    within: Within,
) -> Result<Call<'a>, String> {
    if chat.is_empty() && !matches!(action, Action::Call { .. } | Action::Edit { .. }) {
        return Err("this update is of no chat that could be replied to".to_owned());
    }
    match action {
        Action::Reply(reply) => Ok(say(reply, chat, within)),
        Action::Edit { message, reply } => Ok(edit(reply, id(message)?, chat, within)),
        Action::Delete { message } => delete(id(message)?, chat, within),
        Action::Call { method, params, .. } => {
            let mut params = match params {
                Value::Object(params) => params.clone(),
                _ => Map::new(),
            };
            methods::fill(method, &mut params, chat, &within);
            Ok(Call {
                method: method.into(),
                params: Body::Any(params),
                uploads: Vec::new(),
            })
        }
        Action::Toast { .. } | Action::SendTo { .. } | Action::AskIn { .. } => {
            Err("there is no press here to answer".to_owned())
        }
    }
}

fn id(message: &Named) -> Result<Target<'_>, String> {
    match message {
        Named::Message(name) => Ok(target(name)),
        Named::This | Named::Named(_) => Err("a message without an id".to_owned()),
    }
}

fn say<'a>(reply: &'a Reply, chat: &'a str, within: Within) -> Call<'a> {
    let mut params = Params::to(chat, within);
    params.disable_notification = reply.silent;
    params.protect_content = reply.protected;
    params.reply_parameters = reply.quote.as_ref().and_then(|quoted| quote(quoted, chat));
    params.reply_markup = markup(reply);
    let mut uploads = Vec::new();
    let text = Some(reply.text.as_str()).filter(|text| !text.is_empty());
    let method = match (reply.files.as_slice(), &reply.location, &reply.contact) {
        ([], None, None) => {
            params.text = Some(reply.text.as_str().into());
            params.entities = entities(&reply.text, &reply.spans);
            params.link_preview_options = preview(reply);
            "sendMessage"
        }
        ([file], ..) => {
            let at = attached(file, &mut uploads);
            params.set_file(file.kind, at);
            params.caption = text.map(Cow::from);
            params.caption_entities = entities(&reply.text, &reply.spans);
            send_file(file.kind)
        }
        ([_, ..], ..) => {
            // No keyboard has a place here.
            params.reply_markup = None;
            let mut album: Vec<_> = reply
                .files
                .iter()
                .map(|file| media(file, &mut uploads))
                .collect();
            // The album's text is that of its first file.
            if let Some(first) = album.first_mut() {
                first.caption = text.map(Cow::from);
                first.caption_entities = entities(&reply.text, &reply.spans);
            }
            params.media = Some(OneOrMore::More(album));
            "sendMediaGroup"
        }
        ([], Some(location), _) => {
            params.latitude = Some(location.latitude);
            params.longitude = Some(location.longitude);
            match (&location.title, &location.address) {
                (None, None) => "sendLocation",
                // Both must be there.
                (title, address) => {
                    let title = title.as_ref().or(address.as_ref());
                    params.title = title.map(|title| title.as_str().into());
                    let address = address.as_deref().unwrap_or_default();
                    params.address = Some(address.into());
                    "sendVenue"
                }
            }
        }
        ([], None, Some(contact)) => {
            params.phone_number = Some(contact.phone.as_str().into());
            let name = match contact.name.as_str() {
                "" => &contact.phone,
                name => name,
            };
            params.first_name = Some(name.into());
            "sendContact"
        }
    };
    ours(method, params, uploads)
}

fn ours<'a>(method: &'a str, params: Params<'a>, uploads: Vec<&'a Attachment>) -> Call<'a> {
    Call {
        method: method.into(),
        params: Body::Ours(Box::new(params)),
        uploads,
    }
}

fn send_file(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Photo => "sendPhoto",
        FileKind::Document => "sendDocument",
        FileKind::Voice => "sendVoice",
        FileKind::Audio => "sendAudio",
        FileKind::Video => "sendVideo",
        FileKind::VideoNote => "sendVideoNote",
        FileKind::Sticker => "sendSticker",
        FileKind::Animation => "sendAnimation",
    }
}

/// What stands for a file: an address, an id, or the part that it is uploaded in.
fn attached<'a>(file: &'a Attachment, uploads: &mut Vec<&'a Attachment>) -> Cow<'a, str> {
    match &file.source {
        Source::Url(at) | Source::Id(at) => at.into(),
        Source::Path(_) | Source::Base64(_) => {
            uploads.push(file);
            format!("attach://{}", part(uploads.len() - 1)).into()
        }
    }
}

fn media<'a>(file: &'a Attachment, uploads: &mut Vec<&'a Attachment>) -> Media<'a> {
    Media {
        kind: file.kind.name().into(),
        media: attached(file, uploads),
        caption: None,
        caption_entities: Vec::new(),
    }
}

fn preview(reply: &Reply) -> Option<LinkPreview> {
    reply
        .no_preview
        .then_some(LinkPreview { is_disabled: true })
}

fn quote<'a>(quoted: &'a Named, chat: &str) -> Option<ReplyParameters<'a>> {
    match id(quoted) {
        Ok(Target::InChat(of, message_id)) => Some(ReplyParameters {
            message_id,
            chat_id: of.filter(|of| *of != chat).map(Cow::from),
            allow_sending_without_reply: true,
        }),
        // What was sent in inline mode cannot be quoted.
        _ => None,
    }
}

fn edit<'a>(reply: &'a Reply, message: Target<'a>, chat: &'a str, within: Within) -> Call<'a> {
    let mut params = Params {
        business_connection_id: within.business_connection_id,
        ..Params::default()
    };
    match message {
        Target::InChat(of, message) => {
            params.chat_id = Some(of.unwrap_or(chat).into());
            params.message_id = Some(message);
        }
        Target::Inline(id) => params.inline_message_id = Some(id.into()),
    }
    // Without one the message has no buttons any more.
    params.reply_markup = markup(reply);
    let mut uploads = Vec::new();
    let method = match reply.files.first() {
        Some(file) => {
            let mut media = media(file, &mut uploads);
            if !reply.text.is_empty() {
                media.caption = Some(reply.text.as_str().into());
                media.caption_entities = entities(&reply.text, &reply.spans);
            }
            params.media = Some(OneOrMore::One(Box::new(media)));
            "editMessageMedia"
        }
        None if reply.text.is_empty() => "editMessageReplyMarkup",
        None => {
            params.text = Some(reply.text.as_str().into());
            params.entities = entities(&reply.text, &reply.spans);
            params.link_preview_options = preview(reply);
            "editMessageText"
        }
    };
    ours(method, params, uploads)
}

/// The same where the message turned out to be a file: its caption.
pub(super) fn as_caption(call: Call<'_>) -> Call<'_> {
    match call.params {
        Body::Ours(params) => {
            let mut params = params;
            params.caption = params.text.take();
            params.caption_entities = std::mem::take(&mut params.entities);
            params.link_preview_options = None;
            Call {
                method: "editMessageCaption".into(),
                params: Body::Ours(params),
                uploads: call.uploads,
            }
        }
        params => Call { params, ..call },
    }
}

fn delete<'a>(message: Target<'a>, chat: &'a str, within: Within) -> Result<Call<'a>, String> {
    let Target::InChat(of, message) = message else {
        return Err("a message that was sent in inline mode can only be edited".to_owned());
    };
    let mut params = Params::default();
    let method = match within.business_connection_id {
        None => {
            params.chat_id = Some(of.unwrap_or(chat).into());
            params.message_id = Some(message);
            "deleteMessage"
        }
        connection => {
            params.business_connection_id = connection;
            params.message_ids = Some([message]);
            "deleteBusinessMessages"
        }
    };
    Ok(ours(method, params, Vec::new()))
}

fn markup(reply: &Reply) -> Option<ReplyMarkup> {
    if !reply.buttons.is_empty() {
        let rows = reply.buttons.iter();
        return Some(ReplyMarkup::Inline {
            inline_keyboard: rows.map(|row| row.iter().map(inline).collect()).collect(),
        });
    }
    let (rows, once) = match reply.keyboard.as_ref()? {
        Keyboard::Remove => {
            return Some(ReplyMarkup::Remove {
                remove_keyboard: true,
            });
        }
        Keyboard::Rows(rows) => (rows, false),
        Keyboard::Once(rows) => (rows, true),
    };
    Some(ReplyMarkup::Keyboard {
        keyboard: rows
            .iter()
            .map(|row| row.iter().map(key).collect())
            .collect(),
        resize_keyboard: true,
        one_time_keyboard: once,
    })
}

fn inline(button: &Button) -> InlineButton {
    let mut inline = InlineButton {
        text: button.label.clone(),
        ..InlineButton::default()
    };
    match &button.press {
        Press::Data(data) => inline.callback_data = Some(data.clone()),
        Press::Link(url) => inline.url = Some(url.clone()),
        Press::WebApp(url) => inline.web_app = Some(WebApp { url: url.clone() }),
        // Refused by `fit.rs`.
        Press::Phone(_) | Press::Request(_) | Press::Say => {}
    }
    inline
}

fn key(button: &Button) -> Key {
    let mut key = Key {
        text: button.label.clone(),
        ..Key::default()
    };
    match &button.press {
        Press::Request(Request::Contact) => key.request_contact = true,
        Press::Request(Request::Location) => key.request_location = true,
        Press::WebApp(url) => key.web_app = Some(WebApp { url: url.clone() }),
        // Said, or refused by `fit.rs`.
        Press::Say | Press::Data(_) | Press::Link(_) | Press::Phone(_) => {}
    }
    key
}
