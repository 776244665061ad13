//! The Bot API's methods by their names: what an author's own calls
//! ([`Turn::call`](crate::Turn::call), [`Turn::ask`](crate::Turn::ask)) leave out and we know.
//!
//! Used by `plan.rs`, `render.rs` and `calls.rs`. What an author says is never changed; what a
//! method does not take Telegram ignores.

use serde_json::{Map, Value};

use super::incoming::question;
use super::within::Within;
use crate::author::message::{Kind, Update};

/// Those that decide where updates go, or end the bot: they are the engine's.
const OURS: [&str; 5] = [
    "close",
    "deletewebhook",
    "getupdates",
    "logout",
    "setwebhook",
];

/// How the names of those begin that send something to a chat.
const SENDS: [&str; 3] = ["send", "copymessage", "forwardmessage"];

/// How the names of the others begin that are about a chat.
const OF_A_CHAT: [&str; 37] = [
    "approve",
    "banchat",
    "close",
    "createchat",
    "createforum",
    "decline",
    "deleteall",
    "deletechat",
    "deleteephemeral",
    "deleteforum",
    "deletemessage",
    "editchat",
    "editephemeral",
    "editforum",
    "editgeneral",
    "editmessage",
    "exportchat",
    "getchat",
    "getgamehighscores",
    "getuserchatboosts",
    "hidegeneral",
    "leavechat",
    "pinchat",
    "promote",
    "readbusiness",
    "removechat",
    "reopen",
    "restrict",
    "revokechat",
    "setchat",
    "setgamescore",
    "setmessagereaction",
    "stop",
    "unban",
    "unhidegeneral",
    "unpin",
    "verifychat",
];

/// Those that begin like these and are about no chat, or about all when none is named.
const OF_NO_CHAT: [&str; 3] = [
    "getchatmenubutton",
    "sendchatjoinrequestwebapp",
    "setchatmenubutton",
];

/// Whether an author may call it.
///
/// # Errors
/// It is no name of a method, or a method of the engine's.
pub(super) fn check(method: &str, params: &Value) -> Result<(), String> {
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(format!("{method:?} is no method of Telegram's"));
    }
    if OURS.contains(&method.to_ascii_lowercase().as_str()) {
        return Err(format!(
            "{method} decides where the bot's updates go: that is done by --updater, --public-url and \
             --delete-webhook"
        ));
    }
    match params {
        Value::Object(_) | Value::Null => Ok(()),
        _ => Err(format!("the parameters of {method} are no object")),
    }
}

/// Telegram takes names in any case.
fn lower(method: &str) -> String {
    method.to_ascii_lowercase()
}

/// Whether it answers a question: a press, or one before a payment, or one asked inline.
pub(super) fn is_answer(method: &str) -> bool {
    lower(method).starts_with("answer")
}

/// Whether a chat gets a message by it, or sees one change.
pub(super) fn is_said(method: &str) -> bool {
    let method = lower(method);
    method != "sendchataction"
        && (SENDS.iter().any(|start| method.starts_with(start))
            || method.starts_with("editmessage"))
}

/// Puts in what only the update knows: which question is answered, and the group that
/// somebody asks to be let into, since replies to that go to the asker.
pub(super) fn fill_of(update: &Update, method: &str, params: &mut Map<String, Value>) {
    let method = lower(method);
    if method.starts_with("answer")
        && let Some((field, id)) = question(update.raw(), &method)
    {
        params.entry(field).or_insert(Value::String(id));
    }
    if update.kind == Kind::JoinRequest
        && !SENDS.iter().any(|start| method.starts_with(start))
        && is_of_chat(&method, params)
        && let Some(chat) = &update.chat
    {
        params
            .entry("chat_id")
            .or_insert(Value::String(chat.id.clone()));
    }
}

/// Puts in the chat, and the place in it, where none is named.
pub(super) fn fill(method: &str, params: &mut Map<String, Value>, chat: &str, within: &Within) {
    let method = lower(method);
    let sends = SENDS.iter().any(|start| method.starts_with(start));
    if chat.is_empty() {
        return;
    }
    let ours = || Value::String(chat.to_owned());
    if method.starts_with("copymessage") || method.starts_with("forwardmessage") {
        params.entry("from_chat_id").or_insert_with(ours);
    }
    if params.contains_key("chat_id") || !is_of_chat(&method, params) {
        return;
    }
    params.insert("chat_id".to_owned(), ours());
    if let (Some(id), true) = (
        &within.business_connection_id,
        sends || method.starts_with("editmessage"),
    ) {
        let id = Value::String(id.clone());
        params.entry("business_connection_id").or_insert(id);
    }
    if !sends {
        return;
    }
    for (field, id) in [
        ("message_thread_id", within.message_thread_id),
        ("direct_messages_topic_id", within.direct_messages_topic_id),
    ] {
        if let Some(id) = id {
            params.entry(field).or_insert(id.into());
        }
    }
}

fn is_of_chat(method: &str, params: &Map<String, Value>) -> bool {
    let is_named_otherwise = params.contains_key("inline_message_id")
        || method == "sendgift" && params.contains_key("user_id");
    let mut starts = SENDS.iter().chain(&OF_A_CHAT);
    !is_named_otherwise
        && !OF_NO_CHAT.contains(&method)
        && starts.any(|start| method.starts_with(start))
}
