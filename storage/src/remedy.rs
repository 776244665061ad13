//! Why a database cannot be used, and what helps: as data, so that each program words it
//! itself.
//!
//! Made wherever a database is named, opened, prepared, copied or restored. `Display` gives
//! plain words; a program with a command line uses [`OpenError::worded`] to insert the names of
//! its options. Invariant: no message here names an option of a program.

use std::fmt;

/// Why a database cannot be used, and what helps.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    /// What was asked for wrongly, if it is the asking that is wrong.
    pub about: Option<About>,
    /// What is wrong: the first part of a sentence.
    pub problem: String,
    /// What helps. Each of them does; none where nothing is known that would.
    pub remedies: Vec<Remedy>,
}

/// What a caller has asked for.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// The address of a database.
    Address,
    /// The name of a table to be copied.
    Table(String),
}

/// Something that helps.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// In words, which are nobody's in particular.
    Text(String),
    /// Name another file as the database.
    AnotherFile,
    /// Name a file as the database, instead of what was named.
    NameFile,
    /// Name the database that the bot has.
    NameDatabase,
    /// Do something to the address: the words before and after it.
    Address {
        /// Such as `correct the host in`.
        before: &'static str,
        /// Such as ` names`; mostly empty.
        after: &'static str,
    },
    /// Allow what is there to be kept under another name, to make room for what is restored.
    Replace,
    /// Copy these tables of the author's, too.
    Tables(Vec<String>),
    /// Ask for [`Sync::Normal`](crate::Sync::Normal).
    SyncNormal,
    /// Use fewer connections to the server.
    FewerConnections,
    /// Build the program with this feature.
    Feature(&'static str),
}

impl OpenError {
    /// A problem that nothing is known to help against, or whose sentence says it.
    pub(crate) fn new(problem: impl Into<String>) -> Self {
        OpenError {
            about: None,
            problem: problem.into(),
            remedies: Vec::new(),
        }
    }

    /// It is about this.
    pub(crate) fn about(mut self, about: About) -> Self {
        self.about = Some(about);
        self
    }

    /// This helps, too.
    pub(crate) fn remedy(mut self, remedy: impl Into<Remedy>) -> Self {
        self.remedies.push(remedy.into());
        self
    }

    /// The same with more words before the problem.
    pub(crate) fn with_prefix(mut self, prefix: impl fmt::Display) -> Self {
        self.problem = format!("{prefix}{}", self.problem);
        self
    }

    /// The sentence, with what it is about and what helps in the caller's words.
    pub fn worded(
        &self,
        about: impl FnMut(&About) -> String,
        remedy: impl FnMut(&Remedy) -> String,
    ) -> String {
        let about = self.about.as_ref().map(about);
        let remedies: Vec<String> = self.remedies.iter().map(remedy).collect();
        let start = about.map_or_else(String::new, |about| format!("{about} "));
        match remedies.is_empty() {
            true => format!("{start}{}", self.problem),
            false => format!("{start}{}; {}", self.problem, remedies.join(", or ")),
        }
    }
}

impl<T: Into<String>> From<T> for OpenError {
    fn from(problem: T) -> Self {
        OpenError::new(problem)
    }
}

impl<T: Into<String>> From<T> for Remedy {
    fn from(words: T) -> Self {
        Remedy::Text(words.into())
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.worded(About::to_string, Remedy::to_string))
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            About::Address => f.write_str("the storage setting"),
            About::Table(name) => write!(f, "the table {name}:"),
        }
    }
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remedy::Text(words) => f.write_str(words),
            Remedy::AnotherFile => f.write_str("name another file"),
            Remedy::NameFile => f.write_str("name a file"),
            Remedy::NameDatabase => f.write_str("name the bot's database"),
            Remedy::Address { before, after } => write!(f, "{before} the address{after}"),
            Remedy::Replace => {
                f.write_str("let it be kept beside the restored one under another name")
            }
            Remedy::Tables(names) => match names.as_slice() {
                [name] => write!(f, "copy {name} too"),
                names => write!(f, "copy {}", names.join(" and ")),
            },
            Remedy::SyncNormal => f.write_str("be content with sync normal"),
            Remedy::FewerConnections => f.write_str("lower ?pool= or the number of processes"),
            Remedy::Feature(name) => write!(f, "build it with the feature {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_remedy_is_said_once_in_the_callers_words() {
        let error = OpenError::new("bot.db is in use")
            .remedy("stop it first")
            .remedy(Remedy::AnotherFile);
        assert_eq!(
            error.to_string(),
            "bot.db is in use; stop it first, or name another file"
        );
        let flags = |remedy: &Remedy| match remedy {
            Remedy::AnotherFile => "add --other".to_owned(),
            other => other.to_string(),
        };
        assert_eq!(
            error.worded(About::to_string, flags),
            "bot.db is in use; stop it first, or add --other"
        );
        let error = OpenError::new("is no address").about(About::Address);
        assert_eq!(error.to_string(), "the storage setting is no address");
        assert_eq!(
            error.worded(|_| "--from".to_owned(), flags),
            "--from is no address"
        );
    }
}
