//! Decides which migrations a database needs, and words refusals: the same for every engine.
//!
//! Called by each engine's `schema.rs` with what the database has on record. Pure: it
//! touches no database.

use std::fmt::Display;

use crate::{Error, OpenError, Result};

/// Whose list of migrations it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Turnkey's own.
    Program,
    /// The bot author's.
    Bot,
}

impl Whose {
    fn word(self) -> &'static str {
        match self {
            Whose::Program => "Turnkey",
            Whose::Bot => "the bot",
        }
    }
}

/// How many migrations of `list` are done; the rest is to be applied, in order.
/// `recorded` are the texts that the database has on record, in order.
///
/// # Errors
/// [`Error::Open`] when the database is a newer program's, or a text was changed.
pub(crate) fn done(
    whose: Whose,
    database: &impl Display,
    recorded: &[String],
    list: &[impl AsRef<str>],
) -> Result<usize> {
    let who = whose.word();
    if recorded.len() > list.len() {
        return Err(Error::Open(OpenError::new(format!(
            "{database} has {} migrations of {who}, this program knows {}: it was made by a newer version of {who}",
            recorded.len(),
            list.len()
        )).remedy("run that one, or restore a backup from before it")));
    }
    for (index, (recorded, known)) in recorded.iter().zip(list).enumerate() {
        if recorded != known.as_ref() {
            let number = index + 1;
            return Err(Error::open(match whose {
                Whose::Program => format!(
                    "migration {number} of Turnkey was another one when {database} had it applied: it was made by another build of Turnkey; run that one, or name another database"
                ),
                Whose::Bot => format!(
                    "migration {number} of the bot was changed after {database} had applied it; restore its text and add a new migration instead"
                ),
            }));
        }
    }
    Ok(recorded.len())
}

/// A migration that could not be applied.
pub(crate) fn failed(
    whose: Whose,
    number: usize,
    database: &impl Display,
    reason: impl Display,
) -> Error {
    let who = whose.word();
    Error::open(format!(
        "migration {number} of {who} failed on {database}: {reason}"
    ))
}

/// What is wrong with a database that has so many of our own migrations, of so many.
pub(crate) fn problem(recorded: usize, known: usize) -> Option<String> {
    match recorded.cmp(&known) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => Some(format!(
            "its schema is version {recorded}, this program's is {known}; start the bot once to bring it up to date"
        )),
        std::cmp::Ordering::Greater => Some(
            "it was made by a newer version of Turnkey; run that one, or restore a backup from before it"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: [&str; 3] = ["a", "b", "c"];

    fn with(whose: Whose, recorded: &[&str]) -> Result<usize> {
        let recorded: Vec<String> = recorded.iter().map(|sql| (*sql).to_owned()).collect();
        done(whose, &"the database", &recorded, &LIST)
    }

    #[test]
    fn what_is_on_record_is_done() {
        for n in 0..=3 {
            assert_eq!(with(Whose::Bot, &LIST[..n]), Ok(n));
            assert_eq!(with(Whose::Program, &LIST[..n]), Ok(n));
        }
    }

    #[test]
    fn refusals_say_whose_migration_it_is() {
        for (recorded, words) in [
            (&["a", "x"][..], "migration 2 of the bot was changed"),
            (&["x", "b", "c"], "migration 1 of the bot was changed"),
            (&["a", "b", "c", "d"], "newer version of the bot"),
        ] {
            let bots = with(Whose::Bot, recorded).unwrap_err().to_string();
            assert!(bots.contains(words), "{bots}");
            let ours = with(Whose::Program, recorded).unwrap_err().to_string();
            assert!(
                ours.contains("of Turnkey") && !ours.contains("the bot"),
                "{ours}"
            );
        }
        let failed = failed(Whose::Program, 2, &"it", "no room").to_string();
        assert!(failed.contains("migration 2 of Turnkey"), "{failed}");
    }

    #[test]
    fn a_schema_is_older_or_newer() {
        assert_eq!(problem(2, 2), None);
        assert!(problem(1, 2).unwrap().contains("start the bot once"));
        assert!(problem(3, 2).unwrap().contains("newer version of Turnkey"));
    }
}
