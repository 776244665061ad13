//! The calls to VK's API that do not send: Bots Long Poll
//! (<https://dev.vk.com/en/api/bots-long-poll/getting-started>) and the Callback API's settings
//! (<https://dev.vk.com/en/method/groups.addCallbackServer>).
//!
//! Used through [`Poll`] and [`Register`]. The token determines the community. VK's queue moves
//! on with each answer, whatever became of it; a mark (`ts`) that is not too old gives the same
//! events again, also under a new key. So we keep the mark.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use bytes::Bytes;
use hyper::Uri;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::super::account::Account;
use super::super::client::Client;
use super::super::lenient::{self, or_default};
use super::super::poll::{Asked, Batch, Mark, Poll, PollError};
use super::super::register::{Register, Registered, Webhook};
use super::super::{SendError, method_address, without};
use crate::author::message::{Hears, Kind};
use crate::config::VkConfig;

/// The version that `incoming.rs` reads.
pub(super) const API_VERSION: &str = "5.199";

/// The events that are asked for, each where one of these kinds is heard. Messages bring
/// buttons, those who join and much else.
const EVENTS: [(&str, &[Kind]); 9] = [
    ("message_event", &[Kind::Button]),
    ("message_edit", &[Kind::Edited]),
    ("message_allow", &[Kind::Joined]),
    ("message_deny", &[Kind::Left]),
    ("message_reaction_event", &[Kind::Reaction]),
    ("group_join", &[Kind::JoinRequest, Kind::Other]),
    ("group_leave", &[Kind::Other]),
    ("user_block", &[Kind::Other]),
    ("user_unblock", &[Kind::Other]),
];

/// Errors of a token that never works again: unknown or expired; of another sort.
const TOKEN_ERRORS: [i64; 3] = [5, 27, 28];

/// The name of our callback server in the community's settings; at most 14 characters.
const TITLE: &str = "turnkey";

/// Characters of an error that Long Poll answers with.
const MAX_ERROR: usize = 100;

/// How often a key that has expired is replaced within one question.
const KEYS: u32 = 3;

/// The API of one community.
pub(in super::super) struct VkApi {
    base: String,
    token: String,
    secret: Option<String>,
    confirmation: Option<String>,
    client: Client,
    hears: Hears,
    group: Cell<Option<u64>>,
    /// That Long Poll cannot be turned on was said.
    said_off: Cell<bool>,
    session: RefCell<Option<Session>>,
    /// Where the first session began: whoever has no mark yet asks from there, also when
    /// that question fails.
    began: Cell<Option<Mark>>,
}

/// Where to ask, and with what.
#[derive(Clone, Deserialize)]
struct Session {
    server: String,
    key: String,
    #[serde(deserialize_with = "mark")]
    ts: Mark,
}

#[derive(Deserialize)]
struct Answer<T> {
    response: Option<T>,
    error: Option<ApiError>,
}

#[derive(Deserialize)]
struct ApiError {
    error_code: i64,
    #[serde(default)]
    error_msg: String,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    id: u64,
}

#[derive(Deserialize)]
struct Servers {
    items: Vec<Server>,
}

#[derive(Deserialize)]
struct Server {
    id: u64,
    #[serde(default)]
    url: String,
    #[serde(default)]
    status: String,
}

