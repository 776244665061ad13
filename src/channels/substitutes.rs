//! What stands in for the parts of a reply that a platform does not have: words for places and
//! contacts, one keyboard for two, a toast that is said. `docs/CHANNELS.md` has the table.
//!
//! Called by the channels' `fit`, `can` and `send`. Invariant: a reply that needs no substitute is
//! not copied.

use std::borrow::Cow;

use serde_json::Value;

use super::SendError;
use crate::author::message::{Action, Contact, Format, Keyboard, Location, Reply};

/// What a platform shows of a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Places {
    /// All of it.
    Shown,
    /// The point alone: what is there stands in the text.
    Points,
    /// Nothing: the text has what is there and a link to a map.
    Words,
}

/// What a platform shows of a contact.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Contacts {
    /// All of it.
    Shown,
    /// Nothing: name and number stand in the text.
    Words,
}

/// The reply with words in place of what the platform does not show.
///
/// # Errors
/// As [`Reply::styled`].
pub(super) fn in_words(
    reply: &Reply,
    places: Places,
    contacts: Contacts,
) -> Result<Cow<'_, Reply>, String> {
    let mut words = Vec::new();
    if let Some(location) = &reply.location {
        match places {
            Places::Shown => {}
            Places::Points => words.extend(what_is_there(location)),
            Places::Words => {
                words.extend(what_is_there(location));
                words.push(on_a_map(location));
            }
        }
    }
    if let (Some(contact), Contacts::Words) = (&reply.contact, contacts) {
        words.push(card(contact));
    }
    if words.is_empty() {
        return Ok(Cow::Borrowed(reply));
    }
    let styled = reply.styled()?;
    let mut said = reply.clone();
    said.format = Format::Plain;
    said.text = styled.text;
    said.spans = styled.spans;
    for line in words {
        if !said.text.is_empty() {
            said.text.push('\n');
        }
        said.text.push_str(&line);
    }
    if places == Places::Words {
        said.location = None;
    }
    if contacts == Contacts::Words {
        said.contact = None;
    }
    Ok(Cow::Owned(said))
}

/// The reply with the keys of its keyboard among the buttons, for platforms that have one of
/// the two. To take a keyboard away means nothing there.
pub(super) fn keys_as_buttons(reply: Cow<'_, Reply>) -> Cow<'_, Reply> {
    if reply.keyboard.is_none() {
        return reply;
    }
    let mut reply = reply.into_owned();
    if let Some(Keyboard::Rows(rows) | Keyboard::Once(rows)) = reply.keyboard.take() {
        reply.buttons.extend(rows);
    }
    Cow::Owned(reply)
}

/// What a platform can do that only says things: messages stay as they are, and a toast is
/// said, for want of anything shorter. `call` looks at a call of a method.
///
/// # Errors
/// What it cannot do, in a sentence for the bot's author.
pub(super) fn can_say(
    platform: &str,
    action: &Action,
    longest_toast: usize,
    call: impl FnOnce(&str, &Value) -> Result<(), String>,
) -> Result<(), String> {
    match action {
        Action::Reply(_) | Action::SendTo { .. } | Action::AskIn { .. } => Ok(()),
        Action::Edit { .. } => Err(format!("{platform} cannot edit messages")),
        Action::Delete { .. } => Err(format!("{platform} cannot delete messages")),
        Action::Toast { text, .. } if text.encode_utf16().count() > longest_toast => {
            Err(format!("a toast has at most {longest_toast} units"))
        }
        Action::Toast { .. } => Ok(()),
        Action::Call { method, params, .. } => call(method, params),
    }
}

/// Why an action that nothing stands in for is not sent; `can` is what the channel says of it.
pub(super) fn not_said(can: Result<(), String>) -> SendError {
    SendError::Refused(match can {
        Err(why) => why,
        Ok(()) => "it is for another channel".to_owned(),
    })
}

/// Refuses what nothing can stand in for.
///
/// # Errors
/// In a sentence for the bot's author.
pub(super) fn no_protection(reply: &Reply, platform: &str) -> Result<(), String> {
    match reply.protected {
        true => Err(format!(
            "{platform} cannot keep a message from being forwarded or saved"
        )),
        false => Ok(()),
    }
}

/// Title and postal address of a place, in one line.
pub(super) fn what_is_there(location: &Location) -> Option<String> {
    let parts = [&location.title, &location.address];
    let known: Vec<&str> = parts
        .into_iter()
        .flatten()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    (!known.is_empty()).then(|| known.join(", "))
}

/// A link that opens a map, in the app for it where there is one
/// (<https://developers.google.com/maps/documentation/urls/get-started>).
fn on_a_map(location: &Location) -> String {
    let (latitude, longitude) = (location.latitude, location.longitude);
    format!("https://www.google.com/maps/search/?api=1&query={latitude}%2C{longitude}")
}

fn card(contact: &Contact) -> String {
    match contact.name.as_str() {
        "" => contact.phone.clone(),
        name => format!("{name}: {}", contact.phone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_shown_is_said() {
        let mut location = Location::new(48.2, 16.37);
        location.title = Some("Café".to_owned());
        location.address = Some("Street 5".to_owned());
        let mut reply = Reply::markup("**Here**");
        reply.location = Some(location);
        reply.contact = Some(Contact::new("+43", "Ann"));
        let said = in_words(&reply, Places::Words, Contacts::Words).unwrap();
        assert_eq!(
            said.text,
            "Here\nCafé, Street 5\n\
             https://www.google.com/maps/search/?api=1&query=48.2%2C16.37\nAnn: +43"
        );
        assert_eq!((said.spans.len(), said.has_content()), (1, false));
        let point = in_words(&reply, Places::Points, Contacts::Shown).unwrap();
        assert_eq!(point.text, "Here\nCafé, Street 5");
        assert!(point.location.is_some() && point.contact.is_some());
        let plain = Reply::from("x");
        let same = in_words(&plain, Places::Words, Contacts::Words).unwrap();
        assert!(matches!(same, Cow::Borrowed(_)));
    }
}
