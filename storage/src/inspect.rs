//! The results of every engine's `dump` and `check`. Plain data.

use crate::DialogKey;

/// One dialog as it stands in the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialogLine {
    /// Whose it is.
    pub dialog: DialogKey,
    /// JSON text.
    pub state: String,
    /// Milliseconds since 1970.
    pub updated_at: i64,
    /// The turns that were kept, oldest first, each as JSON text.
    pub history: Vec<String>,
}

/// Something that is wrong with a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What, in a sentence.
    pub problem: String,
    /// What to do about it.
    pub remedy: String,
}

/// How many updates in the inbox were committed, in words that every engine understands.
pub(crate) const HANDLED: &str = "SELECT COUNT(*) FROM turnkey_inbox i WHERE EXISTS
     (SELECT 1 FROM turnkey_seen s WHERE s.id = i.id AND s.channel = i.channel)";

impl Finding {
    /// Something that so many rows are wrong with, if there are any.
    pub(crate) fn of(count: u64, problem: &str, remedy: &str) -> Option<Self> {
        (count > 0).then(|| Finding {
            problem: format!("{count} {problem}"),
            remedy: remedy.to_owned(),
        })
    }

    /// Replies in the outbox whose dialog is not there.
    pub(crate) fn orphans(count: u64) -> Option<Self> {
        Self::of(
            count,
            "unsent replies belong to no dialog",
            "some other program deleted dialogs; delete these rows too",
        )
    }

    /// Updates in the inbox that were committed.
    pub(crate) fn handled(count: u64) -> Option<Self> {
        Self::of(
            count,
            "updates in the inbox were handled already",
            "start the bot, which removes them",
        )
    }

    /// States that cannot be read. `place` is the file or the database.
    pub(crate) fn bad_states(count: u64, place: &str) -> Option<Self> {
        Self::of(
            count,
            "dialogs have a state that is not JSON",
            &format!("some other program wrote to the {place}; restore these rows from a backup"),
        )
    }
}
