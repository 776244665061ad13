//! What is sent to Viber: replies as messages with a keyboard
//! (<https://developers.viber.com/docs/api/rest-bot-api/#message-types>,
//! <https://developers.viber.com/docs/tools/keyboards/>).
//!
//! Invariant: [`fitting`] lets nothing through that [`render`] cannot write. Bound: [`MOST`]
//! bytes of a message.

use serde::{Deserialize, Serialize};

use super::super::content::{self, Formatting, Limits};
use super::super::substitutes::{Contacts, Places, in_words, keys_as_buttons, no_protection};
use super::super::upload;
use super::incoming::{Tracking, digest};
use crate::author::message::{
    Attachment, Button, Contact, FileKind, Location, Press, Reply, Request, Source,
};

/// Labels and data have limits of our own here.
const LIMITS: Limits = Limits {
    platform: "Viber",
    text: 7000,
    caption: 512,
    buttons: 24,
    label: 40,
    data: 100,
    album: 1,
    album_buttons: false,
    says: true,
    formatting: Formatting::None,
    spans: usize::MAX,
    mixes: Limits::mixes_all,
    captions: |kind| matches!(kind, FileKind::Photo),
};

/// Bytes of a message, as JSON.
const MOST: usize = 30_000;

/// Of the first Viber version that knows `Silent` buttons.
const SILENT_BUTTONS: u8 = 6;

/// Columns of a keyboard.
const COLUMNS: usize = 6;

/// What a message is beside its text.
#[derive(Clone, Copy)]
enum Sort<'a> {
    Text,
    File(&'a Attachment),
    Location(&'a Location),
    Contact(&'a Contact),
}

#[derive(Default, Serialize)]
struct Message<'a> {
    /// Not in a message of welcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<&'a str>,
    sender: Sender<'a>,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sticker_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<Point>,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact: Option<Card>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracking_data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_api_version: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keyboard: Option<Keyboard>,
}

#[derive(Default, Serialize)]
struct Sender<'a> {
    name: &'a str,
}

#[derive(Deserialize, Serialize)]
struct Point {
    lat: f64,
    lon: f64,
}

#[derive(Deserialize, Serialize)]
struct Card {
    name: String,
    phone_number: String,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Keyboard {
    r#type: String,
    buttons: Vec<Key>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Key {
    columns: usize,
    rows: usize,
    text: String,
    action_type: String,
    action_body: String,
    silent: bool,
}

/// A welcome, read again.
#[derive(Deserialize)]
struct Rode {
    #[serde(default)]
    text: String,
    media: Option<String>,
    sticker_id: Option<u64>,
    location: Option<Point>,
    contact: Option<Card>,
    keyboard: Option<Keyboard>,
}

/// The messages that a reply becomes.
///
/// # Errors
/// What Viber would never take, in a sentence.
pub(in crate::channels) fn fitting(sender: &str, reply: &Reply) -> Result<Vec<Reply>, String> {
    no_protection(reply, LIMITS.platform)?;
    let reply = keys_as_buttons(in_words(reply, Places::Points, Contacts::Shown)?);
    for file in &reply.files {
        check(file)?;
    }
    let messages = content::fit(&reply, &LIMITS)?;
    for message in messages
        .iter()
        .filter(|message| !message.buttons.is_empty())
    {
        check_buttons(message)?;
        let bytes = render(sender, None, message, None)?.len();
        if bytes > MOST {
            return Err(format!(
                "with its buttons the message has {bytes} bytes; Viber takes {MOST}"
            ));
        }
    }
    Ok(messages)
}

fn check(file: &Attachment) -> Result<(), String> {
    let kind = file.kind.name();
    match &file.source {
        Source::Url(_) => Ok(()),
        Source::Id(id) if file.kind == FileKind::Sticker && id.parse::<u64>().is_ok() => Ok(()),
        Source::Id(_) if file.kind == FileKind::Sticker => {
            Err("Viber's stickers have numbers".to_owned())
        }
        _ => Err(format!(
            "Viber fetches a {kind} itself: give its address (https://…), no id, path or bytes"
        )),
    }
}

fn check_buttons(reply: &Reply) -> Result<(), String> {
    for button in reply.buttons.iter().flatten() {
        if let Press::Phone(_) = button.press {
            return Err(format!(
                "Viber has no button that calls a number ({:?}); send it as a contact",
                button.label
            ));
        }
    }
    Ok(())
}

/// The type of message that shows a file.
fn how(file: &Attachment) -> &'static str {
    match (file.kind, &file.source) {
        (FileKind::Sticker, Source::Id(_)) => "sticker",
        (FileKind::Photo | FileKind::Sticker, _) => "picture",
        (FileKind::Video | FileKind::VideoNote, _) => "video",
        _ => "file",
    }
}

fn sort(reply: &Reply) -> Sort<'_> {
    match (reply.files.first(), &reply.location, &reply.contact) {
        (Some(file), ..) => Sort::File(file),
        (_, Some(location), _) => Sort::Location(location),
        (_, _, Some(contact)) => Sort::Contact(contact),
        _ => Sort::Text,
    }
}

/// The address of a file whose size Viber wants to be told.
pub(super) fn to_be_measured(reply: &Reply) -> Option<&str> {
    let file = reply.files.first()?;
    match (how(file), &file.source) {
        ("video" | "file", Source::Url(address)) => Some(address),
        _ => None,
    }
}

