//! Where in a chat something was said, so that replies go there.
//!
//! Made by `incoming/`, kept as text in [`Update::within`](crate::Update::within) and the
//! outbox, read by `render.rs`.

use serde::{Deserialize, Serialize};

/// A group's topic "General": Telegram finds no such topic when it is named (400 "message
/// thread not found").
const GENERAL: i64 = 1;

/// A place in a chat, as the fields of a call that answers there
/// (<https://core.telegram.org/bots/api#sendmessage>).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Within {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) message_thread_id: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) direct_messages_topic_id: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) business_connection_id: Option<String>,
}

impl Within {
    /// Of [`Update::within`](crate::Update::within).
    ///
    /// # Errors
    /// It is not one of ours.
    pub(super) fn parse(within: &str) -> Result<Self, String> {
        if within.is_empty() {
            return Ok(Within::default());
        }
        serde_json::from_str(within).map_err(|error| format!("no place in a chat: {error}"))
    }

    /// Of a message's fields. Where it is in no topic, a thread is only the message that
    /// was answered.
    pub(super) fn of(
        thread: Option<i64>,
        is_topic: bool,
        direct: Option<i64>,
        business: Option<String>,
    ) -> Self {
        Within {
            message_thread_id: thread.filter(|thread| is_topic && *thread != GENERAL),
            direct_messages_topic_id: direct,
            business_connection_id: business,
        }
    }

    /// As an update keeps it: empty for the chat itself.
    pub(super) fn text(&self) -> String {
        if *self == Within::default() {
            return String::new();
        }
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The topic, if it is in one.
    pub(super) fn topic(&self) -> Option<String> {
        let topic = self.message_thread_id.or(self.direct_messages_topic_id)?;
        Some(topic.to_string())
    }
}
