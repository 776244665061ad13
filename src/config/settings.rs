//! What can be set, by flag, variable or file, before it is known to be right.
//!
//! Filled by clap in `cli/run.rs`; becomes a [`Config`] in `validate.rs`. A new setting
//! stands in four places: here with its help, in `over` below, in `validate.rs` and in
//! [`Config`]; a secret also in the list of `secrets.rs`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Deserialize;

use super::secrets::{self, Secret};
use super::values::{age, duration, optional_age, optional_duration};
use super::{Config, LogFormat, Updater};
use crate::author::error::Error;

/// How durable an acknowledged turn is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SyncMode {
    /// It survives a power cut.
    #[default]
    Full,
    /// It survives the death of the program, not of the machine.
    Normal,
}

/// What can be set by flag, by variable (`TURNKEY_` and the flag's name) or in
/// the file given with `--config` (the flag's name, `=`, the value).
#[derive(Clone, Default, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    /// How updates arrive: webhooks, the platforms post them; polling, we ask for them,
    /// which needs no address that others reach; with TURNKEY_RPC_TOKEN or
    /// TURNKEY_HTTP_TOKEN /rpc and /http are served beside it [default: polling when
    /// Telegram's or VK's token is set and nothing else of a channel that is posted to or of
    /// the web side; else webhooks].
    #[arg(long, env = "TURNKEY_UPDATER", value_enum, value_name = "HOW")]
    pub(super) updater: Option<Updater>,

    /// Address or name to listen on [default: localhost].
    #[arg(long, env = "TURNKEY_HOST", value_name = "HOST")]
    pub(super) host: Option<String>,

    /// Port to listen on; 0 picks a free one [default: 8080].
    #[arg(long, env = "TURNKEY_PORT", value_name = "PORT")]
    pub(super) port: Option<u16>,

    /// Worker processes [default: 1].
    #[arg(long, env = "TURNKEY_WORKERS", value_name = "N")]
    pub(super) workers: Option<usize>,

    /// One worker for each processor (as the container's quota allows).
    #[arg(long, env = "TURNKEY_FAST", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", value_parser = clap::builder::BoolishValueParser::new())]
    pub(super) fast: Option<bool>,

    /// Everything in one process, for debugging: no master, no forks.
    #[arg(long, env = "TURNKEY_SINGLE_PROCESS", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", value_parser = clap::builder::BoolishValueParser::new())]
    pub(super) single_process: Option<bool>,

    /// The address under which the platforms reach this bot, such as
    /// https://bot.example.org; it is registered with them at the start.
    #[arg(long, env = "TURNKEY_PUBLIC_URL", value_name = "URL")]
    pub(super) public_url: Option<String>,

    /// Networks of the proxies before this bot, such as 127.0.0.1,10.0.0.0/8: only from
    /// them X-Forwarded-For and Forwarded are believed.
    #[arg(long, env = "TURNKEY_TRUSTED_PROXY", value_name = "CIDR,…")]
    pub(super) trusted_proxy: Option<String>,

    /// With polling: delete the webhook that Telegram posts to; it cannot be polled
    /// while there is one.
    #[arg(long, env = "TURNKEY_DELETE_WEBHOOK", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", value_parser = clap::builder::BoolishValueParser::new())]
    pub(super) delete_webhook: Option<bool>,

    /// Where states are kept: sqlite:bot.db, postgres://user:password@host/db or
    /// mysql://user:password@host/db, which is MariaDB's too
    /// (better in TURNKEY_STORAGE: a command line can be read by everybody).
    /// Without it each run makes a new turnkey-*.db in the temporary directory, and
    /// leaves it there.
    #[arg(
        long,
        env = "TURNKEY_STORAGE",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(super) storage: Option<String>,

    /// What an acknowledged turn survives: full, a power cut; normal, the death
    /// of the program [default: full].
    #[arg(long, env = "TURNKEY_SYNC", value_enum, value_name = "HOW")]
    pub(super) sync: Option<SyncMode>,

    /// Keep each turn's text and replies.
    #[arg(long, env = "TURNKEY_HISTORY", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", value_parser = clap::builder::BoolishValueParser::new())]
    pub(super) history: Option<bool>,

    /// How long a stop waits for turns in flight, such as 8s or 500ms
    /// [default: 8s].
    #[arg(long, env = "TURNKEY_GRACE", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    pub(super) grace: Option<Duration>,

    /// Replace a worker that gives no sign of life for this long [default: 30s].
    #[arg(long, env = "TURNKEY_WORKER_TIMEOUT", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    pub(super) worker_timeout: Option<Duration>,

    /// Replace a worker after about this many requests, without a gap [default: never].
    #[arg(long, env = "TURNKEY_MAX_REQUESTS", value_name = "N")]
    pub(super) max_requests: Option<u64>,

    /// Replace a worker after about this time, without a gap [default: never].
    #[arg(long, env = "TURNKEY_MAX_AGE", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    pub(super) max_age: Option<Duration>,

    /// Fail a handler that takes longer [default: 60s].
    #[arg(long, env = "TURNKEY_TURN_TIMEOUT", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    pub(super) turn_timeout: Option<Duration>,

    /// How long an update waits behind earlier ones of its user before it is
    /// answered 503, unless --ack-after comes first [default: 15s].
    #[arg(long, env = "TURNKEY_LOCK_WAIT", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    pub(super) lock_wait: Option<Duration>,

    /// How long a platform waits for a turn. What takes longer is written to the inbox,
    /// answered 200 and handled all the same, whatever happens [default: 2s].
    #[arg(long, env = "TURNKEY_ACK_AFTER", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    pub(super) ack_after: Option<Duration>,

    /// Updates in the inbox; one more is answered 503 [default: 10000].
    #[arg(long, env = "TURNKEY_MAX_PENDING", value_name = "N")]
    pub(super) max_pending: Option<usize>,

    /// Updates of one user in the inbox; one more is answered 503 [default: 100].
    #[arg(long, env = "TURNKEY_MAX_PENDING_PER_USER", value_name = "N")]
    pub(super) max_pending_per_user: Option<usize>,

    /// How often an update is tried whose handler fails, before it goes to the dead
    /// letters [default: 5].
    #[arg(long, env = "TURNKEY_MAX_ATTEMPTS", value_name = "N")]
    pub(super) max_attempts: Option<usize>,

    /// How often a reply is tried that the platform does not take, before it is a dead
    /// reply and its user's next one goes on. While the platform is away for all,
    /// attempts do not count [default: 50].
    #[arg(long, env = "TURNKEY_MAX_REPLY_ATTEMPTS", value_name = "N")]
    pub(super) max_reply_attempts: Option<usize>,

    /// How old a reply may be that fails, for whatever reason, before it is a dead reply,
    /// such as 2h or 3d [default: 24h].
    #[arg(long, env = "TURNKEY_MAX_REPLY_AGE", value_name = "TIME", value_parser = age)]
    #[serde(default, deserialize_with = "optional_age")]
    pub(super) max_reply_age: Option<Duration>,

    /// How long an update that comes again is known, with its answer, such as 72h or 7d.
    /// At least 36h: Facebook sends again for so long [default: 72h].
    #[arg(long, env = "TURNKEY_KEEP_SEEN", value_name = "TIME", value_parser = age)]
    #[serde(default, deserialize_with = "optional_age")]
    pub(super) keep_seen: Option<Duration>,

    /// How long the history is kept, such as 90d [default: for ever].
    #[arg(long, env = "TURNKEY_KEEP_HISTORY", value_name = "TIME", value_parser = age)]
    #[serde(default, deserialize_with = "optional_age")]
    pub(super) keep_history: Option<Duration>,

    /// Turns in flight in a worker; one more is answered 503 [default: 4096].
    #[arg(long, env = "TURNKEY_MAX_TURNS", value_name = "N")]
    pub(super) max_turns: Option<usize>,

    /// Connections of a worker; one more is answered 503 [default: 4096].
    #[arg(long, env = "TURNKEY_MAX_CONNECTIONS", value_name = "N")]
    pub(super) max_connections: Option<usize>,

    /// Bytes of a request's body; a larger one is answered 413. Facebook's batches
    /// may have 4 MiB in any case [default: 1048576].
    #[arg(long, env = "TURNKEY_MAX_BODY", value_name = "BYTES")]
    pub(super) max_body: Option<usize>,

    /// Bytes of a request's head; a larger one is answered 431
    /// [default: 16384, at least 8192].
    #[arg(long, env = "TURNKEY_MAX_HEADER", value_name = "BYTES")]
    pub(super) max_header: Option<usize>,

    /// Close a connection whose request head takes longer [default: 10s].
    #[arg(long, env = "TURNKEY_HEADER_TIMEOUT", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    pub(super) header_timeout: Option<Duration>,

    /// Answer 408 to a request whose body takes longer [default: 30s].
    #[arg(long, env = "TURNKEY_BODY_TIMEOUT", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    pub(super) body_timeout: Option<Duration>,

    /// Close a connection that is idle for longer [default: 75s].
    #[arg(long, env = "TURNKEY_IDLE_TIMEOUT", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    pub(super) idle_timeout: Option<Duration>,

    /// The Bot API server [default: https://api.telegram.org].
    #[arg(long, env = "TURNKEY_TELEGRAM_API_URL", value_name = "URL")]
    pub(super) telegram_api_url: Option<String>,

    /// Messages a second that Telegram takes of this bot, over all chats; more is for
    /// bots with paid broadcasts [default: 30].
    #[arg(long, env = "TURNKEY_TELEGRAM_RATE", value_name = "N")]
    pub(super) telegram_rate: Option<u32>,

    /// Viber's bot API [default: https://chatapi.viber.com].
    #[arg(long, env = "TURNKEY_VIBER_API_URL", value_name = "URL")]
    pub(super) viber_api_url: Option<String>,

    /// The name that a Viber bot's messages are from [default: Bot].
    #[arg(long, env = "TURNKEY_VIBER_SENDER", value_name = "NAME")]
    pub(super) viber_sender: Option<String>,

    /// Facebook's Graph API, with its version
    /// [default: https://graph.facebook.com/v23.0].
    #[arg(long, env = "TURNKEY_FACEBOOK_API_URL", value_name = "URL")]
    pub(super) facebook_api_url: Option<String>,

    /// VK's API [default: https://api.vk.com].
    #[arg(long, env = "TURNKEY_VK_API_URL", value_name = "URL")]
    pub(super) vk_api_url: Option<String>,

    /// The proxy through which platforms and the ACME server are called:
    /// http://USER:PASSWORD@HOST:PORT (CONNECT) or socks5://USER:PASSWORD@HOST:PORT; none for
    /// none. NO_PROXY names what is reached directly (better in TURNKEY_PLATFORM_PROXY: a
    /// command line can be read by everybody) [default: HTTPS_PROXY, else ALL_PROXY].
    #[arg(
        long,
        env = "TURNKEY_PLATFORM_PROXY",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub(super) platform_proxy: Option<String>,

    /// The log's format [default: text].
    #[arg(long, env = "TURNKEY_LOG", value_enum, value_name = "FORMAT")]
    pub(super) log: Option<LogFormat>,

    /// Write the log to this file instead of stderr; SIGUSR1 opens it anew after it
    /// was moved away.
    #[arg(long, env = "TURNKEY_LOG_FILE", value_name = "FILE")]
    pub(super) log_file: Option<PathBuf>,

    /// Where to listen instead of --host and --port: HOST:PORT, or unix:PATH for a proxy
    /// on this machine.
    #[arg(long, env = "TURNKEY_LISTEN", value_name = "ADDRESS")]
    pub(super) listen: Option<String>,

    /// Serve HTTPS with this certificate chain (PEM); read anew on SIGHUP and when the
    /// file changes.
    #[arg(long, env = "TURNKEY_TLS_CERT", value_name = "FILE")]
    pub(super) tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM).
    #[arg(long, env = "TURNKEY_TLS_KEY", value_name = "FILE")]
    pub(super) tls_key: Option<PathBuf>,

    /// Serve HTTPS under these names, with a certificate that is got and renewed by ACME:
    /// bot.example.org. The port must be reached from outside as 443. Whoever gives this
    /// agrees to the terms of service of the ACME server (docs/HTTPS.md).
    #[arg(long, env = "TURNKEY_TLS_DOMAIN", value_name = "NAME,…")]
    pub(super) tls_domain: Option<String>,

    /// Where the ACME account and certificates are kept [default: beside the database,
    /// BOT.db-acme].
    #[arg(long, env = "TURNKEY_ACME_DIR", value_name = "DIR")]
    pub(super) acme_dir: Option<PathBuf>,

    /// The ACME server's directory [default: Let's Encrypt].
    #[arg(long, env = "TURNKEY_ACME_URL", value_name = "URL")]
    pub(super) acme_url: Option<String>,

    /// Trust this certificate (PEM) when talking to the ACME server, for one of your own.
    #[arg(long, env = "TURNKEY_ACME_CA", value_name = "FILE")]
    pub(super) acme_ca: Option<PathBuf>,

    /// Where the ACME server may write to, such as ann@example.org.
    #[arg(long, env = "TURNKEY_ACME_CONTACT", value_name = "MAIL")]
    pub(super) acme_contact: Option<String>,

    /// Serve /status, /metrics, /healthz and /readyz at this address, such as
    /// 127.0.0.1:8081 or unix:PATH; elsewhere than on this machine it needs
    /// TURNKEY_ADMIN_TOKEN [default: nowhere].
    #[arg(long, env = "TURNKEY_ADMIN", value_name = "ADDRESS")]
    pub(super) admin: Option<String>,

    /// Copy the database to this directory again and again (SQLite).
    #[arg(long, env = "TURNKEY_BACKUP_DIR", value_name = "DIR")]
    pub(super) backup_dir: Option<PathBuf>,

    /// How often, such as 1h [default: 1h].
    #[arg(long, env = "TURNKEY_BACKUP_EVERY", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    pub(super) backup_every: Option<Duration>,

    /// How many backups are kept; older ones are removed [default: 24].
    #[arg(long, env = "TURNKEY_BACKUP_KEEP", value_name = "N")]
    pub(super) backup_keep: Option<usize>,

    /// When started as root: become this user once the sockets are bound, and before the
    /// database is opened: a name, a number, or either with a group, such as bot:www-data.
    #[arg(long, env = "TURNKEY_USER", value_name = "NAME")]
    pub(super) user: Option<String>,

    /// Updates a second that are taken of one user, over all workers; three seconds' worth
    /// may come at once. More are answered 429 with Retry-After, and platforms send them
    /// again; with polling they wait their turn [default: no limit].
    #[arg(long, env = "TURNKEY_RATE_PER_USER", value_name = "N")]
    pub(super) rate_per_user: Option<u32>,

    /// Requests a second that are taken from one address (an IPv6 network of 64 bits), over
    /// all workers; three seconds' worth may come at once. More are answered 429 with
    /// Retry-After. A platform posts for all its users from few addresses, and is counted
    /// too: give several times what the whole bot gets, and --trusted-proxy when there is a
    /// proxy, or all are one address [default: no limit].
    #[arg(long, env = "TURNKEY_RATE_PER_ADDRESS", value_name = "N")]
    pub(super) rate_per_address: Option<u32>,

    /// Secrets: no flag (`secrets.rs`).
    #[arg(skip)]
    pub(super) admin_token: Option<Secret>,
    #[arg(skip)]
    pub(super) telegram_token: Option<Secret>,
    #[arg(skip)]
    pub(super) telegram_secret: Option<Secret>,
    #[arg(skip)]
    pub(super) http_token: Option<Secret>,
    #[arg(skip)]
    pub(super) rpc_token: Option<Secret>,
    #[arg(skip)]
    pub(super) viber_token: Option<Secret>,
    #[arg(skip)]
    pub(super) facebook_token: Option<Secret>,
    #[arg(skip)]
    pub(super) facebook_secret: Option<Secret>,
    #[arg(skip)]
    pub(super) facebook_verify_token: Option<Secret>,
    #[arg(skip)]
    pub(super) vk_token: Option<Secret>,
    #[arg(skip)]
    pub(super) vk_secret: Option<Secret>,
    #[arg(skip)]
    pub(super) vk_confirmation: Option<Secret>,
}

