//! Whether something can be said at all, for whoever has no channels at hand.
//!
//! Asked by `turnkey send` and `turnkey broadcast`, which have no tokens: what a platform would
//! never take is refused where it was written, not later in the log of the bot. Invariant: it
//! refuses nothing that the channel's own `fit` takes.

use turnkey_storage::schedules;

use super::content::is_blank;
use super::{facebook, telegram, viber, vk, whatsapp};
use crate::author::message::Reply;

/// Checks a reply, which goes to this channel, if it is known which.
///
/// # Errors
/// What is wrong, in a sentence.
pub(crate) fn sayable(channel: Option<&str>, reply: &Reply) -> Result<(), String> {
    if is_blank(&reply.styled()?.text) && !reply.has_content() {
        return Err("it is blank: there is nothing in it that a user would see".to_owned());
    }
    match channel {
        Some("telegram") => telegram::fitting(reply).map(drop),
        // Who says it is in no message's way.
        Some("viber") => viber::fitting("", reply).map(drop),
        Some("facebook") => facebook::fitting(reply).map(drop),
        Some("whatsapp") => whatsapp::fitting(reply).map(drop),
        Some("vk") => vk::fitting(reply).map(drop),
        Some("http") => Err(
            "nobody can be sent to on the channel http: its replies ride in the answers".to_owned(),
        ),
        Some(schedules::CHANNEL) => Err(
            "nobody can be sent to on the channel cron: it has the bot's own schedules".to_owned(),
        ),
        // Each has what it takes on its own.
        Some(_) | None => Ok(()),
    }
}

/// Whether the channel is one of ours.
pub(crate) fn is_ours(channel: &str) -> bool {
    PLATFORMS.contains(&channel) || channel == "http"
}

/// Our channels that can be sent to.
pub(crate) const PLATFORMS: [&str; 5] = ["telegram", "viber", "facebook", "whatsapp", "vk"];
