//! What VK posts or Long Poll gives: one event, read into an update
//! (<https://dev.vk.com/en/api/community-events/json-schema>).
//!
//! Called by `mod.rs`. Invariant: an event of a user that can be read is an update, whatever
//! it is; only what the community itself says, and who reads and types, is none.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::super::incoming::{dialog, read_json, unreadable, update_id};
use super::super::lenient::{self, Id, List, Number};
use super::files;
use super::keyboard::data;
use crate::author::message::{Chat, ChatKind, Forwarded, Kind, Location, Quoted, Sender, Update};

/// Chats begin here; what is below is a user.
const CHATS: i64 = 2_000_000_000;

/// Events of users that say nothing, and what the community itself says: the bot's replies
/// among it.
const NOT_HEARD: [&str; 4] = [
    "message_reply",
    "message_read",
    "message_typing_state",
    "confirmation",
];

#[derive(Deserialize)]
pub(super) struct Event<'a> {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(default, deserialize_with = "lenient::maybe")]
    event_id: Option<Id>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    pub(super) group_id: Option<Number>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
}

/// A message is in an object of its own, since version 5.103; an edited one still is not.
#[derive(Deserialize)]
struct Wrapped<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    client_info: Option<ClientInfo>,
}

#[derive(Deserialize)]
struct ClientInfo {
    #[serde(default, deserialize_with = "lenient::number")]
    lang_id: Option<i64>,
}

#[derive(Deserialize)]
struct Message {
    from_id: Number,
    #[serde(default, deserialize_with = "lenient::number")]
    peer_id: Option<i64>,
    /// Its name in its conversation.
    #[serde(default, deserialize_with = "lenient::number")]
    conversation_message_id: Option<i64>,
    /// It is the community's own.
    #[serde(default, deserialize_with = "lenient::flag")]
    out: bool,
    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
    /// A text that holds JSON.
    payload: Option<Box<RawValue>>,
    #[serde(default)]
    attachments: List<files::Attached>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    geo: Option<Geo>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    reply_message: Option<Other>,
    #[serde(default)]
    fwd_messages: List<Other>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    action: Option<Happened>,
    /// What the link carried through which the conversation was opened.
    #[serde(rename = "ref", default, deserialize_with = "lenient::maybe")]
    reference: Option<String>,
}

/// A message within a message.
#[derive(Deserialize)]
struct Other {
    #[serde(default, deserialize_with = "lenient::number")]
    from_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::number")]
    conversation_message_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
    #[serde(default)]
    attachments: List<files::Attached>,
}

#[derive(Deserialize)]
struct Geo {
    coordinates: Coordinates,
    #[serde(default, deserialize_with = "lenient::maybe")]
    place: Option<Place>,
}

/// A text with both is of older versions.
#[derive(Deserialize)]
#[serde(untagged)]
enum Coordinates {
    Two { latitude: f64, longitude: f64 },
    Text(String),
}

#[derive(Deserialize)]
struct Place {
    #[serde(default, deserialize_with = "lenient::maybe")]
    title: Option<String>,
    #[serde(default, deserialize_with = "lenient::maybe")]
    address: Option<String>,
}

/// What happened in a chat.
#[derive(Deserialize)]
struct Happened {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "lenient::number")]
    member_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::text")]
    text: Option<String>,
}

/// A button was pressed that leaves no message.
#[derive(Deserialize)]
struct Pressed {
    user_id: Number,
    #[serde(default, deserialize_with = "lenient::number")]
    peer_id: Option<i64>,
    /// Not the event's own id: the press is answered under this one.
    #[serde(default, deserialize_with = "lenient::text")]
    event_id: Option<String>,
    payload: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "lenient::number")]
    conversation_message_id: Option<i64>,
}

/// What other events hold of whom they are.
#[derive(Deserialize)]
struct Did {
    #[serde(
        default,
        alias = "from_id",
        alias = "reacted_id",
        alias = "liker_id",
        deserialize_with = "lenient::number"
    )]
    user_id: Option<i64>,
    #[serde(default, deserialize_with = "lenient::number")]
    peer_id: Option<i64>,
    #[serde(
        default,
        alias = "conversation_message_id",
        deserialize_with = "lenient::number"
    )]
    cmid: Option<i64>,
    #[serde(default, deserialize_with = "lenient::text")]
    reaction_id: Option<String>,
    /// Of a permission: what the page said that asked for it.
    #[serde(default, deserialize_with = "lenient::text")]
    key: Option<String>,
    #[serde(default, deserialize_with = "lenient::text")]
    join_type: Option<String>,
}

