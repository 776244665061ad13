//! The few lines that a person at the terminal is told: it runs, it stops, it has
//! stopped.
//!
//! Written to stderr whatever the log level. A terminal or pipe that is gone must
//! not bring down the program, so unlike `eprintln!` they may be lost.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

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

/// The last line: what was done, and what was lost of it.
pub(crate) fn goodbye(scoreboard: Scoreboard, has_writer: bool, cut: &Cut, took: Duration) {
    let writer = scoreboard.writer();
    let (turns, wrote) = if has_writer {
        let commits = counted(writer.get(Field::Commits), "commit");
        let syncs = counted(writer.get(Field::Syncs), "sync");
        let turns = writer.get(Field::Turns);
        (turns, format!(" ({commits}, {syncs})"))
    } else {
        (scoreboard.sum(Field::Turns), String::new())
    };
    let seconds = took.as_secs_f32();
    say!(
        "Stopped: {}, {cut}, {seconds:.1} s{wrote}.",
        counted(turns, "turn")
    );
}

/// What was cut off.
#[derive(Debug, Default)]
pub(crate) struct Cut {
    /// Turns and requests.
    pub(crate) count: u64,
    /// What is known of them, such as `POST /http for 8.0 s`.
    pub(crate) names: Vec<String>,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.count == 0 {
            return f.write_str("nothing lost");
        }
        write!(f, "{} cut off", grouped(self.count))?;
        if !self.names.is_empty() {
            write!(f, " ({})", self.names.join("; "))?;
        }
        Ok(())
    }
}

/// `1 turn`, `48,210 turns`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    let plural = match what.strip_suffix('y') {
        _ if count == 1 => what.to_owned(),
        Some(stem) => format!("{stem}ies"),
        None => format!("{what}s"),
    };
    format!("{} {plural}", grouped(count))
}

/// `48210` as people write it.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_write_them() {
        assert_eq!(counted(0, "turn"), "0 turns");
        assert_eq!(counted(1, "reply"), "1 reply");
        assert_eq!(counted(999, "reply"), "999 replies");
        assert_eq!(counted(1_048_210, "turn"), "1,048,210 turns");
    }

    #[test]
    fn what_was_cut_is_named() {
        assert_eq!(Cut::default().to_string(), "nothing lost");
        let cut = Cut {
            count: 2,
            names: vec!["POST /http for 8.0 s".to_owned()],
        };
        assert_eq!(cut.to_string(), "2 cut off (POST /http for 8.0 s)");
    }
}
