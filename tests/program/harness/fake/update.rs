//! An update in each platform's words, and what an answer to it tells the platform.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::Value;

use crate::harness::client::{Answer, message};
use crate::harness::telegram;
use crate::platforms::webhooks::{batch, facebook, facebook_text, viber, viber_text, vk};

/// The platforms, and plain HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Telegram,
    Viber,
    Facebook,
    Vk,
    Http,
}

pub(crate) const KINDS: [Kind; 5] = [
    Kind::Telegram,
    Kind::Viber,
    Kind::Facebook,
    Kind::Vk,
    Kind::Http,
];

impl Kind {
    /// Never posts a user's next update before the one before it is answered. Telegram
    /// has one queue for each chat, with one request in flight.
    pub(crate) fn is_in_order(self) -> bool {
        matches!(self, Kind::Telegram | Kind::Http)
    }

    /// The channel's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Telegram => "telegram",
            Kind::Viber => "viber",
            Kind::Facebook => "facebook",
            Kind::Vk => "vk",
            Kind::Http => "http",
        }
    }
}

/// A user says something.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) kind: Kind,
    pub(crate) user: u64,
    /// One for each update of a platform.
    pub(crate) id: u64,
    pub(crate) text: String,
}

impl Update {
    /// The request that brings it.
    pub(crate) fn request(&self) -> Request<Full<Bytes>> {
        request(std::slice::from_ref(self))
    }
}

/// The request that brings these; one, except for Facebook.
pub(super) fn request(updates: &[Update]) -> Request<Full<Bytes>> {
    let Update {
        kind,
        user,
        id,
        text,
    } = super::first_of(updates);
    let name = user.to_string();
    match kind {
        Kind::Telegram => telegram::webhook(&telegram::text(*id, *user, text)),
        Kind::Viber => viber(&viber_text(*id, &name, text)),
        Kind::Vk => vk(&id.to_string(), *user, text),
        Kind::Http => message(&name, text, Some(&id.to_string())),
        Kind::Facebook => {
            let event =
                |u: &Update| facebook_text(&format!("m_{}", u.id), &u.user.to_string(), &u.text);
            let events: Vec<_> = updates.iter().map(event).collect();
            facebook(batch(&events))
        }
    }
}

/// The messages that ride in an answer: chat, text and the whole.
pub(super) fn calls_in(update: &Update, answer: &Answer) -> Vec<(String, String, Value)> {
    let text = |body: &Value| body["text"].as_str().unwrap_or("?").to_owned();
    match update.kind {
        Kind::Telegram if !answer.body.is_empty() => {
            let call = answer.json();
            if call["method"] != "sendMessage" {
                return Vec::new();
            }
            let chat = call["chat_id"].as_str().unwrap_or("?").to_owned();
            vec![(chat, text(&call), call)]
        }
        Kind::Http => {
            let answer = answer.json();
            let replies = answer["replies"].as_array().cloned().unwrap_or_default();
            let call = |reply: Value| (update.user.to_string(), text(&reply), reply);
            replies.into_iter().map(call).collect()
        }
        _ => Vec::new(),
    }
}
