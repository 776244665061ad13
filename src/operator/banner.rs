//! The few lines for a person at the terminal: the bot runs, stops, has stopped.
//!
//! Written to stderr whatever the log level. A closed terminal or pipe must not bring down the
//! program, and one that nobody reads must not hold it up, so unlike with `eprintln!` these
//! lines may be lost (`lines.rs`).

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use turnkey_storage::Database;
use turnkey_storage::sqlite::Taken;

use crate::shared::taken::taken;

use crate::config::{Config, Listen, Updater};
use crate::shared::lines::say;
use crate::shared::scoreboard::{Field, Scoreboard};
use turnkey_text::numbers::{counted, grouped};

/// The tables were changed: where the backup from before is, if there was something to
/// back up.
pub(crate) fn kept(backup: Option<&Path>) {
    if let Some(backup) = backup {
        say!(
            "The database's tables were changed; as it was before, it is in {}.",
            backup.display()
        );
    }
}

/// The last line: what was done, and what was lost of it.
pub(crate) fn goodbye(scoreboard: Scoreboard, has_writer: bool, cut: &Cut, took: Duration) {
    let slot = scoreboard.writer();
    let (turns, wrote) = if has_writer {
        let commits = counted(slot.get(Field::Commits), "commit");
        let syncs = counted(slot.get(Field::Syncs), "sync");
        let turns = slot.get(Field::Turns);
        (turns, format!(" ({commits}, {syncs})"))
    } else {
        (scoreboard.sum(Field::Turns), String::new())
    };
    let seconds = took.as_secs_f32();
    let refused = match scoreboard.sum(Field::Refused) {
        0 => String::new(),
        n => format!(", {} refused", counted(n, "reply")),
    };
    let cut = match (outcome(taken(scoreboard.writer())), cut.count) {
        (None, _) => cut.to_string(),
        (Some(taken), 0) => taken,
        (Some(taken), _) => format!("{cut}, {taken}"),
    };
    say!(
        "Stopped: {}, {cut}{refused}, {seconds:.1} s{wrote}.",
        counted(turns, "turn")
    );
}

/// Whether what was acknowledged is not in the database's own file.
pub(crate) fn is_lost(scoreboard: Scoreboard) -> bool {
    outcome(taken(scoreboard.writer())).is_some()
}

/// What became of a file that was taken away; none when nothing is missing.
fn outcome(taken: Option<Taken>) -> Option<String> {
    match taken {
        None | Some(Taken::InPlace) => None,
        Some(Taken::Kept(number)) => Some(format!(
            "the database's file was taken away: they are in the file that ends in -rescued-{number}"
        )),
        Some(Taken::Saving | Taken::NotKept) => {
            Some("the database's file was taken away, and with it all that it held".to_owned())
        }
    }
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

/// The lines that say: it runs, there, for these channels, and this is where its data
/// is. `own` are the names of the author's channels; then where it is bound to, for the
/// world and for operators.
pub(crate) fn announce(
    config: &Config,
    own: &[String],
    (bound, admin): (Option<SocketAddr>, Option<SocketAddr>),
    workers: &str,
    database: &Database,
) {
    let updater = config.updater.name();
    let database = database.url();
    match config.admin.as_ref().map(|admin| &admin.listen) {
        Some(Listen::Unix(path)) => {
            say!(
                "Status page at unix:{} (turnkey top shows it).",
                path.display()
            );
        }
        Some(Listen::Tcp { host, port }) => {
            let port = admin.map_or(*port, |address| address.port());
            say!("Status page at {}/status.", url("http", host, port));
        }
        None => {}
    }
    if config.updater == Updater::Polling && !config.listens() {
        say!(
            "Asking {} for updates; nothing listens here.",
            polled(config)
        );
        say!("Started {updater} updater ({workers}, {database}). Press Ctrl-C to exit.");
        return;
    }
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    let at = match &config.listen {
        Listen::Unix(path) => format!("unix:{}", path.display()),
        Listen::Tcp { host, port } => {
            let port = bound.map_or(*port, |address| address.port());
            url(scheme, host, port)
        }
    };
    match config.updater {
        Updater::Webhooks => say!("Serving {}.", served(config, own)),
        Updater::Polling => say!(
            "Asking {} for updates; serving {} to other systems.",
            polled(config),
            called(config).join(", ")
        ),
    }
    say!("Started {updater} updater on {at} ({workers}, {database}). Press Ctrl-C to exit.",);
    if config.updater == Updater::Polling {
        return;
    }
    let set_up = platforms(config).into_iter().filter(|(.., set_up)| *set_up);
    let set_up: Vec<_> = set_up.collect();
    match &config.public_url {
        Some(url) => {
            let url = url.trim_end_matches('/');
            for (platform, path, _) in set_up {
                if platform == "WhatsApp" {
                    say!(
                        "WhatsApp takes an address from the app's owner only: at developers.facebook.com, WhatsApp > Configuration > Webhook, enter {url}{path} and the value of TURNKEY_WHATSAPP_VERIFY_TOKEN, and subscribe to messages."
                    );
                } else if platform == "Facebook" {
                    say!(
                        "Facebook takes an address from the app's owner only: at developers.facebook.com, Messenger > Settings > Webhooks, enter {url}{path} and the value of TURNKEY_FACEBOOK_VERIFY_TOKEN, and choose messages and messaging_postbacks; where the bot hears them also message_edits, message_reactions, messaging_referrals, messaging_optins and standby."
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

fn url(scheme: &str, host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("{scheme}://[{host}]:{port}"),
        false => format!("{scheme}://{host}:{port}"),
    }
}

/// Each platform, its path, and whether it has what it needs.
fn platforms(config: &Config) -> [(&'static str, &'static str, bool); 5] {
    [
        ("Telegram", "/telegram", config.telegram.token.is_some()),
        ("Viber", "/viber", config.viber.is_some()),
        ("Facebook", "/facebook", config.facebook.is_some()),
        ("VK", "/vk", config.vk.is_some()),
        ("WhatsApp", "/whatsapp", config.whatsapp.is_some()),
    ]
}

/// The platforms that are asked.
fn polled(config: &Config) -> String {
    let set_up = platforms(config).into_iter().filter(|(.., set_up)| *set_up);
    let names: Vec<_> = set_up.map(|(name, ..)| name).collect();
    names.join(" and ")
}

/// The paths that other systems call with a token.
fn called(config: &Config) -> Vec<&'static str> {
    let http = config.http.token.as_ref().map(|_| "/http");
    let rpc = config.rpc_token.as_ref().map(|_| "/rpc/…");
    http.into_iter().chain(rpc).collect()
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
