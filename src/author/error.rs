//! What a turn fails with, split by what happens next. A start has an error of its own:
//! `start_error.rs`.

use std::fmt;
use std::time::Duration;

use crate::shared::remedies::{STORAGE, words};

/// Why a turn failed, or what a helper of [`testing`](crate::testing) found. A program that
/// does not start has another: [`StartError`](crate::StartError).
///
/// Like `anyhow::Error` it is made from any error with `?`, and for the same
/// reason does not implement [`std::error::Error`] itself.
///
/// ```
/// use std::time::Duration;
/// use turnkey::{Error, Turn};
///
/// async fn book(turn: &mut Turn<()>) -> turnkey::Result<()> {
///     let day: u32 = match turn.text().parse() {
///         Ok(day) => day,
///         // The user's mistake is answered: it would be none the better for another attempt.
///         Err(_) => { turn.reply("Which day?"); return Ok(()) }
///     };
///     if day > 365 {
///         return Err(Error::msg("no such day").give_up());
///     }
///     // The calendar's failure is returned: the turn is tried again.
///     calendar(day).await.map_err(|e| Error::from(e).retry_in(Duration::from_secs(30)))?;
///     Ok(())
/// }
/// # async fn calendar(_: u32) -> std::io::Result<()> { Ok(()) }
/// # turnkey::App::new(book);
/// ```
#[non_exhaustive]
pub enum Error {
    /// The handler, or the system, returned this. The turn changes nothing; the
    /// platform is told to try again.
    Handler(Box<dyn std::error::Error + Send + Sync>),
    /// The handler panicked. As [`Error::Handler`].
    Panic(String),
    /// The handler took longer than `--turn-timeout`. As [`Error::Handler`].
    Timeout(Duration),
    /// The storage refused or could not be reached. The platform is told to try
    /// again, or the turn runs again.
    Storage(turnkey_storage::Error),
    /// As the error in it, but the next attempt comes after this time instead of the usual
    /// pause: [`Error::retry_in`].
    Again(Box<Error>, Duration),
    /// As the error in it, but there is no next attempt: the update is a dead letter at
    /// once: [`Error::give_up`].
    Never(Box<Error>),
}

/// What handlers return.
///
/// ```
/// fn number(text: &str) -> turnkey::Result<u32> {
///     Ok(text.trim().parse()?)
/// }
/// assert!(number("seven").is_err());
/// ```
pub type Result<T = ()> = std::result::Result<T, Error>;

impl Error {
    /// An error of the handler that is only a sentence.
    ///
    /// ```
    /// # fn bank_is_open() -> bool { false }
    /// # fn handler() -> turnkey::Result<()> {
    /// if !bank_is_open() {
    ///     return Err(turnkey::Error::msg("the bank is closed"));
    /// }
    /// # Ok(())
    /// # }
    /// # assert!(handler().is_err());
    /// ```
    pub fn msg(text: impl Into<String>) -> Self {
        Error::Handler(text.into().into())
    }

    /// The same, to be tried again after this time instead of the usual pause, a day at
    /// most. It counts as an attempt, and later updates of the user wait behind it. After a
    /// restart of the bot it may come sooner.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # fn calendar() -> std::io::Result<()> { Ok(()) }
    /// # fn handler() -> turnkey::Result<()> {
    /// calendar().map_err(|e| turnkey::Error::from(e).retry_in(Duration::from_secs(60)))?;
    /// # Ok(())
    /// # }
    /// # handler().ok();
    /// ```
    #[must_use]
    pub fn retry_in(self, pause: Duration) -> Self {
        Error::Again(Box::new(self), pause.min(LONGEST_RETRY))
    }

    /// The same, but never tried again: the update is a dead letter at once.
    ///
    /// ```
    /// # fn order(_: &str) -> Option<u32> { None }
    /// # fn handler() -> turnkey::Result<()> {
    /// let order = order("7").ok_or_else(|| turnkey::Error::msg("no order 7").give_up())?;
    /// # let _ = order;
    /// # Ok(())
    /// # }
    /// # assert!(handler().is_err());
    /// ```
    #[must_use]
    pub fn give_up(self) -> Self {
        Error::Never(Box::new(self))
    }

    /// When the next attempt is wished for, if a time was named.
    pub(crate) fn pause(&self) -> Option<Duration> {
        match self {
            Error::Again(_, pause) => Some(*pause),
            _ => None,
        }
    }

    /// Whether there is to be no next attempt.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Error::Never(_))
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Error::Handler(Box::new(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Handler(e) => f.write_str(&chain(&**e)),
            Error::Panic(message) => write!(f, "the handler panicked: {message}"),
            Error::Timeout(limit) => {
                write!(f, "the handler took longer than {} s", limit.as_secs_f32())
            }
            Error::Storage(e) => f.write_str(&words(e, STORAGE)),
            Error::Again(error, _) | Error::Never(error) => error.fmt(f),
        }
    }
}

/// The longest that an attempt can be put off.
const LONGEST_RETRY: Duration = Duration::from_secs(86_400);

/// Causes that are told; an error that is its own cause has no end.
const CAUSES: usize = 16;

/// An error with its causes. Many say no more than "error sending request", and the causes
/// what happened; some repeat their causes, which are not told twice.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    for _ in 0..CAUSES {
        let Some(cause) = source else { break };
        let words = cause.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Layer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|cause| cause as _)
        }
    }

    #[test]
    fn causes_are_told_once() {
        let inner = Layer("connection refused (os error 111)", None);
        let middle = Layer("tcp connect error", Some(Box::new(inner)));
        let outer = Layer("error sending request", Some(Box::new(middle)));
        let whole = "error sending request: tcp connect error: connection refused (os error 111)";
        assert_eq!(chain(&outer), whole);
        assert_eq!(Error::from(outer).to_string(), whole);
        let repeats = Layer("it fails: no", Some(Box::new(Layer("no", None))));
        assert_eq!(chain(&repeats), "it fails: no");
        let deep = (0..100).fold(Layer("x", None), |cause, _| {
            Layer("y", Some(Box::new(cause)))
        });
        assert!(chain(&deep).len() < 100);
    }
}
