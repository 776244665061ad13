//! The table of all settings: one row has everything about a setting.
//!
//! From a row come the flag and its help, the variable `TURNKEY_…`, the name in the file, the
//! bounds, what a reload changes, the status page, the manual page and docs/SETTINGS.md.
//!
//! **To add one**, write a row here and use it: `config.its_name`, anywhere. Then
//! `UPDATE=1 cargo test -p turnkey --lib settings_page` brings docs/SETTINGS.md up to date. A
//! row is the help as a comment, the name, the type, the default if there is one, and
//! exceptions as fields of [`Row`](super::table::Row), such as
//!
//! * `check`: its bounds, with a function of `bounds.rs`;
//! * `changed_by`: if a reload is not enough;
//! * `value_name`, `default_text`: if --help needs more than the type and the default;
//! * `shown`: if the status page needs more than the value.
//!
//! A secret is of type `Secret`: it has no flag, and nothing shows it. Only checks that depend
//! on other settings are elsewhere: in `validate/`, which groups the settings that are used
//! together (`config.tls`, `config.server`).

use std::path::PathBuf;
use std::time::Duration;

use super::bounds::{at_least, between, digits, lasting, up_to, web_address};
use super::choices::{LogFormat, SyncMode, Updater};
use super::secrets::Secret;
use super::table::Change::{Restart, Upgrade};
use super::table::Shown::{As, ByAnother};
use super::table::{Age, settings};
use super::times::{hours, seconds};
use super::{Config, MAX_WORKERS};
use crate::shared::scoreboard::MAX_HANDLERS;