#[derive(Deserialize)]
struct NewServer {
    server_id: u64,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct Events<'a> {
    #[serde(default, deserialize_with = "lenient::number")]
    ts: Option<i64>,
    #[serde(borrow, default, deserialize_with = "or_default")]
    updates: Vec<&'a RawValue>,
    #[serde(default, deserialize_with = "lenient::number")]
    failed: Option<i64>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// VK writes it as a number or as text.
fn mark<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Mark, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(Mark),
        Text(String),
    }
    match Written::deserialize(deserializer)? {
        Written::Number(number) => Ok(number),
        Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

impl VkApi {
    /// `hears`: what is asked for.
    pub(in super::super) fn new(config: &VkConfig, hears: Hears) -> crate::StartResult<Self> {
        let base = config.api_url.trim_end_matches('/').to_owned();
        method_address(&format!("{base}/method/groups.getById"), "--vk-api-url")?;
        Ok(VkApi {
            base,
            token: config.token.to_string(),
            secret: config.secret.as_deref().map(str::to_owned),
            confirmation: config.confirmation.as_deref().map(str::to_owned),
            client: Client::new(&config.proxies)?,
            hears,
            group: Cell::new(None),
            said_off: Cell::new(false),
            session: RefCell::new(None),
            began: Cell::new(None),
        })
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        fields: &[(&str, &str)],
    ) -> Result<T, PollError> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("access_token", &self.token)
            .append_pair("v", API_VERSION)
            .extend_pairs(fields);
        let uri = format!("{}/method/{method}", self.base)
            .parse::<Uri>()
            .map_err(|_| SendError::retry("no address"))?;
        let media_type = "application/x-www-form-urlencoded";
        let response = self
            .client
            .post(uri, &[], media_type, form.finish().into_bytes())
            .await?;
        let answer: Answer<T> = response.json()?;
        if let Some(response) = answer.response {
            return Ok(response);
        }
        let Some(error) = answer.error else {
            return Err(response
                .retry("neither response nor error".to_owned())
                .into());
        };
        let (code, reason) = (error.error_code, without(&self.token, &error.error_msg));
        let reason = format!("{method}: {code}: {reason}");
        if TOKEN_ERRORS.contains(&code) {
            return Err(PollError::Token(format!(
                "VK does not accept the token in TURNKEY_VK_TOKEN ({reason}); make one in the community's settings, under API usage"
            )));
        }
        Err(response.retry(reason).into())
    }

    /// Which events are asked for, and which are not.
    fn events<'a>(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let hears = self.hears;
        let of_kinds = EVENTS.into_iter().map(move |(event, kinds)| {
            let is_heard = kinds.iter().any(|kind| hears.hears(*kind));
            (event, if is_heard { "1" } else { "0" })
        });
        std::iter::once(("message_new", "1")).chain(of_kinds)
    }

    /// The community that the token is of.
    async fn group(&self) -> Result<u64, PollError> {
        if let Some(group) = self.group.get() {
            return Ok(group);
        }
        let Groups { groups } = self.call("groups.getById", &[]).await?;
        let group = groups.first().map(|group| group.id).ok_or_else(|| {
            PollError::Token("the token in TURNKEY_VK_TOKEN is of no community".to_owned())
        })?;
        self.group.set(Some(group));
        Ok(group)
    }

    async fn session(&self) -> Result<Session, PollError> {
        if let Some(session) = self.session.borrow().clone() {
            return Ok(session);
        }
        let group = self.group().await?.to_string();
        let mut wanted = vec![
            ("group_id", group.as_str()),
            ("enabled", "1"),
            ("api_version", API_VERSION),
        ];
        wanted.extend(self.events());
        // May be turned on already, by somebody whose token may do it.
        let turned_on: Result<IgnoredAny, _> =
            self.call("groups.setLongPollSettings", &wanted).await;
        if let Err(PollError::Away { reason, .. }) = turned_on
            && !self.said_off.replace(true)
        {
            tracing::info!(
                "cannot turn on VK's Long Poll ({reason}); if nothing arrives, turn it on in the community's settings, under API usage"
            );
        }
        let session: Session = self
            .call("groups.getLongPollServer", &[("group_id", group.as_str())])
            .await?;
        *self.session.borrow_mut() = Some(session.clone());
        Ok(session)
    }

    async fn check(&self, session: &Session, ts: Mark, wait: Duration) -> Result<Bytes, PollError> {
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("act", "a_check")
            .append_pair("key", &session.key)
            .append_pair("ts", &ts.to_string())
            .append_pair("wait", &wait.as_secs().to_string())
            .finish();
        let uri = format!("{}?{query}", session.server)
            .parse::<Uri>()
            .map_err(|_| SendError::retry("VK named no address to ask at"))?;
        Ok(self.client.get(uri, wait).await?.body)
    }

    /// The callback server with this address; a new one if there is none.
    async fn callback_server(&self, group: &str, url: &str) -> Result<u64, PollError> {
        let secret = self.secret.as_deref().unwrap_or_default();
        let servers: Servers = self
            .call("groups.getCallbackServers", &[("group_id", group)])
            .await?;
        let ours = servers.items.into_iter().find(|server| server.url == url);
        let fields = [
            ("group_id", group),
            ("url", url),
            ("title", TITLE),
            ("secret_key", secret),
        ];
        match ours {
            Some(server) => {
                let id = server.id.to_string();
                let fields = [&fields[..], &[("server_id", id.as_str())]].concat();
                // This has VK try the address again, if it has not accepted it yet.
                let _: IgnoredAny = self.call("groups.editCallbackServer", &fields).await?;
                if server.status == "failed" {
                    tracing::info!("VK could not reach {url} before, and tries it again");
                }
                Ok(server.id)
            }
            None => {
                let new: NewServer = self.call("groups.addCallbackServer", &fields).await?;
                Ok(new.server_id)
            }
        }
    }
}

