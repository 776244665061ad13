//! Updates and replies: plain data that every other part uses.
//!
//! Imports nothing of ours but the storage crate's keys. The inbox and the outbox keep updates
//! and replies as JSON, which outlives the version that wrote it: each new field needs a
//! default.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use turnkey_storage::DialogKey;
use turnkey_storage::ReplyId;

/// Bytes of a user id. Platforms' own are below 64.
pub const MAX_USER_ID: usize = 256;

/// Bytes of an update id. Platforms' own are below 128, UUIDs are 36.
pub const MAX_UPDATE_ID: usize = 256;

/// The id of an update within its channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UpdateId(pub String);

impl fmt::Display for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What sort of update it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// The user wrote, or sent pictures.
    #[default]
    Message,
    /// The user pressed a button.
    Button,
    /// The user opened the conversation and has said nothing yet (Viber).
    Opened,
    /// Another system asked for it, by `POST /rpc/…`: see [`Update::rpc`].
    Rpc,
    /// The user changed a message that came before: the text and the pictures are the new
    /// ones, and may be the old ones, where only a reaction or a link's preview changed.
    /// A handler sees these only after [`App::handle_edits`](crate::App::handle_edits).
    Edited,
    /// What came in cannot be read: [`Update::unreadable`]. No handler ever sees it.
    Unreadable,
}

/// A picture that a user sent. At least one of the two is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Picture {
    /// The platform's own name for it, such as Telegram's `file_id`. On the same
    /// platform [`Reply::picture`] takes it in place of an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where it can be fetched, mostly for a limited time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// One incoming message or event. As JSON it is what the inbox keeps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Whose it is: the channel and the user.
    #[serde(with = "DialogFields")]
    pub dialog: DialogKey,
    /// Its id; the same one coming again is the same update.
    pub id: UpdateId,
    /// What sort it is.
    #[serde(default)]
    pub kind: Kind,
    /// The text, the caption, the data of the button that was pressed, or what the
    /// link carried through which the conversation was opened. May be empty.
    #[serde(default)]
    pub text: String,
    /// The pictures, in order. Mostly none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<Picture>,
    /// Where replies go, in the channel's terms: a chat, mostly the user.
    pub address: String,
    /// Where in that chat, in the channel's terms, such as the topic of a group; empty
    /// for the chat itself. Replies take it along.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub within: String,
    /// A digest of the request, where a channel tells apart different requests
    /// under one id; else empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub digest: Vec<u8>,
    /// The platform's own JSON: [`Update::raw`].
    #[serde(default, with = "raw")]
    pub(crate) raw: Bytes,
}

/// What another system asks for (JSON-RPC 2.0).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rpc {
    /// The method's name: what is to be done.
    pub method: String,
    /// An array or an object; null when there were none.
    #[serde(default)]
    pub params: serde_json::Value,
}

/// How a dialog's key looks as JSON: the storage crate has no opinion.
#[derive(Serialize, Deserialize)]
#[serde(remote = "DialogKey")]
struct DialogFields {
    channel: String,
    user_id: String,
}

/// A platform's own JSON inside ours: as a string, so that it comes back byte for byte;
/// what is no text, from a channel that takes something else, as numbers.
mod raw {
    use bytes::Bytes;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Stored {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(raw: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(raw) {
            Ok(text) => to.serialize_str(text),
            Err(_) => raw.as_ref().serialize(to),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        Ok(match Stored::deserialize(from)? {
            Stored::Text(text) => text.into(),
            Stored::Bytes(bytes) => bytes.into(),
        })
    }
}

impl Update {
    /// A message with a text, and no more: for an author's own channel. `id` is the
    /// platform's; the same one coming again is the same update. Replies go to the
    /// user; set the other fields where that is not all.
    pub fn new(
        dialog: DialogKey,
        id: impl Into<String>,
        text: impl Into<String>,
        raw: Bytes,
    ) -> Self {
        Update {
            address: dialog.user_id.clone(),
            dialog,
            id: UpdateId(id.into()),
            kind: Kind::Message,
            text: text.into(),
            pictures: Vec::new(),
            within: String::new(),
            digest: Vec::new(),
            raw,
        }
    }

    /// Something genuine that cannot be read, for this reason: no turn runs, it goes to
    /// the dead letters with its JSON, and the platform need not send it again. `id`
    /// should be the same when it comes again all the same.
    pub fn unreadable(
        dialog: DialogKey,
        id: impl Into<String>,
        reason: impl Into<String>,
        raw: Bytes,
    ) -> Self {
        Update {
            kind: Kind::Unreadable,
            ..Update::new(dialog, id, reason, raw)
        }
    }

    /// What another system asks for; none for what a user did.
    pub fn rpc(&self) -> Option<Rpc> {
        match self.kind {
            Kind::Rpc => serde_json::from_slice(&self.raw).ok(),
            _ => None,
        }
    }

    /// The command that the text is, and what stands behind it: see
    /// [`Turn::command`](crate::Turn::command).
    pub fn command(&self) -> Option<(&str, &str)> {
        if self.kind != Kind::Message {
            return None;
        }
        let text = self.text.trim().strip_prefix('/')?;
        let (word, argument) = text
            .split_once(char::is_whitespace)
            .map_or((text, ""), |(word, rest)| (word, rest.trim_start()));
        let command = word.split_once('@').map_or(word, |(command, _)| command);
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        (!command.is_empty() && command.chars().all(is_name)).then_some((command, argument))
    }

    /// The data of the button that was pressed; none if it was not a button.
    pub fn button(&self) -> Option<&str> {
        (self.kind == Kind::Button).then_some(&self.text)
    }

    /// The platform's own JSON of this one update: for the fields that this type leaves
    /// out. It is as it came, but for what no parser takes (bytes that are no UTF-8,
    /// halves of surrogate pairs), which is U+FFFD. Read it with `serde_json::from_slice` into a type of
    /// your own.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }
}

/// What the handler says: a text, a picture with or without one, and buttons under
/// it. `docs/CHANNELS.md` has each platform's limits and what happens at them.
///
/// ```
/// use turnkey::Reply;
///
/// let question = Reply::from("Tea?").button("Yes", "tea:1").button("No", "tea:0");
/// let picture = Reply::picture("https://example.org/cat.jpg").caption("A cat");
/// # assert_eq!((question.buttons.len(), picture.text.as_str()), (2, "A cat"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reply {
    /// The text, or the picture's caption.
    #[serde(default)]
    pub text: String,
    /// The address of a picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
    /// Buttons, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
}

/// A button under a reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Button {
    /// What stands on it.
    pub label: String,
    /// What [`Update::button`] gives when it is pressed.
    pub data: String,
}

