//! What is shown for a moment and is no message: that the bot is writing, and a text that is
//! not final yet.
//!
//! Called by `mod.rs`. Best effort: nothing of it is stored or sent again.

use serde_json::{Map, Value};

use super::fit;
use super::render::{Body, Call};
use super::within::Within;
use crate::author::message::{ChatKind, Update};

/// "… is typing", for five seconds (<https://core.telegram.org/bots/api#sendchataction>). Not in
/// channels.
pub(super) fn typing(update: &Update, chat: String) -> Option<Call<'static>> {
    if chat.is_empty() || is_of(update, ChatKind::Channel) {
        return None;
    }
    let within = Within::parse(&update.within).ok()?;
    let mut params = Map::new();
    params.insert("chat_id".to_owned(), chat.into());
    params.insert("action".to_owned(), "typing".into());
    insert(&mut params, "message_thread_id", within.message_thread_id);
    insert(
        &mut params,
        "business_connection_id",
        within.business_connection_id,
    );
    Some(call("sendChatAction", params))
}

/// A text that grows, for half a minute
/// (<https://core.telegram.org/bots/api#sendmessagedraft>). Only in private conversations with
/// the bot itself.
pub(super) fn draft(update: &Update, text: &str) -> Option<Call<'static>> {
    let within = Within::parse(&update.within).ok()?;
    if !is_of(update, ChatKind::Private) || within.business_connection_id.is_some() {
        return None;
    }
    let mut params = Map::new();
    params.insert("chat_id".to_owned(), update.address.clone().into());
    params.insert("draft_id".to_owned(), draft_id(update).into());
    params.insert("text".to_owned(), fit::start_of(text).into());
    insert(&mut params, "message_thread_id", within.message_thread_id);
    Some(call("sendMessageDraft", params))
}

/// One for all drafts of a turn: not zero.
fn draft_id(update: &Update) -> i64 {
    let number: i64 = update.id.0.parse().unwrap_or_default();
    number.rem_euclid(i64::from(i32::MAX)) + 1
}

fn is_of(update: &Update, kind: ChatKind) -> bool {
    update.chat.as_ref().is_some_and(|chat| chat.kind == kind)
}

fn insert(params: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        params.insert(name.to_owned(), value.into());
    }
}

fn call(method: &'static str, params: Map<String, Value>) -> Call<'static> {
    Call {
        method: method.into(),
        params: Body::Any(params),
        uploads: Vec::new(),
    }
}
