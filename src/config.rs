//! Flags, environment and file become one validated, immutable [`Config`].
//!
//! Called by `cli/` before anything is bound, opened or forked. A value is taken
//! from the flag, else the `TURNKEY_…` variable, else the file, else the default.
//! Secrets have no flag: a command line can be read by every user of a machine.
//! Imports nothing of ours but the error and plain data.

use std::env::VarError;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Deserialize;
use turnkey_storage::Sync;
use turnkey_storage::inbox::Bounds;
#[cfg(feature = "mysql")]
use turnkey_storage::mysql;
#[cfg(feature = "postgres")]
use turnkey_storage::postgres;

use crate::error::Error;
use crate::network::{self, Network};

/// Workers of one machine: far more than its processors is a slip of the finger.
pub(crate) const MAX_WORKERS: usize = 256;

/// The longest time that can be set, in seconds: a week.
const LONGEST: f64 = 7.0 * 24.0 * 3600.0;

/// The longest time that something is kept, in days: ten years.
const MAX_DAYS: u32 = 3650;

/// The largest number of turns or connections of a worker that can be set.
const MANY: usize = 1_000_000;

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
#[derive(Clone, Debug, Default, clap::Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    /// How updates arrive: webhooks, the platforms post them; polling, we ask for them,
    /// which needs no address that others reach [default: polling when Telegram's or
    /// VK's token is set and nothing else of a channel or of the web side; else webhooks].
    #[arg(long, env = "TURNKEY_UPDATER", value_enum, value_name = "HOW")]
    updater: Option<Updater>,

    /// Address or name to listen on [default: localhost].
    #[arg(long, env = "TURNKEY_HOST", value_name = "HOST")]
    host: Option<String>,

    /// Port to listen on; 0 picks a free one [default: 8080].
    #[arg(long, env = "TURNKEY_PORT", value_name = "PORT")]
    port: Option<u16>,

    /// Worker processes [default: 1].
    #[arg(long, env = "TURNKEY_WORKERS", value_name = "N")]
    workers: Option<usize>,

    /// One worker for each processor (as the container's quota allows).
    #[arg(long, env = "TURNKEY_FAST", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", value_parser = clap::builder::BoolishValueParser::new())]
    fast: Option<bool>,

    /// Everything in one process, for debugging: no master, no forks.
    #[arg(long, env = "TURNKEY_SINGLE_PROCESS", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", value_parser = clap::builder::BoolishValueParser::new())]
    single_process: Option<bool>,

    /// The address under which the platforms reach this bot, such as
    /// https://bot.example.org; it is registered with them at the start.
    #[arg(long, env = "TURNKEY_PUBLIC_URL", value_name = "URL")]
    public_url: Option<String>,

    /// Networks of the proxies before this bot, such as 127.0.0.1,10.0.0.0/8: only from
    /// them X-Forwarded-For is believed.
    #[arg(long, env = "TURNKEY_TRUSTED_PROXY", value_name = "CIDR,…")]
    trusted_proxy: Option<String>,

    /// With polling: delete the webhook that Telegram posts to; it cannot be polled
    /// while there is one.
    #[arg(long, env = "TURNKEY_DELETE_WEBHOOK", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", value_parser = clap::builder::BoolishValueParser::new())]
    delete_webhook: Option<bool>,

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
    storage: Option<String>,

    /// What an acknowledged turn survives: full, a power cut; normal, the death
    /// of the program [default: full].
    #[arg(long, env = "TURNKEY_SYNC", value_enum, value_name = "HOW")]
    sync: Option<SyncMode>,

    /// Keep each turn's text and replies.
    #[arg(long, env = "TURNKEY_HISTORY", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL", value_parser = clap::builder::BoolishValueParser::new())]
    history: Option<bool>,

    /// How long a stop waits for turns in flight, such as 8s or 500ms
    /// [default: 8s].
    #[arg(long, env = "TURNKEY_GRACE", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    grace: Option<Duration>,

    /// Replace a worker that gives no sign of life for this long [default: 30s].
    #[arg(long, env = "TURNKEY_WORKER_TIMEOUT", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    worker_timeout: Option<Duration>,

    /// Replace a worker after about this many requests, without a gap [default: never].
    #[arg(long, env = "TURNKEY_MAX_REQUESTS", value_name = "N")]
    max_requests: Option<u64>,

    /// Replace a worker after about this time, without a gap [default: never].
    #[arg(long, env = "TURNKEY_MAX_AGE", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    max_age: Option<Duration>,

    /// Fail a handler that takes longer [default: 60s].
    #[arg(long, env = "TURNKEY_TURN_TIMEOUT", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    turn_timeout: Option<Duration>,

    /// How long an update waits behind earlier ones of its user before it is
    /// answered 503, unless --ack-after comes first [default: 15s].
    #[arg(long, env = "TURNKEY_LOCK_WAIT", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    lock_wait: Option<Duration>,

    /// How long a platform waits for a turn. What takes longer is written to the inbox,
    /// answered 200 and handled all the same, whatever happens [default: 2s].
    #[arg(long, env = "TURNKEY_ACK_AFTER", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    ack_after: Option<Duration>,

    /// Updates in the inbox; one more is answered 503 [default: 10000].
    #[arg(long, env = "TURNKEY_MAX_PENDING", value_name = "N")]
    max_pending: Option<usize>,

    /// Updates of one user in the inbox; one more is answered 503 [default: 100].
    #[arg(long, env = "TURNKEY_MAX_PENDING_PER_USER", value_name = "N")]
    max_pending_per_user: Option<usize>,

    /// How often an update is tried whose handler fails, before it goes to the dead
    /// letters [default: 5].
    #[arg(long, env = "TURNKEY_MAX_ATTEMPTS", value_name = "N")]
    max_attempts: Option<usize>,

    /// How long an update that comes again is known, with its answer, such as 72h or 7d.
    /// At least 36h: Facebook sends again for so long [default: 72h].
    #[arg(long, env = "TURNKEY_KEEP_SEEN", value_name = "TIME", value_parser = age)]
    #[serde(default, deserialize_with = "optional_age")]
    keep_seen: Option<Duration>,

    /// How long the history is kept, such as 90d [default: for ever].
    #[arg(long, env = "TURNKEY_KEEP_HISTORY", value_name = "TIME", value_parser = age)]
    #[serde(default, deserialize_with = "optional_age")]
    keep_history: Option<Duration>,

    /// Turns in flight in a worker; one more is answered 503 [default: 4096].
    #[arg(long, env = "TURNKEY_MAX_TURNS", value_name = "N")]
    max_turns: Option<usize>,

    /// Connections of a worker; one more is answered 503 [default: 4096].
    #[arg(long, env = "TURNKEY_MAX_CONNECTIONS", value_name = "N")]
    max_connections: Option<usize>,

    /// Bytes of a request's body; a larger one is answered 413. Facebook's batches
    /// may have 4 MiB in any case [default: 1048576].
    #[arg(long, env = "TURNKEY_MAX_BODY", value_name = "BYTES")]
    max_body: Option<usize>,

    /// Bytes of a request's head; a larger one is answered 431
    /// [default: 16384, at least 8192].
    #[arg(long, env = "TURNKEY_MAX_HEADER", value_name = "BYTES")]
    max_header: Option<usize>,

    /// Close a connection whose request head takes longer [default: 10s].
    #[arg(long, env = "TURNKEY_HEADER_TIMEOUT", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    header_timeout: Option<Duration>,

    /// Answer 408 to a request whose body takes longer [default: 30s].
    #[arg(long, env = "TURNKEY_BODY_TIMEOUT", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    body_timeout: Option<Duration>,

    /// Close a connection that is idle for longer [default: 75s].
    #[arg(long, env = "TURNKEY_IDLE_TIMEOUT", value_name = "TIME", value_parser = duration)]
    #[serde(default, deserialize_with = "optional_duration")]
    idle_timeout: Option<Duration>,

    /// The Bot API server [default: https://api.telegram.org].
    #[arg(long, env = "TURNKEY_TELEGRAM_API_URL", value_name = "URL")]
    telegram_api_url: Option<String>,

    /// Messages a second that Telegram takes of this bot, over all chats; more is for
    /// bots with paid broadcasts [default: 30].
    #[arg(long, env = "TURNKEY_TELEGRAM_RATE", value_name = "N")]
    telegram_rate: Option<u32>,

    /// Viber's bot API [default: https://chatapi.viber.com].
    #[arg(long, env = "TURNKEY_VIBER_API_URL", value_name = "URL")]
    viber_api_url: Option<String>,

    /// The name that a Viber bot's messages are from [default: Bot].
    #[arg(long, env = "TURNKEY_VIBER_SENDER", value_name = "NAME")]
    viber_sender: Option<String>,

    /// Facebook's Graph API, with its version
    /// [default: https://graph.facebook.com/v23.0].
    #[arg(long, env = "TURNKEY_FACEBOOK_API_URL", value_name = "URL")]
    facebook_api_url: Option<String>,

    /// VK's API [default: https://api.vk.com].
    #[arg(long, env = "TURNKEY_VK_API_URL", value_name = "URL")]
    vk_api_url: Option<String>,

    /// The log's format [default: text].
    #[arg(long, env = "TURNKEY_LOG", value_enum, value_name = "FORMAT")]
    log: Option<LogFormat>,

    /// Write the log to this file instead of stderr; SIGUSR1 opens it anew after it
    /// was moved away.
    #[arg(long, env = "TURNKEY_LOG_FILE", value_name = "FILE")]
    log_file: Option<PathBuf>,

    /// Secrets: no flag, by variable or file only.
    #[arg(skip)]
    telegram_token: Option<String>,
    #[arg(skip)]
    telegram_secret: Option<String>,
    #[arg(skip)]
    http_token: Option<String>,
    #[arg(skip)]
    rpc_token: Option<String>,
    #[arg(skip)]
    viber_token: Option<String>,
    #[arg(skip)]
    facebook_token: Option<String>,
    #[arg(skip)]
    facebook_secret: Option<String>,
    #[arg(skip)]
    facebook_verify_token: Option<String>,
    #[arg(skip)]
    vk_token: Option<String>,
    #[arg(skip)]
    vk_secret: Option<String>,
    #[arg(skip)]
    vk_confirmation: Option<String>,
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

