//! Why the program did not start, split by what happens next.
//!
//! Made by everything between the command line and the first update; `cli/` says it and
//! `process/exit.rs` gives each its exit code. No bounds: it is a sentence.

use std::fmt;

use nix::errno::Errno;

use super::error::{Error, chain};
use crate::shared::remedies::{STORAGE, words};

/// Why the program did not start.
///
/// [`App::run`](crate::App::run) writes it to stderr and ends with the exit code that stands
/// at each variant. A worker that finds one of the first two for itself, with its own
/// connections or in the author's [`App::channel`](crate::App::channel), makes it 3.
///
/// ```
/// use turnkey::StartError;
///
/// /// Whether a supervisor should start the program again by itself.
/// fn is_worth_another_try(why: &StartError) -> bool {
///     matches!(why, StartError::NotYet(_)) // exit code 75
/// }
///
/// let taken = StartError::NotYet("port 8080 is in use".to_owned());
/// assert!(is_worth_another_try(&taken));
/// assert_eq!(taken.to_string(), "port 8080 is in use");
/// ```
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Mend what this sentence names (a setting, a right, a file) and start again: before
    /// that no attempt goes better. Exit code 2.
    Refused(String),
    /// Start again after a moment: this may pass by itself, such as a port that is taken or
    /// a database that is not there yet. Exit code 75.
    NotYet(String),
    /// Set another token and start again: the platform does not know the bot's. Exit code 2.
    Token(String),
}

/// The result of a step of the start.
pub(crate) type StartResult<T = ()> = std::result::Result<T, StartError>;

impl StartError {
    /// The same, after these words.
    pub(crate) fn after(self, before: &str) -> Self {
        let whole = |sentence| format!("{before}{sentence}");
        match self {
            StartError::Refused(sentence) => StartError::Refused(whole(sentence)),
            StartError::NotYet(sentence) => StartError::NotYet(whole(sentence)),
            StartError::Token(sentence) => StartError::Token(whole(sentence)),
        }
    }

    /// Something failed that a system can lack for a moment: processes, memory, files. All
    /// else is a person's to mend.
    fn of_system(error: &(dyn std::error::Error + 'static)) -> Self {
        let of_io = |error: &std::io::Error| error.raw_os_error().map(Errno::from_raw);
        let number = error
            .downcast_ref::<Errno>()
            .copied()
            .or_else(|| error.downcast_ref().and_then(of_io));
        match number {
            Some(Errno::EAGAIN | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE) => {
                StartError::NotYet(chain(error))
            }
            _ => StartError::Refused(chain(error)),
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Refused(sentence)
            | StartError::NotYet(sentence)
            | StartError::Token(sentence) => f.write_str(sentence),
        }
    }
}

impl std::error::Error for StartError {}

impl From<std::io::Error> for StartError {
    fn from(error: std::io::Error) -> Self {
        StartError::of_system(&error)
    }
}

impl From<Errno> for StartError {
    fn from(error: Errno) -> Self {
        StartError::of_system(&error)
    }
}

/// Of the database that the bot is started on.
impl From<turnkey_storage::Error> for StartError {
    fn from(error: turnkey_storage::Error) -> Self {
        let sentence = words(&error, STORAGE);
        match error {
            // Others fill a disk and make room again.
            turnkey_storage::Error::NotYet(_) | turnkey_storage::Error::Full => {
                StartError::NotYet(sentence)
            }
            _ => StartError::Refused(sentence),
        }
    }
}

/// Of what the author makes in each worker: channels, and the user lock.
impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        match error {
            Error::Handler(error) => StartError::of_system(&*error),
            other => StartError::Refused(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_had_a_moment_later_is_worth_another_try() {
        for (error, is_worth_it) in [
            (Errno::EAGAIN, true),
            (Errno::ENOMEM, true),
            (Errno::EMFILE, true),
            (Errno::ENFILE, true),
            (Errno::EACCES, false),
        ] {
            let as_io = std::io::Error::from(error);
            let of_the_author = Error::from(std::io::Error::from(error));
            for made in [error.into(), as_io.into(), StartError::from(of_the_author)] {
                let is_not_yet = matches!(&made, StartError::NotYet(_));
                assert_eq!(is_not_yet, is_worth_it, "{made}");
            }
        }
        let full = turnkey_storage::Error::Full;
        assert!(matches!(full.into(), StartError::NotYet(_)));
        assert_eq!(
            StartError::from(Error::msg("set DESK_SECRET")),
            StartError::Refused("set DESK_SECRET".to_owned())
        );
    }

    #[test]
    fn words_before_it_change_nothing_else() {
        assert_eq!(
            StartError::NotYet("no memory".to_owned()).after("cannot start the writer: "),
            StartError::NotYet("cannot start the writer: no memory".to_owned())
        );
    }
}