/// What a press is answered with: [`Update::within`] of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticket {
    pub(super) event_id: String,
    pub(super) user_id: i64,
}

/// What is read of an event.
struct Said {
    user: i64,
    peer: Option<i64>,
    update: Update,
}

/// The update in an event; none if it is nothing that is heard.
pub(super) fn update(event: &Event<'_>, body: &Bytes) -> Option<Update> {
    let kind = event.kind.as_str();
    if NOT_HEARD.contains(&kind) {
        return None;
    }
    let id = event.event_id.as_ref().map(|id| id.0.clone());
    let left = |user: Option<i64>, reason: &str| {
        let user = user.map(|user| user.to_string());
        Some(unreadable("vk", user, id.clone(), reason, body.clone()))
    };
    let is_of_messages = matches!(kind, "message_new" | "message_edit" | "message_event");
    let said = match event.object {
        None if is_of_messages => return left(None, "missing field `object`"),
        None => return None,
        Some(object) => match kind {
            "message_new" | "message_edit" => message(event, object),
            "message_event" => pressed(object),
            _ => did(kind, object)?,
        },
    };
    let said = match said {
        Ok(Some(said)) => said,
        Ok(None) => return None,
        Err((user, reason)) => return left(user, &reason),
    };
    let user = said.user;
    let Some(id) = &id else {
        let reason = "missing field `event_id`: choose version 5.199 in the community's settings";
        return left(Some(user), reason);
    };
    let dialog = match dialog("vk", user.to_string()) {
        Ok(dialog) => dialog,
        Err(reason) => return left(None, &reason),
    };
    let peer = said.peer.unwrap_or(user);
    let mut update = said.update;
    update.dialog = dialog;
    update.id = update_id(id);
    update.address = peer.to_string();
    update.chat = Some(Chat {
        id: peer.to_string(),
        kind: match peer >= CHATS {
            true => ChatKind::Group,
            false => ChatKind::Private,
        },
        ..Chat::default()
    });
    if update.event.is_empty() {
        update.event.clone_from(&event.kind);
    }
    update.raw = body.clone();
    Some(update)
}

/// An update of which dialog, id and address are still to be said.
fn blank(kind: Kind, text: String) -> Update {
    let nobody = crate::author::message::DialogKey::new("vk", "");
    Update {
        kind,
        ..Update::new(nobody, "", text, Bytes::new())
    }
}

fn name_of(conversation_message_id: Option<i64>) -> String {
    let id = conversation_message_id.filter(|id| *id > 0);
    id.map_or(String::new(), |id| id.to_string())
}

type Read = Result<Option<Said>, (Option<i64>, String)>;

fn message(event: &Event<'_>, object: &RawValue) -> Read {
    let wrapped = serde_json::from_str::<Wrapped<'_>>(object.get()).ok();
    let language = wrapped
        .as_ref()
        .and_then(|wrapped| language(wrapped.client_info.as_ref()?.lang_id?));
    let object = wrapped
        .and_then(|wrapped| wrapped.message)
        .unwrap_or(object);
    let message: Message = read_json(object.get().as_bytes()).map_err(|reason| (None, reason))?;
    let is_edit = event.kind == "message_edit";
    if is_edit && message.out {
        return Ok(None);
    }
    let user = message.from_id.0;
    let attachments = files::read(message.attachments);
    let is_strange = attachments.is_strange;
    let mut update = blank(Kind::Message, message.text.unwrap_or_default());
    update.files = attachments.files;
    update.message = name_of(message.conversation_message_id);
    update.location = message.geo.and_then(location);
    update.quoted = message.reply_message.map(|quoted| Quoted {
        message: name_of(quoted.conversation_message_id),
        text: quoted.text.unwrap_or_default(),
        sender: quoted.from_id.map(|id| id.to_string()),
    });
    update.sender = language.map(|language| Sender {
        language: Some(language.to_owned()),
        ..Sender::default()
    });
    let was_silent = update.text.is_empty() && update.files.is_empty();
    if was_silent && let Some(address) = attachments.address {
        update.text = address;
    }
    forwarded(&mut update, message.fwd_messages.items);
    if is_edit {
        update.kind = Kind::Edited;
    } else if let Some(action) = message.action {
        happened(&mut update, action, user, event.group_id);
    } else if let Some(payload) = payload_of(message.payload.as_deref()) {
        (update.kind, update.text) = match is_start(&payload) {
            true => (Kind::Opened, message.reference.unwrap_or_default()),
            false => (Kind::Button, data(&payload)),
        };
    } else if is_strange
        && update.text.is_empty()
        && update.files.is_empty()
        && update.location.is_none()
    {
        let reason = "its attachments are not as VK describes them";
        return Err((Some(user), reason.to_owned()));
    }
    Ok(Some(Said {
        user,
        peer: message.peer_id,
        update,
    }))
}