/// The message as JSON. `size`: of the file, in bytes.
///
/// # Errors
/// What cannot be written: a row of another version's.
pub(super) fn render(
    sender: &str,
    receiver: Option<&str>,
    reply: &Reply,
    size: Option<u64>,
) -> Result<Vec<u8>, String> {
    let mut message = Message {
        receiver,
        sender: Sender { name: sender },
        ..Message::default()
    };
    match sort(reply) {
        Sort::Text => {
            message.kind = "text";
            message.text = Some(&reply.text);
        }
        Sort::File(file) => {
            message.kind = how(file);
            match &file.source {
                Source::Id(id) if message.kind == "sticker" => {
                    message.sticker_id = id.parse().ok();
                }
                Source::Url(address) | Source::Id(address) => message.media = Some(address),
                _ => check(file)?,
            }
            match message.kind {
                "picture" => message.text = Some(&reply.text),
                "video" => message.size = size,
                "file" => {
                    message.size = size;
                    message.file_name = Some(name_of(file));
                }
                _ => {}
            }
        }
        Sort::Location(location) => {
            message.kind = "location";
            message.location = Some(Point {
                lat: location.latitude,
                lon: location.longitude,
            });
        }
        Sort::Contact(contact) => {
            message.kind = "contact";
            message.contact = Some(Card {
                name: contact.name.clone(),
                phone_number: contact.phone.clone(),
            });
        }
    }
    if !reply.buttons.is_empty() {
        let buttons = reply.buttons.iter().flatten();
        let tracking = Tracking {
            buttons: buttons.filter_map(|b| b.data().map(digest)).collect(),
        };
        let tracking = serde_json::to_string(&tracking).map_err(|e| e.to_string())?;
        message.tracking_data = Some(tracking);
        message.min_api_version = Some(SILENT_BUTTONS);
        message.keyboard = Some(keyboard(&reply.buttons));
    }
    serde_json::to_vec(&message).map_err(|e| e.to_string())
}

/// The name that the user sees: at most 256 characters.
fn name_of(file: &Attachment) -> &str {
    let name = upload::name_of(file);
    let start = name.len().saturating_sub(256);
    // The end of a name says what sort of file it is.
    &name[name.ceil_char_boundary(start)..]
}

fn keyboard(rows: &[Vec<Button>]) -> Keyboard {
    let mut buttons = Vec::new();
    for row in rows.iter().flat_map(|row| row.chunks(COLUMNS)) {
        let (each, more) = (COLUMNS / row.len(), COLUMNS % row.len());
        for (place, button) in row.iter().enumerate() {
            // A row that is not full would take in the next one's first buttons.
            buttons.push(key(button, each + usize::from(place < more)));
        }
    }
    Keyboard {
        r#type: "keyboard".to_owned(),
        buttons,
    }
}

fn key(button: &Button, columns: usize) -> Key {
    let (action, body, silent) = match &button.press {
        Press::Data(data) => ("reply", data.as_str(), true),
        Press::Link(address) | Press::WebApp(address) => ("open-url", address.as_str(), true),
        Press::Request(Request::Contact) => ("share-phone", "contact", true),
        Press::Request(Request::Location) => ("location-picker", "location", true),
        Press::Say | Press::Phone(_) => ("reply", button.label.as_str(), false),
    };
    Key {
        columns,
        rows: 1,
        text: escape(&button.label),
        action_type: action.to_owned(),
        action_body: body.to_owned(),
        silent,
    }
}

/// A label is HTML.
fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;");
    text.replace('<', "&lt;").replace('>', "&gt;")
}

fn unescape(html: &str) -> String {
    let text = html.replace("&lt;", "<").replace("&gt;", ">");
    text.replace("&amp;", "&")
}

/// The reply that a message of welcome was made of.
pub(super) fn read(message: &[u8]) -> Option<Reply> {
    let rode: Rode = serde_json::from_slice(message).ok()?;
    let mut reply = Reply::from(rode.text);
    if let Some(media) = rode.media {
        reply.files = vec![Attachment::photo(media)];
    }
    if let Some(sticker) = rode.sticker_id {
        reply.files = vec![Attachment::id(FileKind::Sticker, sticker.to_string())];
    }
    reply.location = rode
        .location
        .map(|point| Location::new(point.lat, point.lon));
    let card = rode.contact;
    reply.contact = card.map(|card| Contact::new(card.phone_number, card.name));
    let mut room = 0;
    for key in rode.keyboard.into_iter().flat_map(|all| all.buttons) {
        if room == 0 {
            reply.buttons.push(Vec::new());
            room = COLUMNS;
        }
        room = room.saturating_sub(key.columns);
        let press = match (key.action_type.as_str(), key.silent) {
            ("open-url", _) => Press::Link(key.action_body),
            ("share-phone", _) => Press::Request(Request::Contact),
            ("location-picker", _) => Press::Request(Request::Location),
            (_, true) => Press::Data(key.action_body),
            (_, false) => Press::Say,
        };
        let button = Button::that(unescape(&key.text), press);
        reply.buttons.last_mut()?.push(button);
    }
    (!reply.text.is_empty() || reply.has_content()).then_some(reply)
}
