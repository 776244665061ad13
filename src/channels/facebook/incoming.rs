//! What Messenger posts: one event of a batch, read into an update
//! (<https://developers.facebook.com/docs/messenger-platform/reference/webhook-events>).
//!
//! Called by `mod.rs` for each event. Invariant: an event of a user that can be read is an
//! update, whatever it is; only echoes, and what says what became of the bot's own messages,
//! are none.

use bytes::Bytes;
use serde::Deserialize;

use super::super::incoming::{dialog, digest, field_beside, read_json, unreadable, update_id};
use super::super::lenient::{self, Id, List};
use super::outgoing::SAY;
use crate::author::message::{Contact, File, FileKind, Kind, Location, Quoted, Update};

/// The fields of all events.
const COMMON: [&str; 3] = ["sender", "recipient", "timestamp"];

/// Where an event stood in its batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// It is ours to answer.
    Ours,
    /// Another app has the conversation; we may read.
    Standby,
}

/// How [`Update::event`] begins of what another app is to answer.
pub(super) const STANDBY: &str = "standby.";

#[derive(Deserialize)]
struct Event {
    #[serde(default, deserialize_with = "lenient::maybe")]
    sender: Option<User>,
    /// Only to tell events apart.
    #[serde(default, deserialize_with = "lenient::maybe")]
    timestamp: Option<Id>,
    message: Option<Message>,
    message_edit: Option<Edit>,
    postback: Option<Postback>,
    reaction: Option<Reaction>,
    referral: Option<Referral>,
    optin: Option<Referral>,
}

/// What is read of an event whose other fields cannot be.
#[derive(Deserialize)]
struct SentBy {
    sender: User,
}

#[derive(Deserialize)]
struct User {
    id: Id,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default, deserialize_with = "lenient::text")]
    mid: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
    quick_reply: Option<QuickReply>,
    #[serde(default)]
    attachments: List<Attachment>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    reply_to: Option<ReplyTo>,
    #[serde(default, deserialize_with = "lenient::flag")]
    is_echo: bool,
}

#[derive(Deserialize)]
struct QuickReply {
    #[serde(default, deserialize_with = "lenient::text")]
    payload: Option<String>,
}

#[derive(Deserialize)]
struct ReplyTo {
    #[serde(default, deserialize_with = "lenient::text")]
    mid: Option<String>,
}

#[derive(Deserialize)]
struct Attachment {
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    kind: Option<String>,
    payload: Option<Payload>,
    /// Of what was shared.
    #[serde(default, deserialize_with = "lenient::maybe")]
    url: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    title: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default, deserialize_with = "lenient::text")]
    url: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    sticker_id: Option<Id>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    coordinates: Option<Coordinates>,
}

#[derive(Deserialize)]
struct Coordinates {
    lat: f64,
    #[serde(alias = "lon")]
    long: f64,
}

/// An earlier message has another text since.
#[derive(Deserialize)]
struct Edit {
    #[serde(default, deserialize_with = "lenient::text")]
    mid: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
    /// Which edit of the message it is.
    #[serde(default, deserialize_with = "lenient::text")]
    num_edit: Option<String>,
}

#[derive(Deserialize)]
struct Postback {
    #[serde(default, deserialize_with = "lenient::text")]
    mid: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    title: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    payload: Option<String>,
    /// Of the link through which the conversation was opened for the first time.
    #[serde(default, deserialize_with = "lenient::maybe")]
    referral: Option<Referral>,
}

#[derive(Deserialize)]
struct Reaction {
    #[serde(default, deserialize_with = "lenient::text")]
    mid: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    action: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    emoji: Option<String>,
    /// Such as `love`, where there is no sign.
    #[serde(default, deserialize_with = "lenient::text")]
    reaction: Option<String>,
}

/// Through what the conversation was opened.
#[derive(Deserialize)]
struct Referral {
    #[serde(rename = "ref", default, deserialize_with = "lenient::text")]
    reference: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    payload: Option<String>,
}

/// What is read of an event. Its id is made of the event where there is none.
#[derive(Default)]
struct Said {
    kind: Kind,
    event: String,
    id: Option<String>,
    text: String,
    files: Vec<File>,
    location: Option<Location>,
    contact: Option<Contact>,
    quoted: Option<Quoted>,
    message: String,
}

