//! What a channel gives back for what goes out: what rides in an answer, what became of a reply, and
//! where a file is.
//!
//! Made by channels, the author's included; `turn/` reads it.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};

use crate::author::message::Action;
#[cfg(doc)]
use crate::channels::Channel;

/// Why a reply was not sent.
///
/// ```
/// use std::time::Duration;
/// use turnkey::SendError;
///
/// /// What a platform's status means for a reply.
/// fn read(status: u16, reason: String, after: Option<Duration>) -> SendError {
///     match status {
///         429 => SendError::TooMany { reason, after, all: true },
///         403 | 404 => SendError::Unreachable(reason),
///         400 => SendError::Refused(reason),
///         _ => SendError::Retry { reason, after },
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The platform did not take this reply: try again, after this time if it named one.
    /// Without one the pauses double, from a quarter of a second to 30 s. After
    /// `--max-reply-attempts` of these the reply is given up.
    Retry {
        /// For the log; without secrets.
        reason: String,
        /// How long to wait.
        after: Option<Duration>,
    },
    /// The platform was not reached, did not answer, or takes nothing of this bot: that
    /// says nothing of this reply. Tried again likewise; it counts as an attempt only when
    /// the platform took other replies meanwhile.
    Away {
        /// For the log; without secrets.
        reason: String,
        /// How long to wait.
        after: Option<Duration>,
    },
    /// Too many calls: no worker calls before this time is over, also after a restart.
    TooMany {
        /// For the log; without secrets.
        reason: String,
        /// How long to wait, if the platform named a time.
        after: Option<Duration>,
        /// Whether all calls of the bot are meant. Else those to this chat are, and all
        /// once several chats were told so.
        all: bool,
    },
    /// It will never be accepted: nothing that can be sent, not allowed.
    Refused(String),
    /// Nothing reaches this user or chat any more: blocked by the user, no such chat.
    Unreachable(String),
}

impl std::fmt::Display for SendError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SendError::Retry { reason, .. }
            | SendError::Away { reason, .. }
            | SendError::TooMany { reason, .. }
            | SendError::Refused(reason)
            | SendError::Unreachable(reason) => f.write_str(reason),
        }
    }
}

impl SendError {
    /// This reply was not taken: try again, as soon as usual.
    pub fn retry(reason: impl Into<String>) -> Self {
        SendError::Retry {
            reason: reason.into(),
            after: None,
        }
    }

    /// The platform is away: try again, as soon as usual.
    pub fn away(reason: impl Into<String>) -> Self {
        SendError::Away {
            reason: reason.into(),
            after: None,
        }
    }
}

/// What becomes of a turn's replies and other actions.
///
/// ```
/// use turnkey::{Action, Plan};
///
/// /// The first reply rides in the answer, the others are sent.
/// fn plan(mut actions: Vec<Action>) -> serde_json::Result<Plan> {
///     let first = (!actions.is_empty()).then(|| actions.remove(0));
///     Ok(Plan { answer: serde_json::to_vec(&first)?, send: actions })
/// }
/// ```
#[derive(Debug)]
pub struct Plan {
    /// The body of the answer to a committed turn. It is stored with the turn and
    /// given again, byte for byte, should the update come again.
    pub answer: Vec<u8>,
    /// What is sent afterwards, in order.
    pub send: Vec<Action>,
}

/// What the platform says of something that it took.
///
/// ```
/// let sent = turnkey::Sent::message("m.1");
/// assert_eq!(sent.message.as_deref(), Some("m.1"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent {
    /// Its id of the message, by which [`Action::Edit`] and [`Action::Delete`] name it later.
    pub message: Option<String>,
    /// The message that was meant is gone: there was nothing to do any more. Why, in the
    /// platform's words.
    pub gone: Option<String>,
}

impl Sent {
    /// The message has this id.
    pub fn message(id: impl Into<String>) -> Self {
        Sent {
            message: Some(id.into()),
            gone: None,
        }
    }

    /// The message that was meant is gone.
    pub fn gone(why: impl Into<String>) -> Self {
        Sent {
            message: None,
            gone: Some(why.into()),
        }
    }
}

/// What [`Channel::send`] returns.
pub type SendFuture<'a> = Pin<Box<dyn Future<Output = Result<Sent, SendError>> + 'a>>;

/// What [`Channel::ask`] returns: the method's result.
pub type AskFuture<'a> = Pin<Box<dyn Future<Output = Result<serde_json::Value, SendError>> + 'a>>;

/// What [`Channel::own_name`] returns.
pub type NameFuture<'a> = Pin<Box<dyn Future<Output = Result<String, SendError>> + 'a>>;

/// What [`Channel::locate`] returns.
pub type LocateFuture<'a> = Pin<Box<dyn Future<Output = Result<FileAddress, SendError>> + 'a>>;

/// Where a file that a user sent can be fetched.
///
/// ```
/// let file = turnkey::FileAddress::new("https://example.org/secret/1.jpg").unwrap();
/// assert!(!format!("{file:?}").contains("secret"));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct FileAddress {
    /// Its address. It may hold a token: it is in no log.
    pub uri: Uri,
    /// What it is asked for with, such as `Authorization`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Another address than of a server of the web: a path of this box, where the
    /// platform's own server runs here.
    pub path: Option<std::path::PathBuf>,
}

impl std::fmt::Debug for FileAddress {
    /// Without the address, which may hold a token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileAddress")
            .field("host", &self.uri.host())
            .finish_non_exhaustive()
    }
}

impl FileAddress {
    /// At this address, without more.
    ///
    /// # Errors
    /// It is none.
    pub fn new(address: &str) -> Result<Self, SendError> {
        let uri: Uri = address
            .parse()
            .map_err(|_| SendError::Refused("the file's address cannot be read".to_owned()))?;
        Ok(FileAddress {
            uri,
            headers: Vec::new(),
            path: None,
        })
    }
}