settings! {
    "How updates arrive" {
        /// How updates arrive: webhooks, the platforms post them; polling, we ask for them,
        /// which needs no address that others reach; with TURNKEY_RPC_TOKEN or
        /// TURNKEY_HTTP_TOKEN /rpc and /http are served beside it
        updater: Updater, changed_by: Restart, shown: As(|config| config.updater.name().to_owned()),
            default_text: "polling when Telegram's or VK's token is set and nothing else of a channel that is posted to or of the web side; else webhooks";

        /// Address or name to listen on
        host: String = "localhost".to_owned(), value_name: "HOST", changed_by: Restart, shown: ByAnother;

        /// Port to listen on; 0 picks a free one
        port: u16 = 8080, value_name: "PORT", changed_by: Restart, shown: ByAnother;

        /// Where to listen instead of --host and --port: HOST:PORT, or unix:PATH for a proxy
        /// on this machine
        listen: String, value_name: "ADDRESS", changed_by: Restart, shown: As(shown_listen);

        /// The address under which the platforms reach this bot, such as
        /// https://bot.example.org; it is registered with them at the start
        public_url: String, value_name: "URL", check: |url| web_address("https://bot.example.org", url);

        /// Networks of the proxies before this bot, such as 127.0.0.1,10.0.0.0/8: only from
        /// them X-Forwarded-For and Forwarded are believed
        trusted_proxy: String, value_name: "CIDR,…";

        /// With polling: delete the webhook that Telegram posts to; it cannot be polled
        /// while there is one
        delete_webhook: bool = false;
    }

    "Processes" {
        /// Worker processes
        workers: usize, default_text: "1", check: |n| between(1, MAX_WORKERS, n),
            shown: As(|config| config.processes.to_string());

        /// One worker for each processor (as the container's quota allows)
        fast: bool = false;

        /// Everything in one process, for debugging: no master, no forks
        single_process: bool = false, changed_by: Restart;

        /// How long a stop waits for turns in flight, such as 8s or 500ms
        grace: Duration = seconds(8);

        /// Replace a worker that gives no sign of life for this long
        worker_timeout: Duration = seconds(30),
            check: |time| lasting(seconds(3), ": workers give a sign of life each second", time);

        /// Replace a worker after about this many requests, without a gap
        max_requests: u64, default_text: "never", check: |n| at_least(1, n);

        /// Replace a worker after about this time, without a gap
        max_age: Duration, default_text: "never";

        /// When started as root: become this user once the sockets are bound, and before the
        /// database is opened: a name, a number, or either with a group, such as bot:www-data
        user: String, value_name: "NAME", changed_by: Upgrade;
    }

    "Handlers in any language" {
        /// Handler processes of each worker: for plain functions in Python that compute, or
        /// for one more processor than the workers use
        handlers: usize = 1, is_there: ANY_LANGUAGE, check: |n| between(1, MAX_HANDLERS, n);

        /// How long a handler process has until it says hello
        handler_start: Duration = seconds(20), is_there: ANY_LANGUAGE;

        /// Tables of your own: files such as 0001_orders.sql, each applied once, in the order
        /// of their names
        migrations: PathBuf, value_name: "DIR", default_text: "migrations beside the bot, if it is there",
            is_there: ANY_LANGUAGE, changed_by: Restart;

        /// Replace the workers, and their handlers, when a file beside the bot changes: for
        /// development
        watch: bool = false, is_there: ANY_LANGUAGE;
    }

    "Storage" {
        /// Where states are kept: sqlite:bot.db, postgres://user:password@host/db or
        /// mysql://user:password@host/db, which is MariaDB's too
        /// (better in TURNKEY_STORAGE: a command line can be read by everybody).
        /// Without it each run makes a new turnkey-*.db in the temporary directory, and
        /// leaves it there
        storage: Secret, value_name: "URL", has_flag: true, changed_by: Restart, shown: As(shown_storage);

        /// What an acknowledged turn survives: full, a power cut; normal, the death
        /// of the program
        sync: SyncMode = SyncMode::Full, changed_by: Upgrade;

        /// Keep each turn's text and replies
        history: bool = false;

        /// How long the history is kept, such as 90d
        keep_history: Age, default_text: "for ever";

        /// How long an update that comes again is known, with its answer, such as 72h or 7d.
        /// At least 36h: Facebook sends again for so long
        keep_seen: Age = Age(hours(72)), check: |Age(time)| lasting(
            hours(36), ": Telegram sends an update again for 24 hours, Facebook for 36", time).map(Age);

        /// How long a message is known by the name that the bot gave it, from when it was sent or
        /// last edited, such as 90d. At least 48h: for so long platforms delete messages
        keep_names: Age = Age(hours(365 * 24)), check: |Age(time)| lasting(
            hours(48), ": platforms delete a message for 48 hours", time).map(Age);

        /// Copy the database to this directory again and again (SQLite)
        backup_dir: PathBuf, value_name: "DIR";

        /// How often, such as 1h
        backup_every: Duration = hours(1), check: |time| lasting(seconds(1), "", time);

        /// How many backups are kept; older ones are removed
        backup_keep: usize = 24, check: |n| at_least(1, n);
    }

    "Turns" {
        /// Fail a handler that takes longer
        turn_timeout: Duration = seconds(60);

        /// Show that the bot is typing while a handler takes longer than a second, on
        /// platforms that show it
        typing: bool = true;

        /// How long an update waits behind earlier ones of its user before it is
        /// answered 503, unless --ack-after comes first
        lock_wait: Duration = seconds(15);

        /// How long a platform waits for a turn. What takes longer is written to the inbox,
        /// answered 200 and handled all the same, whatever happens
        ack_after: Duration = seconds(2);

        /// Updates in the inbox; one more is answered 503
        max_pending: u32 = 10_000, check: |n| up_to(1_000_000, n);

        /// Updates of one user in the inbox; one more is answered 503
        max_pending_per_user: u32 = 100, check: |n| up_to(1_000_000, n);

        /// How often an update is tried whose handler fails, before it goes to the dead
        /// letters
        max_attempts: u32 = 10, check: |n| up_to(1_000_000, n);

        /// How often a reply is tried that the platform does not take, before it is a dead
        /// reply and its user's next one goes on. While the platform is away for all,
        /// attempts do not count
        max_reply_attempts: u32 = 50, check: |n| up_to(1_000_000, n);

        /// How old a reply may be that fails, for whatever reason, before it is a dead reply,
        /// such as 2h or 3d
        max_reply_age: Age = Age(hours(24));

        /// Turns in flight in a worker; one more is answered 503
        max_turns: usize = 4096, check: |n| up_to(1_000_000, n);

        /// Updates a second that are taken of one user, over all workers; three seconds' worth
        /// may come at once. More are answered 429 with Retry-After, and platforms send them
        /// again; with polling they wait their turn
        rate_per_user: u32, default_text: "no limit", check: |n| up_to(1_000_000, n);
    }

    "HTTP" {
        /// Connections of a worker; one more is answered 503
        max_connections: usize,
            default_text: "8192, or as many as the limit of open files has room for",
            check: |n| up_to(1_000_000, n);

        /// Bytes of a request's body; a larger one is answered 413. Facebook's batches
        /// may have 4 MiB in any case
        max_body: usize = 1 << 20, value_name: "BYTES", check: |n| at_least(1, n);

        /// Bytes of a request's head; a larger one is answered 431
        max_header: usize = 16 << 10, value_name: "BYTES", check: |n| at_least(8192, n),
            default_text: "16384, at least 8192";

        /// Close a connection whose request head takes longer
        header_timeout: Duration = seconds(10);

        /// Answer 408 to a request whose body takes longer
        body_timeout: Duration = seconds(30);

        /// Close a connection that is idle for longer
        idle_timeout: Duration = seconds(75);

        /// Requests a second that are taken from one address (an IPv6 network of 64 bits), over
        /// all workers; three seconds' worth may come at once. More are answered 429 with
        /// Retry-After. A platform posts for all its users from few addresses, and is counted
        /// too: give several times what the whole bot gets, and --trusted-proxy when there is a
        /// proxy, or all are one address
        rate_per_address: u32, default_text: "no limit", check: |n| up_to(1_000_000, n);
    }

    "HTTPS" {
        /// Serve HTTPS with this certificate chain (PEM); read anew on SIGHUP and when the
        /// file changes
        tls_cert: PathBuf;

        /// The certificate's private key (PEM)
        tls_key: PathBuf;

        /// Serve HTTPS under these names, with a certificate that is got and renewed by ACME:
        /// bot.example.org. The port must be reached from outside as 443. Whoever gives this
        /// agrees to the terms of service of the ACME server (docs/HTTPS.md)
        tls_domain: String, value_name: "NAME,…";

        /// Where the ACME account and certificates are kept
        acme_dir: PathBuf, value_name: "DIR", default_text: "beside the database, BOT.db-acme";

        /// The ACME server's directory
        acme_url: String, value_name: "URL", default_text: "Let's Encrypt",
            check: |url| web_address("https://localhost:14000/dir", url);

        /// Trust this certificate (PEM) when talking to the ACME server, for one of your own
        acme_ca: PathBuf;

        /// Where the ACME server may write to, such as ann@example.org
        acme_contact: String, value_name: "MAIL";
    }

    "Channels" {
        /// The Bot API server
        telegram_api_url: String = "https://api.telegram.org".to_owned(),
            value_name: "URL", check: |url| web_address(API, url);

        /// Messages a second that Telegram takes of this bot, over all chats; more is for
        /// bots with paid broadcasts
        telegram_rate: u32 = 30, check: |n| between(1, FINEST_RATE, n);

        /// Viber's bot API
        viber_api_url: String = "https://chatapi.viber.com".to_owned(),
            value_name: "URL", check: |url| web_address(API, url);

        /// The name that a Viber bot's messages are from
        viber_sender: String = "Bot".to_owned(), value_name: "NAME";

        /// Facebook's Graph API, with its version
        facebook_api_url: String = "https://graph.facebook.com/v23.0".to_owned(),
            value_name: "URL", check: |url| web_address(API, url);

        /// WhatsApp's Graph API, with its version
        whatsapp_api_url: String = "https://graph.facebook.com/v26.0".to_owned(),
            value_name: "URL", check: |url| web_address(API, url);

        /// The id of the phone number that a WhatsApp bot speaks as: the one beside the number
        /// in the app's settings, not the number itself
        whatsapp_phone_number_id: String, value_name: "ID", check: digits;

        /// VK's API
        vk_api_url: String = "https://api.vk.com".to_owned(),
            value_name: "URL", check: |url| web_address(API, url);

        /// The proxy through which platforms and the ACME server are called:
        /// http://USER:PASSWORD@HOST:PORT (CONNECT) or socks5://USER:PASSWORD@HOST:PORT; none
        /// for none. NO_PROXY names what is reached directly (better in
        /// TURNKEY_PLATFORM_PROXY: a command line can be read by everybody)
        platform_proxy: Secret, value_name: "URL", has_flag: true,
            default_text: "HTTPS_PROXY, else ALL_PROXY", shown: As(shown_proxy);
    }

    "Operating" {
        /// The bot's name, for the people who run it: on the status page and in `turnkey top`
        name: String, value_name: "NAME", default_text: "that of the program's file";

        /// The log's format
        log: LogFormat = LogFormat::Text, changed_by: Upgrade;

        /// Write the log to this file instead of stderr; SIGUSR1 opens it anew after it
        /// was moved away
        log_file: PathBuf, changed_by: Upgrade;

        /// Serve /status, /metrics, /healthz and /readyz at this address, such as
        /// 127.0.0.1:8081 or unix:PATH; elsewhere than on this machine it needs
        /// TURNKEY_ADMIN_TOKEN
        admin: String, value_name: "ADDRESS", default_text: "nowhere", changed_by: Upgrade;
    }

    "Secrets" {
        /// the bearer token of --admin
        admin_token: Secret;
        /// the bot's token, for sending replies
        telegram_token: Secret;
        /// the webhook's secret token
        telegram_secret: Secret;
        /// the bearer token of POST /http
        http_token: Secret;
        /// the bearer token of POST /rpc/CHANNEL/USER
        rpc_token: Secret;
        /// the bot's token
        viber_token: Secret;
        /// the page's access token
        facebook_token: Secret;
        /// the app's secret
        facebook_secret: Secret;
        /// the webhook's verify token
        facebook_verify_token: Secret;
        /// the access token of a system user
        whatsapp_token: Secret;
        /// the app's secret
        whatsapp_secret: Secret;
        /// the webhook's verify token
        whatsapp_verify_token: Secret;
        /// the community's access token
        vk_token: Secret;
        /// the webhook's secret key
        vk_secret: Secret;
        /// confirms the webhook's address
        vk_confirmation: Secret;
    }
}

/// Whether this program runs handlers in any language.
const ANY_LANGUAGE: bool = cfg!(feature = "any-language");

/// An example of a platform's API.
const API: &str = "http://localhost:8081";

/// Messages a second: above it the clock's steps would be coarser than the pauses.
const FINEST_RATE: u32 = 100_000;

/// Where the world connects, if anybody is listened to.
fn shown_listen(config: &Config) -> String {
    match config.listens() {
        true => config.listen.to_string(),
        false => "nowhere".to_owned(),
    }
}

/// The proxy to the platforms, without user and password.
fn shown_proxy(config: &Config) -> String {
    let proxy = config.telegram.proxies.shown();
    proxy.unwrap_or_else(|| "none".to_owned())
}

/// The database that is used, without its password.
fn shown_storage(config: &Config) -> String {
    let database = config.database.as_ref();
    database.map_or_else(|| "a temporary file".to_owned(), ToString::to_string)
}
