//! What a failure of the server means for the caller.
//!
//! Used by every file here. The server's five letters decide
//! (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).

use tokio_postgres::error::SqlState;

use super::{Server, tls};
use crate::Error;
use crate::server::lanes::Failure;

impl Failure for tokio_postgres::Error {
    fn words(&self) -> String {
        words(self)
    }

    fn is_lost(&self) -> bool {
        is_lost(self)
    }

    fn is_deadlock(&self) -> bool {
        is_deadlock(self)
    }

    fn ours(&self) -> Error {
        ours(self)
    }
}

/// The whole reason in one line.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => match db.detail() {
            Some(detail) => format!("{} ({detail})", db.message()),
            None => db.message().to_owned(),
        },
        None => {
            use std::error::Error as _;
            match error.source() {
                Some(source) => format!("{error}: {source}"),
                None => error.to_string(),
            }
        }
    }
}

/// The connection is gone, or about to be: connect again.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => {
            let code = code.code();
            // Connection exceptions; too many connections; the server is stopping,
            // crashed, starting, or dropped us. A cancelled query (57014) is not one.
            code.starts_with("08") || code.starts_with("53300") || (code.starts_with("57P"))
        }
        None => error.is_closed() || has_io_error(error),
    }
}

fn has_io_error(error: &tokio_postgres::Error) -> bool {
    use std::error::Error as _;
    error
        .source()
        .is_some_and(|source| source.is::<std::io::Error>())
}

/// Two transactions waited for each other, and this one was chosen to give way.
pub(super) fn is_deadlock(error: &tokio_postgres::Error) -> bool {
    matches!(
        error.code(),
        Some(&SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE)
    )
}

/// A failure of our own SQL.
pub(super) fn ours(error: &tokio_postgres::Error) -> Error {
    match error.code() {
        Some(&SqlState::DISK_FULL) => Error::Full,
        _ => Error::Unavailable(format!("PostgreSQL: {}", words(error))),
    }
}

/// A failure of the author's SQL.
pub(super) fn authors(error: &tokio_postgres::Error) -> Error {
    match error.code() {
        _ if is_lost(error) => ours(error),
        Some(&SqlState::DISK_FULL) => Error::Full,
        Some(&SqlState::QUERY_CANCELED) => Error::Statement(format!(
            "it took longer than {} s and was stopped",
            super::server::MAX_STATEMENT.as_secs()
        )),
        _ => Error::Statement(words(error)),
    }
}

/// A connection that could not be made, or what it met: a sentence for the
/// operator that names the remedy.
pub(super) fn open(server: &Server, error: &tokio_postgres::Error) -> Error {
    let reason = words(error);
    let remedy = match error.code() {
        Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => {
            "check the user and the password in --storage, and the server's pg_hba.conf"
        }
        Some(&SqlState::INVALID_CATALOG_NAME) => "create the database (createdb), or name another",
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            "let this user create tables: GRANT CREATE, USAGE ON SCHEMA public TO it"
        }
        Some(&SqlState::TOO_MANY_CONNECTIONS) => {
            "raise max_connections of the server, or lower ?pool= or --workers"
        }
        Some(code) if code.code().starts_with("57P") => "wait until the server has started",
        Some(_) => "see the server's log",
        None if let Some(remedy) = tls::remedy(error) => remedy,
        None if reason.contains("password missing") => "add the password to --storage",
        None => "start the server, or correct host and port in --storage",
    };
    let sentence = format!("cannot use {server}: {reason}; {remedy}");
    // Not reached, not resolved, starting, full: it may be there in a moment.
    if is_lost(error) && tls::remedy(error).is_none() {
        Error::NotYet(sentence)
    } else {
        Error::Open(sentence)
    }
}
