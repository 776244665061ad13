//! Telegram's Bot API (<https://core.telegram.org/bots/api>): updates by webhook at
//! `POST /telegram`, or by polling; replies by calls of its methods.
//!
//! | file | subject |
//! | --- | --- |
//! | `incoming/` | what updates hold |
//! | `fit.rs` | what Telegram takes |
//! | `plan.rs` | what rides in the answer, what is sent, in which order |
//! | `render.rs`, `params.rs`, `entities.rs`, `target.rs`, `within.rs` | from an action to a call |
//! | `methods.rs` | what is filled in of an author's own calls |
//! | `calls.rs`, `answers.rs` | calling, and what the answers mean |
//! | `rode.rs` | what rode, read again |
//! | `shown.rs` | that the bot is writing, drafts |
//! | `api.rs` | polling, and registering the webhook |
//!
//! If a turn has a single reply, and it is a text, it rides in the answer to the webhook:
//! Telegram executes it once it has the answer, and posts the update again if it does not get
//! it. So we make no call, and the reply is sent once. Telegram does not report a riding reply
//! that came too fast, so one rides only if the rate limits have room for it. Replies to polled
//! updates are always sent by calls. A pressed button is answered once, with
//! `answerCallbackQuery`, which ends the button's progress display: by the turn's toast, else
//! by us; it rides, too. Of a turn that takes longer than `--ack-after` the answer comes with
//! its commit. Without a token the first action always rides, and the others are lost.
//!
//! `X-Telegram-Bot-Api-Secret-Token` is compared in constant time when a secret is configured.
//! Bound: the new ids of [`MAX_MOVED`] migrated groups are remembered.

mod answers;
mod api;
mod calls;
mod entities;
mod fit;
mod incoming;
mod methods;
mod params;
mod plan;
mod render;
mod rode;
mod shown;
mod target;
mod within;

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use serde_json::Value;
use turnkey_storage::ReplyId;

use super::client::{Client, Response};
use super::incoming::genuine;
use super::lenient::readable;
use super::signature::same_secret;
use super::{
    AskFuture, Channel, LocateFuture, NameFuture, Plan, Received, Refusal, SendError, SendFuture,
    Sent, named,
};
use crate::author::message::{Action, File, Kind, Outgoing, Reply, Target, Update};
use crate::config::TelegramConfig;
use crate::shared::pacing::{Pace, Rate};

#[cfg(test)]
pub(super) use self::answers::outcome;
pub(super) use self::api::TelegramApi;
use self::api::webhook_secret;
use self::calls::Methods;
pub(super) use self::fit::fit as fitting;
use self::plan::{arrange, object};
use self::render::{Body, Call, as_caption, render};
use self::within::Within;

/// "Avoid sending more than one message per second" to a chat; short bursts pass
/// (<https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this>).
const CHAT: Rate = Rate {
    every: Duration::from_secs(1),
    burst: 5,
};

/// "Not more than 20 messages per minute" to a group: 3, and 17 in the next minute.
const GROUP: Rate = Rate {
    every: Duration::from_millis(3500),
    burst: 3,
};

/// Groups whose new ids are remembered; all are forgotten at one more, and asked for
/// again.
const MAX_MOVED: usize = 1000;

pub(super) struct Telegram {
    secret: Option<String>,
    /// The bot's own id, if its token says it.
    bot: Option<i64>,
    /// Updates are polled for: nothing can ride.
    polls: bool,
    rate: Rate,
    pace: Pace,
    /// None without a token.
    methods: Option<Methods>,
    client: Client,
    /// The new ids of groups that became supergroups, as Telegram told us.
    moved: RefCell<HashMap<String, String>>,
}

impl Telegram {
    pub(super) fn new(config: &TelegramConfig, pace: Pace) -> crate::StartResult<Self> {
        let secret = match &config.token {
            // We give it to Telegram, with the address.
            Some(token) if config.registers => {
                Some(webhook_secret(config.secret.as_deref(), token))
            }
            _ => config.secret.as_deref().map(str::to_owned),
        };
        let token = config.token.as_deref().unwrap_or_default();
        let bot = token.split_once(':').and_then(|(id, _)| id.parse().ok());
        Ok(Telegram {
            secret,
            bot,
            polls: config.polls,
            rate: Rate::per_second(config.rate),
            pace,
            methods: Methods::new(config)?,
            client: Client::new(&config.proxies)?,
            moved: RefCell::default(),
        })
    }

    fn methods(&self) -> Result<&Methods, SendError> {
        self.methods
            .as_ref()
            .ok_or_else(|| SendError::away("no Telegram token is configured"))
    }

    /// Calls a method now, as who waits for what it says.
    async fn asked(
        &self,
        method: &str,
        params: serde_json::Map<String, Value>,
    ) -> Result<Response, SendError> {
        let call = Call {
            method: method.into(),
            params: Body::Any(params),
            uploads: Vec::new(),
        };
        self.methods()?.call_twice(&self.client, &call).await
    }

    /// Where a chat is now.
    fn current(&self, chat: &str) -> String {
        let moved = self.moved.borrow();
        moved.get(chat).map_or(chat, String::as_str).to_owned()
    }

