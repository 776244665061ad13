//! Settings that fit together become the [`Config`]; others a sentence that names them.
//!
//! Called by `settings.rs`, at the start and at each reload.

use std::time::Duration;

use turnkey_storage::Sync;
use turnkey_storage::inbox::Bounds;

use super::channels::{FacebookConfig, HttpConfig, TelegramConfig, ViberConfig, VkConfig};
use super::proxies::Proxies;
use super::secrets::{Secret, environment, variable};
use super::serving::{AcmeConfig, AdminConfig, BackupConfig, Listen, RateLimits, Tls};
use super::settings::{Settings, SyncMode};
use super::{Address, database};
use super::{
    Config, DEFAULT_GRACE, DEFAULT_HOST, DEFAULT_PORT, MAX_WORKERS, Processes, ServerLimits,
    Updater,
};
use crate::author::error::Error;
use crate::config::network;

/// The largest number of turns or connections of a worker that can be set.
const MANY: usize = 1_000_000;

impl Settings {
    pub(super) fn validate(self, has_channels: bool) -> crate::Result<Config> {
        // Before anything is said of it.
        self.learn_secrets();
        let updater = self.updater(has_channels)?;
        // Nothing but tokens of those who can be asked: that may be what is meant.
        let may_poll = self.web_side().is_empty()
            && self.viber_token.is_none()
            && self.facebook_token.is_none();
        let fast = self.fast.unwrap_or(false);
        let single = self.single_process.unwrap_or(false);
        let processes = match (self.workers, fast, single) {
            (None, false, false) => Processes::Workers(1),
            (None, true, false) => Processes::Workers(num_cpus::get()),
            (None, false, true) => Processes::Single,
            (Some(n), false, false) if (1..=MAX_WORKERS).contains(&n) => Processes::Workers(n),
            (Some(n), false, false) => {
                return refuse(format!("--workers takes 1 to {MAX_WORKERS}, not {n}"));
            }
            (Some(_), true, _) => {
                return refuse("--workers and --fast both say how many workers; give one of them");
            }
            (Some(_), _, true) => {
                return refuse(
                    "--single-process has no workers; leave out --workers or --single-process",
                );
            }
            (None, true, true) => {
                return refuse("--fast and --single-process are opposites; give one of them");
            }
        };
        let database = self.storage.as_deref().map(database).transpose()?;
        self.refuse_empty_secrets()?;
        if let Some(url) = &self.public_url
            && !is_web_address(url)
        {
            return refuse(format!(
                "--public-url takes an address such as https://bot.example.org, not {url:?}"
            ));
        }
        let proxies = Proxies::read(self.platform_proxy.as_deref(), &environment)?;
        let viber_api = api(
            "--viber-api-url",
            self.viber_api_url,
            "https://chatapi.viber.com",
        )?;
        let viber = all_or_none([("viber-token", self.viber_token)])?.map(|[token]| ViberConfig {
            token,
            sender: self.viber_sender.unwrap_or_else(|| "Bot".to_owned()),
            api_url: viber_api,
            proxies: proxies.clone(),
        });
        let facebook_api = api(
            "--facebook-api-url",
            self.facebook_api_url,
            "https://graph.facebook.com/v23.0",
        )?;
        let facebook = all_or_none([
            ("facebook-token", self.facebook_token),
            ("facebook-secret", self.facebook_secret),
            ("facebook-verify-token", self.facebook_verify_token),
        ])?
        .map(|[token, secret, verify_token]| FacebookConfig {
            token,
            secret,
            verify_token,
            api_url: facebook_api,
            proxies: proxies.clone(),
        });
        let vk_api = api("--vk-api-url", self.vk_api_url, "https://api.vk.com")?;
        let polls = updater == Updater::Polling;
        let vk_secrets = match (self.vk_token, self.vk_secret) {
            // Nothing is posted, so nothing holds a secret.
            (Some(token), secret) if polls => Some((token, secret)),
            (Some(_), None) if may_poll => {
                return refuse(
                    "the channel vk also needs TURNKEY_VK_SECRET (vk-secret in the file) for what VK posts; docs/CHANNELS.md says where to find it. Or give --updater polling, and VK and Telegram are asked for updates",
                );
            }
            (token, secret) => all_or_none([("vk-token", token), ("vk-secret", secret)])?
                .map(|[token, secret]| (token, Some(secret))),
        };
        let vk = vk_secrets.map(|(token, secret)| VkConfig {
            token,
            secret,
            confirmation: self.vk_confirmation,
            api_url: vk_api,
            proxies: proxies.clone(),
        });
        let delete_webhook = self.delete_webhook.unwrap_or(false);
        if delete_webhook && !polls {
            return refuse(
                "--delete-webhook is for polling; give --updater polling too, or leave it out",
            );
        }
        let listen = match (self.listen.as_deref(), self.host, self.port) {
            (Some(address), None, None) => Listen::parse("--listen", address)?,
            (Some(_), ..) => {
                return refuse("--listen says it all; leave out --host and --port");
            }
            (None, host, port) => Listen::Tcp {
                host: host.map_or_else(|| DEFAULT_HOST.to_owned(), without_brackets),
                port: port.unwrap_or(DEFAULT_PORT),
            },
        };
        let acme = [
            ("--acme-dir", self.acme_dir.is_some()),
            ("--acme-url", self.acme_url.is_some()),
            ("--acme-ca", self.acme_ca.is_some()),
            ("--acme-contact", self.acme_contact.is_some()),
        ];
        if self.tls_domain.is_none()
            && let Some((flag, _)) = acme.iter().find(|(_, is_set)| *is_set)
        {
            return refuse(format!("{flag} is for --tls-domain; give that too"));
        }
        if let (Listen::Unix(_), true) = (
            &listen,
            self.tls_cert.is_some() || self.tls_domain.is_some(),
        ) {
            return refuse(
                "HTTPS is not served at --listen unix:PATH; leave it to the proxy, or listen at HOST:PORT",
            );
        }
        let tls = match (self.tls_cert, self.tls_key, self.tls_domain) {
            (None, None, None) => None,
            (Some(cert), Some(key), None) => Some(Tls::Files { cert, key }),
            (None, None, Some(domains)) => Some(Tls::Acme(AcmeConfig {
                domains: domain_names(&domains)?,
                dir: match (self.acme_dir, &database) {
                    (Some(dir), _) => dir,
                    (None, Some(Address::Sqlite(path))) => {
                        let mut beside = path.clone().into_os_string();
                        beside.push("-acme");
                        beside.into()
                    }
                    _ => {
                        return refuse(
                            "--tls-domain keeps its certificate for the next start; say where with --acme-dir",
                        );
                    }
                },
                url: match self.acme_url {
                    Some(url) if !is_web_address(&url) => {
                        return refuse(format!(
                            "--acme-url takes an address such as https://localhost:14000/dir, not {url:?}"
                        ));
                    }
                    url => url.unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
                },
                ca: self.acme_ca,
                contact: self.acme_contact,
                proxies: proxies.clone(),
            })),
            (_, _, Some(_)) => {
                return refuse(
                    "--tls-domain gets its own certificate; leave out --tls-cert and --tls-key",
                );
            }
            (Some(_), None, None) => return refuse("--tls-cert also needs --tls-key"),
            (None, Some(_), None) => return refuse("--tls-key also needs --tls-cert"),
        };
        let admin = match (self.admin, self.admin_token) {
            (None, None) => None,
            (None, Some(_)) => {
                return refuse("TURNKEY_ADMIN_TOKEN is for --admin ADDRESS; give that too");
            }
            (Some(address), token) => {
                let listen = Listen::parse("--admin", &address)?;
                if token.is_none() && !listen.is_local() {
                    return refuse(format!(
                        "--admin {address} can be reached from elsewhere; set TURNKEY_ADMIN_TOKEN, or give 127.0.0.1:8081"
                    ));
                }
                Some(AdminConfig { listen, token })
            }
        };
        let backup = match (self.backup_dir, self.backup_every, self.backup_keep) {
            (None, None, None) => None,
            (None, ..) => {
                return refuse(
                    "--backup-every and --backup-keep are for --backup-dir; give that too",
                );
            }
            (Some(_), Some(every), _) if every < Duration::from_secs(1) => {
                return refuse("--backup-every takes at least 1s");
            }
            (Some(_), _, Some(0)) => return refuse("--backup-keep takes at least 1, not 0"),
            (Some(dir), every, keep) => match &database {
                Some(Address::Sqlite(_)) => Some(BackupConfig {
                    dir,
                    every: every.unwrap_or(Duration::from_secs(3600)),
                    keep: keep.unwrap_or(24),
                }),
                None => {
                    return refuse(
                        "--backup-dir keeps copies of a database that stays; give --storage sqlite:bot.db too",
                    );
                }
                #[cfg(any(feature = "mysql", feature = "postgres"))]
                Some(_) => {
                    return refuse(
                        "--backup-dir is for SQLite; servers have tools of their own (pg_dump, mariadb-dump)",
                    );
                }
            },
        };
        let trusted_proxies = self.trusted_proxy.as_deref().unwrap_or_default();
        let max_header = at_least("--max-header", self.max_header, 16 << 10, 8192)?;
        Ok(Config {
            updater,
            listen,
            tls,
            admin,
            rates: RateLimits {
                user: rate("--rate-per-user", self.rate_per_user)?,
                address: rate("--rate-per-address", self.rate_per_address)?,
            },
            backup,
            user: self.user,
            processes,
            trusted_proxies: network::list(trusted_proxies)?,
            rpc_token: self.rpc_token,
            database,
            sync: match self.sync.unwrap_or_default() {
                SyncMode::Full => Sync::Full,
                SyncMode::Normal => Sync::Normal,
            },
            history: self.history.unwrap_or(false),
            grace: self.grace.unwrap_or(DEFAULT_GRACE),
            worker_timeout: longer_than_heartbeat(self.worker_timeout)?,
            max_requests: match self.max_requests {
                Some(0) => return refuse("--max-requests takes at least 1, not 0"),
                most => most,
            },
            max_age: self.max_age,
            turn_timeout: self.turn_timeout.unwrap_or(Duration::from_secs(60)),
            lock_wait: self.lock_wait.unwrap_or(Duration::from_secs(15)),
            ack_after: self.ack_after.unwrap_or(Duration::from_secs(2)),
            pending: Bounds {
                per_dialog: count("--max-pending-per-user", self.max_pending_per_user, 100)?,
                all: count("--max-pending", self.max_pending, 10_000)?,
            },
            max_attempts: count("--max-attempts", self.max_attempts, 5)?,
            max_reply_attempts: count("--max-reply-attempts", self.max_reply_attempts, 50)?,
            max_reply_age: self.max_reply_age.unwrap_or(Duration::from_secs(24 * 3600)),
            keep_seen: longer_than_resends(self.keep_seen)?,
            keep_history: self.keep_history,
            max_turns: at_least("--max-turns", self.max_turns, 4096, 1)?.min(MANY),
            server: ServerLimits {
                connections: at_least("--max-connections", self.max_connections, 4096, 1)?
                    .min(MANY),
                body: at_least("--max-body", self.max_body, 1 << 20, 1)?,
                header: max_header,
                header_timeout: self.header_timeout.unwrap_or(Duration::from_secs(10)),
                body_timeout: self.body_timeout.unwrap_or(Duration::from_secs(30)),
                idle_timeout: self.idle_timeout.unwrap_or(Duration::from_secs(75)),
            },
            http: HttpConfig {
                token: self.http_token,
            },
            telegram: TelegramConfig {
                token: self.telegram_token,
                secret: self.telegram_secret,
                api_url: api(
                    "--telegram-api-url",
                    self.telegram_api_url,
                    "https://api.telegram.org",
                )?,
                rate: telegram_rate(self.telegram_rate)?,
                polls,
                delete_webhook,
                registers: self.public_url.is_some(),
                proxies,
            },
            public_url: self.public_url,
            viber,
            facebook,
            vk,
            remarks: Vec::new(),
            log: self.log.unwrap_or_default(),
            log_file: self.log_file,
        })
    }

