//! The channels of a worker: our configured ones and the author's.
//!
//! Made by the worker after its fork; used by all code that has a dialog. Bound:
//! [`MAX_CHANNELS`].

use std::cell::Cell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use hyper::{HeaderMap, StatusCode};
use turnkey_storage::{ReplyId, schedules};

use super::account::{Account, Page};
use super::client::Client;
use super::poll::Poll;
use super::register::Register;
use super::telegram::TelegramApi;
use super::viber::ViberApi;
use super::vk::VkApi;
use super::{
    Channel, FileAddress, Plan, Received, Refusal, SendError, SendFuture, download, facebook, http,
    telegram, viber, vk, whatsapp,
};
use crate::author::message::{self, Action, DialogKey, File, Hears, Kind, Outgoing, Reply, Update};
use crate::author::platform::{Asked, Ended, Platform, Shown};
use crate::author::start_error::StartError;
use crate::config::Config;
use crate::shared::pacing::{MAX_CHANNELS, Pace, Pacer};

/// Makes a channel of the author's, in each worker after the fork.
pub(crate) type Factory = Box<dyn Fn() -> crate::Result<Box<dyn Channel>>>;

/// How long a handler waits for a platform's answer to a question.
const PATIENCE: Duration = Duration::from_secs(10);

/// A channel, and how fast it may send.
#[derive(Clone, Copy)]
pub(crate) struct Outlet<'a> {
    pub(crate) name: &'a str,
    pub(crate) channel: &'a dyn Channel,
    pub(crate) pace: Pace,
    /// Replies that the platform took of this worker.
    pub(crate) taken: &'a Cell<u64>,
}

/// Names of our own, which no channel of an author's may have.
const RESERVED: [&str; 7] = [
    "http", "telegram", "viber", "facebook", "vk", "rpc", "whatsapp",
];

/// The number of the author's first channel, and of those of ours that came later. What is
/// counted under a number stays its channel's when a bot is upgraded while it runs, so none
/// ever changes.
const AUTHORS: usize = 6;
const WHATSAPP: usize = MAX_CHANNELS - 1;

/// As in [`Outlet`].
struct Served {
    channel: Box<dyn Channel>,
    pace: Pace,
    taken: Cell<u64>,
}

impl Served {
    fn new(channel: Box<dyn Channel>, pace: Pace) -> Self {
        Served {
            channel,
            pace,
            taken: Cell::new(0),
        }
    }

    fn outlet<'a>(&'a self, name: &'a str) -> Outlet<'a> {
        Outlet {
            name,
            channel: self.channel.as_ref(),
            pace: self.pace,
            taken: &self.taken,
        }
    }
}

/// The channels of a worker, by name.
pub(crate) struct Channels {
    by_name: HashMap<String, Served>,
    /// Stands in for a channel that is no longer configured.
    gone: Served,
    /// That replies are lost was said.
    said_lost: Cell<bool>,
    /// Fetches files.
    client: Client,
    /// Where the addresses of callbacks begin.
    callbacks: Option<String>,
}

