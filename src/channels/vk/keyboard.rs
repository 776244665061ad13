//! VK's keyboards: under a message, or in place of the user's own
//! (<https://dev.vk.com/en/api/bots/development/keyboard>).
//!
//! Used by `outgoing.rs`. Rows that are too long are broken; where there are too many the
//! buttons are put into as few columns as fit.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::content::shorten;
use crate::author::message::{Button, Keyboard, Press, Request};

/// Units of a label.
pub(super) const LABEL: usize = 40;

/// Characters of a button's payload, which is JSON.
const MAX_PAYLOAD: usize = 255;

/// Columns of a row; some buttons take two.
const WIDTH: usize = 5;

/// Buttons and rows of a keyboard.
struct Shape {
    buttons: usize,
    rows: usize,
}

/// Under a message.
const INLINE: Shape = Shape {
    buttons: 10,
    rows: 6,
};

/// In place of the user's own.
const BELOW: Shape = Shape {
    buttons: 40,
    rows: 10,
};

/// Buttons under a message.
///
/// # Errors
/// VK has no such button or no room, in a sentence.
pub(super) fn inline(rows: &[Vec<Button>]) -> Result<String, String> {
    let rows = written(rows, &INLINE, "callback")?;
    Ok(json!({ "inline": true, "buttons": rows }).to_string())
}

/// A keyboard in place of the user's own.
///
/// # Errors
/// As [`inline`].
pub(super) fn below(keyboard: &Keyboard) -> Result<String, String> {
    let (rows, once) = match keyboard {
        Keyboard::Remove => return Ok(json!({ "buttons": [], "one_time": true }).to_string()),
        Keyboard::Rows(rows) => (rows, false),
        Keyboard::Once(rows) => (rows, true),
    };
    // What is pressed is said.
    let rows = written(rows, &BELOW, "text")?;
    Ok(json!({ "one_time": once, "inline": false, "buttons": rows }).to_string())
}

fn written(rows: &[Vec<Button>], shape: &Shape, kind: &str) -> Result<Vec<Vec<Value>>, String> {
    let count = rows.iter().map(Vec::len).sum::<usize>();
    if count > shape.buttons {
        let most = shape.buttons;
        return Err(format!("{count} buttons; VK takes {most}"));
    }
    let rows = arrange(rows, shape.rows).ok_or_else(|| {
        let most = shape.rows;
        format!("{count} buttons do not fit into the {most} rows that VK has")
    })?;
    let row = |row: Vec<&Button>| row.into_iter().map(|button| key(button, kind)).collect();
    rows.into_iter().map(row).collect()
}

/// The rows as they are, broken where they are too long; else in as few columns as fit.
fn arrange(rows: &[Vec<Button>], most: usize) -> Option<Vec<Vec<&Button>>> {
    let as_given: Vec<_> = rows.iter().flat_map(|row| broken(row, WIDTH)).collect();
    if as_given.len() <= most {
        return Some(as_given);
    }
    (1..=WIDTH).find_map(|width| {
        let rows = broken(rows.iter().flatten(), width);
        (rows.len() <= most).then_some(rows)
    })
}

fn broken<'a>(buttons: impl IntoIterator<Item = &'a Button>, width: usize) -> Vec<Vec<&'a Button>> {
    let mut rows: Vec<Vec<&Button>> = Vec::new();
    let mut room = 0;
    for button in buttons {
        let takes = columns(button).min(width);
        match rows.last_mut() {
            Some(row) if takes <= room => row.push(button),
            _ => {
                rows.push(vec![button]);
                room = width;
            }
        }
        room -= takes;
    }
    rows
}

fn columns(button: &Button) -> usize {
    match button.press {
        Press::Link(_) | Press::WebApp(_) | Press::Request(_) => 2,
        _ => 1,
    }
}

fn key(button: &Button, kind: &str) -> Result<Value, String> {
    let label = shorten(&button.label, LABEL);
    if label.is_empty() {
        return Err("a button needs a label".to_owned());
    }
    let action = match &button.press {
        Press::Data(data) => {
            let payload = payload(data);
            if payload.chars().count() > MAX_PAYLOAD {
                return Err(format!("the data of button {label:?} is too long for VK"));
            }
            json!({ "type": kind, "label": label, "payload": payload })
        }
        Press::Say => json!({ "type": "text", "label": label }),
        Press::Link(address) | Press::WebApp(address) => {
            json!({ "type": "open_link", "link": address, "label": label })
        }
        // VK writes on it what it does.
        Press::Request(Request::Location) => json!({ "type": "location" }),
        Press::Request(Request::Contact) => {
            return Err(format!(
                "VK has no button that asks for a telephone number ({label:?})"
            ));
        }
        Press::Phone(_) => {
            return Err(format!("VK has no button that calls a number ({label:?})"));
        }
    };
    Ok(json!({ "action": action }))
}

/// A button's payload must be JSON, so data stands in an object.
fn payload(data: &str) -> String {
    json!({ "button": data }).to_string()
}

/// A button's data; the payload of a button that is not ours is its JSON.
pub(super) fn data(payload: &str) -> String {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ours {
        button: String,
    }
    match serde_json::from_str::<Ours>(payload) {
        Ok(ours) => ours.button,
        Err(_) => payload.to_owned(),
    }
}
