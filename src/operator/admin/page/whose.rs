//! Whose bot it is, as cards of `/status`: who talks to it and about what, and each channel.
//!
//! Called by `overview.rs`. Bounds: a card for each channel, a row for each kind of update.

use std::fmt::Write as _;

use super::super::status::Status;
use super::super::whose::ChannelState;
use super::escape;
use super::figures::{ago, count};

/// Users, dialogs, and turns by kind.
pub(super) fn people(html: &mut String, status: &Status) {
    let mut rows = String::new();
    let mut row = |name: &str, value: &str| {
        // Writing to a String does not fail.
        let _ = write!(rows, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    };
    match &status.talkers {
        None => row("dialogs", "unknown: the database does not answer"),
        Some(talkers) => {
            let is_part = talkers.dialogs >= talkers.counted;
            let figure = |number| match is_part {
                true => format!("{} or more", count(number)),
                false => count(number),
            };
            row("users", &figure(talkers.users));
            row("dialogs, groups among them", &figure(talkers.dialogs));
            row("of these active today (UTC)", &figure(talkers.active_today));
        }
    }
    for (kind, number) in &status.turns.by_kind {
        let kind = format!("turns: {}", escape(&kind.replace('_', " ")));
        row(&kind, &count(*number));
    }
    let _ = write!(
        html,
        "<div class=\"card\" data-live=\"people\"><h2>Who talks, and about what</h2><dl>{rows}</dl></div>"
    );
}

/// A card for each channel that something is known of.
pub(super) fn channels(html: &mut String, status: &Status) {
    for channel in &status.channels {
        one(html, status, channel);
    }
}

fn one(html: &mut String, status: &Status, channel: &ChannelState) {
    let ago = |ms: u64| ago(status.now_ms, ms);
    let mut rows = String::new();
    let mut row = |name: &str, value: String| {
        let _ = write!(rows, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    };
    if let Some(name) = &channel.own_name {
        row("the bot is called", escape(name));
    }
    row("turns", count(channel.turns));
    let last = channel.last_update_ms;
    row("last update", last.map_or("none yet".to_owned(), ago));
    if let Some(url) = &channel.webhook {
        row("webhook registered at", escape(url));
    }
    if let Some(ms) = channel.polled_ms {
        row("polled until", ago(ms));
    }
    if let Some(error) = &channel.last_error {
        let when = ago(error.at_ms);
        let text = escape(&error.text);
        row("last error", format!("{when}<br><small>{text}</small>"));
    }
    let name = escape(&channel.name);
    let _ = write!(
        html,
        "<div class=\"card\" data-live=\"channel-{name}\"><h2>Channel {name}</h2><dl>{rows}</dl></div>"
    );
}