impl Channels {
    /// Makes the channels of this configuration, and the author's. To be called after
    /// any fork: some hold connections.
    ///
    /// # Errors
    /// What is wrong with the configuration, in a sentence.
    pub(crate) fn open(
        config: &Config,
        authors: &[(String, Factory)],
        pacer: Pacer,
    ) -> crate::StartResult<Self> {
        // The numbers are the same in all workers, and those of ours in all versions.
        let [of_http, of_telegram, of_viber, of_facebook, of_vk, of_gone] =
            std::array::from_fn(|number| pacer.channel(number));
        let mut all: Vec<(Box<dyn Channel>, Pace)> = vec![
            (Box::new(http::Http::new(&config.http)), of_http),
            (
                Box::new(telegram::Telegram::new(&config.telegram, of_telegram)?),
                of_telegram,
            ),
        ];
        if let Some(config) = &config.viber {
            all.push((Box::new(viber::Viber::new(config)?), of_viber));
        }
        if let Some(config) = &config.facebook {
            all.push((
                Box::new(facebook::Facebook::new(config, of_facebook)?),
                of_facebook,
            ));
        }
        if let Some(config) = &config.vk {
            all.push((Box::new(vk::Vk::new(config, of_vk)?), of_vk));
        }
        if let Some(config) = &config.whatsapp {
            let pace = pacer.channel(WHATSAPP);
            all.push((Box::new(whatsapp::WhatsApp::new(config)?), pace));
        }
        for (place, (name, make)) in authors.iter().enumerate() {
            let channel = make()?;
            if channel.name() != name {
                let other = channel.name();
                return Err(StartError::Refused(format!(
                    "the channel given to App::channel as {name:?} calls itself {other:?}; let both be the same"
                )));
            }
            all.push((channel, pacer.channel(AUTHORS + place)));
        }
        Ok(Channels {
            by_name: all
                .into_iter()
                .map(|(channel, pace)| (channel.name().to_owned(), Served::new(channel, pace)))
                .collect(),
            gone: Served::new(Box::new(Gone), of_gone),
            said_lost: Cell::new(false),
            client: Client::new(&config.telegram.proxies)?,
            callbacks: config.public_url.as_deref().map(message::base),
        })
    }

    /// The channel served at a path such as `/telegram`.
    pub(crate) fn at(&self, path: &str) -> Option<&dyn Channel> {
        self.named(path.strip_prefix('/')?)
    }

    /// The channel of this name.
    pub(crate) fn named(&self, name: &str) -> Option<&dyn Channel> {
        self.by_name.get(name).map(|served| served.channel.as_ref())
    }

    /// All, in no order.
    pub(crate) fn outlets(&self) -> impl Iterator<Item = Outlet<'_>> {
        self.by_name
            .iter()
            .map(|(name, served)| served.outlet(name))
    }

    /// Those that have somebody to send to.
    pub(crate) fn senders(&self) -> impl Iterator<Item = &dyn Channel> {
        let all = self.by_name.values().map(|served| served.channel.as_ref());
        all.filter(|channel| channel.can_send())
    }

    /// The channel of a dialog.
    pub(crate) fn of(&self, dialog: &DialogKey) -> &dyn Channel {
        self.named(&dialog.channel)
            .unwrap_or(self.gone.channel.as_ref())
    }

    /// The same with its budgets.
    pub(crate) fn outlet<'a>(&'a self, dialog: &'a DialogKey) -> Outlet<'a> {
        self.outlet_named(&dialog.channel)
            .unwrap_or_else(|| self.gone.outlet(&dialog.channel))
    }

    /// The channel of this name with its budgets.
    pub(crate) fn outlet_named<'a>(&'a self, name: &'a str) -> Option<Outlet<'a>> {
        Some(self.by_name.get(name)?.outlet(name))
    }

    /// What becomes of a turn's replies: the channel's plan. What another system
    /// started is answered to that system, and all replies are sent.
    ///
    /// # Errors
    /// As [`Channel::plan`].
    pub(crate) fn plan(&self, update: &Update, actions: &[Action]) -> Result<Plan, String> {
        let channel = self.of(&update.dialog);
        if update.kind == Kind::Relayed {
            return self.plan_accepted(update, actions);
        }
        if update.kind != Kind::Rpc {
            return channel.plan(update, actions);
        }
        let mut result = serde_json::json!({ "update": update.id.0, "replies": actions.len() });
        let mut send = Vec::new();
        if channel.can_send() {
            send = channel.plan_late(update, actions)?;
        } else {
            result["replies"] = serde_json::to_value(actions).map_err(|e| e.to_string())?;
        }
        Ok(Plan {
            answer: result.to_string().into_bytes(),
            send,
        })
    }

    /// What becomes of the replies of a turn whose update was answered before: all are
    /// sent. Where callers come back for the answer, they ride in the stored one.
    pub(crate) fn plan_accepted(
        &self,
        update: &Update,
        actions: &[Action],
    ) -> Result<Plan, String> {
        let channel = self.of(&update.dialog);
        if channel.can_send() {
            return Ok(Plan {
                answer: channel.accepted(update),
                send: channel.plan_late(update, actions)?,
            });
        }
        if !channel.waits_for_answer() && !actions.is_empty() && !self.said_lost.replace(true) {
            tracing::warn!(
                "{}: a reply that is ready only after --ack-after cannot be sent without a \
                 token, and is lost: set the channel's token (said once)",
                update.dialog
            );
        }
        channel.plan(update, actions)
    }
}