/// Nothing of it: the database's address may hold a password.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").finish_non_exhaustive()
    }
}

impl Settings {
    /// Merges these flags and variables with the file, if one was named, and
    /// checks the whole. `has_channels`: the author brings some, which are posted to.
    ///
    /// # Errors
    /// [`Error::Start`] with a sentence that names the setting.
    pub(crate) fn into_config(
        mut self,
        file: Option<&Path>,
        has_channels: bool,
    ) -> crate::Result<Config> {
        let remarks = self.read_secrets(&secrets::environment)?;
        let merged = match file {
            Some(path) => self.over(read_file(path)?),
            None => self,
        };
        let mut config = merged.validate(has_channels)?;
        config.remarks = remarks;
        Ok(config)
    }

    /// `--workers`, `--fast` and `--single-process` are one choice between three:
    /// made by a flag, it silences the variables.
    pub(crate) fn prefer_flags(&mut self, matches: &ArgMatches) {
        let flag = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let chosen = flag("workers")
            || flag("fast") && self.fast == Some(true)
            || flag("single_process") && self.single_process == Some(true);
        if chosen {
            self.workers = self.workers.filter(|_| flag("workers"));
            self.fast = self.fast.filter(|_| flag("fast"));
            self.single_process = self.single_process.filter(|_| flag("single_process"));
        }
    }

