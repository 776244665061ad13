//! What a request of a platform's turned out to hold, and how it is answered.
//!
//! A channel makes a [`Received`] of a body ([`Channel::parse`](super::Channel::parse)); the
//! updaters see to it, and answer with a [`PlatformAnswer`] or a [`Refusal`].

use hyper::StatusCode;
use hyper::header::HeaderName;

#[cfg(doc)]
use crate::author::message::Outgoing;
use crate::author::message::{DialogKey, Update};
#[cfg(doc)]
use crate::channels::{Channel, Sent};

/// Something that came in and is answered without a turn.
///
/// ```
/// use turnkey::{Refusal, StatusCode};
///
/// let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "wrong signature");
/// assert_eq!(refusal.status, 401);
/// ```
#[derive(Debug)]
pub struct Refusal {
    /// 400 for what cannot be read, 401 for what is not genuine.
    pub status: StatusCode,
    /// A sentence for whoever sent it.
    pub reason: String,
}

impl Refusal {
    /// An answer with this status and reason.
    pub fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        Refusal {
            status,
            reason: reason.into(),
        }
    }
}

/// An answer in a platform's own terms.
///
/// ```
/// let answer = turnkey::PlatformAnswer::text("ok");
/// assert_eq!((answer.status.as_u16(), answer.body), (200, b"ok".to_vec()));
/// ```
#[derive(Debug)]
pub struct PlatformAnswer {
    /// The status; 200 is what most platforms want.
    pub status: StatusCode,
    /// `Content-Type`, unless the body is empty.
    pub media_type: &'static str,
    /// Header lines beside the media type. Mostly none.
    pub headers: Vec<(HeaderName, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl PlatformAnswer {
    /// 200 with JSON, or with nothing.
    pub fn json(body: Vec<u8>) -> Self {
        PlatformAnswer {
            status: StatusCode::OK,
            media_type: "application/json",
            headers: Vec::new(),
            body,
        }
    }

    /// 200 with plain text.
    pub fn text(body: impl Into<Vec<u8>>) -> Self {
        PlatformAnswer {
            status: StatusCode::OK,
            media_type: "text/plain",
            headers: Vec::new(),
            body: body.into(),
        }
    }
}

/// What a request turned out to hold.
///
/// ```
/// use turnkey::{PlatformAnswer, Received};
///
/// // A ping of the platform's is no update.
/// let received = Received::Answer(PlatformAnswer::text("pong"));
/// # drop(received);
/// ```
#[derive(Debug)]
pub enum Received {
    /// Updates, in order. Each is a turn.
    Updates(Vec<Update>),
    /// The same, and what became of replies that the platform had taken.
    WithEnds(Vec<Update>, Vec<ReplyEnd>),
    /// An update whose caller asks not to wait: it is accepted at once.
    Async(Box<Update>),
    /// Nothing for a handler: this is the answer.
    Answer(PlatformAnswer),
}

/// What became of a reply that the platform had taken: [`Received::WithEnds`].
///
/// ```
/// use turnkey::{End, Received, ReplyEnd};
///
/// // The platform says that a message is with its user: of which, its key tells.
/// let end = ReplyEnd::new("9001-7-0", "m.1", End::Arrived);
/// let received = Received::WithEnds(Vec::new(), vec![end]);
/// # drop(received);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplyEnd {
    /// [`Outgoing::key`]; empty where the platform does not give it back.
    pub key: String,
    /// What the platform calls the message: [`Sent::message`].
    pub message: String,
    /// What became of it.
    pub end: End,
}

/// How it ended.
///
/// ```
/// use turnkey::{DialogKey, End};
///
/// let dialog = DialogKey::new("desk", "ann");
/// let end = End::Refused { dialog, reason: "no such number".to_owned() };
/// assert_ne!(end, End::Arrived);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum End {
    /// It is with its user: it will not be refused any more.
    Arrived,
    /// It is refused after all: it becomes a dead reply, if the channel
    /// [`refuses_late`](Channel::refuses_late).
    Refused {
        /// Whose it was, as far as the platform says.
        dialog: DialogKey,
        /// Why; without secrets.
        reason: String,
    },
}

impl ReplyEnd {
    /// This end of the reply that has this key, and that is this message of the platform's.
    pub fn new(key: impl Into<String>, message: impl Into<String>, end: End) -> Self {
        ReplyEnd {
            key: key.into(),
            message: message.into(),
            end,
        }
    }
}
