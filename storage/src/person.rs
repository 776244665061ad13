//! Who a dialog's user is, as the platform tells: kept with the commit of a turn ([`met`]), read with
//! lists of dialogs.
//!
//! Bound: [`LONGEST`] bytes of each text. [`admin::reset`](crate::admin::reset) forgets a person with
//! the dialog's state.

use crate::{Change, DialogKey, Result, Row, Statement};

/// Bytes of a name that are kept.
pub const LONGEST: usize = 200;

/// What [`Person::of`] reads, of [`BESIDE`].
pub(crate) const COLUMNS: &str = "p.name AS name, p.username AS username, p.language AS language";

/// Whoever is known, beside a dialog `d`; all of it is NULL where nobody is.
pub(crate) const BESIDE: &str =
    "LEFT JOIN turnkey_person p ON p.user_id = d.user_id AND p.channel = d.channel";

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

    /// Of a row with [`COLUMNS`].
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
