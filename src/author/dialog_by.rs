//! [`DialogBy`]: what has a state, an order and a lock of its own, where several people talk.
//!
//! Applied to each update that a channel read, before anything else sees it. A private
//! conversation is its user's in any case.

use sha2::{Digest, Sha256};

use crate::author::message::{ChatKind, MAX_USER_ID, Update};

/// Whose state it is that a message in a group changes.
///
/// ```
/// use turnkey::{App, DialogBy, Turn};
///
/// /// A game that a whole group plays: its state is the group's.
/// async fn play(turn: &mut Turn<Vec<String>>) -> turnkey::Result<()> {
///     let word = turn.text().to_owned();
///     turn.state.push(word);
///     Ok(())
/// }
/// # let _ =
/// App::new(play).dialog_by(DialogBy::Chat);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialogBy {
    /// The user's, wherever they write: also in private.
    User,
    /// The group's: its members share it.
    Chat,
    /// The user's in this group, apart from other groups and from their private one. Its key
    /// is `USER@CHAT`.
    #[default]
    UserInChat,
}

impl DialogBy {
    /// As it is written: `user`, `chat`, `user_in_chat`.
    pub fn name(self) -> &'static str {
        match self {
            DialogBy::User => "user",
            DialogBy::Chat => "chat",
            DialogBy::UserInChat => "user_in_chat",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        let all = [DialogBy::User, DialogBy::Chat, DialogBy::UserInChat];
        all.into_iter().find(|by| by.name() == name)
    }

    /// Gives an update the dialog that it belongs to.
    pub(crate) fn apply(self, update: &mut Update) {
        let Some(chat) = &update.chat else { return };
        let user = &update.dialog.user_id;
        // What is said in a group's own name is the group's.
        if chat.kind == ChatKind::Private || chat.id.is_empty() || chat.id == *user {
            return;
        }
        let key = match self {
            DialogBy::User => return,
            DialogBy::Chat => chat.id.clone(),
            DialogBy::UserInChat => format!("{user}@{}", chat.id),
        };
        let key = match key.len() <= MAX_USER_ID {
            true => key,
            false => hex::encode(Sha256::digest(key)),
        };
        update.user = std::mem::replace(&mut update.dialog.user_id, key);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::author::message::{Chat, DialogKey};

    fn keys(by: DialogBy, chat: Option<Chat>) -> (String, String) {
        let dialog = DialogKey::new("telegram", "7");
        let mut update = Update::new(dialog, "1", "hi", Bytes::new());
        update.chat = chat;
        by.apply(&mut update);
        (update.dialog.user_id.clone(), update.user_id().to_owned())
    }

    fn chat(kind: ChatKind, id: &str) -> Option<Chat> {
        Some(Chat {
            id: id.to_owned(),
            kind,
            ..Chat::default()
        })
    }

    #[test]
    fn in_private_a_dialog_is_its_users() {
        for by in [DialogBy::User, DialogBy::Chat, DialogBy::UserInChat] {
            for private in [None, chat(ChatKind::Private, "7")] {
                assert_eq!(keys(by, private), ("7".to_owned(), "7".to_owned()));
            }
            assert_eq!(DialogBy::named(by.name()), Some(by));
        }
    }

    #[test]
    fn in_a_group_the_author_decides() {
        let group = || chat(ChatKind::Group, "-100");
        for (by, key) in [
            (DialogBy::User, "7"),
            (DialogBy::Chat, "-100"),
            (DialogBy::UserInChat, "7@-100"),
        ] {
            assert_eq!(keys(by, group()), (key.to_owned(), "7".to_owned()));
        }
        // Said in the group's own name.
        assert_eq!(
            keys(DialogBy::UserInChat, chat(ChatKind::Group, "7")).0,
            "7"
        );
        let long = chat(ChatKind::Group, &"x".repeat(300));
        assert!(keys(DialogBy::Chat, long).0.len() <= MAX_USER_ID);
    }
}
