//! Flags, environment and file become one validated, immutable [`Config`].
//!
//! Called by `cli/` before anything is bound, opened or forked. A value is taken
//! from the flag, else the `TURNKEY_…` variable, else the file, else the default.
//! Secrets have no flag: a command line can be read by every user of a machine.
//! Imports nothing of ours but the error and plain data.

//!
//! | file | what |
//! | --- | --- |
//! | `settings.rs` | what can be set, and where it is read from |
//! | `validate.rs` | whether it fits together |
//! | `secrets.rs` | the list of secrets; files they stand in |
//! | `values.rs`, `storage.rs`, `channels.rs` | times, databases, channels |
//! | `outline.rs` | what an init system's unit says of them |
//! | `proxies.rs` | what calls to the platforms go through |
//! | `serving.rs` | addresses, certificates, limits, backups |

mod channels;
pub(crate) mod network;
mod outline;
mod proxies;
mod secrets;
mod serving;
mod settings;
#[cfg(test)]
mod tests;
mod validate;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use turnkey_storage::Sync;
use turnkey_storage::inbox::Bounds;

pub(crate) use self::channels::{
    FacebookConfig, HttpConfig, TelegramConfig, ViberConfig, VkConfig,
};
pub(crate) use self::outline::Outline;
pub(crate) use self::proxies::{Proxies, Proxy, ProxyKind};
pub(crate) use self::secrets::{Secret, environment, find};
pub(crate) use self::serving::{AcmeConfig, AdminConfig, BackupConfig, Listen, RateLimits, Tls};
pub(crate) use self::settings::Settings;
pub(crate) use self::values::{database, duration};
use crate::config::network::Network;
pub(crate) use turnkey_storage::Address;

/// Workers of one machine: far more than its processors is a slip of the finger.
pub(crate) const MAX_WORKERS: usize = 256;

/// Where the bot listens unless told otherwise.
const DEFAULT_HOST: &str = "localhost";
const DEFAULT_PORT: u16 = 8080;

/// How long a stop may take unless told otherwise.
const DEFAULT_GRACE: Duration = Duration::from_secs(8);

/// How updates arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Updater {
    /// The platform posts them to us.
    Webhooks,
    /// We ask the platform for them.
    Polling,
}

impl Updater {
    /// As it is written on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Updater::Webhooks => "webhooks",
            Updater::Polling => "polling",
        }
    }
}

/// How the log looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processes {
    /// A master and this many workers.
    Workers(usize),
    /// One process.
    Single,
}

/// Limits of the HTTP server, for each worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServerLimits {
    /// Connections; beyond it 503.
    pub(crate) connections: usize,
    /// Bytes of a body; beyond it 413.
    pub(crate) body: usize,
    /// Bytes of a head; beyond it 431.
    pub(crate) header: usize,
    /// For a head; then the connection is closed.
    pub(crate) header_timeout: Duration,
    /// For a body; then 408.
    pub(crate) body_timeout: Duration,
    /// Between requests; then the connection is closed.
    pub(crate) idle_timeout: Duration,
}

