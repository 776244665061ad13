//! The platforms that updates come from and replies go to.
//!
//! One file each; `updaters/` asks a channel to verify and parse what came in,
//! `turn.rs` what to answer, `outbox.rs` to send. A channel knows nothing of
//! locks, storage or processes.

mod client;
mod content;
mod facebook;
mod http;
mod incoming;
mod signature;
mod telegram;
#[cfg(test)]
mod tests;
mod viber;
mod vk;

use std::cell::Cell;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderName;
use hyper::{HeaderMap, StatusCode, Uri};
use turnkey_storage::{ReplyId, Seen};

pub(crate) use self::http::UPDATES;
use crate::config::Config;
use crate::error::Error;
use crate::message::{DialogKey, Outgoing, Reply, Update, UpdateId};

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

impl SendError {
    /// Try again, as soon as usual.
    fn retry(reason: impl Into<String>) -> Self {
        SendError::Retry {
            reason: reason.into(),
            after: None,
        }
    }
}

/// An answer in a platform's own terms.
#[derive(Debug)]
pub(crate) struct PlatformAnswer {
    pub(crate) status: StatusCode,
    pub(crate) media_type: &'static str,
    /// Header lines beside the media type. Mostly none.
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) body: Vec<u8>,
}

impl PlatformAnswer {
    pub(crate) fn json(body: Vec<u8>) -> Self {
        PlatformAnswer {
            status: StatusCode::OK,
            media_type: "application/json",
            headers: Vec::new(),
            body,
        }
    }

    fn text(body: impl Into<Vec<u8>>) -> Self {
        PlatformAnswer {
            status: StatusCode::OK,
            media_type: "text/plain",
            headers: Vec::new(),
            body: body.into(),
        }
    }
}

/// What a request turned out to hold.
#[derive(Debug)]
pub(crate) enum Received {
    /// Updates, in order. Each is a turn.
    Updates(Vec<Update>),
    /// An update whose caller asks not to wait: it is accepted at once.
    Async(Update),
    /// Nothing for a handler: this is the answer.
    Answer(PlatformAnswer),
}

/// What becomes of a turn's replies.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The body of the answer to a committed turn. It is stored with the turn and
    /// given again, byte for byte, should the update come again.
    pub(crate) answer: Vec<u8>,
    /// What is sent afterwards, in order.
    pub(crate) send: Vec<Reply>,
}

pub(crate) type SendFuture<'a> = Pin<Box<dyn Future<Output = Result<(), SendError>> + 'a>>;

/// A platform.
pub(crate) trait Channel {
    /// The name, which is also its path: `telegram` is served at `/telegram`.
    fn name(&self) -> &'static str;

    /// Bytes of a body that are taken; `configured` is `--max-body`.
    fn max_body(&self, configured: usize) -> usize {
        configured
    }

    /// Whether the media type must be `application/json`: a web page cannot post
    /// that to us from a visitor's browser. Where all bodies are signed or hold a
    /// secret it does not matter.
    fn wants_json_type(&self) -> bool {
        false
    }

    /// The answer to a `GET`, where a platform checks an address that way.
    fn challenge(&self, _query: &str) -> Option<Result<PlatformAnswer, Refusal>> {
        None
    }

    /// Checks that the platform sent this, over the raw bytes, before anything
    /// is parsed.
    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal>;

    /// Reads what a request holds.
    fn parse(&self, headers: &HeaderMap, body: &Bytes) -> Result<Received, Refusal>;

    /// The messages that these replies become: cuts what is too long for the platform.
    ///
    /// # Errors
    /// As [`plan`](Channel::plan).
    fn fit(&self, replies: &[Reply]) -> Result<Vec<Reply>, String> {
        Ok(replies.to_vec())
    }

    /// Decides, before the commit, which replies ride in the answer and which are
    /// sent, and cuts them to what the platform takes.
    ///
    /// # Errors
    /// A reply that the platform would never take, in a sentence. The turn fails.
    fn plan(&self, update: &Update, replies: &[Reply]) -> Result<Plan, String>;

    /// The answer to a committed turn, with the body that was planned.
    fn answer(&self, body: Vec<u8>) -> PlatformAnswer {
        PlatformAnswer::json(body)
    }

