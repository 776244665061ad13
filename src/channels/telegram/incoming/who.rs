//! Whose an update is: the user, or the chat in whose name a message was sent.
//!
//! Accounts that stand for many ([`SHARED`]) are nobody: else all anonymous administrators of
//! all groups would share one dialog.

use serde::Deserialize;

use super::super::super::lenient::{self, Number};
use crate::author::message::{Chat, ChatKind, Sender};

/// Accounts that stand for whoever speaks in a chat's name: of groups' anonymous
/// administrators, of channels, of posts that come from a linked channel.
const SHARED: [i64; 3] = [1_087_968_824, 136_817_688, 777_000];

/// <https://core.telegram.org/bots/api#user>
#[derive(Deserialize)]
pub(super) struct User {
    pub(super) id: Number,
    #[serde(default, deserialize_with = "lenient::any_text")]
    first_name: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    last_name: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    username: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    language_code: Option<String>,
}

/// <https://core.telegram.org/bots/api#chat>
#[derive(Deserialize)]
pub(super) struct Place {
    pub(super) id: Number,
    #[serde(default, rename = "type", deserialize_with = "lenient::any_text")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    title: Option<String>,
    #[serde(default, deserialize_with = "lenient::any_text")]
    username: Option<String>,
}

/// Whose something is.
pub(super) struct Who {
    pub(super) id: i64,
    pub(super) sender: Sender,
}

impl User {
    pub(super) fn is_shared(&self) -> bool {
        SHARED.contains(&self.id.0)
    }

    /// First and last name.
    pub(super) fn name(first: Option<String>, last: Option<String>) -> String {
        let mut name = first.unwrap_or_default();
        if let Some(last) = last.filter(|last| !last.is_empty()) {
            if !name.is_empty() {
                name.push(' ');
            }
            name.push_str(&last);
        }
        name
    }

    pub(super) fn full_name(self) -> String {
        User::name(self.first_name, self.last_name)
    }
}

impl From<User> for Who {
    fn from(user: User) -> Self {
        Who {
            id: user.id.0,
            sender: Sender {
                name: User::name(user.first_name, user.last_name),
                username: user.username,
                language: user.language_code,
            },
        }
    }
}

impl From<&Place> for Who {
    fn from(place: &Place) -> Self {
        Who {
            id: place.id.0,
            sender: Sender {
                name: place.title.clone().unwrap_or_default(),
                username: place.username.clone(),
                language: None,
            },
        }
    }
}

impl Who {
    /// Whoever speaks in a chat: the chat in whose name it is, else the user.
    pub(super) fn speaks(from: Option<User>, in_name_of: Option<&Place>, chat: &Place) -> Self {
        match (in_name_of, from) {
            (Some(place), _) => place.into(),
            (None, Some(from)) if !from.is_shared() => from.into(),
            (None, _) => chat.into(),
        }
    }
}

impl Place {
    pub(super) fn name(self) -> String {
        self.title.unwrap_or_default()
    }

    fn sort(&self) -> ChatKind {
        match self.kind.as_deref() {
            Some("private") => ChatKind::Private,
            Some("group" | "supergroup") => ChatKind::Group,
            Some("channel") => ChatKind::Channel,
            // The ids of all but private chats are negative.
            _ if self.id.0 < 0 => ChatKind::Group,
            _ => ChatKind::Private,
        }
    }

    pub(super) fn chat(self, topic: Option<String>) -> Chat {
        Chat {
            id: self.id.0.to_string(),
            kind: self.sort(),
            title: self.title,
            was: None,
            topic,
        }
    }
}