impl Poll for VkApi {
    fn channel(&self) -> &'static str {
        "vk"
    }

    fn platform(&self) -> &'static str {
        "VK"
    }

    fn account(&self) -> Option<u64> {
        self.group.get()
    }

    fn ask(&self, from: Option<Mark>, wait: Duration) -> Asked<'_, Batch> {
        Box::pin(async move {
            for _ in 0..KEYS {
                let session = self.session().await?;
                let ts = from.or(self.began.get()).unwrap_or(session.ts);
                self.began.set(Some(ts));
                let checked = self.check(&session, ts, wait).await;
                if checked.is_err() {
                    // The server may be another one next time.
                    self.session.take();
                }
                let body = checked?;
                let events: Events<'_> = serde_json::from_slice(&body)
                    .map_err(|_| SendError::retry("no answer of Long Poll"))?;
                let given = events.ts.and_then(|ts| Mark::try_from(ts).ok());
                if let Some(error) = events.error {
                    self.session.take();
                    let error: String = error.get().chars().take(MAX_ERROR).collect();
                    let error = without(&session.key, &error);
                    return Err(SendError::retry(format!("Long Poll: {error}")).into());
                }
                let next = match events.failed {
                    None => match given {
                        Some(next) => next,
                        None => {
                            self.session.take();
                            return Err(SendError::retry("Long Poll without a mark").into());
                        }
                    },
                    // The key has expired; the mark stands.
                    Some(2) => {
                        self.session.take();
                        continue;
                    }
                    Some(failed) => {
                        self.session.take();
                        let next = match given {
                            Some(next) if failed == 1 => next,
                            _ => self.session().await?.ts,
                        };
                        if from.is_some() {
                            tracing::warn!(
                                "VK has forgotten events that came while nobody asked: messages may be lost"
                            );
                        }
                        next
                    }
                };
                let last = events.updates.len().saturating_sub(1);
                let update = |(place, raw): (usize, &&RawValue)| {
                    let mark = if place == last { next } else { ts };
                    (mark, body.slice_ref(raw.get().as_bytes()))
                };
                return Ok(Batch {
                    updates: events.updates.iter().enumerate().map(update).collect(),
                    next: Some(next),
                });
            }
            Err(SendError::retry("VK's keys expire at once").into())
        })
    }

    fn forgets(&self) -> bool {
        false
    }

    /// `ok` is for webhooks.
    fn call(&self, _: Vec<u8>) -> Asked<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// Nothing to tell: the mark is ours.
    fn confirm(&self, _: Mark) -> Asked<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl Account for VkApi {
    fn channel(&self) -> &'static str {
        "vk"
    }

    fn platform(&self) -> &'static str {
        "VK"
    }

    fn id(&self) -> Asked<'_, u64> {
        Box::pin(self.group())
    }
}

impl Register for VkApi {
    fn channel(&self) -> &'static str {
        "vk"
    }

    fn platform(&self) -> &'static str {
        "VK"
    }

    fn register<'a>(&'a self, webhook: &'a Webhook) -> Registered<'a> {
        Box::pin(async move {
            let group = self.group().await?.to_string();
            if self.confirmation.is_none() {
                let Code { code } = self
                    .call(
                        "groups.getCallbackConfirmationCode",
                        &[("group_id", &group)],
                    )
                    .await?;
                // VK asks any worker for it.
                if !webhook.pace.set_confirmation(&code) {
                    let reason = "the confirmation string is too long: set TURNKEY_VK_CONFIRMATION";
                    return Err(SendError::retry(reason).into());
                }
            }
            let server = self.callback_server(&group, &webhook.url).await?;
            let server = server.to_string();
            let mut settings = vec![
                ("group_id", group.as_str()),
                ("server_id", &server),
                ("api_version", API_VERSION),
            ];
            settings.extend(self.events());
            let _: IgnoredAny = self.call("groups.setCallbackSettings", &settings).await?;
            Ok(())
        })
    }
}
