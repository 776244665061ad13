//! The platforms that updates come from and replies go to.
//!
//! One file or more each; `updaters/` asks a channel to verify and parse requests, `turn.rs`
//! what to answer, `turn/send.rs` to send. A channel knows nothing of locks, storage or
//! processes. [`Channel`] is public: authors can write their own (`App::channel`); what only
//! our own platforms have (polling, registering a webhook) is in [`poll`] and [`register`].
//! `received.rs` and `sent.rs` have what a channel gives back, `registry.rs` all channels of a worker.

pub(crate) mod account;
mod client;
mod content;
mod download;
mod facebook;
mod http;
mod incoming;
mod lenient;
mod meta;
pub(crate) mod poll;
mod received;
pub(crate) mod register;
mod registry;
mod sayable;
mod sent;
mod signature;
mod substitutes;
mod telegram;
#[cfg(test)]
mod tests;
mod upload;
mod viber;
mod vk;
mod whatsapp;

use bytes::Bytes;
use hyper::{HeaderMap, Uri};
use turnkey_storage::{ReplyId, Seen};

pub(crate) use self::http::UPDATES;
pub(crate) use self::incoming::what_it_is;
pub use self::received::{End, PlatformAnswer, Received, Refusal, ReplyEnd};
pub(crate) use self::registry::{
    Channels, Factory, Outlet, accounts, check_channels, check_names, polled, registered,
};
pub(crate) use self::sayable::{PLATFORMS, is_ours, sayable};
pub use self::sent::{
    AskFuture, FileAddress, LocateFuture, NameFuture, Plan, SendError, SendFuture, Sent,
};
pub use self::signature::{is_signed, same_secret};
use crate::author::message::{Action, File, Outgoing, Reply, Update, UpdateId};
use crate::author::start_error::StartError;
use crate::shared::pacing::Rate;

/// A platform: how its updates are known to be genuine, what they hold, and how a reply
/// is sent. Four methods must be written; the others say what most platforms want.
/// `examples/custom_channel.rs` is a complete one.
///
/// One is made in each worker, after the fork (see [`App::channel`](crate::App::channel)),
/// and stays on that worker's one thread: it may hold connections, and need be neither
/// `Send` nor `Sync`. What it does must not block that thread. Locks, order, storing,
/// retries and pacing are none of its business.
///
/// ```
/// use turnkey::{
///     Bytes, Channel, DialogKey, HeaderMap, Outgoing, Received, Refusal, ReplyId, SendError,
///     SendFuture, Sent, StatusCode, Update, same_secret,
/// };
///
/// /// A platform that posts `{"user":"7","id":"1","text":"hi"}`.
/// struct Desk {
///     secret: String,
/// }
///
/// impl Channel for Desk {
///     fn name(&self) -> &'static str {
///         "desk"
///     }
///
///     fn verify(&self, headers: &HeaderMap, _: &[u8]) -> Result<(), Refusal> {
///         let given = headers.get("x-secret").map_or(&b""[..], |value| value.as_bytes());
///         match same_secret(given, self.secret.as_bytes()) {
///             true => Ok(()),
///             false => Err(Refusal::new(StatusCode::UNAUTHORIZED, "wrong secret")),
///         }
///     }
///
///     fn parse(&self, _: &HeaderMap, body: &Bytes) -> Result<Received, Refusal> {
///         #[derive(serde::Deserialize)]
///         struct Posted { user: String, id: String, text: String }
///         let posted: Posted = serde_json::from_slice(body)
///             .map_err(|e| Refusal::new(StatusCode::BAD_REQUEST, e.to_string()))?;
///         let dialog = DialogKey::new(self.name(), posted.user);
///         let update = Update::new(dialog, posted.id, posted.text, body.clone());
///         Ok(Received::Updates(vec![update]))
///     }
///
///     fn send<'a>(&'a self, id: ReplyId, outgoing: &'a Outgoing) -> SendFuture<'a> {
///         Box::pin(async move {
///             // Here it is posted to the platform, which knows it again by its key.
///             println!("{} to {}: {}", outgoing.key(id), outgoing.to, outgoing.text());
///             Ok(Sent::default())
///         })
///     }
/// }
/// # drop(SendError::away("no answer"));
/// ```
pub trait Channel {
    /// The name, which is also its path: `telegram` is served at `/telegram`.
    fn name(&self) -> &'static str;

    /// Checks that the platform sent this, over the raw bytes, before anything is
    /// parsed. Compare secrets and signatures in constant time.
    ///
    /// # Errors
    /// 401 for what is not genuine.
    fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal>;

    /// Reads what a request holds. Whatever the bytes are, it must not panic.
    ///
    /// # Errors
    /// 400 for what is no update at all. What is not handled is an answer, since platforms
    /// send again what was refused; an update whose content cannot be read is an
    /// [`Update::unreadable`], and goes to the dead letters.
    fn parse(&self, headers: &HeaderMap, body: &Bytes) -> Result<Received, Refusal>;