    /// The answer to an update that was seen before; `digest` is this one's.
    fn answer_seen(&self, _digest: &[u8], seen: Seen) -> PlatformAnswer {
        self.answer(seen.answer)
    }

    /// Whether a caller waits for the turn's own answer, however long it takes; if not,
    /// `--ack-after` bounds it.
    fn waits_for_answer(&self) -> bool {
        false
    }

    /// The body of the answer to an update that was accepted and is not handled yet. No
    /// reply can ride in it.
    fn accepted(&self, _update: &Update) -> Vec<u8> {
        Vec::new()
    }

    /// The whole answer to a caller who asked not to wait.
    fn answer_async(&self, _id: &UpdateId, body: Vec<u8>) -> PlatformAnswer {
        self.answer(body)
    }

    /// The answer that is stored with an update that was given up.
    fn given_up(&self, update: &Update) -> Vec<u8> {
        self.accepted(update)
    }

    /// Whether there is anybody to send to. If not, all replies ride in the answers.
    fn can_send(&self) -> bool {
        true
    }

    /// `Retry-After` of a 503.
    fn retry_after(&self) -> String {
        "1".to_owned()
    }

    /// Sends one reply. The same `id` means the same reply, should a platform
    /// know how to tell.
    fn send<'a>(&'a self, id: ReplyId, reply: &'a Outgoing) -> SendFuture<'a>;
}

/// The channels of a worker, by name.
pub(crate) struct Channels {
    by_name: HashMap<&'static str, Box<dyn Channel>>,
    /// Stands in for a channel that is no longer configured.
    gone: Gone,
    /// That replies are lost was said.
    said_lost: Cell<bool>,
}

impl Channels {
    /// Makes the channels of this configuration. To be called after any fork:
    /// some hold connections.
    ///
    /// # Errors
    /// What is wrong with the configuration, in a sentence.
    pub(crate) fn open(config: &Config) -> crate::Result<Self> {
        let mut all: Vec<Box<dyn Channel>> = vec![
            Box::new(http::Http::new(&config.http)),
            Box::new(telegram::Telegram::new(&config.telegram)?),
        ];
        if let Some(config) = &config.viber {
            all.push(Box::new(viber::Viber::new(config)?));
        }
        if let Some(config) = &config.facebook {
            all.push(Box::new(facebook::Facebook::new(config)?));
        }
        if let Some(config) = &config.vk {
            all.push(Box::new(vk::Vk::new(config)?));
        }
        Ok(Channels {
            by_name: all.into_iter().map(|c| (c.name(), c)).collect(),
            gone: Gone,
            said_lost: Cell::new(false),
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

    /// What becomes of the replies of a turn whose update was answered before: all are
    /// sent. Where callers come back for the answer, they ride in the stored one.
    pub(crate) fn plan_accepted(&self, update: &Update, replies: &[Reply]) -> Result<Plan, String> {
        let channel = self.of(&update.dialog);
        if channel.can_send() {
            return Ok(Plan {
                answer: channel.accepted(update),
                send: channel.fit(replies)?,
            });
        }
        if !channel.waits_for_answer() && !replies.is_empty() && !self.said_lost.replace(true) {
            tracing::warn!(
                "{}: a reply that is ready only after --ack-after cannot be sent without a \
                 token, and is lost: set the channel's token (said once)",
                update.dialog
            );
        }
        channel.plan(update, replies)
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

    fn parse(&self, _: &HeaderMap, _: &Bytes) -> Result<Received, Refusal> {
        Err(Refusal::new(StatusCode::NOT_FOUND, "no such channel"))
    }

    fn plan(&self, _: &Update, _: &[Reply]) -> Result<Plan, String> {
        Err("its channel is not served by this program".to_owned())
    }

    fn send<'a>(&'a self, _: ReplyId, _: &'a Outgoing) -> SendFuture<'a> {
        Box::pin(async {
            Err(SendError::retry(
                "its channel is not served by this program",
            ))
        })
    }
}

/// The address of a platform's method. The refusal leaves it out: it may hold a token.
fn method_address(address: &str, settings: &str) -> crate::Result<Uri> {
    address.parse().map_err(|_| {
        Error::Start(format!(
            "{settings} has characters that no address may have"
        ))
    })
}

/// A platform's words about an error, which may quote the token that it was given.
fn without(token: &str, reason: &str) -> String {
    reason.replace(token, "(token)")
}