impl Reply {
    /// A picture, by its address: the platform fetches it from there.
    pub fn picture(url: impl Into<String>) -> Self {
        Reply {
            picture: Some(url.into()),
            ..Reply::default()
        }
    }

    /// The same with this text under the picture.
    #[must_use]
    pub fn caption(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// The same with one more button.
    #[must_use]
    pub fn button(mut self, label: impl Into<String>, data: impl Into<String>) -> Self {
        self.buttons.push(Button {
            label: label.into(),
            data: data.into(),
        });
        self
    }
}

impl<T: Into<String>> From<T> for Reply {
    fn from(text: T) -> Self {
        Reply {
            text: text.into(),
            ..Reply::default()
        }
    }
}

/// A reply on its way: what the outbox stores. Rows of earlier versions have fewer
/// fields, so each new one needs a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outgoing {
    /// Where to, in the channel's terms: [`Update::address`].
    pub to: String,
    /// Where in that chat: [`Update::within`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub within: String,
    /// The id of the update that it answers.
    #[serde(default)]
    pub update: String,
    /// What.
    #[serde(flatten)]
    pub reply: Reply,
}

impl Outgoing {
    /// A key of this reply, the same at each attempt to send it, and no other's. The
    /// update is part of it: a new database counts its turns from the start again.
    pub fn key(&self, id: ReplyId) -> String {
        format!("{}-{}-{}", self.update, id.turn.0, id.index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_known_however_they_are_written() {
        let of = |kind, text: &str| {
            let dialog = DialogKey::new("telegram", "7");
            let mut update = Update::new(dialog, "1", text, Bytes::new());
            update.kind = kind;
            let command = update.command();
            command.map(|(command, argument)| format!("{command}|{argument}"))
        };
        for (text, expected) in [
            ("/start", Some("start|")),
            ("/start ref_42", Some("start|ref_42")),
            ("/start@my_bot", Some("start|")),
            ("/start@my_bot  ref_42 now", Some("start|ref_42 now")),
            ("/start\nref", Some("start|ref")),
            (" /start ", Some("start|")),
            ("/помощь", Some("помощь|")),
            ("/started", Some("started|")),
            ("start", None),
            ("", None),
            ("/", None),
            ("/ start", None),
            ("/@bot", None),
            ("/etc/passwd", None),
            ("say /start", None),
        ] {
            assert_eq!(of(Kind::Message, text).as_deref(), expected, "{text:?}");
        }
        assert_eq!(of(Kind::Button, "/start"), None);
    }

    #[test]
    fn rows_of_the_first_version_can_be_read() {
        let row: Outgoing = serde_json::from_str(r#"{"to":"7","text":"1: hi"}"#).unwrap();
        assert_eq!((row.to.as_str(), row.update.as_str()), ("7", ""));
        assert_eq!(row.reply, "1: hi".into());
    }

    #[test]
    fn an_update_comes_back_from_the_inbox_byte_for_byte() {
        let mut update = Update {
            dialog: DialogKey::new("telegram", "7"),
            id: UpdateId("12".to_owned()),
            kind: Kind::Button,
            text: "tea:1".to_owned(),
            pictures: vec![Picture {
                id: Some("x".to_owned()),
                url: None,
            }],
            address: "-100".to_owned(),
            within: r#"{"message_thread_id":42}"#.to_owned(),
            digest: vec![0, 255],
            raw: Bytes::from_static(b"{ \"update_id\":12, \"x\": \"\\u00e4\" }\n"),
        };
        for raw in [update.raw.clone(), Bytes::from_static(&[255, 0, 254])] {
            update.raw = raw;
            let json = serde_json::to_vec(&update).unwrap();
            assert_eq!(serde_json::from_slice::<Update>(&json).unwrap(), update);
        }
    }

    #[test]
    fn an_update_of_the_first_version_can_be_read() {
        let row = r#"{"dialog":{"channel":"vk","user_id":"7"},"id":"a","address":"7"}"#;
        let update: Update = serde_json::from_str(row).unwrap();
        assert_eq!((update.kind, update.text.as_str()), (Kind::Message, ""));
        assert!(update.raw.is_empty() && update.digest.is_empty());
    }

    #[test]
    fn a_plain_text_looks_as_it_always_did() {
        let json = serde_json::to_string(&Reply::from("hi")).unwrap();
        assert_eq!(json, r#"{"text":"hi"}"#);
    }
}