    /// A group became a supergroup, and has another id since.
    fn remember(&self, chat: &str, new: &str) {
        let mut moved = self.moved.borrow_mut();
        if moved.len() >= MAX_MOVED {
            moved.clear();
        }
        moved.insert(chat.to_owned(), new.to_owned());
    }

    /// Takes a place within the limits for a reply that rides, if there is one now.
    fn has_place(&self, chat: &str) -> bool {
        self.pace.ride(self.rate(), self.chat_rate(chat), chat)
    }

    /// An action as the answer to the webhook has it.
    fn ride(&self, update: &Update, action: &Action) -> Result<Vec<u8>, String> {
        let (chat, within) = (
            self.current(&update.address),
            Within::parse(&update.within)?,
        );
        render(action, &chat, within)?.riding()
    }

    /// Shows something for a moment. Best effort: a group's new id is not asked for.
    async fn show(&self, call: Call<'_>) -> Result<Sent, SendError> {
        let response = self.methods()?.call(&self.client, &call).await?;
        answers::outcome(&response)
    }

    /// Does what the outbox holds.
    async fn perform(&self, outgoing: &Outgoing) -> Result<Sent, SendError> {
        let methods = self.methods()?;
        let client = &self.client;
        let chat = self.current(&outgoing.to);
        let within = Within::parse(&outgoing.within).map_err(SendError::Refused)?;
        let mut call = render(&outgoing.action, &chat, within).map_err(SendError::Refused)?;
        if let Some(named) = call.chat() {
            let now = self.current(&named);
            if now != named {
                call.move_to(now);
            }
        }
        let mut response = methods.call_twice(client, &call).await?;
        let edits_text =
            matches!(outgoing.action, Action::Edit { .. }) && call.method == "editMessageText";
        if edits_text && answers::has_caption(&response) {
            call = as_caption(call);
            response = methods.call(client, &call).await?;
        }
        if let (Some(new), Some(old)) = (answers::moved_to(&response), call.chat())
            && new != old
        {
            self.remember(&old, &new);
            if old == chat {
                self.remember(&outgoing.to, &new);
            }
            call.move_to(new);
            response = methods.call(client, &call).await?;
        }
        let is_elsewhere = call
            .chat()
            .is_some_and(|named| named != self.current(&chat));
        match answers::outcome(&response) {
            // It has the name that it had.
            Ok(sent) if matches!(outgoing.action, Action::Edit { .. }) => Ok(Sent {
                message: None,
                ..sent
            }),
            // That says nothing of this user.
            Err(SendError::Unreachable(reason)) if is_elsewhere => Err(SendError::Refused(reason)),
            other => other,
        }
    }
}

