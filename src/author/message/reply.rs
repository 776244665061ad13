//! [`Reply`]: what a handler says.
//!
//! Invariant: nothing here knows a platform. `channels/content.rs` makes a reply fit one.

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::content::{Contact, FileKind, Location};
use super::object::Object;
use super::styled::{Span, Styled};
use super::target::Target;
use super::{html, markup};

/// How a reply's text is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Format {
    /// As it is shown.
    #[default]
    Plain,
    /// In CommonMark: see [`Reply::markup`].
    Markup,
    /// In HTML: see [`Reply::html`].
    Html,
}

/// What the handler says: a text, files with or without one, a place, a contact; and buttons
/// under it. `docs/CHANNELS.md` has each platform's limits and what happens at them.
///
/// ```
/// use turnkey::{Attachment, Button, Reply};
///
/// let question = Reply::from("Tea?").button("Yes", "tea:1").button("No", "tea:0");
/// let rows = Reply::markup("**Tea** or coffee?")
///     .row([Button::new("Tea", "tea"), Button::new("Coffee", "coffee")])
///     .row([Button::link("The menu", "https://example.org/menu")]);
/// let photo = Reply::photo("https://example.org/cat.jpg").caption("A cat");
/// let bill = Reply::file(Attachment::document("/srv/bills/7.pdf").named("bill.pdf"));
/// # assert_eq!((question.buttons.len(), rows.buttons[0].len(), photo.text.as_str()), (2, 2, "A cat"));
/// # assert_eq!(bill.files.len(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reply {
    /// The text, or the files' caption.
    #[serde(default)]
    pub text: String,
    /// How the text is written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub format: Format,
    /// Which parts of a plain text are bold, links and so on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spans: Vec<Span>,
    /// Files; several are an album where the platform has them.
    #[serde(
        default,
        alias = "picture",
        deserialize_with = "files",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub files: Vec<Attachment>,
    /// A place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// A telephone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
    /// Buttons under the message, in rows.
    #[serde(
        default,
        deserialize_with = "rows",
        serialize_with = "write_rows",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub buttons: Vec<Vec<Button>>,
    /// What becomes of the keyboard in place of the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keyboard: Option<Keyboard>,
    /// The message that it answers, shown with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<Target>,
    /// It makes no sound.
    #[serde(default, skip_serializing_if = "is_default")]
    pub silent: bool,
    /// No preview of the pages that it links to.
    #[serde(default, skip_serializing_if = "is_default")]
    pub no_preview: bool,
    /// It can be neither forwarded nor saved.
    #[serde(default, skip_serializing_if = "is_default")]
    pub protected: bool,
    /// What this dialog calls the message, to edit or delete it later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where a file that is sent comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Source {
    /// An address: the platform fetches it from there, or we do where it does not.
    Url(String),
    /// The platform's own name for a file that it has: [`File::id`](crate::File::id).
    Id(String),
    /// A file of the box, read when it is sent. An absolute path.
    Path(String),
    /// The bytes, in base64; they are kept with the turn. At most [`MAX_BYTES`].
    Base64(String),
}

/// Bytes of a file that travels within a reply, 1 MiB: it is part of the turn's transaction.
pub const MAX_BYTES: usize = 1 << 20;

/// A file that is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attachment {
    /// How it is shown.
    #[serde(default, rename = "type")]
    pub kind: FileKind,
    /// Where it comes from.
    #[serde(flatten)]
    pub source: Source,
    /// The name that the user sees; by default the last part of the path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its media type, such as `application/pdf`, where it cannot be told from the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
}

