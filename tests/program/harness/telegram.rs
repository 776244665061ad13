//! What Telegram posts.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

use crate::harness::client::post;

/// An update with a text message of a user, in the private chat with them.
pub(crate) fn text(update: u64, user: u64, text: &str) -> Value {
    json!({
        "update_id": update,
        "message": {
            "message_id": update, "date": 1_700_000_000,
            "from": {"id": user, "is_bot": false, "first_name": "Ann"},
            "chat": {"id": user, "type": "private", "first_name": "Ann"},
            "text": text
        }
    })
}

/// The request in which Telegram posts an update.
pub(crate) fn webhook(update: &Value) -> Request<Full<Bytes>> {
    post("/telegram", update.to_string())
}
