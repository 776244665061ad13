//! What is sent to WhatsApp: replies as messages of the Cloud API
//! (<https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages>).
//!
//! Up to three buttons are reply buttons, up to ten a list; one that opens a page is a message
//! of its own sort when it is alone, and beside others a line of the text. Invariants:
//! [`fitting`] lets nothing through that [`message`] cannot write; what it returns is written
//! the same way later, whatever the version.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Value, json};

use super::super::content::{self, Formatting, Limits, shorten};
use super::super::substitutes::{keys_as_buttons, no_protection};
use super::marks;
use crate::author::message::{
    Attachment, Button, Contact, FileKind, Format, Location, Press, Reply, Request, Source, Target,
};

/// How the id of a button begins that says its label.
pub(super) const SAY: &str = "turnkey:say:";

/// Units of a text.
const TEXT: usize = 4096;

/// Units of a file's caption, and of the text above buttons.
const CAPTION: usize = 1024;

/// Reply buttons of a message; more are a list.
const BUTTONS: usize = 3;

/// Units of a reply button's title, and of a link's.
const TITLE: usize = 20;

/// Units of a row's title in a list; a longer label stands below it, too.
const ROW: usize = 24;

/// Bytes of a row's id.
const ROW_ID: usize = 200;

/// What opens a list: it needs no language.
const OPENS: &str = "☰";

const LIMITS: Limits = Limits {
    platform: "WhatsApp",
    text: TEXT,
    caption: CAPTION,
    buttons: 10,
    // A row's description; titles are shorter.
    label: 72,
    data: 256,
    album: 1,
    album_buttons: false,
    says: false,
    formatting: Formatting::Spans,
    spans: usize::MAX,
    mixes: Limits::mixes_all,
    captions: Limits::captions_all,
};

/// The messages that a reply becomes.
///
/// # Errors
/// What WhatsApp would never take, in a sentence.
pub(in crate::channels) fn fitting(reply: &Reply) -> Result<Vec<Reply>, String> {
    no_protection(reply, LIMITS.platform)?;
    let reply = prepared(keys_as_buttons(Cow::Borrowed(reply)))?;
    let keys = keys(&reply)?;
    let is_alone = reply.files.len() == 1 && reply.location.is_none() && reply.contact.is_none();
    let has_header =
        is_alone && matches!(keys, Keys::Buttons(_)) && reply.files.first().is_some_and(is_header);
    let has_caption = reply.files.first().is_some_and(has_caption);
    let caption = match keys {
        Keys::None if has_caption => CAPTION,
        _ if has_header => CAPTION,
        // It follows as a text, which carries the buttons.
        _ => 0,
    };
    // Marks and addresses make a text longer: then it is cut sooner.
    for part in [1, 2, 4, 8, 16] {
        let messages = cut(&reply, caption / part, part)?;
        if messages.iter().all(fits) {
            return Ok(messages);
        }
    }
    Err(format!(
        "the formatting of a text, addresses included, takes more than WhatsApp's {TEXT} units"
    ))
}

/// The messages with texts of this part of what a message takes.
fn cut(reply: &Reply, caption: usize, part: usize) -> Result<Vec<Reply>, String> {
    let limits = |text: usize| Limits {
        text: text / part,
        caption,
        ..LIMITS
    };
    let mut messages = content::fit(reply, &limits(TEXT))?;
    if let Some(last) = messages.pop_if(|last| !last.buttons.is_empty()) {
        if last.text.is_empty() {
            return Err(
                "buttons stand under a text in WhatsApp; give the reply one, which carries them"
                    .to_owned(),
            );
        }
        if last.files.is_empty() && last.text.encode_utf16().count() > CAPTION / part {
            messages.extend(content::fit(&last, &limits(CAPTION))?);
        } else {
            messages.push(last);
        }
    }
    Ok(messages)
}

/// Whether a message is short enough with its marks.
fn fits(message: &Reply) -> bool {
    let most = match message.files.is_empty() && message.buttons.is_empty() {
        true => TEXT,
        false => CAPTION,
    };
    message.text.len() <= most && message.spans.is_empty()
        || marks::render(&message.text, &message.spans)
            .encode_utf16()
            .count()
            <= most
}