/// Everything a run needs to know. Made once, never changed.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// How updates arrive.
    pub(crate) updater: Updater,
    /// Where to listen.
    pub(crate) listen: Listen,
    /// Where certificates come from, if HTTPS is served.
    pub(crate) tls: Option<Tls>,
    /// The address for operators.
    pub(crate) admin: Option<AdminConfig>,
    /// How much is taken of whom.
    pub(crate) rates: RateLimits,
    /// Backups that are made while the bot runs.
    pub(crate) backup: Option<BackupConfig>,
    /// Who to become, if started as root.
    pub(crate) user: Option<String>,
    /// Who does the work.
    pub(crate) processes: Processes,
    /// Where the platforms reach us.
    pub(crate) public_url: Option<String>,
    /// Whose X-Forwarded-For and Forwarded are believed.
    pub(crate) trusted_proxies: Vec<Network>,
    /// The bearer token of calls by other systems, which are not served without.
    pub(crate) rpc_token: Option<Secret>,
    /// The database; none for a new one in the temporary directory.
    pub(crate) database: Option<Address>,
    /// What an acknowledged turn survives.
    pub(crate) sync: Sync,
    /// Keep each turn's text and replies.
    pub(crate) history: bool,
    /// How long a stop waits.
    pub(crate) grace: Duration,
    /// A worker silent for so long is replaced.
    pub(crate) worker_timeout: Duration,
    /// A worker is replaced after about so many requests.
    pub(crate) max_requests: Option<u64>,
    /// A worker is replaced after about so long.
    pub(crate) max_age: Option<Duration>,
    /// For a handler.
    pub(crate) turn_timeout: Duration,
    /// For a dialog's lock.
    pub(crate) lock_wait: Duration,
    /// For a commit, before an update is accepted.
    pub(crate) ack_after: Duration,
    /// Updates in the inbox.
    pub(crate) pending: Bounds,
    /// Attempts at an update.
    pub(crate) max_attempts: u32,
    /// Attempts at a reply.
    pub(crate) max_reply_attempts: u32,
    /// How old a reply may be that fails.
    pub(crate) max_reply_age: Duration,
    /// How long ids and answers of updates are kept.
    pub(crate) keep_seen: Duration,
    /// How long the history is kept; none for ever.
    pub(crate) keep_history: Option<Duration>,
    /// Turns in flight in a worker.
    pub(crate) max_turns: usize,
    /// Limits of the HTTP server.
    pub(crate) server: ServerLimits,
    /// The `http` channel.
    pub(crate) http: HttpConfig,
    /// The `telegram` channel.
    pub(crate) telegram: TelegramConfig,
    /// The `viber` channel, if it is served.
    pub(crate) viber: Option<ViberConfig>,
    /// The `facebook` channel, if it is served.
    pub(crate) facebook: Option<FacebookConfig>,
    /// The `vk` channel, if it is served.
    pub(crate) vk: Option<VkConfig>,
    /// What is not as it should be with the settings' files, for the log.
    pub(crate) remarks: Vec<String>,
    /// The log's format.
    pub(crate) log: LogFormat,
    /// Where it is written to; none for stderr.
    pub(crate) log_file: Option<PathBuf>,
}

impl Config {
    /// Whether anybody is listened to: platforms that post, or, beside polling, other
    /// systems that bring a token.
    pub(crate) fn listens(&self) -> bool {
        self.updater == Updater::Webhooks || self.rpc_token.is_some() || self.http.token.is_some()
    }

    /// What was bound or opened once stays as it was in `old`; the settings that are
    /// different here, by their flags.
    pub(crate) fn keep_fixed(&mut self, old: &Config) -> Vec<&'static str> {
        let address = |config: &Config| config.database.as_ref().map(ToString::to_string);
        let host = |config: &Config| match &config.listen {
            Listen::Tcp { host, .. } => Some(host.clone()),
            Listen::Unix(_) => None,
        };
        let port = |config: &Config| match config.listen {
            Listen::Tcp { port, .. } => Some(port),
            Listen::Unix(_) => None,
        };
        let socket = |config: &Config| match &config.listen {
            Listen::Tcp { .. } => None,
            Listen::Unix(path) => Some(path.clone()),
        };
        let admin = |config: &Config| config.admin.as_ref().map(|admin| admin.listen.clone());
        let mut changed = Vec::new();
        for (flag, differs) in [
            ("--host", host(self) != host(old)),
            ("--port", port(self) != port(old)),
            ("--listen", socket(self) != socket(old)),
            (
                "--tls-cert or --tls-domain",
                self.tls.is_some() != old.tls.is_some(),
            ),
            (
                "--updater, or TURNKEY_RPC_TOKEN or TURNKEY_HTTP_TOKEN beside polling",
                self.listens() != old.listens(),
            ),
            ("--admin", admin(self) != admin(old)),
            ("--user", self.user != old.user),
            ("--storage", address(self) != address(old)),
            ("--sync", self.sync != old.sync),
            ("--log", self.log != old.log),
            ("--log-file", self.log_file != old.log_file),
        ] {
            if differs {
                changed.push(flag);
            }
        }
        self.listen.clone_from(&old.listen);
        if self.tls.is_some() != old.tls.is_some() {
            self.tls.clone_from(&old.tls);
        }
        if admin(self) != admin(old) {
            self.admin.clone_from(&old.admin);
        }
        self.user.clone_from(&old.user);
        self.database.clone_from(&old.database);
        self.sync = old.sync;
        self.log = old.log;
        self.log_file.clone_from(&old.log_file);
        changed
    }
}
