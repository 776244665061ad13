//! The platforms that updates come from and replies go to.
//!
//! One file each; `updaters/` asks a channel to verify and parse what came in,
//! `turn.rs` what to answer, `outbox.rs` to send. A channel knows nothing of
//! locks, storage or processes.

mod client;
mod http;
mod telegram;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};
use subtle::ConstantTimeEq;
use turnkey_storage::{ReplyId, Seen};

use crate::config::Config;
use crate::message::{DialogKey, Outgoing, Reply, Update};

/// Something that came in and is answered without a turn.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// A sentence for whoever sent it.
    pub(crate) reason: String,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Refusal {
            status,
            reason: reason.into(),
        }
    }
}

/// Why a reply was not sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// Try again, after this time if the platform named one.
    Retry {
        reason: String,
        after: Option<Duration>,
    },
    /// It will never be accepted: blocked by the user, no such chat.
    Refused(String),
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SendError::Retry { reason, .. } | SendError::Refused(reason) => f.write_str(reason),
        }
    }
}

/// What a channel makes of the outcome of a request's turns.
#[derive(Debug)]
pub(crate) struct PlatformAnswer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
}

pub(crate) type SendFuture<'a> = Pin<Box<dyn Future<Output = Result<(), SendError>> + 'a>>;

/// A platform.
pub(crate) trait Channel {
    /// The name, which is also its path: `telegram` is served at `/telegram`.
    fn name(&self) -> &'static str;

    /// Checks that the platform sent this, over the raw bytes, before anything
    /// is parsed.
    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal>;

    /// Reads the updates of a request, in order.
    fn parse(&self, headers: &HeaderMap, body: &Bytes) -> Result<Vec<Update>, Refusal>;

    /// Whether replies ride in the answer to the platform's request. Then there
    /// is nothing to send.
    fn replies_in_answer(&self) -> bool;

    /// The body of the answer to a committed turn. It is stored with the turn
    /// and given again, byte for byte, should the update come again.
    fn answer(&self, update: &Update, replies: &[Reply]) -> Vec<u8>;

    /// The answer to an update that was seen before; `digest` is this one's.
    fn answer_seen(&self, digest: &[u8], seen: Seen) -> PlatformAnswer;

    /// Sends one reply. The same `id` means the same reply, should a platform
    /// know how to tell.
    fn send<'a>(&'a self, id: ReplyId, reply: &'a Outgoing) -> SendFuture<'a>;
}

/// The channels of a worker, by name.
pub(crate) struct Channels {
    by_name: HashMap<&'static str, Box<dyn Channel>>,
    /// Stands in for a channel that is no longer configured.
    gone: Gone,
}

impl Channels {
    /// Makes the channels of this configuration. To be called after any fork:
    /// some hold connections.
    ///
    /// # Errors
    /// What is wrong with the configuration, in a sentence.
    pub(crate) fn open(config: &Config) -> crate::Result<Self> {
        let all: Vec<Box<dyn Channel>> = vec![
            Box::new(http::Http::new(&config.http)),
            Box::new(telegram::Telegram::new(&config.telegram)?),
        ];
        Ok(Channels {
            by_name: all.into_iter().map(|c| (c.name(), c)).collect(),
            gone: Gone,
        })
    }

    /// The channel served at a path such as `/telegram`.
    pub(crate) fn at(&self, path: &str) -> Option<&dyn Channel> {
        self.by_name.get(path.strip_prefix('/')?).map(Box::as_ref)
    }

    /// The channel of a dialog.
    pub(crate) fn of(&self, dialog: &DialogKey) -> &dyn Channel {
        self.by_name
            .get(dialog.channel.as_str())
            .map_or(&self.gone as &dyn Channel, Box::as_ref)
    }
}

/// A channel whose dialogs are in the file but which this program does not serve.
struct Gone;

impl Channel for Gone {
    fn name(&self) -> &'static str {
        ""
    }

    fn verify(&self, _: &HeaderMap, _: &[u8]) -> Result<(), Refusal> {
        Err(Refusal::new(StatusCode::NOT_FOUND, "no such channel"))
    }

    fn parse(&self, _: &HeaderMap, _: &Bytes) -> Result<Vec<Update>, Refusal> {
        Err(Refusal::new(StatusCode::NOT_FOUND, "no such channel"))
    }

    fn replies_in_answer(&self) -> bool {
        true
    }

    fn answer(&self, _: &Update, _: &[Reply]) -> Vec<u8> {
        Vec::new()
    }

    fn answer_seen(&self, _: &[u8], seen: Seen) -> PlatformAnswer {
        PlatformAnswer {
            status: StatusCode::OK,
            body: seen.answer,
        }
    }

    fn send<'a>(&'a self, _: ReplyId, _: &'a Outgoing) -> SendFuture<'a> {
        Box::pin(async {
            Err(SendError::Retry {
                reason: "its channel is not served by this program".to_owned(),
                after: None,
            })
        })
    }
}

/// Compares a secret in constant time: how long it takes tells an attacker
/// nothing about where they were wrong.
fn same_secret(given: &[u8], expected: &[u8]) -> bool {
    given.ct_eq(expected).into()
}

/// Reads JSON; the refusal says where and which field.
fn parse_json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    // Keeping track of the path costs as much as the parsing: only what is
    // wrong is parsed again for its sake.
    serde_json::from_slice(body).map_err(|_| explain_json::<T>(body))
}

fn explain_json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Refusal {
    let mut json = serde_json::Deserializer::from_slice(body);
    let reason = match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Ok(_) => match json.end() {
            Ok(()) => "not JSON".to_owned(),
            Err(error) => format!("not JSON: {error}"),
        },
        Err(error) => {
            let path = error.path().to_string();
            let error = error.into_inner();
            match (error.is_data(), path.as_str()) {
                (true, ".") => error.to_string(),
                (true, path) => format!("field `{path}`: {error}"),
                (false, _) => format!("not JSON: {error}"),
            }
        }
    };
    Refusal::new(StatusCode::BAD_REQUEST, reason)
}
