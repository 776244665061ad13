//! What goes in and what comes out: plain data that every other part speaks of.
//!
//! Imports nothing of ours but the storage crate's [`DialogKey`].

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use turnkey_storage::DialogKey;

/// Bytes of a user id. Platforms' own are below 64.
pub const MAX_USER_ID: usize = 256;

/// Bytes of an update id. Platforms' own are below 128, UUIDs are 36.
pub const MAX_UPDATE_ID: usize = 256;

/// The id of an update within its channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpdateId(pub String);

impl fmt::Display for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One incoming message or event.
#[derive(Debug)]
pub struct Update {
    /// Whose it is: the channel and the user.
    pub dialog: DialogKey,
    /// Its id; the same one coming again is the same update.
    pub id: UpdateId,
    /// The text, the caption, or the data of the button that was pressed.
    pub text: String,
    /// Where replies go, in the channel's terms: a chat, mostly the user.
    pub address: String,
    /// A digest of the request, where a channel tells apart different requests
    /// under one id; else empty.
    pub digest: Vec<u8>,
    /// The platform's own JSON, untouched.
    pub(crate) raw: Bytes,
}

impl Update {
    /// The platform's own JSON, untouched: for the fields that this type leaves
    /// out. Read it with `serde_json::from_slice` into a type of your own.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }
}

/// What the handler says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reply {
    /// The text.
    pub text: String,
}

impl<T: Into<String>> From<T> for Reply {
    fn from(text: T) -> Self {
        Reply { text: text.into() }
    }
}

/// A reply on its way: what the outbox stores.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outgoing {
    /// Where to, in the channel's terms.
    pub(crate) to: String,
    /// What.
    #[serde(flatten)]
    pub(crate) reply: Reply,
}