/// The update in one event; else what sort of event it is.
///
/// # Errors
/// What it is that is no update of anybody's.
pub(super) fn update(raw: &str, place: Place, body: &Bytes) -> Result<Update, String> {
    let slice = || body.slice_ref(raw.as_bytes());
    let left = |reason: &str| {
        let sent = serde_json::from_str::<SentBy>(raw);
        let user = sent.ok().map(|sent| sent.sender.id.0);
        unreadable("facebook", user, None, reason, slice())
    };
    let event: Event = match read_json(raw.as_bytes()) {
        Ok(event) => event,
        Err(reason) => return Ok(left(&reason)),
    };
    let (sender, time) = (event.sender.as_ref(), event.timestamp.as_ref());
    let sender = sender.map(|sender| sender.id.0.clone());
    let time = time.map_or(String::new(), |time| time.0.clone());
    let said = match said(event, raw, sender.as_deref()) {
        Ok(Some(said)) => said,
        Ok(None) => return Err(String::new()),
        Err(Unsaid::Nobodys(event)) => return Err(event),
        Err(Unsaid::Unreadable(reason)) => return Ok(left(reason)),
    };
    let Some(sender) = sender else {
        return Ok(left("missing field `sender`"));
    };
    let mut said = said;
    if place == Place::Standby {
        said.kind = Kind::Other;
        said.event.insert_str(0, STANDBY);
    }
    let id = said.id.filter(|id| !id.is_empty()).unwrap_or_else(|| {
        let kind = said.kind;
        format!("{sender}:{time}:{kind:?}:{}", digest_of_json(raw))
    });
    Ok(match dialog("facebook", sender.as_str()) {
        Ok(dialog) => Update {
            kind: said.kind,
            event: said.event,
            files: said.files,
            location: said.location,
            contact: said.contact,
            quoted: said.quoted,
            message: said.message,
            ..Update::new(dialog, update_id(id).0, said.text, slice())
        },
        Err(reason) => left(&reason),
    })
}

