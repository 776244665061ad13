//! What Viber posts: events read into updates
//! (<https://developers.viber.com/docs/api/rest-bot-api/#callbacks>).
//!
//! A pressed button arrives as a message whose text is the button's data. To tell it from the
//! same text typed, each message with buttons carries digests of their data as `tracking_data`,
//! which Viber returns with the user's next message.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::incoming::read_json;
use super::super::lenient::{self, Id};
use crate::author::message::{Contact, File, FileKind, Kind, Location, Sender};

#[derive(Deserialize)]
pub(super) struct Head {
    pub(super) event: String,
    /// Larger than 2^53: never a float.
    #[serde(default, deserialize_with = "lenient::maybe")]
    pub(super) message_token: Option<Id>,
}

#[derive(Deserialize)]
struct MessageEvent {
    sender: User,
    message: Message,
}

/// Of somebody who opened the conversation or subscribed.
#[derive(Deserialize)]
struct UserEvent {
    user: User,
    /// What the link carried that the user followed.
    #[serde(default, deserialize_with = "lenient::text")]
    context: Option<String>,
}

/// Of what happened to somebody, whose id is all that is said.
#[derive(Deserialize)]
struct IdEvent {
    user_id: Id,
}

#[derive(Deserialize)]
struct User {
    id: Id,
    #[serde(default, deserialize_with = "lenient::maybe")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    language: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
    /// Where a file is, for an hour; or the address that was sent.
    #[serde(default, deserialize_with = "lenient::text")]
    media: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    file_name: Option<String>,
    #[serde(default, alias = "file_size", deserialize_with = "lenient::maybe")]
    size: Option<lenient::Number>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    sticker_id: Option<Id>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    location: Option<Point>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    contact: Option<Card>,
    #[serde(default, deserialize_with = "lenient::text")]
    tracking_data: Option<String>,
}

#[derive(Deserialize)]
struct Point {
    lat: Degrees,
    lon: Degrees,
}

/// A number, or a text that holds one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Degrees {
    Number(f64),
    Text(String),
}

impl Degrees {
    fn value(&self) -> Option<f64> {
        let degrees = match self {
            Degrees::Number(degrees) => *degrees,
            Degrees::Text(text) => text.trim().parse().ok()?,
        };
        degrees.is_finite().then_some(degrees)
    }
}

#[derive(Deserialize)]
struct Card {
    #[serde(default, deserialize_with = "lenient::text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    phone_number: Option<String>,
}

/// What is read of an update.
#[derive(Default)]
pub(super) struct Said {
    pub(super) user: String,
    pub(super) sender: Option<Sender>,
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) files: Vec<File>,
    pub(super) location: Option<Location>,
    pub(super) contact: Option<Contact>,
}

/// What `tracking_data` holds of ours.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct Tracking {
    pub(super) buttons: Vec<String>,
}

/// Short, since 24 of them must fit into 4096 characters.
pub(super) fn digest(data: &str) -> String {
    hex::encode(&Sha256::digest(data)[..8])
}

/// What a user says.
///
/// # Errors
/// It cannot be read, for this reason.
pub(super) fn message(body: &[u8]) -> Result<Said, String> {
    let MessageEvent { sender, message } = read_json(body)?;
    let mut said = Said {
        kind: Kind::Message,
        ..of(sender)
    };
    let file = |kind| match (message.media.as_ref(), message.sticker_id.as_ref()) {
        (None, None) => Vec::new(),
        (url, sticker) => vec![File {
            url: url.cloned(),
            id: sticker.map(|sticker| sticker.0.clone()),
            name: message.file_name.clone(),
            size: message.size.and_then(|size| u64::try_from(size.0).ok()),
            ..File::new(kind)
        }],
    };
    let text = message.text.clone().unwrap_or_default();
    let (is_there, what) = match message.kind.as_str() {
        "text" => (message.text.is_some(), "a text"),
        "picture" => {
            said.files = file(FileKind::Photo);
            (!said.files.is_empty() || !text.is_empty(), "an address")
        }
        "video" => {
            said.files = file(FileKind::Video);
            (!said.files.is_empty(), "an address")
        }
        "file" => {
            said.files = file(FileKind::Document);
            (!said.files.is_empty(), "an address")
        }
        "sticker" => {
            said.files = file(FileKind::Sticker);
            (!said.files.is_empty(), "a number")
        }
        "location" => {
            said.location = message
                .location
                .as_ref()
                .and_then(|point| Some(Location::new(point.lat.value()?, point.lon.value()?)));
            (said.location.is_some(), "degrees")
        }
        "contact" => {
            said.contact = message.contact.and_then(|card| {
                Some(Contact::new(
                    card.phone_number?,
                    card.name.unwrap_or_default(),
                ))
            });
            (said.contact.is_some(), "a number")
        }
        // What is none of these, such as `rich_media`, is a message all the same.
        _ => (true, ""),
    };
    if !is_there {
        return Err(format!("a {} without {what}", message.kind));
    }
    said.text = match message.kind.as_str() {
        "url" if text.is_empty() => message.media.unwrap_or_default(),
        _ => text,
    };
    let tracking = message.tracking_data.unwrap_or_default();
    let is_pressed = message.kind == "text"
        && serde_json::from_str::<Tracking>(&tracking)
            .is_ok_and(|tracking| tracking.buttons.contains(&digest(&said.text)));
    if is_pressed {
        said.kind = Kind::Button;
    }
    Ok(said)
}

/// Something that a user did who is named in full.
///
/// # Errors
/// It cannot be read, for this reason.
pub(super) fn of_user(kind: Kind, body: &[u8]) -> Result<Said, String> {
    let UserEvent { user, context } = read_json(body)?;
    Ok(Said {
        kind,
        text: context.unwrap_or_default(),
        ..of(user)
    })
}

/// Something that happened to a user.
///
/// # Errors
/// It cannot be read, for this reason.
pub(super) fn of_id(kind: Kind, body: &[u8]) -> Result<Said, String> {
    let IdEvent { user_id } = read_json(body)?;
    Ok(Said {
        user: user_id.0,
        kind,
        ..Said::default()
    })
}

/// What Viber calls something that we have no name for.
pub(super) fn unknown(body: &[u8]) -> Option<Said> {
    of_id(Kind::Other, body)
        .or_else(|_| of_user(Kind::Other, body))
        .or_else(|_| {
            let MessageEvent { sender, .. } = read_json(body)?;
            Ok::<_, String>(Said {
                kind: Kind::Other,
                ..of(sender)
            })
        })
        .ok()
}

fn of(user: User) -> Said {
    let sender = (user.name.is_some() || user.language.is_some()).then(|| Sender {
        name: user.name.unwrap_or_default(),
        language: user.language,
        ..Sender::default()
    });
    Said {
        user: user.id.0,
        sender,
        ..Said::default()
    }
}
