//! The few lines that a person at the terminal is told: it runs, it stops, it has
//! stopped.
//!
//! Written to stderr whatever the log level. A terminal or pipe that is gone must
//! not bring down the program, so unlike `eprintln!` they may be lost.

use std::net::SocketAddr;

use crate::config::Config;
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
    if !has_writer {
        return format!("{} turns", scoreboard.sum(Field::Turns));
    }
    let writer = scoreboard.writer();
    format!(
        "{} turns, {} commits, {} syncs",
        writer.get(Field::Turns),
        writer.get(Field::Commits),
        writer.get(Field::Syncs)
    )
}

/// The lines that say: it runs, there, for these channels, and this is where its data
/// is.
pub(crate) fn announce(
    config: &Config,
    bound: Option<SocketAddr>,
    workers: &str,
    database: &Database,
) {
    let port = bound.map_or(config.port, |address| address.port());
    let host = if config.host.contains(':') && !config.host.starts_with('[') {
        format!("[{}]", config.host)
    } else {
        config.host.clone()
    };
    say!("Serving {}.", served(config));
    say!(
        "Started {} updater on http://{host}:{port} ({workers}, {}). Press Ctrl-C to exit.",
        config.updater.name(),
        database.url(),
    );
    if let Some(url) = &config.public_url {
        let url = url.trim_end_matches('/');
        for (platform, path, set_up) in platforms(config) {
            if set_up {
                say!("{platform} posts to {url}{path} once that is set as the bot's webhook.");
            }
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

/// The paths that are served. Telegram's is in any case: without a token a reply
/// rides in the answer.
fn served(config: &Config) -> String {
    let mut paths = vec!["/http"];
    for (_, path, set_up) in platforms(config) {
        if set_up || path == "/telegram" {
            paths.push(path);
        }
    }
    paths.join(", ")
}