impl Attachment {
    /// A file of this kind: an address (`https://…`), an absolute path of the box, or the
    /// platform's id of a file that it has.
    pub fn new(kind: FileKind, from: impl Into<String>) -> Self {
        let from = from.into();
        let is_address = |scheme: &str| {
            from.get(..scheme.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        Attachment {
            kind,
            source: if is_address("http://") || is_address("https://") {
                Source::Url(from)
            } else if from.starts_with('/') {
                Source::Path(from)
            } else {
                Source::Id(from)
            },
            name: None,
            media_type: None,
        }
    }

    /// A picture, as [`Attachment::new`].
    pub fn photo(from: impl Into<String>) -> Self {
        Attachment::new(FileKind::Photo, from)
    }

    /// A file of any type, as [`Attachment::new`].
    pub fn document(from: impl Into<String>) -> Self {
        Attachment::new(FileKind::Document, from)
    }

    /// A file that the platform has, by its id.
    pub fn id(kind: FileKind, id: impl Into<String>) -> Self {
        Attachment {
            source: Source::Id(id.into()),
            ..Attachment::new(kind, "")
        }
    }

    /// These bytes, under this name. They are kept with the turn: at most [`MAX_BYTES`].
    pub fn bytes(kind: FileKind, name: impl Into<String>, bytes: impl AsRef<[u8]>) -> Self {
        use base64::Engine;
        let base64 = base64::engine::general_purpose::STANDARD.encode(bytes);
        Attachment {
            source: Source::Base64(base64),
            name: Some(name.into()),
            ..Attachment::new(kind, "")
        }
    }

    /// The same under a name that the user sees.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

/// What a user's app may be asked for by a button.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Request {
    /// Their telephone number.
    Contact,
    /// Where they are.
    Location,
}

/// What happens when a button is pressed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Press {
    /// The handler has a turn of [`Kind::Button`](crate::Kind::Button) with this data.
    Data(String),
    /// A page opens.
    Link(String),
    /// A page opens within the app (Telegram's web apps).
    WebApp(String),
    /// A call to this number is offered.
    Phone(String),
    /// The app asks the user, and sends what they agree to.
    Request(Request),
    /// The button's label is said, as if the user had written it: on a [`Keyboard`].
    Say,
}

/// A button.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ButtonFields", into = "ButtonFields")]
#[non_exhaustive]
pub struct Button {
    /// What stands on it.
    pub label: String,
    /// What it does.
    pub press: Press,
}

/// A button as JSON: at most one of the fields behind the label.
#[derive(Default, Serialize, Deserialize)]
struct ButtonFields {
    label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    web_app: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    phone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<Request>,
}

impl TryFrom<ButtonFields> for Button {
    type Error = &'static str;

    fn try_from(fields: ButtonFields) -> Result<Self, Self::Error> {
        let mut presses = [
            fields.data.map(Press::Data),
            fields.url.map(Press::Link),
            fields.web_app.map(Press::WebApp),
            fields.phone.map(Press::Phone),
            fields.request.map(Press::Request),
        ]
        .into_iter()
        .flatten();
        let press = presses.next().unwrap_or(Press::Say);
        match presses.next() {
            None => Ok(Button {
                label: fields.label,
                press,
            }),
            Some(_) => Err("a button has one of data, url, web_app, phone and request"),
        }
    }
}

impl From<Button> for ButtonFields {
    fn from(button: Button) -> Self {
        let mut fields = ButtonFields {
            label: button.label,
            ..ButtonFields::default()
        };
        match button.press {
            Press::Data(data) => fields.data = Some(data),
            Press::Link(url) => fields.url = Some(url),
            Press::WebApp(url) => fields.web_app = Some(url),
            Press::Phone(number) => fields.phone = Some(number),
            Press::Request(request) => fields.request = Some(request),
            Press::Say => {}
        }
        fields
    }
}

impl Button {
    /// A button that gives the handler this data.
    pub fn new(label: impl Into<String>, data: impl Into<String>) -> Self {
        Button::that(label, Press::Data(data.into()))
    }

    /// A button that opens a page.
    pub fn link(label: impl Into<String>, url: impl Into<String>) -> Self {
        Button::that(label, Press::Link(url.into()))
    }

    /// A button that does this.
    pub fn that(label: impl Into<String>, press: Press) -> Self {
        Button {
            label: label.into(),
            press,
        }
    }

