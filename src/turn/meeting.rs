//! Who talks: the name and the language that a platform tells with an update are kept with the
//! commit of its turn, where they are new.
//!
//! Called by `turn.rs` around the commit. A turn whose user is called as before pays for one hash
//! and one load of shared memory (`shared/met.rs`); one whose platform tells nothing, for less.

use turnkey_storage::Change;
use turnkey_storage::person::{self, Person};

use crate::author::message::{ChatKind, Update};
use crate::shared::met::Face;
use crate::turn::context::Bot;

/// Somebody whose name the commit keeps.
pub(super) struct Meeting(Face);

/// What the commit is to keep of whoever sent this. `is_new`: the dialog has no state, perhaps
/// since an operator had it forgotten, and the name with it.
pub(super) fn of(bot: &Bot, update: &Update, is_new: bool) -> Option<(Meeting, [Change; 2])> {
    let told = told(update)?;
    let face = Face::of(&update.dialog, told);
    if bot.met.knows(face) && !is_new {
        return None;
    }
    let [name, username, language] = told;
    let person = Person::new(name, username, language)?;
    Some((Meeting(face), person::met(&update.dialog, &person)))
}

/// The commit has kept it.
pub(super) fn kept(bot: &Bot, meeting: Option<Meeting>) {
    if let Some(Meeting(face)) = meeting {
        bot.met.learn(face);
    }
}

/// Whose dialog it is, as the platform tells: the name, the user name and the language of its
/// user; or, where a whole group has one, the group's title.
fn told(update: &Update) -> Option<[&str; 3]> {
    let group = update
        .chat
        .as_ref()
        .filter(|chat| chat.kind != ChatKind::Private && chat.id == update.dialog.user_id);
    if let Some(group) = group {
        return Some([group.title.as_deref()?, "", ""]);
    }
    let sender = update.sender.as_ref()?;
    Some([
        &sender.name,
        sender.username.as_deref().unwrap_or_default(),
        sender.language.as_deref().unwrap_or_default(),
    ])
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::author::message::{Chat, DialogKey, Sender};

    #[test]
    fn a_dialog_is_its_users_or_a_groups() {
        let mut update = Update::new(DialogKey::new("telegram", "7"), "1", "hi", Bytes::new());
        assert_eq!(told(&update), None);
        update.sender = Some(Sender {
            name: "Ann Lee".to_owned(),
            username: None,
            language: Some("de".to_owned()),
        });
        assert_eq!(told(&update), Some(["Ann Lee", "", "de"]));
        update.chat = Some(Chat {
            id: "-100".to_owned(),
            kind: ChatKind::Group,
            title: Some("Tea".to_owned()),
            ..Chat::default()
        });
        assert_eq!(told(&update), Some(["Ann Lee", "", "de"]));
        update.dialog.user_id = "-100".to_owned();
        assert_eq!(told(&update), Some(["Tea", "", ""]));
    }
}
