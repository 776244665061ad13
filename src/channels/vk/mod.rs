//! VK's Callback API (<https://dev.vk.com/en/api/callback/getting-started>): events of
//! a community at `POST /vk` (or by polling, `api.rs`), replies by `messages.send`.
//!
//! | file | subject |
//! | --- | --- |
//! | `incoming.rs` | events |
//! | `files.rs` | attachments, and uploading them |
//! | `outgoing.rs`, `keyboard.rs` | replies as fields of a call |
//! | `answers.rs` | what the API answers |
//! | `drafts.rs` | texts that are not final yet |
//! | `api.rs` | Long Poll, and registering a webhook |
//!
//! The secret is a field of each body. `confirmation`, which comes without the secret, is
//! answered with the string that VK gave for it. Events of a community other than the token's
//! are refused. What the community itself says, and who reads and types, is answered `ok` and
//! logged once for each kind.
//!
//! `random_id` is computed from the update's id and the reply's position. VK recognises a
//! second message with the same one, so a reply is sent once. A message's name is its
//! `conversation_message_id`, which is known for chats, too; `messages.send` tells it only
//! where it is called with `peer_ids`. A button under a message spins until its press is
//! answered: where the handler shows no toast, the first call of the turn answers it.

mod answers;
mod api;
mod drafts;
mod files;
mod incoming;
mod keyboard;
mod outgoing;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use turnkey_storage::ReplyId;

pub(super) use self::answers::outcome;
use self::answers::{gone, result};
use self::api::API_VERSION;
pub(super) use self::api::VkApi;
use self::drafts::Drafts;
use self::incoming::{Event, Ticket};
pub(super) use self::outgoing::fitting;
use super::client::{Client, Response};
use super::content::shorten;
use super::incoming::{NotHandled, genuine, parse_json};
use super::lenient::{self, readable};
use super::signature::same_secret;
use super::{
    AskFuture, Channel, NameFuture, Plan, PlatformAnswer, Received, Refusal, SendError, SendFuture,
    Sent, method_address, named,
};
use crate::author::message::{Action, Outgoing, Reply, Target, Update};
use crate::config::VkConfig;
use crate::shared::pacing::{Pace, Rate};

/// Calls of a community's token in a second
/// (<https://dev.vk.com/en/api/api-requests#Limitations>).
const RATE: u32 = 20;

/// VK takes a `Retry-After` only as a date, and dates have whole seconds.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Units of a toast; a longer one is cut short.
const TOAST: usize = 90;

/// How long a call waits for its place that is not a message's first.
const PATIENCE: Duration = Duration::from_secs(10);

/// Methods that are about a conversation: the turn's, where none is named.
const OF_A_PEER: [&str; 14] = [
    "messages.send",
    "messages.edit",
    "messages.delete",
    "messages.setActivity",
    "messages.markAsRead",
    "messages.getHistory",
    "messages.pin",
    "messages.unpin",
    "messages.getConversationMembers",
    "messages.getByConversationMessageId",
    "messages.sendReaction",
    "messages.deleteReaction",
    "photos.getMessagesUploadServer",
    "docs.getMessagesUploadServer",
];

/// Fields that name a conversation.
const PEERS: [&str; 6] = [
    "peer_id", "peer_ids", "user_id", "user_ids", "chat_id", "domain",
];

pub(super) struct Vk {
    token: String,
    /// None where updates are polled for: then nothing that is posted is genuine.
    secret: Option<String>,
    confirmation: Option<String>,
    pace: Pace,
    base: String,
    messages_send: Uri,
    client: Client,
    not_handled: NotHandled,
    drafts: Drafts,
}

/// All that is read before the secret is known to be right.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "lenient::text")]
    secret: Option<String>,
}

impl Vk {
    pub(super) fn new(config: &VkConfig, pace: Pace) -> crate::StartResult<Self> {
        let base = config.api_url.trim_end_matches('/').to_owned();
        let address = format!("{base}/method/messages.send");
        Ok(Vk {
            token: config.token.to_string(),
            secret: config.secret.as_deref().map(str::to_owned),
            confirmation: config.confirmation.as_deref().map(str::to_owned),
            pace,
            messages_send: method_address(&address, "--vk-api-url")?,
            base,
            client: Client::new(&config.proxies)?,
            not_handled: NotHandled::new("vk"),
            drafts: Drafts::default(),
        })
    }