impl Channel for Telegram {
    fn name(&self) -> &'static str {
        "telegram"
    }

    /// Without a secret nothing else keeps a web page from posting.
    fn wants_json_type(&self) -> bool {
        true
    }

    fn verify(&self, headers: &HeaderMap, _: &[u8]) -> Result<(), Refusal> {
        let Some(secret) = &self.secret else {
            return Ok(());
        };
        let given = headers
            .get("x-telegram-bot-api-secret-token")
            .map_or(&b""[..], |value| value.as_bytes());
        let is_genuine = same_secret(given, secret.as_bytes());
        genuine(is_genuine, "X-Telegram-Bot-Api-Secret-Token")
    }

    fn parse(&self, _: &HeaderMap, body: &Bytes) -> Result<Received, Refusal> {
        let read = incoming::read(&readable(body), self.bot)?;
        if let Some((old, new)) = read.moved {
            self.remember(&old, &new);
        }
        Ok(Received::Updates(vec![read.update]))
    }

    fn fit(&self, reply: &Reply) -> Result<Vec<Reply>, String> {
        fit::fit(reply)
    }

    fn fit_edit(&self, reply: &Reply) -> Result<Reply, String> {
        fit::fit_edit(reply)
    }

    fn can(&self, action: &Action) -> Result<(), String> {
        fit::can(action)
    }

    /// A pressed button stops waiting in any case.
    fn unheard(&self, update: &Update) -> Vec<u8> {
        match update.kind {
            Kind::Button | Kind::Unreadable => incoming::end_waiting(update.raw()),
            _ => Vec::new(),
        }
    }

    fn plan(&self, update: &Update, actions: &[Action]) -> Result<Plan, String> {
        let mut arranged = arrange(update, self.fit_all(actions)?)?;
        if self.methods.is_none() {
            let all = arranged.all();
            if all.len() > 1 {
                tracing::warn!(
                    "{}: only the first of {} replies is sent: set TURNKEY_TELEGRAM_TOKEN",
                    update.dialog,
                    all.len()
                );
            }
            return Ok(Plan {
                answer: match all.first() {
                    Some(first) => self.ride(update, first)?,
                    None => self.unheard(update),
                },
                send: Vec::new(),
            });
        }
        if let Some(end) = plan::end_waiting(update, &arranged) {
            let answer = self.ride(update, &end)?;
            let send = arranged.all();
            return Ok(Plan { answer, send });
        }
        let answer = match (arranged.answers.first(), arranged.others.as_slice()) {
            // Of a call that is made for a polled update nobody would see that it failed.
            _ if self.polls => Vec::new(),
            (Some(_), _) => {
                let first = arranged.answers.remove(0);
                self.ride(update, &first)?
            }
            (None, [only @ Action::Reply(reply)])
                if can_ride(reply) && self.has_place(&update.address) =>
            {
                let answer = self.ride(update, only)?;
                arranged.others.clear();
                answer
            }
            (None, _) => Vec::new(),
        };
        let send = arranged.all();
        Ok(Plan { answer, send })
    }

    fn plan_late(&self, update: &Update, actions: &[Action]) -> Result<Vec<Action>, String> {
        let mut arranged = arrange(update, self.fit_all(actions)?)?;
        if let Some(end) = plan::end_waiting(update, &arranged) {
            arranged.answers.insert(0, end);
        }
        Ok(arranged.all())
    }

    fn can_send(&self) -> bool {
        self.methods.is_some()
    }

    fn rate(&self) -> Option<Rate> {
        Some(self.rate)
    }

    fn chat_rate(&self, to: &str) -> Option<Rate> {
        // Groups and channels have negative ids.
        Some(if to.starts_with('-') { GROUP } else { CHAT })
    }

    fn is_paced(&self, action: &Action) -> bool {
        match action {
            Action::Call { method, .. } => methods::is_said(method),
            Action::Delete { .. } | Action::Toast { .. } => false,
            Action::Reply(_)
            | Action::Edit { .. }
            | Action::SendTo { .. }
            | Action::AskIn { .. } => true,
        }
    }

    fn rode(&self, answer: &[u8]) -> Option<Action> {
        rode::rode(answer)
    }

    fn send<'a>(&'a self, _: ReplyId, outgoing: &'a Outgoing) -> SendFuture<'a> {
        Box::pin(self.perform(outgoing))
    }

    fn ask<'a>(&'a self, update: &'a Update, method: &'a str, params: Value) -> AskFuture<'a> {
        Box::pin(async move {
            methods::check(method, &params).map_err(SendError::Refused)?;
            let mut params = object(params);
            methods::fill_of(update, method, &mut params);
            let within = Within::parse(&update.within).map_err(SendError::Refused)?;
            let chat = self.current(&update.address);
            methods::fill(method, &mut params, &chat, &within);
            calls::result(&self.asked(method, params).await?)
        })
    }

    fn own_name(&self) -> Option<NameFuture<'_>> {
        self.methods.as_ref()?;
        Some(Box::pin(async move {
            let me = self.asked("getMe", serde_json::Map::new()).await?;
            let me = calls::result(&me)?;
            let name = named("Telegram", &me["first_name"])?;
            Ok(match me["username"].as_str() {
                Some(username) => format!("{name} (@{username})"),
                None => name,
            })
        }))
    }

    fn locate<'a>(&'a self, file: &'a File) -> LocateFuture<'a> {
        Box::pin(async move {
            let id = file.id.clone().ok_or_else(|| {
                SendError::Refused("the file has no id to ask Telegram for".to_owned())
            })?;
            let mut params = serde_json::Map::new();
            params.insert("file_id".to_owned(), id.into());
            let response = self.asked("getFile", params).await?;
            self.methods()?.file(&response)
        })
    }

    fn draft<'a>(&'a self, update: &'a Update, text: &'a str) -> Option<SendFuture<'a>> {
        let call = shown::draft(update, text).filter(|_| self.can_send())?;
        Some(Box::pin(self.show(call)))
    }

    fn typing<'a>(&'a self, update: &'a Update) -> Option<SendFuture<'a>> {
        let call = shown::typing(update, self.current(&update.address));
        let call = call.filter(|_| self.can_send())?;
        Some(Box::pin(self.show(call)))
    }
}

/// The method of an action's call, its parameters, and how many files it uploads.
#[cfg(test)]
pub(super) fn call_of(
    action: &Action,
    to: &str,
    within: &str,
) -> Result<(String, Value, usize), String> {
    let call = render(action, to, Within::parse(within)?)?;
    let params = call.params.value().map_err(|e| e.to_string())?;
    Ok((call.method.into_owned(), params, call.uploads.len()))
}

/// The calls that show something for a moment.
#[cfg(test)]
pub(super) fn shown_of(update: &Update, text: &str) -> Vec<(String, Value)> {
    let calls = [
        shown::typing(update, update.address.clone()),
        shown::draft(update, text),
    ];
    let of = |call: Call<'_>| Some((call.method.to_string(), call.params.value().ok()?));
    calls.into_iter().flatten().filter_map(of).collect()
}

/// Whether a reply may ride: what becomes of it we would not learn. Of a file that matters,
/// and a message with a name must be known.
fn can_ride(reply: &Reply) -> bool {
    !reply.has_content()
        && reply.name.is_none()
        && !matches!(reply.quote, Some(Target::Named(_) | Target::This))
}