/// What is forwarded is what the message says, unless it says something itself.
fn forwarded(update: &mut Update, messages: Vec<Other>) {
    let Some(first) = messages.first() else {
        return;
    };
    update.forwarded = Some(Forwarded {
        id: first.from_id.map(|id| id.to_string()),
        ..Forwarded::default()
    });
    if !update.text.is_empty() || !update.files.is_empty() {
        return;
    }
    let mut texts = Vec::new();
    for message in messages {
        update.files.extend(files::read(message.attachments).files);
        texts.extend(message.text.filter(|text| !text.is_empty()));
    }
    update.text = texts.join("\n");
}

fn location(geo: Geo) -> Option<Location> {
    let (latitude, longitude) = match geo.coordinates {
        Coordinates::Two {
            latitude,
            longitude,
        } => (latitude, longitude),
        Coordinates::Text(text) => {
            let (latitude, longitude) = text.trim().split_once(' ')?;
            (latitude.parse().ok()?, longitude.trim().parse().ok()?)
        }
    };
    let mut location = Location::new(latitude, longitude);
    if let Some(place) = geo.place {
        location.title = place.title;
        location.address = place.address;
    }
    Some(location)
}

/// Something happened in a chat, which is shown there as a message.
fn happened(update: &mut Update, action: Happened, user: i64, group: Option<Number>) {
    let of_bot = |member: i64| group.is_some_and(|group| member == -group.0);
    update.kind = match (action.kind.as_str(), action.member_id) {
        ("chat_invite_user" | "chat_invite_user_by_link", _) => Kind::Joined,
        ("chat_kick_user", Some(member)) if of_bot(member) || member == user => Kind::Left,
        _ => Kind::Other,
    };
    if let Some(text) = action.text {
        update.text = text;
    }
    update.event = action.kind;
}

fn pressed(object: &RawValue) -> Read {
    let pressed: Pressed = read_json(object.get().as_bytes()).map_err(|reason| (None, reason))?;
    let user_id = pressed.user_id.0;
    let payload = payload_of(pressed.payload.as_deref()).unwrap_or_default();
    let mut update = blank(Kind::Button, data(&payload));
    update.message = name_of(pressed.conversation_message_id);
    if let Some(event_id) = pressed.event_id {
        let ticket = Ticket { event_id, user_id };
        update.within = serde_json::to_string(&ticket).unwrap_or_default();
    }
    Ok(Some(Said {
        user: user_id,
        peer: pressed.peer_id,
        update,
    }))
}

/// Whatever else a user did; none if it is nobody's.
fn did(kind: &str, object: &RawValue) -> Option<Read> {
    let did: Did = serde_json::from_str(object.get()).ok()?;
    // Communities and hidden people have other numbers.
    let user = did.user_id.filter(|user| *user > 0)?;
    let kind = match (kind, did.join_type.as_deref()) {
        ("message_allow", _) => Kind::Joined,
        ("message_deny", _) => Kind::Left,
        ("message_reaction_event", _) => Kind::Reaction,
        ("group_join", Some("request")) => Kind::JoinRequest,
        _ => Kind::Other,
    };
    let mut update = blank(kind, did.reaction_id.or(did.key).unwrap_or_default());
    update.message = name_of(did.cmid);
    Some(Ok(Some(Said {
        user,
        peer: did.peer_id,
        update,
    })))
}

/// A payload's JSON, which mostly stands in a text.
fn payload_of(payload: Option<&RawValue>) -> Option<String> {
    let json = payload?.get();
    let inner = serde_json::from_str::<String>(json);
    Some(inner.unwrap_or_else(|_| json.to_owned())).filter(|payload| !payload.is_empty())
}

/// Whether it is of the button that VK shows to those who have said nothing yet
/// (<https://dev.vk.com/en/api/bots/development/keyboard>).
fn is_start(payload: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Start {
        command: String,
    }
    serde_json::from_str::<Start>(payload).is_ok_and(|start| start.command == "start")
}

/// The languages of VK's apps (<https://dev.vk.com/en/api/api-requests>, `lang`).
fn language(id: i64) -> Option<&'static str> {
    Some(match id {
        0 => "ru",
        1 => "uk",
        2 => "be",
        3 => "en",
        4 => "es",
        5 => "fi",
        6 => "de",
        7 => "it",
        _ => return None,
    })
}
