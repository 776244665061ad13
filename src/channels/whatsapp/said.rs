//! What one message of a user holds
//! (<https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks/payload-examples>).
//!
//! Called by `incoming.rs`, which knows whose it is. Invariant: a message of a type that is
//! not known is an update all the same, of [`Kind::Other`].

use serde::Deserialize;

use super::super::lenient::{self, List};
use super::outgoing::SAY;
use crate::author::message::{Contact, File, FileKind, Forwarded, Kind, Location, Quoted};

#[derive(Deserialize)]
pub(super) struct Message {
    #[serde(default, deserialize_with = "lenient::text")]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub(super) from: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub(super) from_user_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    pub(super) group_id: Option<String>,
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    sort: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    context: Option<Context>,
    text: Option<Body>,
    image: Option<Media>,
    video: Option<Media>,
    document: Option<Media>,
    audio: Option<Media>,
    sticker: Option<Media>,
    location: Option<Place>,
    #[serde(default)]
    contacts: List<Card>,
    interactive: Option<Interactive>,
    button: Option<Pressed>,
    reaction: Option<Reaction>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    order: Option<Order>,
    edit: Option<Box<Edit>>,
    revoke: Option<Box<Edit>>,
    system: Option<System>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    request_welcome: Option<Body>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    unsupported: Option<Unsupported>,
}

#[derive(Deserialize)]
struct Context {
    #[serde(default, deserialize_with = "lenient::text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    from: Option<String>,
    #[serde(default, deserialize_with = "lenient::flag")]
    forwarded: bool,
    #[serde(default, deserialize_with = "lenient::flag")]
    frequently_forwarded: bool,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default, deserialize_with = "lenient::text")]
    body: Option<String>,
}

/// What is said beside what is ordered.
#[derive(Deserialize)]
struct Order {
    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
}

#[derive(Deserialize)]
struct Media {
    #[serde(default, deserialize_with = "lenient::text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    mime_type: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    caption: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    filename: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    url: Option<String>,
    /// It was recorded in the chat.
    #[serde(default, deserialize_with = "lenient::flag")]
    voice: bool,
}

#[derive(Deserialize)]
struct Place {
    #[serde(deserialize_with = "degrees")]
    latitude: f64,
    #[serde(deserialize_with = "degrees")]
    longitude: f64,
    #[serde(default, deserialize_with = "lenient::text")]
    name: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    address: Option<String>,
}

/// A number, which may be written as a text.
fn degrees<'de, D: serde::Deserializer<'de>>(json: D) -> Result<f64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Degrees {
        Number(f64),
        Text(String),
    }
    match Degrees::deserialize(json)? {
        Degrees::Number(number) => Ok(number),
        Degrees::Text(text) => text
            .trim()
            .parse()
            .map_err(|_| serde::de::Error::custom("no degrees")),
    }
}

#[derive(Deserialize)]
struct Card {
    #[serde(default, deserialize_with = "lenient::maybe")]
    name: Option<Name>,
    #[serde(default)]
    phones: List<Phone>,
}

#[derive(Deserialize)]
struct Name {
    #[serde(default, deserialize_with = "lenient::text")]
    formatted_name: Option<String>,
}

#[derive(Deserialize)]
struct Phone {
    #[serde(default, deserialize_with = "lenient::text")]
    phone: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    wa_id: Option<String>,
}

#[derive(Deserialize)]
struct Interactive {
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    sort: Option<String>,
    button_reply: Option<Chosen>,
    list_reply: Option<Chosen>,
    nfm_reply: Option<Flow>,
}

/// A button of ours.
#[derive(Deserialize)]
struct Chosen {
    #[serde(default, deserialize_with = "lenient::text")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    title: Option<String>,
}

/// A button of a template.
#[derive(Deserialize)]
struct Pressed {
    #[serde(default, deserialize_with = "lenient::text")]
    payload: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
}