/// Why an event says nothing.
enum Unsaid {
    /// Nobody said it; what it is.
    Nobodys(String),
    Unreadable(&'static str),
}

/// What is said in an event; none in an echo.
fn said(event: Event, raw: &str, sender: Option<&str>) -> Result<Option<Said>, Unsaid> {
    let Event {
        message,
        message_edit,
        postback,
        reaction,
        referral,
        optin,
        ..
    } = event;
    if let Some(message) = message {
        if message.is_echo {
            return Ok(None);
        }
        return of_message(message, sender).map(Some);
    }
    if let Some(postback) = postback {
        return Ok(Some(of_postback(postback)));
    }
    if let Some(edit) = message_edit {
        let edition = edit.mid.as_ref().zip(edit.num_edit);
        return Ok(Some(Said {
            kind: Kind::Edited,
            event: "message_edit".to_owned(),
            id: edition.map(|(mid, number)| format!("{mid}:edit:{number}")),
            text: edit.text.unwrap_or_default(),
            message: edit.mid.unwrap_or_default(),
            ..Said::default()
        }));
    }
    if let Some(reaction) = reaction {
        let is_taken_back = reaction.action.as_deref() == Some("unreact");
        let sign = reaction.emoji.or(reaction.reaction);
        return Ok(Some(Said {
            kind: Kind::Reaction,
            event: "reaction".to_owned(),
            text: sign.filter(|_| !is_taken_back).unwrap_or_default(),
            message: reaction.mid.unwrap_or_default(),
            ..Said::default()
        }));
    }
    for (event, opened) in [("referral", referral), ("optin", optin)] {
        if let Some(opened) = opened {
            return Ok(Some(Said {
                kind: Kind::Opened,
                event: event.to_owned(),
                text: opened.reference.or(opened.payload).unwrap_or_default(),
                ..Said::default()
            }));
        }
    }
    let event = field_beside(raw, &COMMON);
    // One or two come of each message of the bot's.
    if sender.is_none() || ["delivery", "read", "empty"].contains(&event.as_str()) {
        return Err(Unsaid::Nobodys(event));
    }
    Ok(Some(Said {
        kind: Kind::Other,
        event,
        ..Said::default()
    }))
}

fn of_postback(postback: Postback) -> Said {
    let link = postback.referral.and_then(|referral| referral.reference);
    let data = postback.payload.or(postback.title).unwrap_or_default();
    let (kind, text) = match link {
        Some(reference) => (Kind::Opened, reference),
        None => (Kind::Button, data),
    };
    Said {
        kind,
        event: "postback".to_owned(),
        id: postback.mid.clone(),
        text,
        message: postback.mid.unwrap_or_default(),
        ..Said::default()
    }
}

fn of_message(message: Message, sender: Option<&str>) -> Result<Said, Unsaid> {
    let mut said = Said {
        kind: Kind::Message,
        event: "message".to_owned(),
        id: message.mid.clone(),
        message: message.mid.unwrap_or_default(),
        quoted: message.reply_to.and_then(|to| {
            Some(Quoted {
                message: to.mid?,
                ..Quoted::default()
            })
        }),
        ..Said::default()
    };
    let is_strange = message.attachments.is_strange;
    let has_attachments = !message.attachments.items.is_empty();
    let mut shared = None;
    let mut is_known = false;
    for attachment in message.attachments.items {
        match read(attachment) {
            Attached::File(file) => said.files.push(file),
            Attached::Location(location) => said.location = Some(location),
            Attached::Address(address) => shared = Some(address),
            // A kind of its own, such as a template: a message all the same.
            Attached::Other => is_known = true,
            Attached::Nothing => {}
        }
    }
    let pressed = message.quick_reply.and_then(|pressed| pressed.payload);
    match pressed {
        Some(data) if data == SAY => {}
        // What a button asked for that asks for a number.
        Some(data) if message.text.as_ref() == Some(&data) && is_a_number(&data) => {
            let mut contact = Contact::new(data, "");
            contact.user_id = sender.map(str::to_owned);
            said.contact = Some(contact);
        }
        Some(data) => {
            said.kind = Kind::Button;
            said.text = data;
            return Ok(said);
        }
        None => {}
    }
    let is_empty = said.files.is_empty() && said.location.is_none() && shared.is_none();
    if message.text.is_none() && is_empty && (is_strange || has_attachments && !is_known) {
        let reason = "its attachments are not as Facebook describes them";
        return Err(Unsaid::Unreadable(reason));
    }
    said.text = message.text.or(shared).unwrap_or_default();
    Ok(said)
}

/// What an attachment holds.
enum Attached {
    File(File),
    Location(Location),
    /// What was shared is elsewhere.
    Address(String),
    Other,
    Nothing,
}

fn read(attachment: Attachment) -> Attached {
    let Attachment {
        kind,
        payload,
        url,
        title,
    } = attachment;
    let (of_payload, sticker, coordinates) = match payload {
        Some(payload) => (payload.url, payload.sticker_id, payload.coordinates),
        None => (None, None, None),
    };
    let is_sticker = sticker.is_some();
    let file = |kind: FileKind, url: Option<String>| match (&url, &sticker) {
        (None, None) => Attached::Nothing,
        _ => Attached::File(File {
            name: url
                .as_deref()
                .and_then(name_in)
                .filter(|_| kind == FileKind::Document),
            id: sticker.as_ref().map(|id| id.0.clone()),
            url,
            ..File::new(kind)
        }),
    };
    match kind.as_deref() {
        // A sticker was an image, too, until August 2026.
        Some("sticker") => file(FileKind::Sticker, of_payload),
        Some("image") if is_sticker => file(FileKind::Sticker, of_payload),
        Some("image") => file(FileKind::Photo, of_payload),
        // Apps record them; music is sent as a file.
        Some("audio") => file(FileKind::Voice, of_payload),
        Some("video") => file(FileKind::Video, of_payload),
        Some("file") => file(FileKind::Document, of_payload),
        Some("location") => match coordinates {
            Some(at) => {
                let mut location = Location::new(at.lat, at.long);
                location.title = title;
                Attached::Location(location)
            }
            None => Attached::Nothing,
        },
        Some(_) => match of_payload.or(url) {
            Some(address) => Attached::Address(address),
            None => Attached::Other,
        },
        None => Attached::Nothing,
    }
}

/// The file's name at the end of its address.
fn name_in(address: &str) -> Option<String> {
    let path = address.split(['?', '#']).next()?;
    let last = path.rsplit('/').next().filter(|name| name.contains('.'))?;
    let name = percent_encoding::percent_decode_str(last).decode_utf8();
    Some(name.ok()?.into_owned())
}

fn is_a_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default();
    (7..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The same for the same JSON, however it is written.
fn digest_of_json(raw: &str) -> String {
    match serde_json::from_str::<serde_json::Value>(raw) {
        Ok(value) => digest(value.to_string().as_bytes()),
        Err(_) => digest(raw.as_bytes()),
    }
}