/// A database, as `--storage` names it. It never shows its password.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// `sqlite:PATH`
    Sqlite(PathBuf),
    /// `postgres://…`
    #[cfg(feature = "postgres")]
    Postgres(postgres::Server),
    /// `mysql://…`
    #[cfg(feature = "mysql")]
    Mysql(mysql::Server),
}

/// The `http` channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct HttpConfig {
    /// The bearer token that requests must carry.
    pub(crate) token: Option<String>,
}

/// The `telegram` channel.
#[derive(Clone, Debug)]
pub(crate) struct TelegramConfig {
    /// The bot's token.
    pub(crate) token: Option<String>,
    /// The secret of its webhook.
    pub(crate) secret: Option<String>,
    /// The Bot API server.
    pub(crate) api_url: String,
    /// Messages a second.
    pub(crate) rate: u32,
    /// Updates are polled for.
    pub(crate) polls: bool,
    /// Before that, the webhook is deleted.
    pub(crate) delete_webhook: bool,
    /// The webhook is registered by us.
    pub(crate) registers: bool,
}

/// The `viber` channel.
#[derive(Clone, Debug)]
pub(crate) struct ViberConfig {
    /// The bot's token, which also signs what comes in.
    pub(crate) token: String,
    /// The name that messages are from.
    pub(crate) sender: String,
    /// The bot API.
    pub(crate) api_url: String,
}

