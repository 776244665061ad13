//! [`Button`] and [`Keyboard`]: what a user may press, and how rows of them are written as JSON.
//!
//! Used by `reply.rs`. Invariant: a button does one thing.

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::object::Object;

/// What a user's app may be asked for by a button.
///
/// ```
/// use turnkey::{Button, Keyboard, Press, Reply, Request};
///
/// let here = Button::that("I am here", Press::Request(Request::Location));
/// let reply = Reply::from("Where are you?").keyboard(Keyboard::Once(vec![vec![here]]));
/// # drop(reply);
/// ```
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
///
/// ```
/// use turnkey::{Button, Press};
///
/// let button = Button::new("Yes", "1");
/// assert_eq!(button.press, Press::Data("1".to_owned()));
/// ```
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

/// A button. How long label and data may be, each platform says: Telegram takes 64 bytes of
/// data, and the turn fails with a sentence where it would not be taken.
///
/// ```
/// use turnkey::{Button, Press, Reply, Request};
///
/// let menu = Reply::from("What now?")
///     .row([Button::new("Book", "book"), Button::link("Prices", "https://example.org")])
///     .row([Button::that("Call us", Press::Phone("+43123".to_owned()))]);
/// assert_eq!(menu.buttons[0][0].data(), Some("book"));
/// # let _ = Button::that("My number", Press::Request(Request::Contact));
/// ```
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
    ///
    /// ```
    /// assert_eq!(turnkey::Button::new("Yes", "tea:1").data(), Some("tea:1"));
    /// ```
    pub fn new(label: impl Into<String>, data: impl Into<String>) -> Self {
        Button::that(label, Press::Data(data.into()))
    }

    /// A button that opens a page.
    ///
    /// ```
    /// let button = turnkey::Button::link("The menu", "https://example.org/menu");
    /// # drop(button);
    /// ```
    pub fn link(label: impl Into<String>, url: impl Into<String>) -> Self {
        Button::that(label, Press::Link(url.into()))
    }

    /// A button that does this.
    ///
    /// ```
    /// use turnkey::{Button, Press, Request};
    ///
    /// let button = Button::that("My number", Press::Request(Request::Contact));
    /// # drop(button);
    /// ```
    pub fn that(label: impl Into<String>, press: Press) -> Self {
        Button {
            label: label.into(),
            press,
        }
    }

    /// The data that the handler is given, if it is that sort of button.
    ///
    /// ```
    /// assert_eq!(turnkey::Button::link("Prices", "https://example.org").data(), None);
    /// ```
    pub fn data(&self) -> Option<&str> {
        match &self.press {
            Press::Data(data) => Some(data),
            _ => None,
        }
    }
}

/// The keyboard in place of the user's own, until another message changes it.
///
/// ```
/// use turnkey::{Button, Keyboard, Press, Reply, Request};
///
/// let mut reply = Reply::from("May we call you?");
/// let number = Button::that("My number", Press::Request(Request::Contact));
/// reply.keyboard = Some(Keyboard::Once(vec![vec![number], vec![Button::that("No", Press::Say)]]));
/// ```
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

/// Rows of buttons. A button that stands where a row might is a row of its own.
pub(super) fn rows<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<Button>>, D::Error> {
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
pub(super) fn write_rows<S: serde::Serializer>(
    rows: &[Vec<Button>],
    to: S,
) -> Result<S::Ok, S::Error> {
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
    fn a_button_does_one_thing() {
        let two = r#"{"label":"a","data":"1","url":"https://e.org"}"#;
        let error = serde_json::from_str::<Button>(two).unwrap_err().to_string();
        assert!(error.contains("one of data, url"), "{error}");
        let say: Button = serde_json::from_str(r#"{"label":"a"}"#).unwrap();
        assert_eq!(say.press, Press::Say);
    }
}
