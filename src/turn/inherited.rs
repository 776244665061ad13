//! States that a new dialog begins with: those of before, when a user had one state in all groups
//! and in private; and those of a group that became another one.
//!
//! Called by `turn.rs` when a dialog of a group has its first turn. A database of the time of one
//! state for each user has a mark with the moment at which it was migrated; what the user's own
//! dialog was left with before that is where the new one begins. A group that becomes a supergroup
//! has another id since (<https://core.telegram.org/bots/api#message>): its dialogs begin where
//! they were. So does that of a user whose platform says that they had another id (WhatsApp).
//! Invariant: nothing is taken away from the old dialog; of a user's own one nothing that changed
//! since is inherited; what was forgotten by `dialogs reset` does not come back.

use turnkey_storage::{DialogKey, Storage, admin, marks, messages};

use crate::author::message::{Chat, Update};
use crate::turn::context::Bot;

/// The mark: milliseconds since 1970.
const MARK: &str = "dialogs-by-user";

/// What an earlier id is called among the names of a dialog. No author's message is called so.
const WAS: &str = "\u{1}was";

/// When the database was migrated, if it is of that time. It is asked once.
async fn since(bot: &Bot) -> turnkey_storage::Result<Option<i64>> {
    if let Some(since) = bot.inherits.get() {
        return Ok(*since);
    }
    let mark = marks::get(&*bot.storage, MARK).await?;
    let since = mark.and_then(|ms| i64::try_from(ms).ok());
    Ok(*bot.inherits.get_or_init(|| since))
}

/// Notes that a group or a user had another id, if an update says so.
///
/// # Errors
/// The storage is away.
pub(super) async fn note_move(
    storage: &dyn Storage,
    update: &Update,
) -> turnkey_storage::Result<()> {
    if !update.formerly.is_empty() {
        return messages::set(storage, &update.dialog, WAS, &update.formerly).await;
    }
    match &update.chat {
        Some(Chat {
            id, was: Some(was), ..
        }) => messages::set(storage, &group(update, id), WAS, was).await,
        _ => Ok(()),
    }
}

/// The state with which a new dialog begins.
///
/// # Errors
/// The storage is away.
pub(super) async fn state(bot: &Bot, update: &Update) -> turnkey_storage::Result<Option<String>> {
    let storage = &*bot.storage;
    let channel = &update.dialog.channel;
    let renames = bot.channels.of(&update.dialog).renames_users();
    if renames && let Some(was) = messages::find(storage, &update.dialog, WAS).await? {
        let old = DialogKey::new(channel.as_str(), was);
        let old = admin::dialog(storage, &old, 0).await?;
        return Ok(old.and_then(|old| old.state));
    }
    let (false, Some(chat)) = (update.user.is_empty(), &update.chat) else {
        return Ok(None);
    };
    // No new one, but one that was reset.
    let known = admin::dialog(storage, &update.dialog, 0).await?;
    if known.is_some_and(|known| known.state.is_none()) {
        return Ok(None);
    }
    if let Some(was) = messages::find(storage, &group(update, &chat.id), WAS).await? {
        let key = update.dialog.user_id.replace(&chat.id, &was);
        let old = admin::dialog(storage, &DialogKey::new(channel.as_str(), key), 0).await?;
        if let Some(state) = old.and_then(|old| old.state) {
            return Ok(Some(state));
        }
    }
    let Some(since) = since(bot).await? else {
        return Ok(None);
    };
    let own = DialogKey::new(channel.as_str(), update.user.as_str());
    let found = admin::dialog(storage, &own, 0).await?;
    Ok(found
        .filter(|own| own.updated_at < since)
        .and_then(|own| own.state))
}

/// Where it is noted: a dialog that no user has.
fn group(update: &Update, chat: &str) -> DialogKey {
    DialogKey::new(update.dialog.channel.as_str(), format!("group:{chat}"))
}
