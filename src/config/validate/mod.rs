//! Makes the [`Config`] from settings that fit together; for others an error sentence that
//! names them.
//!
//! Called by `read.rs`, at the start and at each reload. Here is the order of the checks, and
//! those that take one line. A subject that takes more has a file, which both refuses
//! contradictions and groups what is used together. Bounds of single settings are in the table.

mod backup;
mod channels;
mod https;
mod listen;
mod updater;
mod workers;

use nix::sys::resource::{Resource, getrlimit};
use turnkey_storage::Sync;
use turnkey_storage::inbox::Bounds;

pub(super) use self::listen::listen;
use super::choices::SyncMode;
use super::network;
use super::proxies::Proxies;
use super::secrets::environment;
use super::serving::RateLimits;
use super::settings::{Settings, Values};
use super::{Address, Config, OTHER_FILES, ServerLimits};

impl Settings {
    /// `has_channels`: the author brings some, which are posted to.
    ///
    /// # Errors
    /// [`crate::StartError::Refused`] with a sentence that names the setting.
    pub(crate) fn validate(&self, has_channels: bool) -> crate::StartResult<Config> {
        let updater = updater::chosen(self, has_channels)?;
        let processes = workers::chosen(self)?;
        listen::refuse_contradictions(self)?;
        https::refuse_contradictions(self)?;
        backup::refuse_contradictions(self)?;
        let asks_only = updater::asks_only(self);

        let values = self.complete()?;
        let database = values.storage.as_deref().map(database).transpose()?;
        let proxies = Proxies::read(values.platform_proxy.as_deref(), &environment)?;
        let trusted_proxies = values.trusted_proxy.as_deref().unwrap_or_default();
        Ok(Config {
            updater,
            processes,
            listen: listen(&values)?,
            tls: https::certificates(&values, database.as_ref(), &proxies)?,
            admin: listen::admin(&values)?,
            backup: backup::scheduled(&values, database.as_ref())?,
            trusted_proxies: network::list(trusted_proxies)?,
            rates: RateLimits {
                user: values.rate_per_user,
                address: values.rate_per_address,
            },
            sync: match values.sync {
                SyncMode::Full => Sync::Full,
                SyncMode::Normal => Sync::Normal,
            },
            pending: Bounds {
                per_dialog: values.max_pending_per_user,
                all: values.max_pending,
            },
            server: limits(&values),
            http: channels::http(&values),
            telegram: channels::telegram(&values, updater, &proxies)?,
            viber: channels::viber(&values, &proxies)?,
            facebook: channels::facebook(&values, &proxies)?,
            vk: channels::vk(&values, updater, asks_only, &proxies)?,
            whatsapp: channels::whatsapp(&values, &proxies)?,
            database,
            remarks: Vec::new(),
            values,
        })
    }
}

/// Reads a storage address such as `sqlite:bot.db`.
///
/// # Errors
/// [`crate::StartError::Refused`]: what is wrong with it; never the address itself.
pub(crate) fn database(url: &str) -> crate::StartResult<Address> {
    Ok(url.parse::<Address>()?)
}

/// Connections of a worker by default, at most: each that is idle costs it a few KiB, each that
/// is busy 35.
const MOST_CONNECTIONS: usize = 8192;

/// Whatever the limit of open files is.
const FEWEST_CONNECTIONS: usize = 64;

/// As many connections as a worker has files for, besides those of its turns' replies and its
/// own: one that it cannot accept would wait without an answer.
fn room_for_connections(values: &Values) -> usize {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(_, most)| most);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let others = OTHER_FILES + values.max_turns.min(files / 4);
    files
        .saturating_sub(others)
        .clamp(FEWEST_CONNECTIONS, MOST_CONNECTIONS)
}

fn limits(values: &Values) -> ServerLimits {
    ServerLimits {
        connections: values
            .max_connections
            .unwrap_or_else(|| room_for_connections(values)),
        body: values.max_body,
        header: values.max_header,
        header_timeout: values.header_timeout,
        body_timeout: values.body_timeout,
        idle_timeout: values.idle_timeout,
    }
}