    /// These settings, and the file's where these are silent.
    pub(super) fn over(self, file: Settings) -> Settings {
        macro_rules! either {
            ($file:ident; $($field:ident),* $(,)?) => {
                Settings { $($field: self.$field.or($file.$field)),* }
            };
        }
        // One choice between three: naming one silences the file's.
        let chosen =
            self.workers.is_some() || self.fast == Some(true) || self.single_process == Some(true);
        let file = if chosen {
            Settings {
                workers: None,
                fast: None,
                single_process: None,
                ..file
            }
        } else {
            file
        };
        either! { file;
            updater, host, port, workers, fast, single_process, public_url, trusted_proxy,
            delete_webhook, storage, sync,
            history, grace, worker_timeout, max_requests, max_age, turn_timeout, lock_wait,
            ack_after, max_pending, max_pending_per_user, max_attempts,
            max_reply_attempts, max_reply_age, keep_seen, keep_history,
            max_turns, max_connections,
            max_body, max_header, header_timeout, body_timeout, idle_timeout, telegram_api_url,
            telegram_rate, viber_api_url, viber_sender, facebook_api_url, vk_api_url,
            platform_proxy,
            log, log_file, listen, tls_cert, tls_key, tls_domain, acme_dir, acme_url, acme_ca,
            acme_contact, admin, backup_dir, backup_every, backup_keep, user, rate_per_user,
            rate_per_address, admin_token, telegram_token, telegram_secret, http_token, rpc_token, viber_token,
            facebook_token,
            facebook_secret, facebook_verify_token, vk_token, vk_secret, vk_confirmation,
        }
    }
}

pub(super) fn read_file(path: &Path) -> crate::Result<Settings> {
    let text = fs::read_to_string(path)
        .map_err(|e| Error::Start(format!("cannot read --config {}: {e}", path.display())))?;
    toml::from_str(&text).map_err(|e| {
        // Not the line itself, as the error would show it: a secret may stand there.
        let before = e.span().and_then(|span| text.get(..span.start));
        let index = before.map_or(0, |before| before.matches('\n').count());
        let setting = text
            .lines()
            .nth(index)
            .and_then(|line| line.split_once('='));
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
        let setting = setting
            .map(|(name, _)| name.trim())
            .filter(|name| is_name(name));
        let setting = setting.map_or(String::new(), |name| format!(", {name}"));
        Error::Start(format!(
            "{} is wrong: line {}{setting}: {}",
            path.display(),
            index + 1,
            e.message()
        ))
    })
}