/// The reply with lines of the text for buttons that open or call something beside others.
fn prepared(reply: Cow<'_, Reply>) -> Result<Cow<'_, Reply>, String> {
    let count = reply.buttons.iter().flatten().count();
    let says = reply
        .buttons
        .iter()
        .flatten()
        .any(|b| b.press == Press::Say);
    let is_line = |button: &Button| match &button.press {
        Press::Link(_) | Press::WebApp(_) => count > 1,
        Press::Phone(_) => true,
        _ => false,
    };
    let has_lines = reply.buttons.iter().flatten().any(is_line);
    if !says && !has_lines {
        return Ok(reply);
    }
    let styled = reply.styled()?;
    let reply = reply.into_owned();
    let mut said = Reply {
        text: styled.text,
        spans: styled.spans,
        format: Format::Plain,
        buttons: Vec::new(),
        ..reply
    };
    for (place, mut button) in reply.buttons.into_iter().flatten().enumerate() {
        if is_line(&button) {
            let (Press::Link(to) | Press::WebApp(to) | Press::Phone(to)) = &button.press else {
                continue;
            };
            if !said.text.is_empty() {
                said.text.push('\n');
            }
            said.text.push_str(&format!("{}: {to}", button.label));
            continue;
        }
        if button.press == Press::Say {
            button.press = Press::Data(format!("{SAY}{place}"));
        }
        said.buttons.push(vec![button]);
    }
    Ok(Cow::Owned(said))
}

/// What the buttons of a message are there.
enum Keys<'a> {
    None,
    /// Up to three.
    Buttons(Vec<&'a Button>),
    /// Up to ten.
    List(Vec<&'a Button>),
    /// One that opens a page.
    Link(&'a Button, &'a str),
    /// It asks where the user is.
    Where,
    /// It asks for the user's number.
    Number,
}

/// # Errors
/// WhatsApp has no such buttons, in a sentence.
fn keys(reply: &Reply) -> Result<Keys<'_>, String> {
    let all: Vec<&Button> = reply.buttons.iter().flatten().collect();
    if let [alone] = all[..] {
        match &alone.press {
            Press::Link(address) | Press::WebApp(address) => {
                return Ok(Keys::Link(alone, address));
            }
            Press::Request(Request::Location) => return Ok(Keys::Where),
            Press::Request(Request::Contact) => return Ok(Keys::Number),
            _ => {}
        }
    }
    let mut ids = HashSet::new();
    for button in &all {
        let label = &button.label;
        let Some(data) = button.data() else {
            return Err(format!(
                "WhatsApp asks by a message of its own: the button {label:?} must be the only one"
            ));
        };
        if !ids.insert(data) {
            return Err(format!(
                "two buttons have the data {data:?}; WhatsApp cannot tell them apart"
            ));
        }
        if all.len() > BUTTONS && data.len() > ROW_ID {
            let length = data.len();
            return Err(format!(
                "the data of button {label:?} has {length} bytes; in a list WhatsApp takes {ROW_ID}"
            ));
        }
    }
    Ok(match all.len() {
        0 => Keys::None,
        1..=BUTTONS => {
            let mut titles = HashSet::new();
            if let Some(twice) = all
                .iter()
                .find(|b| !titles.insert(shorten(&b.label, TITLE)))
            {
                return Err(format!(
                    "two buttons have the label {:?}, of which WhatsApp shows {TITLE} units",
                    twice.label
                ));
            }
            Keys::Buttons(all)
        }
        _ => Keys::List(all),
    })
}

/// How WhatsApp names a sort of file. A GIF moves in no message: it is a document.
fn sort(file: &Attachment) -> &'static str {
    match file.kind {
        FileKind::Photo => "image",
        FileKind::Voice | FileKind::Audio => "audio",
        FileKind::Animation if super::super::upload::media_type_of(file) == "image/gif" => {
            match &file.source {
                // Its name says nothing, and what the platform has as a video is one.
                Source::Id(_) => "video",
                _ => "document",
            }
        }
        FileKind::Video | FileKind::VideoNote | FileKind::Animation => "video",
        FileKind::Sticker => "sticker",
        FileKind::Document => "document",
    }
}

fn has_caption(file: &Attachment) -> bool {
    ["image", "video", "document"].contains(&sort(file))
}

/// Whether it can stand above buttons.
fn is_header(file: &Attachment) -> bool {
    has_caption(file)
}

/// The file that must be uploaded before the message.
pub(super) fn to_be_uploaded(reply: &Reply) -> Option<&Attachment> {
    let file = reply.files.first()?;
    matches!(file.source, Source::Path(_) | Source::Base64(_)).then_some(file)
}

