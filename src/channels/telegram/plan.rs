//! What becomes of a turn's actions: what rides in the answer to the webhook, and what is sent
//! by calls.
//!
//! Called by `mod.rs` before the commit. Whoever asked is answered before anything else is
//! said: a pressed button waits, and a question before a payment is dropped after ten seconds
//! (<https://core.telegram.org/bots/api#answerprecheckoutquery>).

use serde_json::{Map, Value};

use super::incoming::question;
use super::methods;
use crate::author::message::{Action, Kind, Reply, Update};

/// The method that ends a button's waiting, in small letters.
const PRESS: &str = "answercallbackquery";

/// Actions that fit, as they are sent.
#[derive(Default)]
pub(super) struct Arranged {
    /// Calls that answer what the update asks.
    pub(super) answers: Vec<Action>,
    /// All others, in order.
    pub(super) others: Vec<Action>,
}

impl Arranged {
    /// Answers first.
    pub(super) fn all(self) -> Vec<Action> {
        let mut all = self.answers;
        all.extend(self.others);
        all
    }
}

/// Arranges the actions of this update's turn.
///
/// # Errors
/// A sentence: a button that was pressed once is answered twice, or there is no chat to reply
/// to.
pub(super) fn arrange(update: &Update, actions: Vec<Action>) -> Result<Arranged, String> {
    let mut arranged = Arranged::default();
    let mut pressed = None;
    for action in actions {
        match action {
            Action::Toast { text, alert } => {
                let press = pressed.get_or_insert_with(|| press(update));
                match press.clone() {
                    Some(press) => arranged.answers.push(toast(press, text, alert)),
                    // Nothing was pressed over which it could be shown.
                    None if text.trim().is_empty() => {}
                    None => arranged.others.push(Reply::plain(text).into()),
                }
            }
            Action::Call {
                method,
                params,
                name,
            } => {
                let is_answer = methods::is_answer(&method);
                let mut params = object(params);
                methods::fill_of(update, &method, &mut params);
                let call = Action::Call {
                    method,
                    params: params.into(),
                    name,
                };
                match is_answer {
                    true => arranged.answers.push(call),
                    false => arranged.others.push(call),
                }
            }
            other => arranged.others.push(other),
        }
    }
    if arranged
        .answers
        .iter()
        .filter(|call| is_press(call))
        .count()
        > 1
    {
        return Err("a pressed button is answered once, by one toast or one call".to_owned());
    }
    let says = |action: &Action| matches!(action, Action::Reply(_) | Action::Delete { .. });
    if update.address.is_empty() && arranged.others.iter().any(says) {
        return Err(format!(
            "an update of kind {:?} is of no chat that could be replied to",
            update.event
        ));
    }
    Ok(arranged)
}

/// The call that ends a button's waiting, if the turn did not.
pub(super) fn end_waiting(update: &Update, arranged: &Arranged) -> Option<Action> {
    if update.kind != Kind::Button || arranged.answers.iter().any(is_press) {
        return None;
    }
    Some(toast(press(update)?, String::new(), false))
}

/// The press of this update, as a call names it.
fn press(update: &Update) -> Option<(&'static str, String)> {
    match update.kind {
        Kind::Button => question(update.raw(), PRESS),
        _ => None,
    }
}

fn toast((field, id): (&str, String), text: String, alert: bool) -> Action {
    let mut params = Map::new();
    params.insert(field.to_owned(), id.into());
    if !text.is_empty() {
        params.insert("text".to_owned(), text.into());
    }
    if alert {
        params.insert("show_alert".to_owned(), true.into());
    }
    Action::Call {
        method: "answerCallbackQuery".to_owned(),
        params: params.into(),
        name: None,
    }
}

fn is_press(action: &Action) -> bool {
    matches!(action, Action::Call { method, .. } if method.eq_ignore_ascii_case(PRESS))
}

pub(super) fn object(params: Value) -> Map<String, Value> {
    match params {
        Value::Object(params) => params,
        _ => Map::new(),
    }
}
