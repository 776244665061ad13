//! One message of a conversation as HTML: its text, files as chips, buttons as buttons with the
//! pressed one marked, and what went wrong below it.
//!
//! Called by `talk.rs`. Bounds: those of `texts.rs` for a text; what is drawn of a message is no
//! larger than its row.

use std::fmt::Write as _;

use super::escape;
use super::figures::bytes;
use super::texts::shown;
use crate::author::message::{
    Action, Attachment, Button, Contact, File, Keyboard, Location, Press, Reply, Source, Target,
};

/// A message as it is drawn.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Message {
    /// What is done with it, if it is no plain message: `in the place of the message "menu"`.
    pub(super) verb: Option<String>,
    pub(super) text: String,
    /// Files, places, people: a few words for each.
    pub(super) chips: Vec<String>,
    pub(super) buttons: Vec<Vec<Key>>,
    /// The buttons stand in place of the user's keyboard: what is pressed is said.
    pub(super) is_keyboard: bool,
}

/// A button.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    label: String,
    /// What it does.
    hint: String,
    /// What the bot is given.
    data: Option<String>,
    is_pressed: bool,
}

impl Message {
    /// What a turn asks for.
    pub(super) fn of(action: &Action) -> Self {
        match action {
            Action::Reply(reply) => Message::of_reply(reply, None),
            Action::Edit { message, reply } => {
                let verb = format!("in the place of {}", named(message));
                Message::of_reply(reply, Some(verb))
            }
            Action::Delete { message } => Message::verb(format!("takes {} away", named(message))),
            Action::Toast { text, .. } => Message {
                text: text.clone(),
                ..Message::verb("shown over the chat for a moment".to_owned())
            },
            Action::Call { method, .. } => Message::verb(format!("calls {method}")),
            Action::SendTo {
                channel,
                user,
                reply,
            } => Message::of_reply(reply, Some(format!("said to {channel}:{user}"))),
            Action::AskIn {
                channel,
                user,
                question,
                ..
            } => Message::of_reply(question, Some(format!("asked of {channel}:{user}"))),
        }
    }

    /// What came in.
    pub(super) fn heard(
        text: &str,
        files: &[File],
        location: Option<&Location>,
        contact: Option<&Contact>,
    ) -> Self {
        let mut chips: Vec<String> = files.iter().map(of_file).collect();
        chips.extend(location.map(of_location));
        chips.extend(contact.map(of_contact));
        Message {
            text: text.to_owned(),
            chips,
            ..Message::default()
        }
    }

    fn verb(verb: String) -> Self {
        Message {
            verb: Some(verb),
            ..Message::default()
        }
    }

    fn of_reply(reply: &Reply, verb: Option<String>) -> Self {
        let mut chips: Vec<String> = reply.files.iter().map(of_attachment).collect();
        chips.extend(reply.location.as_ref().map(of_location));
        chips.extend(reply.contact.as_ref().map(of_contact));
        let (rows, is_keyboard) = match &reply.keyboard {
            Some(Keyboard::Rows(rows) | Keyboard::Once(rows)) if reply.buttons.is_empty() => {
                (rows, true)
            }
            _ => (&reply.buttons, false),
        };
        let rows = rows.iter().map(|row| row.iter().map(key).collect());
        Message {
            verb,
            text: reply.text.clone(),
            chips,
            buttons: rows.collect(),
            is_keyboard,
        }
    }

    /// Marks the button with this data, or, of a keyboard, with this label, as pressed; its label.
    pub(super) fn press(&mut self, pressed: &str) -> Option<&str> {
        let is_keyboard = self.is_keyboard;
        let mut keys = self.buttons.iter_mut().flatten();
        let key = keys.find(|key| match is_keyboard {
            true => key.label == pressed,
            false => key.data.as_deref() == Some(pressed),
        })?;
        key.is_pressed = true;
        Some(&key.label)
    }