    /// What is set of the web side, by its flags' names.
    fn web_side(&self) -> Vec<&'static str> {
        [self.of_addresses(), self.of_posts()].concat()
    }

    /// What is set of where others connect, be they platforms or other systems.
    fn of_addresses(&self) -> Vec<&'static str> {
        [
            ("--host", self.host.is_some()),
            ("--port", self.port.is_some()),
            ("--listen", self.listen.is_some()),
            ("--tls-cert", self.tls_cert.is_some()),
            ("--tls-domain", self.tls_domain.is_some()),
        ]
        .into_iter()
        .filter_map(|(flag, is_set)| is_set.then_some(flag))
        .collect()
    }

    /// What is set of what only those who are posted to have.
    fn of_posts(&self) -> Vec<&'static str> {
        [
            ("--public-url", self.public_url.is_some()),
            ("--workers", self.workers.is_some()),
            ("--fast", self.fast == Some(true)),
            ("--single-process", self.single_process == Some(true)),
        ]
        .into_iter()
        .filter_map(|(flag, is_set)| is_set.then_some(flag))
        .collect()
    }

    /// How updates arrive, as it is set or as the other settings let one expect.
    fn updater(&self, has_channels: bool) -> crate::Result<Updater> {
        // Other systems call the bot, however updates arrive.
        let is_called = self.rpc_token.is_some() || self.http_token.is_some();
        let (addresses, of_posts) = (self.of_addresses(), self.of_posts());
        let can_poll = [&self.telegram_token, &self.vk_token];
        let polled = can_poll.iter().filter(|token| token.is_some()).count();
        let posted = [&self.viber_token, &self.facebook_token];
        let is_posted = posted.iter().any(|token| token.is_some());
        match self.updater {
            Some(Updater::Webhooks) => Ok(Updater::Webhooks),
            Some(Updater::Polling) if !of_posts.is_empty() => refuse(format!(
                "--updater polling is posted nothing and has one worker; leave out {} or --updater polling",
                self.web_side().join(", ")
            )),
            Some(Updater::Polling) if !addresses.is_empty() && !is_called => refuse(format!(
                "--updater polling listens to nobody, unless TURNKEY_RPC_TOKEN or TURNKEY_HTTP_TOKEN is set; leave out {} or --updater polling",
                addresses.join(", ")
            )),
            Some(Updater::Polling) if is_posted => refuse(
                "Viber and Facebook cannot be polled; leave out --updater polling, or their tokens",
            ),
            Some(Updater::Polling) if polled == 0 => refuse(
                "--updater polling asks Telegram or VK for updates; set TURNKEY_TELEGRAM_TOKEN or TURNKEY_VK_TOKEN",
            ),
            Some(Updater::Polling) => Ok(Updater::Polling),
            None => {
                // Each of these is worth nothing where nobody posts.
                let for_posts = [
                    &self.telegram_secret,
                    &self.vk_secret,
                    &self.vk_confirmation,
                ];
                let wants_posts = has_channels
                    || is_posted
                    || !addresses.is_empty()
                    || !of_posts.is_empty()
                    || for_posts.iter().any(|secret| secret.is_some());
                Ok(match polled {
                    1 if !wants_posts => Updater::Polling,
                    _ => Updater::Webhooks,
                })
            }
        }
    }
}

