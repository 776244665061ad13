//! The settings that an operator is shown: a list by hand, so that a secret which is
//! added to [`Config`] some day is not in it.
//!
//! Called once, when a worker starts.

use std::time::Duration;

use crate::config::{Config, Listen, Processes, Tls};

/// Flags and their values.
pub(super) fn shown(config: &Config) -> Vec<(String, String)> {
    let server = &config.server;
    let optional = |value: Option<String>, none: &str| value.unwrap_or_else(|| none.to_owned());
    let rate = |rate: Option<u32>| optional(rate.map(|n| format!("{n} a second")), "no limit");
    let channels = [
        ("telegram", config.telegram.token.is_some()),
        ("viber", config.viber.is_some()),
        ("facebook", config.facebook.is_some()),
        ("vk", config.vk.is_some()),
    ];
    let channels = channels.into_iter().filter(|(_, is_set)| *is_set);
    let channels: Vec<_> = channels.map(|(name, _)| name).collect();
    let list = [
        ("updater", config.updater.name().to_owned()),
        (
            "listen",
            optional(config.listens().then(|| address(&config.listen)), "nowhere"),
        ),
        (
            "admin",
            optional(config.admin.as_ref().map(|a| address(&a.listen)), "nowhere"),
        ),
        (
            "admin token",
            given(config.admin.as_ref().is_some_and(|a| a.token.is_some())),
        ),
        ("HTTPS", tls(config.tls.as_ref())),
        ("public URL", optional(config.public_url.clone(), "none")),
        (
            "platforms with a token",
            optional((!channels.is_empty()).then(|| channels.join(", ")), "none"),
        ),
        (
            "proxy to the platforms",
            optional(config.telegram.proxies.shown(), "none"),
        ),
        (
            "calls of other systems (/rpc)",
            given(config.rpc_token.is_some()),
        ),
        (
            "workers",
            match config.processes {
                Processes::Workers(count) => count.to_string(),
                Processes::Single => "a single process".to_owned(),
            },
        ),
        ("sync", format!("{:?}", config.sync).to_lowercase()),
        ("history", yes(config.history)),
        ("grace", time(config.grace)),
        ("worker-timeout", time(config.worker_timeout)),
        ("turn-timeout", time(config.turn_timeout)),
        ("lock-wait", time(config.lock_wait)),
        ("ack-after", time(config.ack_after)),
        ("max-attempts", config.max_attempts.to_string()),
        ("max-reply-attempts", config.max_reply_attempts.to_string()),
        ("max-reply-age", time(config.max_reply_age)),
        ("max-pending", config.pending.all.to_string()),
        (
            "max-pending-per-user",
            config.pending.per_dialog.to_string(),
        ),
        ("max-turns", config.max_turns.to_string()),
        ("max-connections", server.connections.to_string()),
        ("max-body", format!("{} bytes", server.body)),
        (
            "max-requests",
            optional(config.max_requests.map(|n| n.to_string()), "no limit"),
        ),
        ("max-age", optional(config.max_age.map(time), "no limit")),
        ("rate-per-user", rate(config.rates.user)),
        ("rate-per-address", rate(config.rates.address)),
        ("keep-seen", time(config.keep_seen)),
        (
            "keep-history",
            optional(config.keep_history.map(time), "for ever"),
        ),
        (
            "backup",
            match &config.backup {
                Some(backup) => format!(
                    "every {} to {}, {} kept",
                    time(backup.every),
                    backup.dir.display(),
                    backup.keep
                ),
                None => "none".to_owned(),
            },
        ),
        ("user", optional(config.user.clone(), "as started")),
        (
            "log-file",
            optional(
                config.log_file.as_ref().map(|f| f.display().to_string()),
                "stderr",
            ),
        ),
    ];
    list.map(|(name, value)| (name.to_owned(), value)).into()
}

fn address(listen: &Listen) -> String {
    match listen {
        Listen::Unix(path) => format!("unix:{}", path.display()),
        Listen::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
        Listen::Tcp { host, port } => format!("{host}:{port}"),
    }
}

fn tls(tls: Option<&Tls>) -> String {
    match tls {
        None => "no".to_owned(),
        Some(Tls::Files { cert, .. }) => format!("certificate {}", cert.display()),
        Some(Tls::Acme(acme)) => format!("ACME for {}", acme.domains.join(", ")),
    }
}

fn given(is_set: bool) -> String {
    match is_set {
        true => "set".to_owned(),
        false => "not set".to_owned(),
    }
}

fn yes(is_on: bool) -> String {
    match is_on {
        true => "yes".to_owned(),
        false => "no".to_owned(),
    }
}

fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match time.as_secs() {
        s if s >= 86_400 && s % 86_400 == 0 => format!("{} d", s / 86_400),
        s if s >= 3600 && s % 3600 == 0 => format!("{} h", s / 3600),
        s if s >= 60 && s % 60 == 0 => format!("{} min", s / 60),
        0 => format!("{} ms", time.as_millis()),
        _ => format!("{seconds} s"),
    }
}