    /// Within its place in the list.
    pub(super) fn html(&self) -> String {
        // Writing to a String does not fail.
        let mut html = String::from("<div class=\"bubble\">");
        if let Some(verb) = &self.verb {
            let _ = write!(html, "<p class=\"verb\">{}</p>", escape(verb));
        }
        if !self.text.is_empty() {
            let _ = write!(html, "<p class=\"text\">{}</p>", shown(&self.text, " "));
        }
        if !self.chips.is_empty() {
            html.push_str("<ul class=\"chips\">");
            for chip in &self.chips {
                let _ = write!(html, "<li>{}</li>", escape(chip));
            }
            html.push_str("</ul>");
        }
        if self.verb.is_none() && self.text.is_empty() && self.chips.is_empty() {
            html.push_str("<p class=\"verb\">without a text</p>");
        }
        html.push_str("</div>");
        for row in &self.buttons {
            html.push_str("<ul class=\"presses\">");
            for key in row {
                let (class, sign, said) = match key.is_pressed {
                    true => (
                        " class=\"pressed\"",
                        "<span aria-hidden=\"true\">✓ </span>",
                        " <small>pressed</small>",
                    ),
                    false => ("", "", ""),
                };
                let _ = write!(
                    html,
                    "<li{class} title=\"{}\">{sign}{}{said}</li>",
                    escape(&key.hint),
                    escape(&key.label)
                );
            }
            html.push_str("</ul>");
        }
        html
    }
}

fn key(button: &Button) -> Key {
    let (hint, data) = match &button.press {
        Press::Data(data) => (data.clone(), Some(data.clone())),
        Press::Link(to) | Press::WebApp(to) => (format!("opens {to}"), None),
        Press::Phone(number) => (format!("calls {number}"), None),
        Press::Request(_) => ("asks the user for it".to_owned(), None),
        Press::Say => ("says its label".to_owned(), None),
    };
    Key {
        label: button.label.clone(),
        hint,
        data,
        is_pressed: false,
    }
}

fn named(target: &Target) -> String {
    match target {
        Target::This => "the message of the turn".to_owned(),
        Target::Named(name) => format!("the message {name:?}"),
        Target::Message(id) => format!("the message {id}"),
    }
}

fn of_file(file: &File) -> String {
    let mut chip = file.kind.name().replace('_', " ");
    if let Some(name) = &file.name {
        let _ = write!(chip, " {name}");
    }
    if let Some(size) = file.size {
        let _ = write!(chip, ", {}", bytes(size));
    }
    chip
}

fn of_attachment(file: &Attachment) -> String {
    let kind = file.kind.name().replace('_', " ");
    let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let from = match &file.source {
        // What stands behind ? may be a secret.
        Source::Url(url) => last(url.split(['?', '#']).next().unwrap_or_default()),
        Source::Path(path) => last(path),
        Source::Id(_) => "known to the platform".to_owned(),
        Source::Base64(text) => bytes(text.len() as u64 / 4 * 3),
    };
    match &file.name {
        Some(name) => format!("{kind} {name}"),
        None => format!("{kind} {from}"),
    }
}

fn of_location(place: &Location) -> String {
    let title = place.title.as_deref().map(|title| format!("{title}, "));
    format!(
        "place {}{:.5} {:.5}",
        title.unwrap_or_default(),
        place.latitude,
        place.longitude
    )
}

fn of_contact(contact: &Contact) -> String {
    format!("contact {} {}", contact.name, contact.phone)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_shows_its_buttons_and_the_one_that_was_pressed() {
        let reply = Reply::from("Tea <or> coffee?")
            .button("Tea", "t")
            .button("Coffee", "c");
        let mut message = Message::of(&Action::Reply(reply));
        assert_eq!(message.press("x"), None);
        assert_eq!(message.press("c"), Some("Coffee"));
        let html = message.html();
        assert!(html.contains("Tea &lt;or&gt; coffee?"), "{html}");
        assert!(html.contains("<li title=\"t\">Tea</li>"), "{html}");
        assert!(
            html.contains("<li class=\"pressed\" title=\"c\">"),
            "{html}"
        );
    }

    #[test]
    fn files_are_chips_without_what_may_be_a_secret() {
        let action = Action::Reply(Reply::files([
            Attachment::photo("https://example.org/a/cat.jpg?token=s3cret"),
            Attachment::document("/srv/bills/7.pdf").named("bill.pdf"),
        ]));
        let message = Message::of(&action);
        assert_eq!(message.chips, ["photo cat.jpg", "document bill.pdf"]);
        let delete = Message::of(&Action::Delete {
            message: "menu".into(),
        });
        assert!(
            delete
                .html()
                .contains("takes the message &quot;menu&quot; away")
        );
    }
}
