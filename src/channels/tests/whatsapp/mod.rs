//! WhatsApp: each kind of message that its webhooks bring, what a reply becomes, and what its
//! API's errors mean.

mod answers;
mod hearing;
mod judged;
mod saying;

use serde_json::{Value, json};

use super::super::whatsapp;
use super::*;

const NUMBER: &str = "106540352242922";
const USER: &str = "US.13491208655302741918";

/// A body with this value.
fn body(value: Value) -> String {
    let mut full = json!({
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": NUMBER},
    });
    for (field, part) in value.as_object().unwrap() {
        full[field] = part.clone();
    }
    json!({"object": "whatsapp_business_account", "entry": [{"id": "102290129340398",
        "changes": [{"value": full, "field": "messages"}]}]})
    .to_string()
}

/// A message of Sheena's with these fields.
fn message(fields: Value) -> String {
    let mut message = json!({"from": "16505551234", "from_user_id": USER, "id": "wamid.HBg=",
        "timestamp": "1749416383"});
    for (field, part) in fields.as_object().unwrap() {
        message[field] = part.clone();
    }
    let person = json!({"profile": {"name": "Sheena", "username": "sheena"},
        "wa_id": "16505551234", "user_id": USER});
    body(json!({"contacts": [person], "messages": [message]}))
}

fn one(fields: Value) -> Update {
    let mut found = updates("whatsapp", &message(fields.clone()));
    assert_eq!(found.len(), 1, "{fields}");
    found.remove(0)
}

/// What a reply becomes, as WhatsApp is told.
fn said(reply: Reply) -> Vec<Value> {
    let messages = channel("whatsapp").fit(&reply).unwrap();
    let written = messages
        .iter()
        .map(|message| whatsapp::message(message, None).unwrap());
    written.collect()
}

fn with_buttons(count: usize) -> Reply {
    (0..count).fold(Reply::from("?"), |reply, n| {
        reply.button(format!("B{n}"), n.to_string())
    })
}
