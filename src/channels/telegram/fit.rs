//! What Telegram takes, before anything is committed: what is too long becomes several
//! messages, what has no place there is refused in a sentence for the bot's author.
//!
//! Called through [`Channel::fit`](super::super::Channel::fit) and its like. Sources: the Bot
//! API (<https://core.telegram.org/bots/api>), and its server's code where it is silent.

use super::super::content::{self, Formatting, Limits};
use super::{entities, methods};
use crate::author::message::{Action, Button, FileKind, Keyboard, Press, Reply, Source};

/// Telegram names no limits for the number of buttons and their labels; beyond these
/// its apps cannot show them.
const LIMITS: Limits = Limits {
    platform: "Telegram",
    text: 4096,
    caption: 1024,
    buttons: 100,
    label: 64,
    data: 64,
    album: 10,
    album_buttons: false,
    says: false,
    formatting: Formatting::Spans,
    spans: entities::MOST,
    mixes,
    captions,
};

/// Buttons of a row that the apps show.
const ROW: usize = 8;

/// Characters of a toast (<https://core.telegram.org/bots/api#answercallbackquery>).
const LONGEST_TOAST: usize = 200;

/// Documents and audio are among their own in an album, and the others are alone
/// (<https://core.telegram.org/bots/api#sendmediagroup>).
fn mixes(one: FileKind, other: FileKind) -> bool {
    use FileKind::{Audio, Document, Photo, Video};
    matches!(
        (one, other),
        (Photo | Video, Photo | Video) | (Document, Document) | (Audio, Audio)
    )
}

fn captions(kind: FileKind) -> bool {
    !matches!(kind, FileKind::Sticker | FileKind::VideoNote)
}

/// The messages that a reply becomes.
pub(in crate::channels) fn fit(reply: &Reply) -> Result<Vec<Reply>, String> {
    check(reply)?;
    let mut messages = content::fit(reply, &LIMITS)?;
    for message in &mut messages {
        if message.buttons.iter().any(|row| row.len() > ROW) {
            let rows = message.buttons.iter().flat_map(|row| row.chunks(ROW));
            message.buttons = rows.map(<[Button]>::to_vec).collect();
        }
    }
    Ok(messages)
}

/// What a message is to be from now on. Without text and files only its buttons change.
pub(super) fn fit_edit(reply: &Reply) -> Result<Reply, String> {
    check(reply)?;
    if reply.keyboard.is_some() {
        return Err("an edited message can have buttons, but no keyboard".to_owned());
    }
    if reply.location.is_some() || reply.contact.is_some() {
        return Err("Telegram makes no place and no contact of a message".to_owned());
    }
    if reply.files.len() > 1 {
        return Err("an edit must fit one message: an album is several".to_owned());
    }
    if let [file] = reply.files.as_slice()
        && matches!(
            file.kind,
            FileKind::Voice | FileKind::VideoNote | FileKind::Sticker
        )
    {
        let kind = file.kind.name();
        return Err(format!("Telegram makes no {kind} of a message"));
    }
    if !reply.has_content() && reply.text.is_empty() {
        // Fitted with a text, which is taken away again.
        let buttons = Reply {
            text: "-".to_owned(),
            ..reply.clone()
        };
        let mut fitted = fit(&buttons)?.pop().unwrap_or_default();
        fitted.text.clear();
        return Ok(fitted);
    }
    let mut messages = fit(reply)?.into_iter();
    match (messages.next(), messages.next()) {
        (Some(message), None) => Ok(message),
        (None, _) => Err("an edit needs a text or a file".to_owned()),
        (Some(_), Some(_)) => Err("an edit must fit one message".to_owned()),
    }
}

/// What else it can do.
pub(super) fn can(action: &Action) -> Result<(), String> {
    match action {
        Action::Toast { text, .. } if text.encode_utf16().count() > LONGEST_TOAST => Err(format!(
            "a toast has at most {LONGEST_TOAST} characters on Telegram"
        )),
        Action::Call { method, params, .. } => methods::check(method, params),
        _ => Ok(()),
    }
}

/// As much of a text as fits one message.
pub(super) fn start_of(text: &str) -> &str {
    let mut units = 0;
    let beyond = text.char_indices().find(|(_, character)| {
        units += character.len_utf16();
        units > LIMITS.text
    });
    beyond.map_or(text, |(at, _)| &text[..at])
}

fn check(reply: &Reply) -> Result<(), String> {
    if !reply.buttons.is_empty() && reply.keyboard.is_some() {
        return Err(
            "a message of Telegram's has either buttons or a keyboard: say them in two replies"
                .to_owned(),
        );
    }
    reply.buttons.iter().flatten().try_for_each(inline)?;
    if let Some(Keyboard::Rows(rows) | Keyboard::Once(rows)) = &reply.keyboard {
        if rows.iter().all(Vec::is_empty) {
            return Err("a keyboard needs buttons; Keyboard::Remove takes it away".to_owned());
        }
        rows.iter().flatten().try_for_each(key)?;
    }
    for file in &reply.files {
        if let (FileKind::VideoNote, Source::Url(_)) = (file.kind, &file.source) {
            return Err(
                "Telegram fetches no video notes from addresses: give a path or an id".to_owned(),
            );
        }
    }
    Ok(())
}

fn inline(button: &Button) -> Result<(), String> {
    let label = &button.label;
    match &button.press {
        Press::Data(_) | Press::Link(_) | Press::WebApp(_) => Ok(()),
        Press::Phone(_) => Err(format!(
            "Telegram has no buttons that call a number ({label:?}): in a text it is a link"
        )),
        Press::Request(_) => Err(format!(
            "the button {label:?} asks for a contact or a place: on Telegram only one of a keyboard can"
        )),
        Press::Say => Err(format!(
            "the button {label:?} has neither data nor an address: what it says a button of a keyboard can say"
        )),
    }
}

fn key(button: &Button) -> Result<(), String> {
    let label = &button.label;
    match &button.press {
        _ if label.is_empty() => Err("a keyboard's button needs a label".to_owned()),
        Press::Say | Press::Request(_) | Press::WebApp(_) => Ok(()),
        Press::Data(_) | Press::Link(_) | Press::Phone(_) => Err(format!(
            "the keyboard's button {label:?} says its label on Telegram; data and addresses are for buttons under a message"
        )),
    }
}