/// The `facebook` channel.
#[derive(Clone, Debug)]
pub(crate) struct FacebookConfig {
    /// The page's access token.
    pub(crate) token: String,
    /// The app's secret, which signs what comes in.
    pub(crate) secret: String,
    /// What Facebook shows when it tries out the webhook's address.
    pub(crate) verify_token: String,
    /// The Graph API, with its version.
    pub(crate) api_url: String,
}

/// The `vk` channel.
#[derive(Clone, Debug)]
pub(crate) struct VkConfig {
    /// The community's access token.
    pub(crate) token: String,
    /// The secret key that is in all that is posted; none when updates are polled for.
    pub(crate) secret: Option<String>,
    /// The string that confirms the webhook's address; needed for that only.
    pub(crate) confirmation: Option<String>,
    /// The API.
    pub(crate) api_url: String,
}

/// Everything a run needs to know. Made once, never changed.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// How updates arrive.
    pub(crate) updater: Updater,
    /// Address or name to listen on.
    pub(crate) host: String,
    /// Port; 0 for a free one.
    pub(crate) port: u16,
    /// Who does the work.
    pub(crate) processes: Processes,
    /// Where the platforms reach us.
    pub(crate) public_url: Option<String>,
    /// Whose X-Forwarded-For is believed.
    pub(crate) trusted_proxies: Vec<Network>,
    /// The bearer token of calls by other systems, which are not served without.
    pub(crate) rpc_token: Option<String>,
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
    /// The log's format.
    pub(crate) log: LogFormat,
    /// Where it is written to; none for stderr.
    pub(crate) log_file: Option<PathBuf>,
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
        // Secrets have no flag, so clap does not read their variables.
        let secrets = [
            ("TURNKEY_TELEGRAM_TOKEN", &mut self.telegram_token),
            ("TURNKEY_TELEGRAM_SECRET", &mut self.telegram_secret),
            ("TURNKEY_HTTP_TOKEN", &mut self.http_token),
            ("TURNKEY_RPC_TOKEN", &mut self.rpc_token),
            ("TURNKEY_VIBER_TOKEN", &mut self.viber_token),
            ("TURNKEY_FACEBOOK_TOKEN", &mut self.facebook_token),
            ("TURNKEY_FACEBOOK_SECRET", &mut self.facebook_secret),
            (
                "TURNKEY_FACEBOOK_VERIFY_TOKEN",
                &mut self.facebook_verify_token,
            ),
            ("TURNKEY_VK_TOKEN", &mut self.vk_token),
            ("TURNKEY_VK_SECRET", &mut self.vk_secret),
            ("TURNKEY_VK_CONFIRMATION", &mut self.vk_confirmation),
        ];
        for (variable, setting) in secrets {
            *setting = match std::env::var(variable) {
                Ok(value) => Some(value),
                Err(VarError::NotPresent) => None,
                Err(VarError::NotUnicode(_)) => return refuse(format!("{variable} is not UTF-8")),
            };
        }
        let merged = match file {
            Some(path) => self.over(read_file(path)?),
            None => self,
        };
        merged.validate(has_channels)
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
    fn over(self, file: Settings) -> Settings {
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
            ack_after, max_pending, max_pending_per_user, max_attempts, keep_seen, keep_history,
            max_turns, max_connections,
            max_body, max_header, header_timeout, body_timeout, idle_timeout, telegram_api_url,
            telegram_rate, viber_api_url, viber_sender, facebook_api_url, vk_api_url,
            log, log_file, telegram_token, telegram_secret, http_token, rpc_token, viber_token,
            facebook_token,
            facebook_secret, facebook_verify_token, vk_token, vk_secret, vk_confirmation,
        }
    }

    fn validate(self, has_channels: bool) -> crate::Result<Config> {
        let updater = self.updater(has_channels)?;
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
        // An empty secret would let everybody in.
        for (name, secret) in [
            ("telegram-token", &self.telegram_token),
            ("telegram-secret", &self.telegram_secret),
            ("http-token", &self.http_token),
            ("rpc-token", &self.rpc_token),
            ("viber-token", &self.viber_token),
            ("facebook-token", &self.facebook_token),
            ("facebook-secret", &self.facebook_secret),
            ("facebook-verify-token", &self.facebook_verify_token),
            ("vk-token", &self.vk_token),
            ("vk-secret", &self.vk_secret),
            ("vk-confirmation", &self.vk_confirmation),
        ] {
            if secret.as_ref().is_some_and(String::is_empty) {
                return refuse(format!(
                    "{name} ({}) is empty; give it a value, or leave it out",
                    variable(name)
                ));
            }
        }
        if let Some(url) = &self.public_url
            && !is_web_address(url)
        {
            return refuse(format!(
                "--public-url takes an address such as https://bot.example.org, not {url:?}"
            ));
        }
        let viber_api = api(
            "--viber-api-url",
            self.viber_api_url,
            "https://chatapi.viber.com",
        )?;
        let viber = all_or_none([("viber-token", self.viber_token)])?.map(|[token]| ViberConfig {
            token,
            sender: self.viber_sender.unwrap_or_else(|| "Bot".to_owned()),
            api_url: viber_api,
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
        });
        let vk_api = api("--vk-api-url", self.vk_api_url, "https://api.vk.com")?;
        let polls = updater == Updater::Polling;
        let vk_secrets = match (self.vk_token, self.vk_secret) {
            // Nothing is posted, so nothing holds a secret.
            (Some(token), secret) if polls => Some((token, secret)),
            (token, secret) => all_or_none([("vk-token", token), ("vk-secret", secret)])?
                .map(|[token, secret]| (token, Some(secret))),
        };
        let vk = vk_secrets.map(|(token, secret)| VkConfig {
            token,
            secret,
            confirmation: self.vk_confirmation,
            api_url: vk_api,
        });
        let delete_webhook = self.delete_webhook.unwrap_or(false);
        if delete_webhook && !polls {
            return refuse(
                "--delete-webhook is for polling; give --updater polling too, or leave it out",
            );
        }
        let trusted_proxies = self.trusted_proxy.as_deref().unwrap_or_default();
        let max_header = at_least("--max-header", self.max_header, 16 << 10, 8192)?;
        Ok(Config {
            updater,
            host: self.host.unwrap_or_else(|| "localhost".to_owned()),
            port: self.port.unwrap_or(8080),
            processes,
            trusted_proxies: network::list(trusted_proxies)?,
            rpc_token: self.rpc_token,
            database,
            sync: match self.sync.unwrap_or_default() {
                SyncMode::Full => Sync::Full,
                SyncMode::Normal => Sync::Normal,
            },
            history: self.history.unwrap_or(false),
            grace: self.grace.unwrap_or(Duration::from_secs(8)),
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
            },
            public_url: self.public_url,
            viber,
            facebook,
            vk,
            log: self.log.unwrap_or_default(),
            log_file: self.log_file,
        })
    }
}