    /// Posts a form with these fields.
    async fn post<'a>(
        &self,
        uri: Uri,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Response, SendError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let mut version = Some(API_VERSION);
        form.append_pair("access_token", &self.token);
        for (name, value) in fields {
            form.append_pair(name, value);
            version = version.filter(|_| name != "v");
        }
        if let Some(version) = version {
            form.append_pair("v", version);
        }
        let media_type = "application/x-www-form-urlencoded";
        let body = form.finish().into_bytes();
        self.client.post(uri, &[], media_type, body).await
    }

    async fn answer_of<'a>(
        &self,
        method: &str,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Response, SendError> {
        let uri = format!("{}/method/{method}", self.base).parse::<Uri>();
        let uri = uri.map_err(|_| SendError::Refused(format!("{method:?} is no method")))?;
        self.post(uri, fields).await
    }

    /// Calls a method: what it returns.
    async fn call<'a>(
        &self,
        method: &str,
        fields: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Value, SendError> {
        result(&self.answer_of(method, fields).await?, &self.token)
    }

    /// Waits until the limit of the bot allows one more call.
    ///
    /// # Errors
    /// When that is further away than a call waits.
    async fn take_place(&self) -> Result<(), SendError> {
        let too_long = |wait: Duration| SendError::Retry {
            reason: format!("the platform's limits allow it in {} s", wait.as_secs() + 1),
            after: Some(wait),
        };
        if let Some(pause) = self.pace.pause_left() {
            return Err(too_long(pause));
        }
        let wait = self.pace.bot(self.rate(), PATIENCE).map_err(too_long)?;
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// What a message says, its files uploaded.
    async fn fields(&self, peer: &str, reply: &Reply) -> Result<outgoing::Fields, SendError> {
        let mut names = Vec::with_capacity(reply.files.len());
        for file in &reply.files {
            names.push(self.attach(peer, file).await?);
        }
        outgoing::fields(reply, &names).map_err(SendError::Refused)
    }

    async fn reply(&self, key: u32, peer: &str, reply: &Reply) -> Result<Sent, SendError> {
        let mut fields = self.fields(peer, reply).await?;
        fields.push(("peer_ids", peer.to_owned()));
        fields.push(("random_id", key.to_string()));
        fields.extend(outgoing::quoted(reply, peer));
        let fields = fields.iter().map(|(name, value)| (*name, value.as_str()));
        let response = self.post(self.messages_send.clone(), fields).await?;
        outcome(&response, &self.token)
    }

    async fn edit(&self, peer: &str, id: &str, reply: &Reply) -> Result<Sent, SendError> {
        let mut fields = self.fields(peer, reply).await?;
        fields.push(("peer_id", peer.to_owned()));
        fields.push(("cmid", id.to_owned()));
        // What was forwarded with it stays.
        fields.push(("keep_forward_messages", "1".to_owned()));
        let fields = fields.iter().map(|(name, value)| (*name, value.as_str()));
        let response = self.answer_of("messages.edit", fields).await?;
        // Too old to be edited; of a sort that cannot be.
        gone(&response, &self.token, &[909, 920])
    }

    async fn delete(&self, peer: &str, id: &str) -> Result<Sent, SendError> {
        let fields = [("peer_id", peer), ("cmids", id), ("delete_for_all", "1")];
        let response = self.answer_of("messages.delete", fields).await?;
        // Too old to be deleted for all.
        gone(&response, &self.token, &[924])
    }

    /// Answers a press, with a few words or without.
    async fn answer_press(
        &self,
        peer: &str,
        ticket: &Ticket,
        text: &str,
    ) -> Result<Sent, SendError> {
        let user = ticket.user_id.to_string();
        let shown = json!({ "type": "show_snackbar", "text": shorten(text, TOAST) }).to_string();
        let mut fields = vec![
            ("event_id", ticket.event_id.as_str()),
            ("user_id", &user),
            ("peer_id", peer),
        ];
        if !text.is_empty() {
            fields.push(("event_data", &shown));
        }
        let called = self.call("messages.sendMessageEventAnswer", fields).await;
        match called {
            Ok(_) => Ok(Sent::default()),
            // A press lives a minute, and takes one answer.
            Err(SendError::Refused(reason)) => Ok(Sent::gone(reason)),
            Err(other) => Err(other),
        }
    }

    async fn call_any(
        &self,
        method: &str,
        params: &Value,
        peer: &str,
        key: u32,
    ) -> Result<Response, SendError> {
        let mut fields = outgoing::form_of(params).map_err(SendError::Refused)?;
        let has = |fields: &[(String, String)], names: &[&str]| {
            fields
                .iter()
                .any(|(name, _)| names.contains(&name.as_str()))
        };
        if OF_A_PEER.contains(&method) && !has(&fields, &PEERS) {
            fields.push(("peer_id".to_owned(), peer.to_owned()));
        }
        if method == "messages.send" {
            // It is told what the message is called, then.
            for (name, _) in &mut fields {
                if name == "peer_id" {
                    "peer_ids".clone_into(name);
                }
            }
            if !has(&fields, &["random_id"]) {
                fields.push(("random_id".to_owned(), key.to_string()));
            }
        }
        let fields = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        self.answer_of(method, fields).await
    }
}