/// The message as JSON, without whom it is for. `uploaded`: the id of the file.
///
/// # Errors
/// A row of another version's that cannot be written.
pub(in crate::channels) fn message(reply: &Reply, uploaded: Option<&str>) -> Result<Value, String> {
    let text = marks::render(&reply.text, &reply.spans);
    let (sort, content) = match keys(reply)? {
        Keys::None => bare(reply, text, uploaded)?,
        keys => ("interactive", interactive(reply, &keys, &text, uploaded)?),
    };
    let mut message = json!({ "type": sort, (sort): content });
    if let Some(Target::Message(id)) = &reply.quote {
        message["context"] = json!({ "message_id": id });
    }
    Ok(message)
}

fn bare(
    reply: &Reply,
    text: String,
    uploaded: Option<&str>,
) -> Result<(&'static str, Value), String> {
    if let Some(file) = reply.files.first() {
        let mut content = media(file, uploaded)?;
        if !text.is_empty() && has_caption(file) {
            content["caption"] = text.into();
        }
        if file.kind == FileKind::Voice {
            content["voice"] = true.into();
        }
        return Ok((sort(file), content));
    }
    if let Some(location) = &reply.location {
        return Ok(("location", place(location)));
    }
    if let Some(contact) = &reply.contact {
        return Ok(("contacts", json!([card(contact)])));
    }
    let has_preview = !reply.no_preview;
    Ok(("text", json!({ "body": text, "preview_url": has_preview })))
}

fn media(file: &Attachment, uploaded: Option<&str>) -> Result<Value, String> {
    let mut content = match (&file.source, uploaded) {
        (_, Some(id)) => json!({ "id": id }),
        (Source::Id(id), _) => json!({ "id": id }),
        (Source::Url(address), _) => json!({ "link": address }),
        _ => return Err("a file that was not uploaded".to_owned()),
    };
    if sort(file) == "document" {
        let name = match &file.source {
            Source::Id(_) => file.name.as_deref(),
            _ => Some(super::super::upload::name_of(file)),
        };
        if let Some(name) = name {
            content["filename"] = name.into();
        }
    }
    Ok(content)
}

fn place(location: &Location) -> Value {
    let mut content = json!({
        "latitude": location.latitude,
        "longitude": location.longitude,
    });
    for (field, known) in [("name", &location.title), ("address", &location.address)] {
        if let Some(known) = known {
            content[field] = known.as_str().into();
        }
    }
    content
}

fn card(contact: &Contact) -> Value {
    let name = match contact.name.as_str() {
        "" => &contact.phone,
        name => name,
    };
    json!({
        "name": { "formatted_name": name, "first_name": name },
        "phones": [{ "phone": contact.phone, "type": "CELL" }],
    })
}

fn interactive(
    reply: &Reply,
    keys: &Keys<'_>,
    text: &str,
    uploaded: Option<&str>,
) -> Result<Value, String> {
    let (sort_of_keys, action) = match keys {
        Keys::None => return Err("a message without buttons".to_owned()),
        Keys::Buttons(buttons) => {
            let button = |button: &&Button| {
                json!({ "type": "reply", "reply": {
                    "id": button.data(), "title": shorten(&button.label, TITLE),
                } })
            };
            let buttons: Vec<_> = buttons.iter().map(button).collect();
            ("button", json!({ "buttons": buttons }))
        }
        Keys::List(buttons) => {
            let rows: Vec<_> = buttons.iter().map(|button| row(button)).collect();
            let sections = json!([{ "rows": rows }]);
            ("list", json!({ "button": OPENS, "sections": sections }))
        }
        Keys::Link(button, address) => {
            let parameters =
                json!({ "display_text": shorten(&button.label, TITLE), "url": address });
            (
                "cta_url",
                json!({ "name": "cta_url", "parameters": parameters }),
            )
        }
        Keys::Where => (
            "location_request_message",
            json!({ "name": "send_location" }),
        ),
        Keys::Number => (
            "request_contact_info",
            json!({ "name": "request_contact_info" }),
        ),
    };
    let mut content = json!({
        "type": sort_of_keys, "body": { "text": text }, "action": action,
    });
    if let Some(file) = reply.files.first() {
        let sort = sort(file);
        content["header"] = json!({ "type": sort, (sort): media(file, uploaded)? });
    }
    Ok(content)
}

fn row(button: &Button) -> Value {
    let title = shorten(&button.label, ROW);
    let is_cut = title != button.label;
    let mut row = json!({ "id": button.data(), "title": title });
    if is_cut {
        row["description"] = button.label.as_str().into();
    }
    row
}
