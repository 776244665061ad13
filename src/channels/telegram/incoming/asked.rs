//! Which updates Telegram is asked for: those of the kinds that are heard
//! (`allowed_updates`, <https://core.telegram.org/bots/api#getupdates>).
//!
//! Used by `api.rs` for polling and webhooks alike.

use crate::author::message::{Hears, Kind};

/// The field of each kind of update, and the kinds of ours that it can be.
///
/// `chat_member` tells of everybody else's coming and going, to administrators only, who are
/// told so by a message as well: it is asked for by who wants everything.
const UPDATES: [(&str, &[Kind]); 27] = [
    (
        "message",
        // A message also tells who came or went, and what happened to the chat.
        &[
            Kind::Message,
            Kind::Opened,
            Kind::Joined,
            Kind::Left,
            Kind::Other,
        ],
    ),
    ("channel_post", &[Kind::Message]),
    ("business_message", &[Kind::Message, Kind::Business]),
    ("callback_query", &[Kind::Button]),
    ("my_chat_member", &[Kind::Joined, Kind::Left, Kind::Other]),
    ("edited_message", &[Kind::Edited]),
    ("edited_channel_post", &[Kind::Edited]),
    ("edited_business_message", &[Kind::Edited, Kind::Business]),
    ("message_reaction", &[Kind::Reaction]),
    ("inline_query", &[Kind::Inline]),
    ("chosen_inline_result", &[Kind::Inline]),
    ("shipping_query", &[Kind::Payment]),
    ("pre_checkout_query", &[Kind::Payment]),
    ("chat_join_request", &[Kind::JoinRequest]),
    ("business_connection", &[Kind::Business]),
    ("deleted_business_messages", &[Kind::Business]),
    ("guest_message", &[Kind::Other]),
    ("message_reaction_count", &[Kind::Other]),
    ("purchased_paid_media", &[Kind::Other]),
    ("poll", &[Kind::Other]),
    ("poll_answer", &[Kind::Other]),
    ("chat_member", &[Kind::Other]),
    ("chat_boost", &[Kind::Other]),
    ("removed_chat_boost", &[Kind::Other]),
    ("managed_bot", &[Kind::Other]),
    ("subscription", &[Kind::Other]),
    ("stopped_message_generation", &[Kind::Other]),
];

/// Whether this is a kind of update that we know of.
pub(super) fn is_known(name: &str) -> bool {
    UPDATES.iter().any(|(known, _)| *known == name)
}

/// What is asked for. Never nothing: Telegram takes an empty list for its own choice.
pub(in super::super) fn updates(hears: Hears) -> Vec<&'static str> {
    let asked = UPDATES.iter().filter(|(name, kinds)| {
        *name == "message" && hears == Hears::only([])
            || kinds.iter().any(|kind| hears.hears(*kind))
    });
    asked.map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_heard_is_asked_for_and_nothing_else() {
        let usual = [
            "message",
            "channel_post",
            "business_message",
            "callback_query",
            "my_chat_member",
        ];
        assert_eq!(updates(Hears::default()), usual);
        assert_eq!(updates(Hears::only([])), ["message"]);
        assert_eq!(
            updates(Hears::only([Kind::Payment])),
            ["shipping_query", "pre_checkout_query"]
        );
        assert_eq!(updates(Hears::only(Kind::ALL)).len(), UPDATES.len());
        for kind in Kind::ALL {
            assert!(!updates(Hears::only([kind])).is_empty(), "{kind:?}");
        }
    }
}
