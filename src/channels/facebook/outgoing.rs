//! What is sent to Messenger: replies as messages of the Send API
//! (<https://developers.facebook.com/docs/messenger-platform/reference/send-api>).
//!
//! Buttons are quick replies, which are gone when the user writes; with one that opens a page
//! or calls a number they are a template of at most three, and the data of more stays quick
//! replies. Invariant: [`fitting`] lets nothing through that [`message`] cannot write.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::super::content::{self, Formatting, Limits};
use super::super::substitutes::{Contacts, Places, in_words, keys_as_buttons, no_protection};
use crate::author::message::{Attachment, Button, FileKind, Press, Reply, Request, Source};

/// The payload of a quick reply that says its label.
pub(super) const SAY: &str = r#"{"turnkey":"say"}"#;

/// Quick replies of a message.
const QUICK: usize = 13;

/// Buttons of a template.
const TEMPLATE: usize = 3;

/// Units of a template's text.
const TEMPLATE_TEXT: usize = 640;

/// Files have no caption there: it follows as a text.
const LIMITS: Limits = Limits {
    platform: "Facebook",
    text: 2000,
    caption: 0,
    buttons: QUICK + TEMPLATE,
    label: 20,
    data: 1000,
    album: 1,
    album_buttons: false,
    says: true,
    formatting: Formatting::None,
    spans: usize::MAX,
    mixes: Limits::mixes_all,
    captions: Limits::captions_all,
};

/// The messages that a reply becomes.
///
/// # Errors
/// What Messenger would never take, in a sentence.
pub(in crate::channels) fn fitting(reply: &Reply) -> Result<Vec<Reply>, String> {
    no_protection(reply, LIMITS.platform)?;
    let reply = keys_as_buttons(in_words(reply, Places::Words, Contacts::Words)?);
    for file in &reply.files {
        if let (FileKind::Sticker, Source::Id(_)) = (file.kind, &file.source) {
            return Err("Messenger sends no stickers by their number; give an address".to_owned());
        }
    }
    let mut messages = content::fit(&reply, &LIMITS)?;
    let Some(last) = messages.last() else {
        return Ok(messages);
    };
    let (template, quick) = arrange(last)?;
    if quick.len() > QUICK {
        let count = quick.len();
        return Err(format!("{count} buttons; Messenger takes {QUICK}"));
    }
    if template.is_empty() {
        return Ok(messages);
    }
    if last.has_content() {
        return Err(
            "under a file Messenger has no buttons that open pages or call; give the reply a \
             text, which carries them"
                .to_owned(),
        );
    }
    if last.text.encode_utf16().count() > TEMPLATE_TEXT {
        let text = TEMPLATE_TEXT;
        if let Some(last) = messages.pop() {
            messages.extend(content::fit(&last, &Limits { text, ..LIMITS })?);
        }
    }
    Ok(messages)
}

/// The buttons that a template has, and those that are quick replies.
///
/// # Errors
/// Messenger has no such button, or no so many.
fn arrange(reply: &Reply) -> Result<(Vec<&Button>, Vec<&Button>), String> {
    let all: Vec<&Button> = reply.buttons.iter().flatten().collect();
    let asks_where = |b: &&&Button| b.press == Press::Request(Request::Location);
    if let Some(button) = all.iter().find(asks_where) {
        return Err(format!(
            "Messenger has no button that asks where somebody is ({:?})",
            button.label
        ));
    }
    let opens =
        |b: &&Button| matches!(b.press, Press::Link(_) | Press::WebApp(_) | Press::Phone(_));
    let asks = |b: &&Button| matches!(b.press, Press::Request(_) | Press::Say);
    let count = all.iter().copied().filter(|b| opens(b)).count();
    if count > TEMPLATE {
        return Err(format!(
            "{count} buttons that open pages or call; Messenger takes {TEMPLATE}"
        ));
    }
    Ok(match count {
        0 => (Vec::new(), all),
        _ if all.len() <= TEMPLATE && !all.iter().any(asks) => (all, Vec::new()),
        _ => all.into_iter().partition(opens),
    })
}

/// How Messenger names a sort of file.
pub(super) fn sort(file: &Attachment) -> &'static str {
    match file.kind {
        FileKind::Photo | FileKind::Sticker | FileKind::Animation => "image",
        FileKind::Voice | FileKind::Audio => "audio",
        FileKind::Video | FileKind::VideoNote => "video",
        _ => "file",
    }
}

/// The file that must be uploaded with the message.
pub(super) fn to_be_uploaded(reply: &Reply) -> Option<&Attachment> {
    let file = reply.files.first()?;
    matches!(file.source, Source::Path(_) | Source::Base64(_)).then_some(file)
}

/// The message as JSON. Of a file that is uploaded only its sort is in it.
///
/// # Errors
/// A row of another version's that cannot be written.
pub(super) fn message(reply: &Reply) -> Result<Value, String> {
    let (template, quick) = arrange(reply)?;
    let mut message = match reply.files.first() {
        Some(file) => {
            let payload = match &file.source {
                Source::Url(address) => json!({ "url": address }),
                Source::Id(id) => json!({ "attachment_id": id }),
                _ => json!({}),
            };
            json!({ "attachment": { "type": sort(file), "payload": payload } })
        }
        None if template.is_empty() => json!({ "text": reply.text }),
        None => json!({ "attachment": { "type": "template", "payload": {
            "template_type": "button", "text": reply.text,
            "buttons": template.into_iter().map(key).collect::<Vec<_>>(),
        } } }),
    };
    if !quick.is_empty() {
        message["quick_replies"] = quick.into_iter().map(quick_reply).collect();
    }
    Ok(message)
}

fn quick_reply(button: &Button) -> Value {
    let payload: Cow<'_, str> = match &button.press {
        Press::Request(Request::Contact) => return json!({ "content_type": "user_phone_number" }),
        Press::Data(data) => data.into(),
        _ => SAY.into(),
    };
    json!({ "content_type": "text", "title": button.label, "payload": payload })
}

fn key(button: &Button) -> Value {
    let title = &button.label;
    match &button.press {
        Press::Link(address) => json!({ "type": "web_url", "url": address, "title": title }),
        Press::WebApp(address) => json!({ "type": "web_url", "url": address, "title": title,
            "webview_height_ratio": "tall" }),
        Press::Phone(number) => {
            json!({ "type": "phone_number", "title": title, "payload": number })
        }
        _ => json!({ "type": "postback", "title": title,
            "payload": button.data().unwrap_or(SAY) }),
    }
}