impl Platform for Channels {
    fn callbacks(&self) -> Option<&str> {
        self.callbacks.as_deref()
    }

    fn ask<'a>(
        &'a self,
        update: &'a Update,
        method: String,
        params: serde_json::Value,
    ) -> Asked<'a, serde_json::Value> {
        Box::pin(async move {
            let channel = self.of(&update.dialog);
            let asked = channel.ask(update, &method, params);
            tokio::time::timeout(PATIENCE, asked)
                .await
                .map_err(|_| format!("no answer in {} s", PATIENCE.as_secs()))?
                .map_err(|e| e.to_string())
        })
    }

    fn draft<'a>(&'a self, update: &'a Update, text: &'a str) -> Shown<'a> {
        Box::pin(async move {
            let outlet = self.outlet(&update.dialog);
            // Models begin with an empty piece, which platforms refuse.
            if text.trim().is_empty() || outlet.pace.pause_left().is_some() {
                return true;
            }
            let Some(draft) = outlet.channel.draft(update, text) else {
                return false;
            };
            match tokio::time::timeout(PATIENCE, draft).await {
                Ok(Ok(_)) => true,
                Ok(Err(error)) => {
                    tracing::debug!("{}: a draft is not shown: {error}", update.dialog);
                    false
                }
                Err(_) => false,
            }
        })
    }

    fn end_draft<'a>(&'a self, update: &'a Update) -> Option<Ended<'a>> {
        let end = self.of(&update.dialog).end_draft(update)?;
        Some(Box::pin(async move {
            // It may wait as long for its place.
            if let Ok(Err(error)) = tokio::time::timeout(PATIENCE * 2, end).await {
                tracing::debug!("{}: a draft is not taken away: {error}", update.dialog);
            }
        }))
    }

    fn download<'a>(
        &'a self,
        channel: &'a str,
        file: &'a File,
        limit: usize,
    ) -> Asked<'a, Vec<u8>> {
        Box::pin(async move {
            let address = self.locate(channel, file).await?;
            download::to_memory(&self.client, address, limit).await
        })
    }

    fn download_to<'a>(
        &'a self,
        channel: &'a str,
        file: &'a File,
        path: PathBuf,
        limit: u64,
    ) -> Asked<'a, u64> {
        Box::pin(async move {
            let address = self.locate(channel, file).await?;
            download::to_file(&self.client, address, &path, limit).await
        })
    }
}

impl Channels {
    async fn locate(&self, channel: &str, file: &File) -> Result<FileAddress, String> {
        let channel = self.named(channel).unwrap_or(self.gone.channel.as_ref());
        let located = tokio::time::timeout(PATIENCE, channel.locate(file)).await;
        located
            .map_err(|_| format!("no answer in {} s", PATIENCE.as_secs()))?
            .map_err(|e| e.to_string())
    }
}

