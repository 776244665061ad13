//! [`Kind`]: what sort of update it is; and which of them a handler [`Hears`].
//!
//! Made by channels, asked by whoever takes an update in.

use serde::{Deserialize, Serialize};

/// What sort of update it is. Which of these a handler is given [`App::hears`](crate::App::hears)
/// says; the others are answered and counted by kind.
///
/// ```
/// use turnkey::{App, Kind, Turn};
///
/// async fn handle(turn: &mut Turn<()>) -> turnkey::Result<()> {
///     match turn.kind() {
///         Kind::Opened => turn.reply("Hello!"),
///         Kind::Edited => turn.reply("I saw that."),
///         _ => turn.reply("Yes?"),
///     }
///     Ok(())
/// }
/// # let _ =
/// App::new(handle).hears([Kind::Message, Kind::Opened, Kind::Edited]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// The user wrote, or sent files, a place, a contact.
    #[default]
    Message,
    /// The user pressed a button.
    Button,
    /// The user opened the conversation and has said nothing yet.
    Opened,
    /// The bot may write to the user again, or was added to a group; or others joined one.
    Joined,
    /// The user blocked the bot or left, or the bot was removed from a group: what is sent
    /// there now is refused.
    Left,
    /// The user changed a message that came before: the content is the new one, and may be
    /// the old one, where only a link's preview changed. To a handler that does not look,
    /// "buy 1 ticket" with a typing error mended would be two tickets.
    Edited,
    /// The user reacted to a message with a sign, or took one back.
    Reaction,
    /// The user types the bot's name and a question in some chat (Telegram).
    Inline,
    /// A question before a payment, which must be answered within seconds (Telegram).
    Payment,
    /// Somebody asks to be let into a group.
    JoinRequest,
    /// Of a business account: connected, disconnected, and what its owner writes.
    Business,
    /// Anything else: [`Update::event`](crate::Update::event) is the platform's name for it.
    Other,
    /// Another system asked for it, by `POST /rpc/…`: see [`Update::rpc`](crate::Update::rpc). Always heard.
    Rpc,
    /// A timer of the dialog's is due: see [`Update::timer`](crate::Update::timer). Always heard.
    Timer,
    /// Somebody came with the address of a callback of the dialog's, or pressed a button of its
    /// question: see [`Update::called`](crate::Update::called). Always heard.
    Callback,
    /// Another turn, or a command, had something said here: `Turn::send_to`. No handler ever
    /// sees it.
    Relayed,
    /// What came in cannot be read: [`Update::unreadable`](crate::Update::unreadable). No handler ever sees it.
    Unreadable,
}

impl Kind {
    /// Those that a handler can hear, in the order in which they are shown.
    pub const ALL: [Kind; 12] = [
        Kind::Message,
        Kind::Button,
        Kind::Opened,
        Kind::Joined,
        Kind::Left,
        Kind::Edited,
        Kind::Reaction,
        Kind::Inline,
        Kind::Payment,
        Kind::JoinRequest,
        Kind::Business,
        Kind::Other,
    ];

    /// As it is written: `message`, `join_request` …
    pub fn name(self) -> &'static str {
        match self {
            Kind::Message => "message",
            Kind::Button => "button",
            Kind::Opened => "opened",
            Kind::Joined => "joined",
            Kind::Left => "left",
            Kind::Edited => "edited",
            Kind::Reaction => "reaction",
            Kind::Inline => "inline",
            Kind::Payment => "payment",
            Kind::JoinRequest => "join_request",
            Kind::Business => "business",
            Kind::Other => "other",
            Kind::Rpc => "rpc",
            Kind::Timer => "timer",
            Kind::Callback => "callback",
            Kind::Relayed => "relayed",
            Kind::Unreadable => "unreadable",
        }
    }

    /// The kind of this name, of those that can be heard.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Which kinds of update a handler is given.
///
/// ```
/// use turnkey::{Hears, Kind};
///
/// assert!(Hears::default().hears(Kind::Message) && !Hears::default().hears(Kind::Edited));
/// assert!(Hears::only([Kind::Edited]).hears(Kind::Timer)); // always heard
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hears(u32);

impl Hears {
    /// These, and no others.
    pub fn only(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Hears(
            kinds
                .into_iter()
                .fold(0, |all, kind| all | 1 << kind as u32),
        )
    }

    /// Whether a handler is given updates of this kind.
    pub fn hears(self, kind: Kind) -> bool {
        matches!(kind, Kind::Rpc | Kind::Timer | Kind::Callback) || self.0 & 1 << kind as u32 != 0
    }
}

impl Default for Hears {
    /// Messages, buttons, opened, joined and left.
    fn default() -> Self {
        Hears::only([
            Kind::Message,
            Kind::Button,
            Kind::Opened,
            Kind::Joined,
            Kind::Left,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_name_and_the_usual_ones_are_heard() {
        for kind in Kind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
            assert_eq!(Kind::named(kind.name()), Some(kind));
        }
        let usual = Kind::ALL.map(|kind| Hears::default().hears(kind));
        assert_eq!(usual.iter().filter(|heard| **heard).count(), 5);
        assert!(Hears::only([]).hears(Kind::Rpc));
        assert!(Hears::only([]).hears(Kind::Timer));
        assert!(Hears::only([]).hears(Kind::Callback));
        assert!(!Hears::only([Kind::Edited]).hears(Kind::Message));
    }
}