impl Channel for Vk {
    fn name(&self) -> &'static str {
        "vk"
    }

    fn verify(&self, _: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
        let body = String::from_utf8_lossy(body);
        let head = serde_json::from_str::<Head>(&body);
        let is_genuine = head.is_ok_and(|head| {
            // VK asks for the confirmation without the secret. Its answer is worth
            // nothing to anybody else.
            let secret = self.secret.as_ref();
            head.kind == "confirmation"
                || secret
                    .zip(head.secret.as_ref())
                    .is_some_and(|(secret, given)| same_secret(given.as_bytes(), secret.as_bytes()))
        });
        genuine(is_genuine, "secret")
    }

    fn parse(&self, _: &HeaderMap, body: &Bytes) -> Result<Received, Refusal> {
        let body = &readable(body);
        let event: Event<'_> = parse_json(body)?;
        let group = event.group_id.and_then(|group| u64::try_from(group.0).ok());
        if let (Some(theirs), Some(ours)) = (group, self.pace.account())
            && theirs != ours
        {
            let reason = self.not_handled.stranger("community", theirs, ours);
            return Err(Refusal::new(StatusCode::FORBIDDEN, reason));
        }
        let update = match event.kind.as_str() {
            "confirmation" => {
                // Of the settings, else as it was asked for when the address was
                // registered.
                let known = self.confirmation.clone();
                let confirmation = known.or_else(|| self.pace.confirmation()).ok_or_else(|| {
                    let reason = "TURNKEY_VK_CONFIRMATION is not set";
                    Refusal::new(StatusCode::BAD_REQUEST, reason)
                })?;
                return Ok(Received::Answer(PlatformAnswer::text(confirmation)));
            }
            other => {
                let update = incoming::update(&event, body);
                if update.is_none() {
                    self.not_handled.log(other);
                }
                update
            }
        };
        Ok(match update {
            Some(update) => Received::Updates(vec![update]),
            None => Received::Answer(self.answer(b"ok".to_vec())),
        })
    }

    fn fit(&self, reply: &Reply) -> Result<Vec<Reply>, String> {
        fitting(reply)
    }

    fn can(&self, action: &Action) -> Result<(), String> {
        match action {
            Action::Call { method, params, .. } => {
                let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
                if method.is_empty() || !method.chars().all(is_plain) {
                    return Err(format!(
                        "{method:?} is no method of VK's: those are such as users.get"
                    ));
                }
                outgoing::form_of(params).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    fn plan(&self, update: &Update, actions: &[Action]) -> Result<Plan, String> {
        let mut send = self.fit_all(actions)?;
        let is_pressed = ticket(&update.within).is_some();
        let has_toast = send.iter().any(|a| matches!(a, Action::Toast { .. }));
        if is_pressed && !has_toast {
            let nothing = Action::Toast {
                text: String::new(),
                alert: false,
            };
            send.insert(0, nothing);
        }
        Ok(Plan {
            answer: b"ok".to_vec(),
            send,
        })
    }

    fn plan_late(&self, update: &Update, actions: &[Action]) -> Result<Vec<Action>, String> {
        self.plan(update, actions).map(|plan| plan.send)
    }

    fn rate(&self) -> Option<Rate> {
        Some(Rate::per_second(RATE))
    }

    fn accepted(&self, _: &Update) -> Vec<u8> {
        b"ok".to_vec()
    }

    fn answer(&self, body: Vec<u8>) -> PlatformAnswer {
        PlatformAnswer::text(body)
    }

    fn retry_after(&self) -> String {
        httpdate::fmt_http_date(SystemTime::now() + RETRY_AFTER)
    }

    fn send<'a>(&'a self, id: ReplyId, outgoing: &'a Outgoing) -> SendFuture<'a> {
        Box::pin(async move {
            let (peer, key) = (outgoing.to.as_str(), random_id(id, &outgoing.update));
            match &outgoing.action {
                Action::Reply(reply) => match self.drafts.take(&outgoing.update) {
                    None => self.reply(key, peer, reply).await,
                    Some(draft) => {
                        let of = (outgoing.update.as_str(), peer, key);
                        self.replace_draft(draft, of, reply).await
                    }
                },
                Action::Edit {
                    message: Target::Message(message),
                    reply,
                } => self.edit(peer, message, reply).await,
                Action::Delete {
                    message: Target::Message(message),
                } => self.delete(peer, message).await,
                Action::Toast { text, .. } => match ticket(&outgoing.within) {
                    Some(ticket) => self.answer_press(peer, &ticket, text).await,
                    None if text.is_empty() => Ok(Sent::default()),
                    // Nothing was pressed that can be answered: it is said.
                    None => self.reply(key, peer, &text.as_str().into()).await,
                },
                Action::Call { method, params, .. } => {
                    let response = self.call_any(method, params, peer, key).await?;
                    outcome(&response, &self.token)
                }
                _ => Err(SendError::Refused("VK cannot do this".to_owned())),
            }
        })
    }

    fn ask<'a>(&'a self, update: &'a Update, method: &'a str, params: Value) -> AskFuture<'a> {
        Box::pin(async move {
            let mut params = params;
            if method == "users.get" && params.get("user_ids").is_none() {
                params["user_ids"] = update.dialog.user_id.as_str().into();
            }
            let key = fastrand::u32(1..1 << 31);
            let response = self.call_any(method, &params, &update.address, key).await?;
            result(&response, &self.token)
        })
    }

    fn own_name(&self) -> Option<NameFuture<'_>> {
        Some(Box::pin(async move {
            let answer = self.call("groups.getById", []).await?;
            named("VK", &answer["groups"][0]["name"])
        }))
    }

    fn draft<'a>(&'a self, update: &'a Update, text: &'a str) -> Option<SendFuture<'a>> {
        Some(Box::pin(self.show_draft(update, text)))
    }

    fn end_draft<'a>(&'a self, update: &'a Update) -> Option<SendFuture<'a>> {
        Some(Box::pin(async move {
            self.take_draft_away(update).await;
            Ok(Sent::default())
        }))
    }

    fn typing<'a>(&'a self, update: &'a Update) -> Option<SendFuture<'a>> {
        Some(Box::pin(async move {
            let fields = [("peer_id", update.address.as_str()), ("type", "typing")];
            self.call("messages.setActivity", fields).await?;
            Ok(Sent::default())
        }))
    }
}

/// What a press is answered with, if it is one.
fn ticket(within: &str) -> Option<Ticket> {
    serde_json::from_str(within).ok()
}

/// 1 to 2^31 - 1. The update's id is part of it: a new database counts its turns
/// from the start again, and VK would take its first replies for old ones.
pub(super) fn random_id(id: ReplyId, update: &str) -> u32 {
    let mut digest = Sha256::new();
    digest.update(id.turn.0.to_be_bytes());
    digest.update(id.index.to_be_bytes());
    digest.update(update);
    let digest = digest.finalize();
    let first = digest
        .iter()
        .take(4)
        .fold(0, |n, byte| n << 8 | u32::from(*byte));
    (first & 0x7fff_ffff).max(1)
}