    /// The data that the handler is given, if it is that sort of button.
    pub fn data(&self) -> Option<&str> {
        match &self.press {
            Press::Data(data) => Some(data),
            _ => None,
        }
    }
}

/// The keyboard in place of the user's own, until another message changes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Keyboard {
    /// These buttons, in rows: what is pressed is said.
    Rows(#[serde(deserialize_with = "rows")] Vec<Vec<Button>>),
    /// As `Rows`, and gone when one was pressed.
    Once(#[serde(deserialize_with = "rows")] Vec<Vec<Button>>),
    /// The user's own comes back.
    Remove,
}

impl Reply {
    /// A text in CommonMark: `**bold**`, `*italic*`, `~~struck~~`, `` `code` ``, blocks of
    /// code, `[links](https://example.org)`, lists and quotes. Each platform is given what
    /// it can show, plain text where it shows nothing. Escape what users wrote, or say it
    /// with a plain reply.
    pub fn markup(text: impl Into<String>) -> Self {
        Reply {
            format: Format::Markup,
            ..Reply::plain(text)
        }
    }

    /// A text in HTML: `b`, `i`, `u`, `s`, `code`, `pre`, `a`, `blockquote`, `br`. Anything
    /// else fails the turn, with a sentence.
    pub fn html(text: impl Into<String>) -> Self {
        Reply {
            format: Format::Html,
            ..Reply::plain(text)
        }
    }

    /// A text that is shown as it is, whatever is in it. So is a plain string.
    pub fn plain(text: impl Into<String>) -> Self {
        Reply {
            text: text.into(),
            ..Reply::default()
        }
    }

    /// A picture: its address, the path of a file, or the platform's id.
    pub fn photo(from: impl Into<String>) -> Self {
        Reply::file(Attachment::photo(from))
    }

    /// A file.
    pub fn file(file: Attachment) -> Self {
        Reply::files([file])
    }

    /// Several files: an album, where the platform has them.
    pub fn files(files: impl IntoIterator<Item = Attachment>) -> Self {
        Reply {
            files: files.into_iter().collect(),
            ..Reply::default()
        }
    }

    /// A place.
    pub fn location(location: Location) -> Self {
        Reply {
            location: Some(location),
            ..Reply::default()
        }
    }

    /// A telephone number.
    pub fn contact(contact: Contact) -> Self {
        Reply {
            contact: Some(contact),
            ..Reply::default()
        }
    }

    /// The same with this text under the files.
    #[must_use]
    pub fn caption(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// The same with one more button, in a row of its own.
    #[must_use]
    pub fn button(self, label: impl Into<String>, data: impl Into<String>) -> Self {
        self.row([Button::new(label, data)])
    }

    /// The same with one more row of buttons.
    #[must_use]
    pub fn row(mut self, buttons: impl IntoIterator<Item = Button>) -> Self {
        self.buttons.push(buttons.into_iter().collect());
        self
    }

    /// The same with a keyboard in place of the user's own.
    #[must_use]
    pub fn keyboard(mut self, keyboard: Keyboard) -> Self {
        self.keyboard = Some(keyboard);
        self
    }

    /// The same as an answer to the user's message, which is shown with it.
    #[must_use]
    pub fn quote(self) -> Self {
        self.quoting(Target::This)
    }

    /// The same as an answer to that message.
    #[must_use]
    pub fn quoting(mut self, message: impl Into<Target>) -> Self {
        self.quote = Some(message.into());
        self
    }

    /// The same without a sound.
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// The same without a preview of the pages that it links to.
    #[must_use]
    pub fn no_preview(mut self) -> Self {
        self.no_preview = true;
        self
    }

    /// The same, to be neither forwarded nor saved.
    #[must_use]
    pub fn protected(mut self) -> Self {
        self.protected = true;
        self
    }

    /// The same under a name of this dialog, of 1 to 64 bytes: `Turn::edit` and
    /// `Turn::delete` take it, in later turns too. The latest message of a name has it.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The text without marks, and its formatting.
    ///
    /// # Errors
    /// It is HTML that no chat can show, in a sentence.
    pub(crate) fn styled(&self) -> Result<Styled, String> {
        match self.format {
            Format::Plain => Ok(Styled::new(self.text.clone(), self.spans.clone())),
            Format::Markup => Ok(markup::read(&self.text)),
            Format::Html => html::read(&self.text),
        }
    }

    /// Whether there is more in it than text and buttons.
    pub(crate) fn has_content(&self) -> bool {
        !self.files.is_empty() || self.location.is_some() || self.contact.is_some()
    }
}

impl<T: Into<String>> From<T> for Reply {
    fn from(text: T) -> Self {
        Reply::plain(text)
    }
}

/// Files; the first version had one picture, as a text.
fn files<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Attachment>, D::Error> {
    struct Files;
    impl<'de> Visitor<'de> for Files {
        type Value = Vec<Attachment>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of files")
        }

        fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }

        fn visit_str<E: de::Error>(self, picture: &str) -> Result<Self::Value, E> {
            Ok(vec![Attachment::photo(picture)])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut files = Vec::new();
            while let Some(Object(file)) = list.next_element()? {
                files.push(file);
            }
            Ok(files)
        }
    }
    from.deserialize_any(Files)
}

/// Rows of buttons. A button that stands where a row might is a row of its own.
fn rows<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<Button>>, D::Error> {
    let rows = Vec::<Row>::deserialize(from)?;
    Ok(rows.into_iter().map(|row| row.0).collect())
}

struct Row(Vec<Button>);

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Row;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a button or a row of them")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Row, A::Error> {
                let one = Button::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Row(vec![one]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Row, A::Error> {
                let mut row = Vec::new();
                while let Some(Object(button)) = list.next_element()? {
                    row.push(button);
                }
                Ok(Row(row))
            }
        }
        from.deserialize_any(OneOrMore)
    }
}

