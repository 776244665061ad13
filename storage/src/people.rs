//! Who talks: how many dialogs there are, how many of them had a turn lately, which had the latest,
//! and what the platforms tell of each ([`met`], which rides with a turn's commit).
//!
//! Called by turns and the status page. Bounds: [`COUNTED`] dialogs are looked at, since no index
//! leads to the latest: in a larger database all figures are of those; [`LONGEST`] bytes of a name.
//! [`admin::reset`](crate::admin::reset) forgets what is told here with the dialog's state.

use crate::admin::{DialogSummary, summary};
use crate::{Change, DialogKey, Result, Row, Statement, Storage, schedules};

/// Bytes of a name that are kept.
pub const LONGEST: usize = 200;

/// Who a dialog's user is, or which group it is: what the platform tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Person {
    name: String,
    username: String,
    language: String,
}

impl Person {
    /// Of what a platform tells; none where that is nothing. Characters that cannot be seen are
    /// left out, and what is longer than [`LONGEST`] is cut.
    pub fn new(name: &str, username: &str, language: &str) -> Option<Self> {
        let person = Person {
            name: clean(name),
            username: clean(username),
            language: clean(language),
        };
        (person != Person::default()).then_some(person)
    }

    /// The full name, or a group's title; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The user name, without `@`; may be empty.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The language of their app, as an IETF tag such as `de`; may be empty.
    pub fn language(&self) -> &str {
        &self.language
    }

    /// What a search looks at.
    fn folded(&self) -> String {
        format!("{} @{}", self.name, self.username).to_lowercase()
    }

    /// Of a row with `name`, `username` and `language`, which may be NULL.
    pub(crate) fn of(row: &Row) -> Result<Option<Self>> {
        let text = |column| {
            row.get::<Option<String>>(column)
                .map(Option::unwrap_or_default)
        };
        let (name, username, language) = (text("name")?, text("username")?, text("language")?);
        Ok(Person::new(&name, &username, &language))
    }
}

fn clean(text: &str) -> String {
    let mut clean: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    let mut end = clean.len().min(LONGEST);
    while !clean.is_char_boundary(end) {
        end -= 1;
    }
    clean.truncate(end);
    clean
}

/// Keeps who somebody is, with the commit of a turn of theirs. Where the same is kept already,
/// nothing is written.
pub fn met(dialog: &DialogKey, person: &Person) -> [Change; 2] {
    let folded = person.folded();
    let params = || {
        (
            &dialog.user_id,
            &dialog.channel,
            &person.name,
            &person.username,
            &person.language,
            &folded,
        )
    };
    let change = "UPDATE turnkey_person SET name = ?3, username = ?4, language = ?5, folded = ?6
         WHERE user_id = ?1 AND channel = ?2
             AND (name <> ?3 OR username <> ?4 OR language <> ?5)";
    let add = "INSERT INTO turnkey_person (user_id, channel, name, username, language, folded)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6 FROM (SELECT 1 AS one) t
         WHERE NOT EXISTS (SELECT 1 FROM turnkey_person p
             WHERE p.user_id = ?1 AND p.channel = ?2)";
    [change, add].map(|sql| Change(Statement::new(sql, params())))
}

/// Dialogs that are looked at.
pub const COUNTED: u64 = 10_000;

/// Dialogs, but for the bot's own schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// All; [`COUNTED`] stands for that many or more.
    pub dialogs: u64,
    /// Those of a user alone: not in a group, nor a group's own.
    pub users: u64,
    /// Those that had a turn since then.
    pub active: u64,
}

/// Counts them; `since` is in milliseconds since 1970.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn count(storage: &dyn Storage, since: i64) -> Result<People> {
    let query = format!(
        "SELECT COUNT(*) AS dialogs,
             COUNT(CASE WHEN user_id LIKE '%@%' THEN NULL ELSE 1 END) AS users,
             COUNT(CASE WHEN updated_at >= ?1 THEN 1 ELSE NULL END) AS active
         FROM (SELECT user_id, updated_at FROM turnkey_dialog WHERE channel <> ?2
             LIMIT {COUNTED}) d"
    );
    let params = (since, schedules::CHANNEL);
    let rows = storage.own_query(Statement::new(query, params)).await?;
    let Some(row) = rows.first() else {
        return Ok(People::default());
    };
    let count = |name| row.get::<i64>(name).map(|n| n as u64);
    Ok(People {
        dialogs: count("dialogs")?,
        users: count("users")?,
        active: count("active")?,
    })
}

/// Up to `limit` dialogs, those with the latest turns first.
///
/// # Errors
/// [`Error::Unavailable`](crate::Error::Unavailable).
pub async fn recent(storage: &dyn Storage, limit: u32) -> Result<Vec<DialogSummary>> {
    let query = format!(
        "SELECT d.user_id AS user_id, d.channel AS channel, d.version AS version,
             OCTET_LENGTH(d.state) AS state_bytes, d.updated_at AS updated_at,
             p.name AS name, p.username AS username, p.language AS language
         FROM (SELECT user_id, channel, version, state, updated_at FROM turnkey_dialog
             LIMIT {COUNTED}) d
         LEFT JOIN turnkey_person p ON p.user_id = d.user_id AND p.channel = d.channel
         ORDER BY d.updated_at DESC, d.user_id, d.channel LIMIT ?1"
    );
    let rows = storage.own_query(Statement::new(query, (limit,))).await?;
    rows.iter().map(summary).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_of_a_person_can_be_seen_and_is_short() {
        assert_eq!(Person::new(" ", "\0", "\n"), None);
        let person = Person::new("Zo\u{0}ë \u{1b}[1m", "", &"é".repeat(LONGEST)).unwrap();
        assert_eq!(person.name(), "Zoë [1m");
        assert_eq!(person.language(), "é".repeat(LONGEST / 2));
        assert_eq!(person.folded(), "zoë [1m @");
    }
}