    /// Sends one reply, or does another action that [`can`](Channel::can) allowed. It is
    /// called again until it succeeds, is refused for good, or is given up
    /// (`--max-reply-attempts`, `--max-reply-age`), and once more should a crash hide that it
    /// succeeded: where the platform takes a key by which it knows a message again, give it
    /// [`Outgoing::key`]. Names of messages are ids by then.
    fn send<'a>(&'a self, id: ReplyId, outgoing: &'a Outgoing) -> SendFuture<'a>;

    /// The messages that a reply becomes: cuts what is too long for the platform.
    /// Called before the commit, so that each has a row of its own in the outbox.
    ///
    /// # Errors
    /// A reply that the platform would never take, in a sentence. The turn fails.
    fn fit(&self, reply: &Reply) -> Result<Vec<Reply>, String> {
        Ok(vec![reply.clone()])
    }

    /// What a message of the bot's is to be from now on: as [`fit`](Channel::fit), but it
    /// stays one message.
    ///
    /// # Errors
    /// It would be none or several, or one that the platform would never take, in a
    /// sentence. The turn fails.
    fn fit_edit(&self, reply: &Reply) -> Result<Reply, String> {
        let mut messages = self.fit(reply)?.into_iter();
        match (messages.next(), messages.next()) {
            (Some(reply), None) => Ok(reply),
            (None, _) => Err("an edit needs a content".to_owned()),
            (Some(_), Some(_)) => Err("an edit must fit one message".to_owned()),
        }
    }

    /// Whether the platform can do this, which is no reply. Here it can do nothing else.
    ///
    /// # Errors
    /// What it cannot do, in a sentence. The turn fails.
    fn can(&self, action: &Action) -> Result<(), String> {
        let what = match action {
            Action::Reply(_) | Action::SendTo { .. } | Action::AskIn { .. } => return Ok(()),
            Action::Edit { .. } => "edit messages",
            Action::Delete { .. } => "delete messages",
            Action::Toast { .. } => "show toasts",
            Action::Call { .. } => "call methods",
        };
        Err(format!("the channel {:?} cannot {what}", self.name()))
    }

    /// The actions that these become: replies as [`fit`](Channel::fit) cuts them, and what
    /// the platform [`can`](Channel::can) do.
    ///
    /// # Errors
    /// What it would never take, in a sentence. The turn fails.
    fn fit_all(&self, actions: &[Action]) -> Result<Vec<Action>, String> {
        let mut fitting = Vec::with_capacity(actions.len());
        for (index, action) in actions.iter().enumerate() {
            let refuse = |why: String| format!("reply {}: {why}", index + 1);
            self.can(action).map_err(refuse)?;
            match action {
                Action::Reply(reply) => {
                    let messages = self.fit(reply).map_err(refuse)?;
                    fitting.extend(messages.into_iter().map(Action::Reply));
                }
                Action::Edit { message, reply } => fitting.push(Action::Edit {
                    message: message.clone(),
                    reply: self.fit_edit(reply).map_err(refuse)?,
                }),
                other => fitting.push(other.clone()),
            }
        }
        Ok(fitting)
    }

    /// Decides, before the commit, which actions ride in the answer and which are
    /// sent. Here all are sent, and the answer is empty.
    ///
    /// # Errors
    /// As [`fit_all`](Channel::fit_all).
    fn plan(&self, _update: &Update, actions: &[Action]) -> Result<Plan, String> {
        Ok(Plan {
            answer: Vec::new(),
            send: self.fit_all(actions)?,
        })
    }

    /// The same where nothing can ride any more: the update was answered before, or came
    /// from elsewhere. What must be said of the update itself is said here, such as that a
    /// pressed button waits no longer.
    ///
    /// # Errors
    /// As [`fit_all`](Channel::fit_all).
    fn plan_late(&self, _update: &Update, actions: &[Action]) -> Result<Vec<Action>, String> {
        self.fit_all(actions)
    }