/// As [`rows`] reads them, and as the first version did where there is one in a row.
fn write_rows<S: serde::Serializer>(rows: &[Vec<Button>], to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Row<'a> {
        One(&'a Button),
        More(&'a [Button]),
    }
    to.collect_seq(rows.iter().map(|row| match row.as_slice() {
        [one] => Row::One(one),
        more => Row::More(more),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_text_looks_as_it_always_did() {
        let json = serde_json::to_string(&Reply::from("hi")).unwrap();
        assert_eq!(json, r#"{"text":"hi"}"#);
        let json = serde_json::to_string(&Reply::from("hi").button("a", "1")).unwrap();
        assert_eq!(
            json,
            r#"{"text":"hi","buttons":[{"label":"a","data":"1"}]}"#
        );
    }

    #[test]
    fn replies_of_the_first_version_can_be_read() {
        let row = r#"{"text":"hi","picture":"u","buttons":[{"label":"a","data":"1"}]}"#;
        let reply: Reply = serde_json::from_str(row).unwrap();
        assert_eq!(reply, Reply::photo("u").caption("hi").button("a", "1"));
    }

    #[test]
    fn everything_comes_back_from_the_outbox() {
        let mut file = Attachment::bytes(FileKind::Voice, "a.ogg", [1, 2]);
        file.media_type = Some("audio/ogg".to_owned());
        let reply = Reply::files([file, Attachment::photo("/tmp/a.png")])
            .caption("hi")
            .row([Button::new("a", "1"), Button::link("b", "https://e.org")])
            .row([Button::that("c", Press::Request(Request::Contact))])
            .keyboard(Keyboard::Once(vec![vec![Button::that("d", Press::Say)]]))
            .quote()
            .silent()
            .no_preview()
            .protected()
            .named("menu");
        let json = serde_json::to_string(&reply).unwrap();
        assert_eq!(serde_json::from_str::<Reply>(&json).unwrap(), reply);
        let place = Reply::location(Location::new(1.5, 2.0)).keyboard(Keyboard::Remove);
        let json = serde_json::to_string(&place).unwrap();
        assert_eq!(serde_json::from_str::<Reply>(&json).unwrap(), place);
    }

    #[test]
    fn a_button_does_one_thing() {
        let two = r#"{"label":"a","data":"1","url":"https://e.org"}"#;
        let error = serde_json::from_str::<Button>(two).unwrap_err().to_string();
        assert!(error.contains("one of data, url"), "{error}");
        let say: Button = serde_json::from_str(r#"{"label":"a"}"#).unwrap();
        assert_eq!(say.press, Press::Say);
    }
}
