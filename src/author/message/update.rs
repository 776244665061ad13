//! [`Update`]: one incoming message or event.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use turnkey_storage::DialogKey;

use super::called::Called;
use super::content::{Chat, Contact, File, Forwarded, Location, Quoted, Sender};
use super::kind::Kind;
use super::styled::{self, Span};
use super::timer::Timer;

/// Bytes of a user id. Platforms' own are below 64.
pub const MAX_USER_ID: usize = 256;

/// Bytes of an update id. Platforms' own are below 128, UUIDs are 36.
pub const MAX_UPDATE_ID: usize = 256;

/// The id of an update within its channel.
///
/// ```
/// let id = turnkey::UpdateId("9001".to_owned());
/// assert_eq!(id.to_string(), "9001");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UpdateId(pub String);

impl fmt::Display for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One incoming message or event. As JSON it is what the inbox keeps.
///
/// ```
/// use turnkey::{Bytes, DialogKey, Kind, Update};
///
/// // What a channel of your own makes of a request, or a test sends.
/// let raw = Bytes::from_static(b"{}");
/// let mut update = Update::new(DialogKey::new("desk", "ann"), "9001", "/start ref_42", raw);
/// assert_eq!(update.command(), Some(("start", "ref_42")));
/// update.kind = Kind::Button;
/// assert_eq!((update.user_id(), update.button()), ("ann", Some("/start ref_42")));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// Whose it is: the channel and the user, or, in a group, what
    /// [`App::dialog_by`](crate::App::dialog_by) says.
    #[serde(with = "DialogFields")]
    pub dialog: DialogKey,
    /// The user, where the dialog is not theirs alone: in a group. Empty elsewhere.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user: String,
    /// The user's id until now, where the platform says that it is another one from now on:
    /// what belonged to the dialog of that id is this one's. Mostly empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub formerly: String,
    /// Its id; the same one coming again is the same update.
    pub id: UpdateId,
    /// What sort it is.
    #[serde(default)]
    pub kind: Kind,
    /// The platform's own name for what happened, such as Telegram's `my_chat_member`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub event: String,
    /// The text, the caption, the data of the button that was pressed, the question asked
    /// inline, the sign of a reaction, or what the link carried through which the
    /// conversation was opened. May be empty.
    #[serde(default)]
    pub text: String,
    /// Which parts of the text are bold, links and so on: [`Update::markup`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// The files, in order. Mostly none.
    #[serde(default, alias = "pictures", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
    /// The place that the user sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The telephone number that the user sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
    /// The message that this one answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted: Option<Quoted>,
    /// Where it comes from, if it was forwarded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forwarded: Option<Forwarded>,
    /// Who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<Sender>,
    /// The conversation that it is part of; none where a platform has only private ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat: Option<Chat>,
    /// The platform's id of the message: of this one, or of the one whose button was
    /// pressed or that was reacted to. Empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Messages that were sent together have the same one here: an album.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub album: String,
    /// The messages that this one was made of, in order: [`Update::updates`]. Mostly empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gathered: Vec<Update>,
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