/// The one that browsers trust and that costs nothing.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// `[::1]` is how an address with a port is written.
pub(super) fn without_brackets(host: String) -> String {
    match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(bare) => bare.to_owned(),
        None => host,
    }
}

/// The names of a certificate. Not addresses, and no wildcards: those need DNS.
fn domain_names(list: &str) -> crate::Result<Vec<String>> {
    let names: Vec<String> = list
        .split(',')
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let is_name = |name: &String| {
        name.len() <= 253
            && name.parse::<std::net::IpAddr>().is_err()
            && name.split('.').all(|label| {
                !label.is_empty()
                    && label.len() <= 63
                    && !label.starts_with('-')
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b == b'-')
            })
    };
    match names.iter().find(|name| !is_name(name)) {
        Some(name) => refuse(format!(
            "--tls-domain takes names such as bot.example.org, not {name:?}"
        )),
        None => Ok(names),
    }
}

/// None is no limit; at most [`MANY`].
fn rate(flag: &str, given: Option<u32>) -> crate::Result<Option<u32>> {
    match given {
        Some(0) => refuse(format!("{flag} takes at least 1, not 0")),
        given => Ok(given.map(|rate| rate.min(MANY as u32))),
    }
}

/// Above it the clock's steps would be coarser than the pauses.
fn telegram_rate(given: Option<u32>) -> crate::Result<u32> {
    match given.unwrap_or(30) {
        rate @ 1..=100_000 => Ok(rate),
        rate => refuse(format!("--telegram-rate takes 1 to 100000, not {rate}")),
    }
}