/// What was filled in.
#[derive(Deserialize)]
struct Flow {
    #[serde(default, deserialize_with = "lenient::text")]
    response_json: Option<String>,
}

#[derive(Deserialize)]
struct Reaction {
    #[serde(default, deserialize_with = "lenient::text")]
    message_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    emoji: Option<String>,
}

/// An earlier message is another since, or gone.
#[derive(Deserialize)]
struct Edit {
    #[serde(default, deserialize_with = "lenient::text")]
    original_message_id: Option<String>,
    message: Option<Message>,
}

/// The platform says something of the user.
#[derive(Deserialize)]
struct System {
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    sort: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    body: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    wa_id: Option<String>,
    /// The same in earlier versions of the API.
    #[serde(default, deserialize_with = "lenient::text")]
    new_wa_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    user_id: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    previous_user_id: Option<String>,
}

#[derive(Deserialize)]
struct Unsupported {
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    sort: Option<String>,
}

/// What is read of a message.
#[derive(Default)]
pub(super) struct Said {
    pub(super) kind: Kind,
    pub(super) event: String,
    pub(super) text: String,
    pub(super) files: Vec<File>,
    pub(super) location: Option<Location>,
    pub(super) contact: Option<Contact>,
    pub(super) quoted: Option<Quoted>,
    pub(super) forwarded: Option<Forwarded>,
    /// The message that is meant: [`Update::message`](crate::Update::message).
    pub(super) message: String,
    pub(super) moved: Moved,
}

/// A user has another id from now on.
#[derive(Default)]
pub(super) struct Moved {
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
}

/// What a message with this id says.
///
/// # Errors
/// It lacks what its type says is in it; in a sentence.
pub(super) fn said(message: Message, id: Option<&str>) -> Result<Said, String> {
    let sort = message.sort.clone().unwrap_or_default();
    let mut said = Said {
        event: sort.clone(),
        message: id.unwrap_or_default().to_owned(),
        ..Said::default()
    };
    let mut answers = None;
    if let Some(context) = message.context {
        if context.forwarded || context.frequently_forwarded {
            said.forwarded = Some(Forwarded::default());
        }
        let id = context.id.filter(|id| !id.is_empty());
        answers = id.map(|message| Quoted {
            message,
            sender: context.from,
            ..Quoted::default()
        });
    }
    let lacks = || format!("a message of type {sort:?} without it");
    match sort.as_str() {
        "text" => said.text = message.text.and_then(|text| text.body).ok_or_else(lacks)?,
        "image" => file(&mut said, message.image, FileKind::Photo, lacks)?,
        "video" => file(&mut said, message.video, FileKind::Video, lacks)?,
        "document" => file(&mut said, message.document, FileKind::Document, lacks)?,
        "audio" => file(&mut said, message.audio, FileKind::Audio, lacks)?,
        "sticker" => file(&mut said, message.sticker, FileKind::Sticker, lacks)?,
        "location" => said.location = Some(place(message.location.ok_or_else(lacks)?)),
        "contacts" => said.contact = Some(contact(message.contacts).ok_or_else(lacks)?),
        "interactive" => interactive(&mut said, message.interactive),
        "button" => {
            let button = message.button.ok_or_else(lacks)?;
            pressed(&mut said, button.payload, button.text);
        }
        "reaction" => {
            let reaction = message.reaction.ok_or_else(lacks)?;
            said.kind = Kind::Reaction;
            said.text = reaction.emoji.unwrap_or_default();
            said.message = reaction.message_id.unwrap_or_default();
        }
        "edit" => {
            let edit = *message.edit.ok_or_else(lacks)?;
            let original = edit.original_message_id.unwrap_or_default();
            let mut inner = self::said(edit.message.ok_or_else(lacks)?, Some(&original))?;
            inner.kind = Kind::Edited;
            inner.event = sort;
            return Ok(inner);
        }
        "revoke" => {
            said.kind = Kind::Other;
            let revoke = message.revoke.ok_or_else(lacks)?;
            said.message = revoke.original_message_id.unwrap_or_default();
        }
        "request_welcome" => {
            said.kind = Kind::Opened;
            let welcome = message.request_welcome.and_then(|welcome| welcome.body);
            said.text = welcome.unwrap_or_default();
        }
        "system" => system(&mut said, message.system.ok_or_else(lacks)?),
        "order" => {
            said.kind = Kind::Other;
            said.text = message
                .order
                .and_then(|order| order.text)
                .unwrap_or_default();
        }
        "unsupported" => {
            said.kind = Kind::Other;
            if let Some(sort) = message.unsupported.and_then(|what| what.sort) {
                said.event = format!("unsupported.{sort}");
            }
        }
        _ => said.kind = Kind::Other,
    }
    match said.kind {
        // The message whose button it is.
        Kind::Button => said.message = answers.map_or(String::new(), |quoted| quoted.message),
        Kind::Message => said.quoted = answers,
        _ => {}
    }
    Ok(said)
}

