//! The few lines that a person at the terminal is told: it runs, it stops, it has
//! stopped.
//!
//! Written to stderr whatever the log level. A terminal or pipe that is gone must
//! not bring down the program, so unlike `eprintln!` they may be lost.

use std::net::SocketAddr;

use crate::config::{Config, Updater};
use crate::database::Database;
use crate::scoreboard::{Field, Scoreboard};

/// Writes a line to stderr, if there is one.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write;
        drop(writeln!(std::io::stderr(), $($argument)*));
    }};
}
pub(crate) use say;

/// What was done, for the last line: as the writer counted it, or the workers.
pub(crate) fn totals(scoreboard: Scoreboard, has_writer: bool) -> String {
    let refused = match scoreboard.sum(Field::Refused) {
        0 => String::new(),
        n => format!(", {n} replies refused"),
    };
    if !has_writer {
        return format!("{} turns{refused}", scoreboard.sum(Field::Turns));
    }
    let writer = scoreboard.writer();
    format!(
        "{} turns, {} commits, {} syncs{refused}",
        writer.get(Field::Turns),
        writer.get(Field::Commits),
        writer.get(Field::Syncs)
    )
}

/// The lines that say: it runs, there, for these channels, and this is where its data
/// is. `own` are the names of the author's channels.
pub(crate) fn announce(
    config: &Config,
    own: &[String],
    bound: Option<SocketAddr>,
    workers: &str,
    database: &Database,
) {
    let updater = config.updater.name();
    let database = database.url();
    if config.updater == Updater::Polling {
        say!(
            "Asking {} for updates; nothing listens here.",
            polled(config)
        );
        say!("Started {updater} updater ({workers}, {database}). Press Ctrl-C to exit.");
        return;
    }
    let port = bound.map_or(config.port, |address| address.port());
    let host = if config.host.contains(':') && !config.host.starts_with('[') {
        format!("[{}]", config.host)
    } else {
        config.host.clone()
    };
    say!("Serving {}.", served(config, own));
    say!(
        "Started {updater} updater on http://{host}:{port} ({workers}, {database}). Press Ctrl-C to exit.",
    );
    let set_up = platforms(config).into_iter().filter(|(.., set_up)| *set_up);
    let set_up: Vec<_> = set_up.collect();
    match &config.public_url {
        Some(url) => {
            let url = url.trim_end_matches('/');
            for (platform, path, _) in set_up {
                if platform == "Facebook" {
                    say!(
                        "Facebook takes an address from the app's owner only: at developers.facebook.com, Messenger > Settings > Webhooks, enter {url}{path} and the value of TURNKEY_FACEBOOK_VERIFY_TOKEN, and choose messages and messaging_postbacks."
                    );
                } else {
                    say!("Registering {url}{path} with {platform}.");
                }
            }
        }
        None if set_up.is_empty() => {}
        None => {
            let each = |(platform, path, _): &(&str, &str, bool)| {
                format!("https://YOUR.HOST{path} with {platform}")
            };
            let all: Vec<_> = set_up.iter().map(each).collect();
            say!(
                "Not registered with any platform: start with --public-url https://YOUR.HOST, or register {} yourself.",
                all.join(", ")
            );
        }
    }
}

/// Each platform, its path, and whether it has what it needs.
fn platforms(config: &Config) -> [(&'static str, &'static str, bool); 4] {
    [
        ("Telegram", "/telegram", config.telegram.token.is_some()),
        ("Viber", "/viber", config.viber.is_some()),
        ("Facebook", "/facebook", config.facebook.is_some()),
        ("VK", "/vk", config.vk.is_some()),
    ]
}

/// The platforms that are asked.
fn polled(config: &Config) -> String {
    let set_up = platforms(config).into_iter().filter(|(.., set_up)| *set_up);
    let names: Vec<_> = set_up.map(|(name, ..)| name).collect();
    names.join(" and ")
}

/// The paths that are served. Telegram's is in any case: without a token a reply
/// rides in the answer.
fn served(config: &Config, own: &[String]) -> String {
    let mut paths = vec!["/http"];
    for (_, path, set_up) in platforms(config) {
        if set_up || path == "/telegram" {
            paths.push(path);
        }
    }
    let mut paths: Vec<String> = paths.into_iter().map(str::to_owned).collect();
    paths.extend(own.iter().map(|name| format!("/{name}")));
    if config.rpc_token.is_some() {
        paths.push("/rpc/…".to_owned());
    }
    paths.join(", ")
}