/// The address of a platform's API.
fn api(flag: &str, given: Option<String>, default: &str) -> crate::Result<String> {
    match given {
        Some(url) if !is_web_address(&url) => refuse(format!(
            "{flag} takes an address such as http://localhost:8081, not {url:?}"
        )),
        given => Ok(given.unwrap_or_else(|| default.to_owned())),
    }
}

/// The secrets of a channel: it is served when all of them are there, and not when
/// none is. Some of them are a mistake.
fn all_or_none<const N: usize>(
    secrets: [(&str, Option<Secret>); N],
) -> crate::Result<Option<[Secret; N]>> {
    let given = secrets.iter().filter(|(_, value)| value.is_some()).count();
    if given > 0
        && let Some((name, _)) = secrets.iter().find(|(_, value)| value.is_none())
    {
        let channel = name.split('-').next().unwrap_or(name);
        return refuse(format!(
            "the channel {channel} also needs {} ({name} in the file); docs/CHANNELS.md says where to find it",
            variable(name)
        ));
    }
    Ok((given == N).then(|| secrets.map(|(_, value)| value.unwrap_or_default())))
}

fn is_web_address(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

pub(super) fn refuse<T>(sentence: impl Into<String>) -> crate::Result<T> {
    Err(Error::Start(sentence.into()))
}

fn at_least(
    flag: &str,
    value: Option<usize>,
    default: usize,
    least: usize,
) -> crate::Result<usize> {
    match value {
        Some(value) if value < least => {
            refuse(format!("{flag} takes at least {least}, not {value}"))
        }
        value => Ok(value.unwrap_or(default)),
    }
}

/// At least one, at most [`MANY`].
fn count(flag: &str, value: Option<usize>, default: usize) -> crate::Result<u32> {
    Ok(at_least(flag, value, default, 1)?.min(MANY) as u32)
}

/// An update that is forgotten too soon takes effect twice.
fn longer_than_resends(value: Option<Duration>) -> crate::Result<Duration> {
    let value = value.unwrap_or(Duration::from_secs(72 * 3600));
    if value < Duration::from_secs(36 * 3600) {
        return refuse(
            "--keep-seen takes at least 36h: Telegram sends an update again for 24 hours, Facebook for 36",
        );
    }
    Ok(value)
}

/// A worker shows that it is alive once a second.
fn longer_than_heartbeat(value: Option<Duration>) -> crate::Result<Duration> {
    let value = value.unwrap_or(Duration::from_secs(30));
    if value < Duration::from_secs(3) {
        return refuse(
            "--worker-timeout takes at least 3s: workers give a sign of life each second",
        );
    }
    Ok(value)
}
