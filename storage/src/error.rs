//! The one error type of the crate, split by what the caller does next.

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

    /// Tell the operator: the storage cannot be opened, or not be copied. One
    /// sentence that names the remedy.
    #[error("{0}")]
    Open(String),

    /// As [`Error::Open`], of something that may pass by itself: a server that has not
    /// started yet, a file that another program locks.
    #[error("{0}")]
    NotYet(String),

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

/// The result of a storage call.
pub type Result<T> = std::result::Result<T, Error>;