fn file(
    said: &mut Said,
    media: Option<Media>,
    kind: FileKind,
    lacks: impl Fn() -> String,
) -> Result<(), String> {
    let media = media.ok_or_else(&lacks)?;
    if media.id.is_none() && media.url.is_none() {
        return Err(lacks());
    }
    let kind = match media.voice {
        true => FileKind::Voice,
        false => kind,
    };
    said.text = media.caption.unwrap_or_default();
    said.files = vec![File {
        id: media.id,
        url: media.url,
        name: media.filename,
        media_type: media.mime_type,
        ..File::new(kind)
    }];
    Ok(())
}

fn place(place: Place) -> Location {
    let mut location = Location::new(place.latitude, place.longitude);
    location.title = place.name.filter(|name| !name.is_empty());
    location.address = place.address.filter(|address| !address.is_empty());
    location
}

/// The first of the cards, with its first number: the others are in the raw JSON.
fn contact(cards: List<Card>) -> Option<Contact> {
    let card = cards.items.into_iter().next()?;
    let name = card.name.and_then(|name| name.formatted_name);
    let phone = card.phones.items.into_iter().next();
    let (number, id) = phone.map_or((None, None), |phone| (phone.phone, phone.wa_id));
    let mut contact = Contact::new(
        number.or_else(|| id.clone()).unwrap_or_default(),
        name.unwrap_or_default(),
    );
    contact.user_id = id;
    Some(contact)
}

fn interactive(said: &mut Said, interactive: Option<Interactive>) {
    // It came without anything in it, and an error beside it.
    let Some(interactive) = interactive else {
        said.kind = Kind::Other;
        return;
    };
    if let Some(button) = interactive.button_reply.or(interactive.list_reply) {
        return pressed(said, button.id, button.title);
    }
    if let Some(sort) = interactive.sort {
        said.event = format!("interactive.{sort}");
    }
    said.kind = Kind::Other;
    if let Some(flow) = interactive.nfm_reply {
        said.kind = Kind::Button;
        said.text = flow.response_json.unwrap_or_default();
    }
}

fn pressed(said: &mut Said, data: Option<String>, label: Option<String>) {
    match data {
        Some(id) if id.starts_with(SAY) => said.text = label.unwrap_or_default(),
        Some(id) => {
            said.kind = Kind::Button;
            said.text = id;
        }
        None => {
            said.kind = Kind::Button;
            said.text = label.unwrap_or_default();
        }
    }
}

fn system(said: &mut Said, system: System) {
    said.kind = Kind::Other;
    said.text = system.body.unwrap_or_default();
    if let Some(sort) = &system.sort {
        said.event = format!("system.{sort}");
    }
    said.moved = Moved {
        from: system.previous_user_id,
        // An id that the business knows counts more than a number.
        to: system.user_id.or(system.wa_id).or(system.new_wa_id),
    };
}
