//! [`Reply`]: what a handler says. Its files are in `attachment.rs`, its buttons in `button.rs`.
//!
//! Invariant: nothing here knows a platform. `channels/content.rs` makes a reply fit one.

use serde::{Deserialize, Serialize};

use super::attachment::{Attachment, files};
use super::button::{Button, Keyboard, rows, write_rows};
use super::content::{Contact, Location};
use super::styled::{Span, Styled};
use super::target::Target;
use super::{html, markup};

/// How a reply's text is written.
///
/// ```
/// use turnkey::{Format, Reply};
///
/// assert_eq!(Reply::markup("**Tea**").format, Format::Markup);
/// ```
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

impl Reply {
    /// A text in CommonMark: `**bold**`, `*italic*`, `~~struck~~`, `` `code` ``, blocks of
    /// code, `[links](https://example.org)`, lists and quotes. Each platform is given what
    /// it can show, plain text where it shows nothing. Escape what users wrote, or say it
    /// with a plain reply.
    ///
    /// ```
    /// let reply = turnkey::Reply::markup("**Bold**, and [a link](https://example.org)");
    /// # drop(reply);
    /// ```
    pub fn markup(text: impl Into<String>) -> Self {
        Reply {
            format: Format::Markup,
            ..Reply::plain(text)
        }
    }

    /// A text in HTML: `b`, `i`, `u`, `s`, `code`, `pre`, `a`, `blockquote`, `br`. Anything
    /// else fails the turn, with a sentence.
    ///
    /// ```
    /// let reply = turnkey::Reply::html("<b>Bold</b>, and <a href=\"https://example.org\">a link</a>");
    /// # drop(reply);
    /// ```
    pub fn html(text: impl Into<String>) -> Self {
        Reply {
            format: Format::Html,
            ..Reply::plain(text)
        }
    }

    /// A text that is shown as it is, whatever is in it. So is a plain string.
    ///
    /// ```
    /// assert_eq!(turnkey::Reply::plain("2 * 3 * 4"), turnkey::Reply::from("2 * 3 * 4"));
    /// ```
    pub fn plain(text: impl Into<String>) -> Self {
        Reply {
            text: text.into(),
            ..Reply::default()
        }
    }

    /// A picture: its address, the path of a file, or the platform's id.
    ///
    /// ```
    /// let reply = turnkey::Reply::photo("https://example.org/cat.jpg").caption("A cat");
    /// # drop(reply);
    /// ```
    pub fn photo(from: impl Into<String>) -> Self {
        Reply::file(Attachment::photo(from))
    }

    /// A file.
    ///
    /// ```
    /// use turnkey::{Attachment, Reply};
    ///
    /// let reply = Reply::file(Attachment::document("/srv/bills/7.pdf").named("bill.pdf"));
    /// # drop(reply);
    /// ```
    pub fn file(file: Attachment) -> Self {
        Reply::files([file])
    }

    /// Several files: an album, where the platform has them.
    ///
    /// ```
    /// use turnkey::{Attachment, Reply};
    ///
    /// let album = Reply::files([Attachment::photo("/srv/1.jpg"), Attachment::photo("/srv/2.jpg")]);
    /// # drop(album);
    /// ```
    pub fn files(files: impl IntoIterator<Item = Attachment>) -> Self {
        Reply {
            files: files.into_iter().collect(),
            ..Reply::default()
        }
    }

    /// A place.
    ///
    /// ```
    /// use turnkey::{Location, Reply};
    ///
    /// let reply = Reply::location(Location::new(48.2104, 16.3656));
    /// # drop(reply);
    /// ```
    pub fn location(location: Location) -> Self {
        Reply {
            location: Some(location),
            ..Reply::default()
        }
    }

    /// A telephone number.
    ///
    /// ```
    /// use turnkey::{Contact, Reply};
    ///
    /// let reply = Reply::contact(Contact::new("+43 1 123", "The salon"));
    /// # drop(reply);
    /// ```
    pub fn contact(contact: Contact) -> Self {
        Reply {
            contact: Some(contact),
            ..Reply::default()
        }
    }

    /// The same with this text under the files.
    ///
    /// ```
    /// let reply = turnkey::Reply::photo("/srv/bread.jpg").caption("Our bread");
    /// assert_eq!(reply.text, "Our bread");
    /// ```
    #[must_use]
    pub fn caption(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// The same with one more button, in a row of its own.
    ///
    /// ```
    /// let reply = turnkey::Reply::from("Tea?").button("Yes", "tea:1").button("No", "tea:0");
    /// assert_eq!(reply.buttons.len(), 2);
    /// ```
    #[must_use]
    pub fn button(self, label: impl Into<String>, data: impl Into<String>) -> Self {
        self.row([Button::new(label, data)])
    }

    /// The same with one more row of buttons.
    ///
    /// ```
    /// use turnkey::{Button, Reply};
    ///
    /// let reply = Reply::from("Tea?").row([Button::new("Yes", "1"), Button::new("No", "0")]);
    /// assert_eq!(reply.buttons[0].len(), 2);
    /// ```
    #[must_use]
    pub fn row(mut self, buttons: impl IntoIterator<Item = Button>) -> Self {
        self.buttons.push(buttons.into_iter().collect());
        self
    }

    /// The same with a keyboard in place of the user's own.
    ///
    /// ```
    /// use turnkey::{Button, Keyboard, Press, Reply};
    ///
    /// let rows = vec![vec![Button::that("Tea", Press::Say), Button::that("Coffee", Press::Say)]];
    /// let reply = Reply::from("What would you like?").keyboard(Keyboard::Once(rows));
    /// # drop(reply);
    /// ```
    #[must_use]
    pub fn keyboard(mut self, keyboard: Keyboard) -> Self {
        self.keyboard = Some(keyboard);
        self
    }

    /// The same as an answer to the user's message, which is shown with it.
    ///
    /// ```
    /// let reply = turnkey::Reply::from("That one? Yes.").quote();
    /// # drop(reply);
    /// ```
    #[must_use]
    pub fn quote(self) -> Self {
        self.quoting(Target::This)
    }

    /// The same as an answer to that message.
    ///
    /// ```
    /// // A message of the bot's own, by its name.
    /// let reply = turnkey::Reply::from("As I said").quoting("offer");
    /// # drop(reply);
    /// ```
    #[must_use]
    pub fn quoting(mut self, message: impl Into<Target>) -> Self {
        self.quote = Some(message.into());
        self
    }

    /// The same without a sound.
    ///
    /// ```
    /// assert!(turnkey::Reply::from("Good night").silent().silent);
    /// ```
    #[must_use]
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// The same without a preview of the pages that it links to.
    ///
    /// ```
    /// assert!(turnkey::Reply::from("https://example.org").no_preview().no_preview);
    /// ```
    #[must_use]
    pub fn no_preview(mut self) -> Self {
        self.no_preview = true;
        self
    }

    /// The same, to be neither forwarded nor saved.
    ///
    /// ```
    /// assert!(turnkey::Reply::photo("/srv/ticket.png").protected().protected);
    /// ```
    #[must_use]
    pub fn protected(mut self) -> Self {
        self.protected = true;
        self
    }

    /// The same under a name of this dialog, of 1 to 64 bytes: `Turn::edit` and
    /// `Turn::delete` take it, in later turns too. The latest message of a name has it.
    ///
    /// ```
    /// let reply = turnkey::Reply::from("1 cup").named("cups"); // later: turn.edit("cups", "2 cups")
    /// # drop(reply);
    /// ```
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

#[cfg(test)]
mod tests {
    use super::super::button::{Press, Request};
    use super::super::content::FileKind;
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
}
