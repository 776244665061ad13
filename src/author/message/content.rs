//! What can be in an incoming message: files, places, people, and where it was said.
//!
//! Made by the channels, read by handlers. A platform that does not tell something leaves it
//! out: `docs/CHANNELS.md` has the table.

use serde::{Deserialize, Serialize};

/// What sort of file it is. Platforms show each in a way of its own.
///
/// ```
/// use turnkey::{FileKind, Turn};
///
/// fn has_voice(turn: &Turn<()>) -> bool {
///     turn.files().iter().any(|file| file.kind == FileKind::Voice)
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileKind {
    /// A picture that is shown.
    #[default]
    Photo,
    /// A file of any type.
    Document,
    /// A recorded message, played in the chat.
    Voice,
    /// Music.
    Audio,
    /// A film.
    Video,
    /// A short round film (Telegram).
    VideoNote,
    /// A sticker.
    Sticker,
    /// A silent film that repeats, as GIFs do.
    Animation,
}

impl FileKind {
    /// As it is written: `photo`, `video_note` …
    pub fn name(self) -> &'static str {
        match self {
            FileKind::Photo => "photo",
            FileKind::Document => "document",
            FileKind::Voice => "voice",
            FileKind::Audio => "audio",
            FileKind::Video => "video",
            FileKind::VideoNote => "video_note",
            FileKind::Sticker => "sticker",
            FileKind::Animation => "animation",
        }
    }
}

/// A file that a user sent. At least one of `id` and `url` is there.
///
/// ```
/// use turnkey::{Attachment, Reply, Turn};
///
/// /// Keeps a picture by the platform's id, which sends it again.
/// async fn keep(turn: &mut Turn<Option<String>>) -> turnkey::Result<()> {
///     let photo = turn.photos().next().cloned();
///     match (photo, turn.state.clone()) {
///         (Some(photo), _) => turn.state = photo.id,
///         (None, Some(id)) => turn.reply(Reply::file(Attachment::id(Default::default(), id))),
///         (None, None) => turn.reply("Send me a picture."),
///     }
///     Ok(())
/// }
/// # turnkey::App::new(keep);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct File {
    /// What sort of file it is. (Rows of the first version know pictures only.)
    #[serde(default, rename = "type")]
    pub kind: FileKind,
    /// The platform's own name for it, such as Telegram's `file_id`. On the same
    /// platform [`Attachment::id`](crate::Attachment::id) sends it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where it can be fetched, mostly for a limited time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its name, as whoever sent it wrote it: no path that can be trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its media type, such as `application/pdf`, as whoever sent it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Bytes, as the platform says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl File {
    /// A file of this kind, of which nothing more is known.
    pub fn new(kind: FileKind) -> Self {
        File {
            kind,
            ..File::default()
        }
    }
}

/// A place on the earth.
///
/// ```
/// use turnkey::{Location, Reply};
///
/// let mut cafe = Location::new(48.2104, 16.3656);
/// cafe.title = Some("Café Central".to_owned());
/// let reply = Reply::location(cafe);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Location {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// What is there, such as a café's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its postal address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Location {
    /// A place by its degrees.
    pub fn new(latitude: f64, longitude: f64) -> Self {
        Location {
            latitude,
            longitude,
            ..Location::default()
        }
    }
}

/// Somebody's telephone number.
///
/// ```
/// use turnkey::{Contact, Turn};
///
/// /// Anybody's number can be passed on: is it the user's own?
/// fn own<'a>(turn: &'a Turn<()>) -> Option<&'a Contact> {
///     let is_own = |contact: &&Contact| contact.user_id.as_deref() == Some(turn.user_id());
///     turn.contact().filter(is_own)
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Contact {
    /// The number, as the platform writes it.
    pub phone: String,
    /// Whose it is.
    #[serde(default)]
    pub name: String,
    /// The platform's id of that person, if it knows them. It is the sender's own number
    /// only if this is the sender's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
}

impl Contact {
    /// A number and whose it is.
    pub fn new(phone: impl Into<String>, name: impl Into<String>) -> Self {
        Contact {
            phone: phone.into(),
            name: name.into(),
            user_id: None,
        }
    }
}

/// The message that a message answers.
///
/// ```
/// use turnkey::Turn;
///
/// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
///     if let Some(quoted) = &turn.update().quoted {
///         turn.reply(format!("You answer this: {}", quoted.text));
///     }
///     Ok(())
/// }
/// # turnkey::App::new(handle);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Quoted {
    /// The platform's id of that message.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Its text, or the part that was quoted; mostly empty where platforms do not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
    /// The id of whoever wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
}

/// Where a forwarded message comes from.
///
/// ```
/// use turnkey::Turn;
///
/// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
///     if let Some(from) = &turn.update().forwarded {
///         turn.reply(format!("That was said by {} first.", from.name));
///     }
///     Ok(())
/// }
/// # turnkey::App::new(handle);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Forwarded {
    /// The id of whoever wrote it first, unless that is hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Their name, or that of the channel or group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// Who sent it. Their id is [`Update::user_id`](crate::Update::user_id).
///
/// ```
/// use turnkey::Turn;
///
/// async fn greet(turn: &mut Turn<()>) -> turnkey::Result<()> {
///     // Platforms do not tell everything: docs/CHANNELS.md has what each does.
///     let language = turn.sender().and_then(|sender| sender.language.as_deref());
///     match language.and_then(|tag| tag.split('-').next()) {
///         Some("de") => turn.reply("Guten Tag!"),
///         _ => turn.reply("Hello!"),
///     }
///     Ok(())
/// }
/// # turnkey::App::new(greet);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Sender {
    /// The full name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The user name, without `@`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The language that their app speaks, as an IETF tag such as `de` or `pt-br`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

/// What sort of conversation it is.
///
/// ```
/// use turnkey::{ChatKind, Turn};
///
/// fn is_private(turn: &Turn<()>) -> bool {
///     turn.chat().is_none_or(|chat| chat.kind == ChatKind::Private)
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChatKind {
    /// The user and the bot.
    #[default]
    Private,
    /// Several people.
    Group,
    /// One writes, many read.
    Channel,
}

/// The conversation that a message is part of.
///
/// ```
/// use turnkey::Turn;
///
/// async fn where_am_i(turn: &mut Turn<()>) -> turnkey::Result<()> {
///     match turn.chat().and_then(|chat| chat.title.as_deref()) {
///         Some(title) => turn.reply(format!("This is {title}.")),
///         None => turn.reply("Only you and me."),
///     }
///     Ok(())
/// }
/// # turnkey::App::new(where_am_i);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Chat {
    /// The platform's id of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What sort it is.
    #[serde(default, rename = "type")]
    pub kind: ChatKind,
    /// A group's or channel's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The id that this group had until it became a supergroup, in the message that says so
    /// (Telegram).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
    /// The topic within it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
}

impl Chat {
    /// One of this sort and id, for tests: see [`guide::testing`](crate::guide::testing).
    ///
    /// ```
    /// use turnkey::{Chat, ChatKind};
    ///
    /// assert_eq!(Chat::new(ChatKind::Group, "-1007"), Chat::group("-1007"));
    /// ```
    pub fn new(kind: ChatKind, id: impl Into<String>) -> Self {
        Chat {
            id: id.into(),
            kind,
            ..Chat::default()
        }
    }

    /// A group of this id.
    ///
    /// ```
    /// use turnkey::{Chat, ChatKind};
    ///
    /// assert_eq!(Chat::group("-1007").kind, ChatKind::Group);
    /// ```
    pub fn group(id: impl Into<String>) -> Self {
        Chat::new(ChatKind::Group, id)
    }
}
