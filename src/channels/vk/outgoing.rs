//! What is sent to VK: replies as fields of `messages.send` and `messages.edit`
//! (<https://dev.vk.com/en/method/messages.send>).
//!
//! Invariant: [`fitting`] lets nothing through that [`fields`] cannot write.

use serde_json::{Value, json};

use super::super::content::{self, Formatting, Limits};
use super::super::substitutes::{Contacts, Places, in_words, no_protection, what_is_there};
use super::keyboard;
use crate::author::message::{FileKind, Reply, Source, Span, Style, Target};

/// Files may be ten in a message, and carry its text and buttons.
const LIMITS: Limits = Limits {
    platform: "VK",
    text: 4096,
    caption: 4096,
    buttons: 10,
    label: keyboard::LABEL,
    data: 240,
    album: 10,
    album_buttons: true,
    says: true,
    formatting: Formatting::Spans,
    spans: usize::MAX,
    mixes: |one, other| !stands_alone(one) && !stands_alone(other),
    captions: |kind| !stands_alone(kind),
};

/// Fields of a call's form.
pub(super) type Fields = Vec<(&'static str, String)>;

/// The messages that a reply becomes.
///
/// # Errors
/// What VK would never take, in a sentence.
pub(in crate::channels) fn fitting(reply: &Reply) -> Result<Vec<Reply>, String> {
    no_protection(reply, LIMITS.platform)?;
    let reply = in_words(reply, Places::Shown, Contacts::Words)?;
    if !reply.buttons.is_empty() && reply.keyboard.is_some() {
        return Err(
            "a message of VK's has either buttons or a keyboard; give them to two replies"
                .to_owned(),
        );
    }
    for file in &reply.files {
        if let Source::Id(id) = &file.source
            && !is_a_name(file.kind, id)
        {
            let kind = file.kind.name();
            return Err(format!(
                "{id:?} is no {kind} of VK's: those are such as photo7_5, stickers numbers"
            ));
        }
    }
    let messages = content::fit(&reply, &LIMITS)?;
    if let Some(last) = messages.last() {
        keyboard_of(last)?;
    }
    Ok(messages)
}

/// A text that is not final yet: as much of it as a message has room for.
pub(super) fn draft(text: &str) -> Reply {
    Reply::plain(content::shorten(text, LIMITS.text))
}

/// Whether an edit can make a message this reply.
pub(super) fn can_be_edited_in(reply: &Reply) -> bool {
    reply.quote.is_none()
        && reply.keyboard.is_none()
        && reply.location.is_none()
        && !reply.files.iter().any(|file| stands_alone(file.kind))
}

/// Whether such a file is a message of its own, without a text.
fn stands_alone(kind: FileKind) -> bool {
    matches!(kind, FileKind::Sticker | FileKind::Voice)
}

fn is_a_name(kind: FileKind, id: &str) -> bool {
    match kind {
        FileKind::Sticker => id.parse::<u32>().is_ok(),
        _ => id.contains('_') && !id.contains([',', ' ', '/']),
    }
}

fn keyboard_of(reply: &Reply) -> Result<Option<String>, String> {
    match &reply.keyboard {
        _ if !reply.buttons.is_empty() => keyboard::inline(&reply.buttons).map(Some),
        Some(keyboard) => keyboard::below(keyboard).map(Some),
        None => Ok(None),
    }
}

/// What a message says. `attachments`: the names of its files.
///
/// # Errors
/// A row of another version's that cannot be written.
pub(super) fn fields(reply: &Reply, attachments: &[String]) -> Result<Fields, String> {
    let mut fields: Fields = Vec::new();
    let mut text = reply.text.clone();
    if let Some(location) = &reply.location {
        let (latitude, longitude) = (location.latitude, location.longitude);
        fields.push(("lat", latitude.to_string()));
        fields.push(("long", longitude.to_string()));
        if text.is_empty() {
            // A message without one is none.
            text = what_is_there(location).unwrap_or_else(|| format!("{latitude}, {longitude}"));
        }
    }
    let is_sticker = |file: &&crate::author::message::Attachment| {
        file.kind == FileKind::Sticker && matches!(file.source, Source::Id(_))
    };
    match (reply.files.first().filter(is_sticker), attachments) {
        (Some(_), [number, ..]) => fields.push(("sticker_id", number.clone())),
        (_, []) => {}
        (_, names) => fields.push(("attachment", names.join(","))),
    }
    let format = format_data(&reply.text, &reply.spans);
    fields.push(("message", text));
    fields.extend(format.map(|format| ("format_data", format)));
    fields.extend(keyboard_of(reply)?.map(|keyboard| ("keyboard", keyboard)));
    if reply.no_preview {
        fields.push(("dont_parse_links", "1".to_owned()));
    }
    Ok(fields)
}

/// The message that it answers.
pub(super) fn quoted(reply: &Reply, peer: &str) -> Option<(&'static str, String)> {
    let Some(Target::Message(id)) = &reply.quote else {
        return None;
    };
    let (peer, id) = (peer.parse::<i64>().ok()?, id.parse::<i64>().ok()?);
    let forward = json!({
        "peer_id": peer, "conversation_message_ids": [id], "is_reply": 1,
    });
    Some(("forward", forward.to_string()))
}

/// The formatting that VK shows; the rest is plain
/// (<https://dev.vk.com/en/reference/objects/message#format_data>).
fn format_data(text: &str, spans: &[Span]) -> Option<String> {
    let units = |bytes: usize| text.get(..bytes).map(|text| text.encode_utf16().count());
    let item = |span: &Span| {
        let (start, end) = (units(span.start)?, units(span.end)?);
        let kind = match &span.style {
            Style::Bold => "bold",
            Style::Italic => "italic",
            Style::Underline => "underline",
            Style::Link(_) => "url",
            _ => return None,
        };
        let mut item = json!({ "type": kind, "offset": start, "length": end - start });
        if let Style::Link(address) = &span.style {
            item["url"] = address.as_str().into();
        }
        Some(item)
    };
    let items: Vec<_> = spans.iter().filter_map(item).collect();
    (!items.is_empty()).then(|| json!({ "version": 1, "items": items }).to_string())
}

/// What a method is called with, as VK takes it: lists with commas, objects as JSON.
///
/// # Errors
/// It is no object.
pub(super) fn form_of(params: &Value) -> Result<Vec<(String, String)>, String> {
    fn text_of(value: &Value) -> String {
        match value {
            Value::String(text) => text.clone(),
            Value::Bool(is_set) => u8::from(*is_set).to_string(),
            Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
                let items: Vec<_> = items.iter().map(text_of).collect();
                items.join(",")
            }
            other => other.to_string(),
        }
    }
    match params {
        Value::Null => Ok(Vec::new()),
        Value::Object(fields) => Ok(fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), text_of(value)))
            .collect()),
        _ => Err("a method of VK's is called with an object".to_owned()),
    }
}
