//! Flags, environment and file become one validated, immutable [`Config`].
//!
//! Called by `cli/` before anything is bound, opened or forked, and at each reload. Imports
//! nothing of ours but the error and plain data.
//!
//! | file | what |
//! | --- | --- |
//! | `settings.rs` | **the table**: each setting with its documentation; how to add one |
//! | `table/` | what a row of it becomes |
//! | `choices.rs`, `times.rs`, `secrets.rs` | types of settings |
//! | `bounds.rs` | checks of single values |
//! | `read.rs` | the places that settings are read from, and which one wins |
//! | `validate/` | whether they fit together; a file for each subject |
//! | `serving.rs`, `channels.rs`, `network.rs` | structs of settings that belong together |
//! | `reload.rs` | what a reload leaves as it is |
//! | `outline.rs` | what an init system's unit needs to know of them |
//! | `document.rs` | the table as documentation |
//! | `proxies.rs` | the proxies for calls to the platforms |

mod bounds;
mod channels;
mod choices;
mod document;
pub(crate) mod network;
mod outline;
mod proxies;
mod read;
mod reload;
mod secrets;
mod serving;
mod settings;
mod table;
#[cfg(test)]
mod tests;
mod times;
mod validate;

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use turnkey_storage::Sync;
use turnkey_storage::inbox::Bounds;

pub(crate) use self::channels::{
    FacebookConfig, HttpConfig, TelegramConfig, ViberConfig, VkConfig, WhatsAppConfig,
};
pub(crate) use self::choices::{LogFormat, Updater};
pub(crate) use self::document::secrets_help;
pub(crate) use self::outline::Outline;
pub(crate) use self::proxies::{Proxies, Proxy, ProxyKind};
pub(crate) use self::read::parse;
pub(crate) use self::secrets::{environment, find};
pub(crate) use self::serving::{AcmeConfig, AdminConfig, BackupConfig, Listen, RateLimits, Tls};
pub(crate) use self::settings::{Settings, Values};
pub(crate) use self::times::duration;
pub(crate) use self::validate::database;
use crate::config::network::Network;
pub(crate) use turnkey_storage::Address;

/// Workers of one machine: far more than its processors is a slip of the finger.
pub(crate) const MAX_WORKERS: usize = 256;

/// Open files of a worker besides connections and replies: the database's, and what
/// libraries need.
pub(crate) const OTHER_FILES: usize = 256;

/// Who does the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processes {
    /// A master and this many workers.
    Workers(usize),
    /// One process.
    Single,
}

impl fmt::Display for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Processes::Workers(count) => count.fmt(f),
            Processes::Single => f.write_str("a single process"),
        }
    }
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
///
/// A setting that is used by itself is read as `config.grace`, whatever is in the table;
/// those that are used together, or that depend on each other, are grouped here.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// Each setting by itself.
    pub(crate) values: Values,
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
    /// Who does the work.
    pub(crate) processes: Processes,
    /// Whose X-Forwarded-For and Forwarded are believed.
    pub(crate) trusted_proxies: Vec<Network>,
    /// The database; none for a new one in the temporary directory.
    pub(crate) database: Option<Address>,
    /// What an acknowledged turn survives.
    pub(crate) sync: Sync,
    /// Updates in the inbox.
    pub(crate) pending: Bounds,
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
    /// The `whatsapp` channel, if it is served.
    pub(crate) whatsapp: Option<WhatsAppConfig>,
    /// What is not as it should be with the settings' files, for the log.
    pub(crate) remarks: Vec<String>,
}

impl Config {
    /// What the status page says of each setting: its name, and what is in force.
    pub(crate) fn shown(&self) -> Vec<(String, String)> {
        self.values.shown(self)
    }
}

impl Deref for Config {
    type Target = Values;

    fn deref(&self) -> &Values {
        &self.values
    }
}

/// A start, or a reload, that cannot be.
fn refuse<T>(sentence: impl Into<String>) -> crate::StartResult<T> {
    Err(crate::StartError::Refused(sentence.into()))
}