impl Config {
    /// What was bound or opened once stays as it was in `old`; the settings that are
    /// different here, by their flags.
    pub(crate) fn keep_fixed(&mut self, old: &Config) -> Vec<&'static str> {
        let address = |config: &Config| config.database.as_ref().map(ToString::to_string);
        let mut changed = Vec::new();
        for (flag, differs) in [
            ("--host", self.host != old.host),
            ("--port", self.port != old.port),
            ("--storage", address(self) != address(old)),
            ("--sync", self.sync != old.sync),
            ("--log", self.log != old.log),
            ("--log-file", self.log_file != old.log_file),
        ] {
            if differs {
                changed.push(flag);
            }
        }
        self.host.clone_from(&old.host);
        self.port = old.port;
        self.database.clone_from(&old.database);
        self.sync = old.sync;
        self.log = old.log;
        self.log_file.clone_from(&old.log_file);
        changed
    }
}

impl Settings {
    /// What is set of the web side, by its flags' names.
    fn web_side(&self) -> Vec<&'static str> {
        [
            ("--host", self.host.is_some()),
            ("--port", self.port.is_some()),
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
        let web_side = self.web_side();
        let can_poll = [&self.telegram_token, &self.vk_token];
        let polled = can_poll.iter().filter(|token| token.is_some()).count();
        let posted = [&self.viber_token, &self.facebook_token];
        let is_posted = posted.iter().any(|token| token.is_some());
        match self.updater {
            Some(Updater::Webhooks) => Ok(Updater::Webhooks),
            Some(Updater::Polling) if !web_side.is_empty() => refuse(format!(
                "--updater polling listens to nobody and has one worker; leave out {} or --updater polling",
                web_side.join(", ")
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
                    &self.http_token,
                    &self.rpc_token,
                ];
                let wants_posts = has_channels
                    || is_posted
                    || !web_side.is_empty()
                    || for_posts.iter().any(|secret| secret.is_some());
                Ok(match polled {
                    1 if !wants_posts => Updater::Polling,
                    _ => Updater::Webhooks,
                })
            }
        }
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
    secrets: [(&str, Option<String>); N],
) -> crate::Result<Option<[String; N]>> {
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

/// The variable of a setting in the file.
fn variable(name: &str) -> String {
    format!("TURNKEY_{}", name.to_uppercase().replace('-', "_"))
}

fn is_web_address(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn refuse<T>(sentence: impl Into<String>) -> crate::Result<T> {
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

/// Reads a storage address such as `sqlite:bot.db`.
pub(crate) fn database(url: &str) -> crate::Result<Address> {
    match url.split_once(':') {
        Some(("sqlite", path)) => {
            // sqlite:///var/lib/bot.db is how other programs write it.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path == ":memory:" {
                return refuse(
                    "--storage sqlite: names no file, and several processes need one; write sqlite:bot.db",
                );
            }
            Ok(Address::Sqlite(PathBuf::from(path)))
        }
        #[cfg(feature = "postgres")]
        Some(("postgres" | "postgresql", _)) => postgres::Server::parse(url)
            .map(Address::Postgres)
            .map_err(|e| Error::Start(e.to_string())),
        #[cfg(not(feature = "postgres"))]
        Some(("postgres" | "postgresql", _)) => refuse(
            "--storage postgres: this program was built without it; build it with --features postgres",
        ),
        #[cfg(feature = "mysql")]
        Some(("mysql" | "mariadb", _)) => mysql::Server::parse(url)
            .map(Address::Mysql)
            .map_err(|e| Error::Start(e.to_string())),
        #[cfg(not(feature = "mysql"))]
        Some(("mysql" | "mariadb", _)) => refuse(
            "--storage mysql: this program was built without it; build it with --features mysql",
        ),
        // Not the whole of it: it may hold a password.
        _ => refuse(format!(
            "--storage takes an address such as sqlite:bot.db, not {:?}",
            url.split_once("://").map_or(url, |(engine, _)| engine)
        )),
    }
}

fn read_file(path: &Path) -> crate::Result<Settings> {
    let text = fs::read_to_string(path)
        .map_err(|e| Error::Start(format!("cannot read --config {}: {e}", path.display())))?;
    toml::from_str(&text).map_err(|e| Error::Start(format!("{} is wrong: {e}", path.display())))
}

/// Reads `8s`, `500ms`, `2m` or `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?} is not a time such as 8s, 500ms, 2m or 1h"))?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(format!("{text:?} needs a unit: ms, s, m or h, such as 8s")),
    };
    // Nothing here may take no time at all, and nothing waits for longer than this.
    if !(0.001..=LONGEST).contains(&seconds) {
        return Err(format!("{text:?} is not between 1ms and 168h"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn optional_duration<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration(&text).map(Some).map_err(serde::de::Error::custom)
}

/// Reads `72h` or `90d`: how long something is kept.
fn age(text: &str) -> Result<Duration, String> {
    let Some(days) = text.strip_suffix('d') else {
        return duration(text);
    };
    match days.parse() {
        Ok(days @ 1..=MAX_DAYS) => Ok(Duration::from_secs(u64::from(days) * 24 * 3600)),
        _ => Err(format!(
            "{text:?} is not a time such as 72h or 90d, up to {MAX_DAYS}d"
        )),
    }
}

fn optional_age<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    age(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: Settings) -> crate::Result<Config> {
        settings.validate(false)
    }

    fn refused(settings: Settings) -> String {
        config(settings).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_those_of_the_help() {
        let config = config(Settings::default()).unwrap();
        assert_eq!(config.processes, Processes::Workers(1));
        assert_eq!((config.host.as_str(), config.port), ("localhost", 8080));
        assert_eq!(config.grace, Duration::from_secs(8));
        assert_eq!(config.sync, Sync::Full);
    }

    #[test]
    fn conflicting_flags_are_refused_by_name() {
        let both = Settings {
            workers: Some(2),
            fast: Some(true),
            ..Settings::default()
        };
        assert!(refused(both).contains("--workers and --fast"));
        let both = Settings {
            workers: Some(2),
            single_process: Some(true),
            ..Settings::default()
        };
        assert!(refused(both).contains("--single-process"));
        let both = Settings {
            fast: Some(true),
            single_process: Some(true),
            ..Settings::default()
        };
        assert!(refused(both).contains("opposites"));
        let none = Settings {
            workers: Some(0),
            ..Settings::default()
        };
        assert!(refused(none).contains("1 to 256"));
    }

    #[test]
    fn a_flag_silences_the_files_choice_of_processes() {
        let file: Settings = toml::from_str("workers = 3\nport = 1234\ngrace = \"2m\"").unwrap();
        let flags = Settings {
            fast: Some(true),
            ..Settings::default()
        };
        let config = config(flags.over(file)).unwrap();
        assert_eq!(config.processes, Processes::Workers(num_cpus::get()));
        assert_eq!((config.port, config.grace.as_secs()), (1234, 120));
    }

    #[test]
    fn an_unknown_setting_in_the_file_is_named() {
        let error = toml::from_str::<Settings>("wokers = 3").unwrap_err();
        assert!(error.to_string().contains("wokers"));
    }

    #[test]
    fn a_channel_needs_all_of_its_secrets() {
        let some = Settings {
            facebook_token: Some("t0ken".to_owned()),
            facebook_verify_token: Some("v".to_owned()),
            ..Settings::default()
        };
        let reason = refused(some);
        assert!(reason.contains("TURNKEY_FACEBOOK_SECRET"), "{reason}");
        assert!(!reason.contains("t0ken"), "{reason}");
        let vk = Settings {
            vk_token: Some("t".to_owned()),
            vk_secret: Some("s".to_owned()),
            ..Settings::default()
        };
        let config = config(vk).unwrap();
        assert_eq!(config.updater, Updater::Webhooks);
        assert!(config.vk.is_some() && config.viber.is_none() && config.facebook.is_none());
    }

    #[test]
    fn one_token_and_nothing_else_is_polled() {
        let some = |value: &str| Some(value.to_owned());
        let telegram = Settings {
            telegram_token: some("t0ken"),
            ..Settings::default()
        };
        let vk = Settings {
            vk_token: some("t0ken"),
            ..Settings::default()
        };
        let of = |settings: &Settings| config(settings.clone()).unwrap().updater;
        assert_eq!(of(&telegram), Updater::Polling);
        assert_eq!(of(&vk), Updater::Polling);
        assert_eq!(of(&Settings::default()), Updater::Webhooks);
        let with_channels = telegram.clone().validate(true).unwrap();
        assert_eq!(with_channels.updater, Updater::Webhooks);
        let of_web_side: [fn(&mut Settings); 8] = [
            |s| s.host = Some("::1".to_owned()),
            |s| s.port = Some(0),
            |s| s.public_url = Some("https://a".to_owned()),
            |s| s.workers = Some(1),
            |s| s.fast = Some(true),
            |s| s.single_process = Some(true),
            |s| s.viber_token = Some("v".to_owned()),
            |s| s.rpc_token = Some("r".to_owned()),
        ];
        for set in of_web_side {
            let mut settings = telegram.clone();
            set(&mut settings);
            assert_eq!(of(&settings), Updater::Webhooks, "{settings:?}");
            settings.updater = Some(Updater::Polling);
            let refused = config(settings.clone()).map(|_| ()).err();
            assert_eq!(refused.is_some(), settings.rpc_token.is_none());
        }
        let both = Settings {
            vk_token: some("t0ken"),
            vk_secret: some("s"),
            ..telegram.clone()
        };
        assert_eq!(of(&both), Updater::Webhooks);
        let both = Settings {
            updater: Some(Updater::Polling),
            ..both
        };
        assert_eq!(of(&both), Updater::Polling);
        let reason = refused(Settings {
            port: Some(1),
            fast: Some(true),
            ..both
        });
        assert!(reason.contains("--port, --fast"), "{reason}");
    }

    #[test]
    fn storage_addresses() {
        let shown = |url| database(url).unwrap().to_string();
        assert_eq!(shown("sqlite:bot.db"), "bot.db");
        assert_eq!(shown("sqlite:///var/bot.db"), "/var/bot.db");
        for secret in ["mysql://a:secret@b", "oracle://a:secret@b/c"] {
            let refused = database(secret).unwrap_err().to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
        assert!(
            database("bot.db")
                .unwrap_err()
                .to_string()
                .contains("sqlite:bot.db")
        );
        assert!(database("sqlite:").is_err());
    }

    #[cfg(all(feature = "mysql", feature = "postgres"))]
    #[test]
    fn a_password_is_not_shown() {
        for engine in ["postgres", "mysql", "mariadb"] {
            let settings = Settings {
                storage: Some(format!("{engine}://ann:hunter2@db/bot")),
                ..Settings::default()
            };
            let config = config(settings).unwrap();
            assert!(!format!("{config:?}").contains("hunter2"));
        }
    }

    #[test]
    fn what_is_kept_outlives_the_platforms_patience() {
        assert_eq!(age("90d"), Ok(Duration::from_secs(90 * 86400)));
        assert_eq!(age("48h"), Ok(Duration::from_secs(48 * 3600)));
        assert!(age("0d").is_err() && age("4000d").is_err() && age("xd").is_err());
        let keep = |hours: u64| Settings {
            keep_seen: Some(Duration::from_secs(hours * 3600)),
            ..Settings::default()
        };
        assert!(refused(keep(35)).contains("--keep-seen takes at least 36h"));
        assert!(config(keep(36)).is_ok());
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert!(duration("8").unwrap_err().contains("unit"));
        assert!(duration("soon").is_err());
    }
}