    /// Calls a method of the platform at once: [`Turn::ask`](crate::Turn::ask). Where it
    /// needs a chat and none is named, it is the update's.
    fn ask<'a>(
        &'a self,
        _update: &'a Update,
        _method: &'a str,
        _params: serde_json::Value,
    ) -> AskFuture<'a> {
        let reason = format!("the channel {:?} has no methods to call", self.name());
        Box::pin(async { Err(SendError::Refused(reason)) })
    }

    /// Asks what the platform calls the bot, for the status page: once after the start, by one
    /// process. None where it cannot be asked.
    fn own_name(&self) -> Option<NameFuture<'_>> {
        None
    }

    /// Where a file that a user sent can be fetched. Here at its own address.
    fn locate<'a>(&'a self, file: &'a File) -> LocateFuture<'a> {
        Box::pin(async move {
            let address = file.url.as_deref().ok_or_else(|| {
                SendError::Refused("the file has no address to fetch it from".to_owned())
            })?;
            FileAddress::new(address)
        })
    }

    /// Shows a text that is not final, for a moment: best effort. None where the platform
    /// shows no such thing. It may be a message, which the next text of this update changes;
    /// then the first reply of its turn takes its place, or [`end_draft`](Channel::end_draft)
    /// takes it away.
    fn draft<'a>(&'a self, _update: &'a Update, _text: &'a str) -> Option<SendFuture<'a>> {
        None
    }

    /// The handler of this update has ended a while ago: what [`draft`](Channel::draft) has
    /// shown is taken away, unless a reply took its place. None where it goes by itself.
    fn end_draft<'a>(&'a self, _update: &'a Update) -> Option<SendFuture<'a>> {
        None
    }

    /// Shows that the bot is writing, for a few seconds: best effort. None where the
    /// platform shows no such thing.
    fn typing<'a>(&'a self, _update: &'a Update) -> Option<SendFuture<'a>> {
        None
    }

    /// The answer to a committed turn, with the body that was planned.
    fn answer(&self, body: Vec<u8>) -> PlatformAnswer {
        PlatformAnswer::json(body)
    }

    /// The answer to an update that was seen before; `digest` is this one's.
    fn answer_seen(&self, _digest: &[u8], seen: Seen) -> PlatformAnswer {
        self.answer(seen.answer)
    }

    /// The answer to a `GET`, where a platform checks an address that way.
    fn challenge(&self, _query: &str) -> Option<Result<PlatformAnswer, Refusal>> {
        None
    }

    /// `Retry-After` of a 503.
    fn retry_after(&self) -> String {
        "1".to_owned()
    }

    /// Whether the platform may still refuse what it has taken, and says so with the reply's
    /// [`key`](Outgoing::key) ([`Received::WithEnds`]). Then a copy of each reply is kept until
    /// it says that it arrived, or for `--keep-seen`.
    fn refuses_late(&self) -> bool {
        false
    }

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

    /// How fast calls may go out, over all workers of the box; none: as they come.
    fn rate(&self) -> Option<Rate> {
        None
    }

    /// How fast calls to one address may go out.
    fn chat_rate(&self, _to: &str) -> Option<Rate> {
        None
    }

    /// Whether an action counts to [`chat_rate`](Channel::chat_rate): whether the chat gets
    /// a message by it.
    fn is_paced(&self, _action: &Action) -> bool {
        true
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

    /// The body of the answer to an update that no turn runs for: its kind is not heard, or
    /// it cannot be read.
    fn unheard(&self, update: &Update) -> Vec<u8> {
        self.accepted(update)
    }

    /// The action that rides in this answer, to be sent when nobody got it.
    fn rode(&self, _answer: &[u8]) -> Option<Action> {
        None
    }

    /// The whole answer to a caller who asked not to wait.
    fn answer_async(&self, _id: &UpdateId, body: Vec<u8>) -> PlatformAnswer {
        self.answer(body)
    }

    /// The answer that is stored with an update that was given up.
    fn given_up(&self, update: &Update) -> Vec<u8> {
        self.unheard(update)
    }

    /// Where what is said to a user without an update of theirs goes: the user, unless the
    /// platform has another name for the conversation.
    fn address(&self, user_id: &str) -> String {
        address(self.name(), user_id)
    }

    /// Whether a user may have another id one day: [`Update::formerly`]. The first turn of a
    /// dialog then looks for what it was before.
    fn renames_users(&self) -> bool {
        false
    }

    /// Whether there is anybody to send to. If not, all replies ride in the answers.
    fn can_send(&self) -> bool {
        true
    }
}

/// An update of which not even the envelope can be read.
pub(crate) fn unreadable(channel: &str, reason: &str, raw: &Bytes) -> Update {
    incoming::unreadable(channel, None, None, reason, raw.clone())
}

/// [`Channel::address`] of our own channels, for whoever has none at hand too: in a group
/// it is the group.
pub(crate) fn address(channel: &str, user_id: &str) -> String {
    match channel {
        "telegram" | "vk" | "whatsapp" => incoming::chat_of(user_id),
        _ => user_id.to_owned(),
    }
}

/// The address of a platform's method. The refusal leaves it out: it may hold a token.
fn method_address(address: &str, settings: &str) -> crate::StartResult<Uri> {
    address.parse().map_err(|_| {
        StartError::Refused(format!(
            "{settings} has characters that no address may have"
        ))
    })
}

/// The bot's name in a platform's answer.
///
/// # Errors
/// It is not there.
fn named(platform: &str, name: &serde_json::Value) -> Result<String, SendError> {
    let name = name.as_str().map(str::trim).filter(|name| !name.is_empty());
    name.map(str::to_owned)
        .ok_or_else(|| SendError::Refused(format!("{platform} has told no name")))
}

/// A platform's words about an error, which may quote the token that it was given.
fn without(token: &str, reason: &str) -> String {
    reason.replace(token, "(token)")
}