/// What another system asks for (JSON-RPC 2.0), by `POST /rpc/CHANNEL/USER`.
///
/// ```
/// use turnkey::Turn;
///
/// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
///     if let Some(rpc) = turn.rpc().filter(|rpc| rpc.method == "paid") {
///         turn.reply(format!("{} euros are here, thank you.", rpc.params["eur"]));
///     }
///     Ok(())
/// }
/// # turnkey::App::new(handle);
/// ```
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
            user: String::new(),
            formerly: String::new(),
            id: UpdateId(id.into()),
            kind: Kind::Message,
            event: String::new(),
            text: text.into(),
            spans: Vec::new(),
            files: Vec::new(),
            location: None,
            contact: None,
            quoted: None,
            forwarded: None,
            sender: None,
            chat: None,
            message: String::new(),
            album: String::new(),
            gathered: Vec::new(),
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

    /// The messages that are handled in this turn, in order: this one alone, unless
    /// [`App::overlap`](crate::App::overlap) made one turn of several.
    pub fn updates(&self) -> &[Update] {
        match self.gathered.is_empty() {
            true => std::slice::from_ref(self),
            false => &self.gathered,
        }
    }

    /// Messages that are one turn, under the id of the first. It has the texts of all, each
    /// with a line of its own, and all files; all else is the last one's that has it.
    pub(crate) fn together(parts: Vec<Update>) -> Self {
        let mut all = Update::newest(parts);
        let parts = &all.gathered;
        let (mut text, mut spans) = (String::new(), Vec::new());
        for part in parts.iter().filter(|part| !part.text.is_empty()) {
            if !text.is_empty() {
                text.push('\n');
            }
            spans.extend(part.spans.iter().map(|span| Span {
                start: span.start + text.len(),
                end: span.end + text.len(),
                style: span.style.clone(),
            }));
            text.push_str(&part.text);
        }
        let files = parts.iter().flat_map(|part| &part.files).cloned().collect();
        let newest = || parts.iter().rev();
        let location = newest().find_map(|part| part.location.clone());
        let contact = newest().find_map(|part| part.contact.clone());
        let quoted = newest().find_map(|part| part.quoted.clone());
        let forwarded = newest().find_map(|part| part.forwarded.clone());
        all = Update {
            text,
            spans,
            files,
            location,
            contact,
            quoted,
            forwarded,
            ..all
        };
        all
    }

    /// The newest of messages that are one turn, under the id of the first.
    pub(crate) fn newest(parts: Vec<Update>) -> Self {
        debug_assert!(parts.len() > 1, "there is something to gather");
        let mut all = parts[parts.len() - 1].clone();
        all.id = parts[0].id.clone();
        all.digest = parts[0].digest.clone();
        all.gathered = parts;
        all
    }

    /// The user, as the channel names them.
    pub fn user_id(&self) -> &str {
        match self.user.as_str() {
            "" => &self.dialog.user_id,
            user => user,
        }
    }

    /// The timer that is due; none if this is about something else.
    pub fn timer(&self) -> Option<Timer> {
        match self.kind {
            Kind::Timer => serde_json::from_slice(&self.raw).ok(),
            _ => None,
        }
    }

    /// Who came with which callback, and what they brought; none if this is about something else.
    pub fn called(&self) -> Option<Called> {
        match self.kind {
            Kind::Callback => serde_json::from_slice(&self.raw).ok(),
            _ => None,
        }
    }

    /// What another system asks for; none for what a user did.
    pub fn rpc(&self) -> Option<Rpc> {
        match self.kind {
            Kind::Rpc => serde_json::from_slice(&self.raw).ok(),
            _ => None,
        }
    }

    /// The text with its formatting in the markup that [`Reply::markup`](crate::Reply::markup)
    /// takes; characters that would mean something there are escaped.
    pub fn markup(&self) -> String {
        styled::to_markup(&self.text, &self.spans)
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
    /// halves of surrogate pairs), which is U+FFFD. Read it with `serde_json::from_slice`
    /// into a type of your own.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }
}

#[cfg(test)]
mod tests {
    use super::super::content::FileKind;
    use super::super::styled::Style;
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
    fn an_update_comes_back_from_the_inbox_byte_for_byte() {
        let dialog = DialogKey::new("telegram", "7");
        let mut update = Update {
            kind: Kind::Button,
            event: "callback_query".to_owned(),
            spans: vec![Span {
                start: 0,
                end: 3,
                style: Style::Link("https://example.org".to_owned()),
            }],
            files: vec![File {
                id: Some("x".to_owned()),
                ..File::new(FileKind::Voice)
            }],
            location: Some(Location::new(48.2, 16.37)),
            contact: Some(Contact::new("+43", "Ann")),
            quoted: Some(Quoted::default()),
            forwarded: Some(Forwarded::default()),
            sender: Some(Sender::default()),
            chat: Some(Chat::default()),
            message: "55".to_owned(),
            album: "9".to_owned(),
            address: "-100".to_owned(),
            within: r#"{"message_thread_id":42}"#.to_owned(),
            digest: vec![0, 255],
            ..Update::new(
                dialog,
                "12",
                "tea:1",
                Bytes::from_static(b"{ \"update_id\":12, \"x\": \"\\u00e4\" }\n"),
            )
        };
        for raw in [update.raw.clone(), Bytes::from_static(&[255, 0, 254])] {
            update.raw = raw;
            let json = serde_json::to_vec(&update).unwrap();
            assert_eq!(serde_json::from_slice::<Update>(&json).unwrap(), update);
        }
    }

    #[test]
    fn updates_of_earlier_versions_can_be_read() {
        let row = r#"{"dialog":{"channel":"vk","user_id":"7"},"id":"a","address":"7"}"#;
        let update: Update = serde_json::from_str(row).unwrap();
        assert_eq!((update.kind, update.text.as_str()), (Kind::Message, ""));
        assert!(update.raw.is_empty() && update.digest.is_empty());
        let row = r#"{"dialog":{"channel":"vk","user_id":"7"},"id":"a","address":"7",
            "pictures":[{"id":"x"},{"url":"https://example.org/a"}]}"#;
        let update: Update = serde_json::from_str(row).unwrap();
        assert_eq!(update.files[0].id.as_deref(), Some("x"));
        assert_eq!(update.files[1].kind, FileKind::Photo);
    }
}