/// Checks the names of the author's channels, before anything is bound or forked.
///
/// # Errors
/// A sentence that says which name cannot be.
pub(crate) fn check_names(authors: &[(String, Factory)]) -> crate::StartResult<()> {
    let room = MAX_CHANNELS - RESERVED.len();
    if authors.len() > room {
        return Err(StartError::Refused(format!(
            "{} channels of your own; {room} is the limit",
            authors.len()
        )));
    }
    for (place, (name, _)) in authors.iter().enumerate() {
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if name.is_empty() || !name.chars().all(is_plain) {
            return Err(StartError::Refused(format!(
                "a channel's name is made of a to z, 0 to 9, - and _; {name:?} is not"
            )));
        }
        let is_second = authors.iter().take(place).any(|(other, _)| other == name);
        let is_ours = RESERVED.contains(&name.as_str()) || name == schedules::CHANNEL;
        if is_second || is_ours {
            return Err(StartError::Refused(format!(
                "there is a channel {name:?} already; give yours another name"
            )));
        }
    }
    Ok(())
}

/// Checks that there can be channels of these names: ours, configured or not, or the author's.
///
/// # Errors
/// A sentence that says which there is not.
pub(crate) fn check_channels<'a>(
    mut named: impl Iterator<Item = &'a str>,
    authors: &[(String, Factory)],
) -> crate::StartResult<()> {
    let ours = RESERVED.iter().copied().filter(|name| *name != "rpc");
    let all: Vec<&str> = ours
        .chain(authors.iter().map(|(name, _)| name.as_str()))
        .collect();
    match named.find(|name| !all.contains(name)) {
        None => Ok(()),
        Some(name) => Err(StartError::Refused(format!(
            "there is no channel {name:?} whose messages could overlap; there are {}",
            all.join(", ")
        ))),
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

    fn fit(&self, _: &Reply) -> Result<Vec<Reply>, String> {
        Err("its channel is not served by this program".to_owned())
    }

    fn send<'a>(&'a self, _: ReplyId, _: &'a Outgoing) -> SendFuture<'a> {
        Box::pin(async { Err(SendError::away("its channel is not served by this program")) })
    }
}

/// The platforms that this configuration asks. `hears`: what is asked for.
///
/// # Errors
/// What is wrong with the configuration, in a sentence.
pub(crate) fn polled(config: &Config, hears: Hears) -> crate::StartResult<Vec<Box<dyn Poll>>> {
    let mut sources: Vec<Box<dyn Poll>> = Vec::new();
    if let Some(api) = TelegramApi::new(&config.telegram, hears)? {
        sources.push(Box::new(api));
    }
    if let Some(config) = &config.vk {
        sources.push(Box::new(VkApi::new(config, hears)?));
    }
    Ok(sources)
}

/// The platforms of this configuration that are told where to post. `hears`: what is
/// asked for.
///
/// # Errors
/// What is wrong with the configuration, in a sentence.
pub(crate) fn registered(
    config: &Config,
    hears: Hears,
) -> crate::StartResult<Vec<Box<dyn Register>>> {
    let mut platforms: Vec<Box<dyn Register>> = Vec::new();
    if let Some(api) = TelegramApi::new(&config.telegram, hears)? {
        platforms.push(Box::new(api));
    }
    if let Some(config) = &config.viber {
        platforms.push(Box::new(ViberApi::new(config, hears)?));
    }
    if let Some(config) = &config.vk {
        platforms.push(Box::new(VkApi::new(config, hears)?));
    }
    Ok(platforms)
}

/// The platforms of this configuration that can be asked whose token it is.
///
/// # Errors
/// What is wrong with the configuration, in a sentence.
pub(crate) fn accounts(config: &Config) -> crate::StartResult<Vec<Box<dyn Account>>> {
    let mut accounts: Vec<Box<dyn Account>> = Vec::new();
    if let Some(config) = &config.facebook {
        accounts.push(Box::new(Page::new(config)?));
    }
    if let Some(config) = &config.vk {
        accounts.push(Box::new(VkApi::new(config, Hears::default())?));
    }
    Ok(accounts)
}
