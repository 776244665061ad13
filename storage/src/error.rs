//! The one error type of the crate, split by what the caller does next.

use crate::remedy::OpenError;

/// A storage call that failed.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Ask again later: the dialog's lock was not to be had in the time given,
    /// or too many wait for it already.
    #[error("busy: {0}")]
    Busy(String),

    /// Ask again later: the storage cannot be reached just now. A commit that
    /// got this answer may still take effect.
    #[error("storage unavailable: {0}")]
    Unavailable(String),

    /// Ask again when there is room: the disk is full. Nothing was changed.
    #[error("the disk that holds the database is full")]
    Full,

    /// Run the turn again: its lock was lost before it committed.
    #[error("the lock was lost before the commit")]
    Stale,

    /// Repeat the stored answer: the update was committed before.
    #[error("the update was committed before")]
    Seen,

    /// Tell the author: one of their statements failed. Nothing was changed.
    #[error("SQL statement failed: {0}")]
    Statement(String),

    /// Decide: a statement did not return or change as many rows as it was expected to. Nothing
    /// was changed.
    #[error("statement {statement} was expected to affect {expected} rows and affected {found}")]
    Rows {
        /// Which one, from 1.
        statement: usize,
        /// The rows that were expected.
        expected: u64,
        /// Those that it returned, or else changed.
        found: u64,
    },

    /// Tell the operator: the storage cannot be opened, or not be copied. It says what is
    /// wrong and what helps.
    #[error("{0}")]
    Open(OpenError),

    /// As [`Error::Open`], of something that may pass by itself: a server that has not
    /// started yet, a file that another program locks.
    #[error("{0}")]
    NotYet(OpenError),

    /// Start another writer at once: the batch under way was undone by a statement
    /// of the author, and whoever was in it asks the next writer. Nothing is wrong
    /// with the file or the disk.
    #[error("the batch was undone: {0}")]
    Undone(String),

    /// Stop using this engine: a write or a sync failed in a way after which
    /// nothing is known to be safe. The process that writes must be replaced.
    #[error("storage failed: {0}")]
    Poisoned(String),
}

impl Error {
    /// [`Error::Open`] with a sentence that says what helps, or of which nothing is known.
    pub(crate) fn open(problem: impl Into<String>) -> Self {
        Error::Open(OpenError::new(problem))
    }

    /// As [`Error::open`], of something that may pass by itself.
    pub(crate) fn not_yet(problem: impl Into<String>) -> Self {
        Error::NotYet(OpenError::new(problem))
    }
}

/// The result of a storage call.
pub type Result<T> = std::result::Result<T, Error>;
