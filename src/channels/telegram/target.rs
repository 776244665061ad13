//! How messages are named in an outbox: `message`, `chat/message`, or the id of a message that
//! was sent in inline mode, which is in no chat of the bot's.
//!
//! The numbers of messages begin anew in each supergroup. What is sent is named with its chat:
//! a dialog may go on in another one, and still mean that message.

/// A message, as calls name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target<'a> {
    /// Of a chat; none: of the one where it is said.
    InChat(Option<&'a str>, i64),
    /// Sent in inline mode.
    Inline(&'a str),
}

/// The name of a message of a chat.
pub(super) fn named(chat: i64, message: &str) -> String {
    format!("{chat}/{message}")
}

/// The message of this name.
pub(super) fn target(name: &str) -> Target<'_> {
    if let Ok(message) = name.parse() {
        return Target::InChat(None, message);
    }
    if let Some((chat, message)) = name.split_once('/')
        && let Ok(message) = message.parse()
    {
        return Target::InChat(Some(chat), message);
    }
    Target::Inline(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_known_by_their_names() {
        assert_eq!(target("55"), Target::InChat(None, 55));
        let name = named(-1_000_000_000_503, "55");
        assert_eq!(target(&name), Target::InChat(Some("-1000000000503"), 55));
        for inline in ["AgAAAAQAAADbQwEAYHb9_w", "a/b", "12a"] {
            assert_eq!(target(inline), Target::Inline(inline));
        }
    }
}
