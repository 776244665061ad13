//! What a failure of the server means for the caller.
//!
//! Used by every file here. The server's SQLSTATE code decides
//! (<https://www.postgresql.org/docs/current/errcodes-appendix.html>).

use tokio_postgres::error::SqlState;

use super::tls;
use crate::lanes::bounds;
use crate::lanes::wire::Failure;
use crate::{Error, OpenError, Remedy};

/// Why a call of ours failed, or a connection could not be made.
#[derive(Debug)]
pub(super) enum Failed {
    Pg(tokio_postgres::Error),
    /// The connection ended while it was set up.
    Closed,
    /// It took too long; the connection is of no more use.
    Slow,
    /// Why the server takes no writes.
    ReadOnly(&'static str),
    /// The session is not ours alone.
    Shared,
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Failed::Pg(error)
    }
}

impl Failure for Failed {
    fn words(&self) -> String {
        match self {
            Failed::Pg(error) => words(error),
            Failed::Closed => "the connection was closed while it was set up".to_owned(),
            Failed::Slow => "the server does not answer".to_owned(),
            Failed::ReadOnly(why) => format!("it is read only: {why}"),
            Failed::Shared => SHARED.to_owned(),
        }
    }

    fn is_lost(&self) -> bool {
        match self {
            Failed::Pg(error) => is_lost(error),
            _ => true,
        }
    }

    fn is_deadlock(&self) -> bool {
        matches!(self, Failed::Pg(error) if is_deadlock(error))
    }

    fn ours(&self) -> Error {
        match self {
            Failed::Pg(error) => ours(error),
            _ => Error::Unavailable(format!("PostgreSQL: {}", self.words())),
        }
    }
}

/// What a pooler does that gives a session to whoever has a transaction.
const SHARED: &str =
    "its sessions are shared with others, as PgBouncer does with pool_mode = transaction";

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

/// A write in a transaction that may only read.
pub(super) const READ_ONLY: &str = "25006";

/// Whether it was a write where only reading is allowed: on a server that is read only, or
/// in a question of the author's, on any server.
pub(super) fn is_write_refused(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code() == READ_ONLY)
}

/// The connection is gone, or about to be: connect again.
pub(super) fn is_lost(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => {
            let code = code.code();
            // Connection exceptions; too many connections; the server is stopping,
            // crashed, starting, or dropped us; a transaction that took too long, which
            // ends the session. A cancelled query (57014) is not one. And read only: a
            // primary that is none any more.
            code.starts_with("08")
                || code.starts_with("53300")
                || code.starts_with("57P")
                || matches!(code, READ_ONLY | "25P03" | "25P04")
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

/// What `turnkey_commit_one` leaves to the slower function: its own word for it, or a row that
/// was there before.
pub(super) fn is_not_so_simple(error: &tokio_postgres::Error) -> bool {
    error
        .code()
        .is_some_and(|code| code.code() == "TK001" || *code == SqlState::UNIQUE_VIOLATION)
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
        _ if is_write_refused(error) => Error::Statement(words(error)),
        _ if is_lost(error) => ours(error),
        Some(&SqlState::DISK_FULL) => Error::Full,
        Some(&SqlState::QUERY_CANCELED) => Error::Statement(format!(
            "it took longer than {} s and was stopped",
            bounds::MAX_STATEMENT.as_secs()
        )),
        _ => Error::Statement(words(error)),
    }
}

/// A connection that could not be made: a sentence for the operator that names the
/// remedy.
pub(super) fn not_opened(server: &impl std::fmt::Display, failed: &Failed) -> Error {
    let why = OpenError::new(format!("cannot use {server}: {}", failed.words()));
    Error::Open(match failed {
        Failed::Pg(error) => return open(server, error),
        Failed::Closed => why.remedy("see the server's log"),
        Failed::Slow => why
            .remedy("see what it does")
            .remedy(address("name another one in")),
        Failed::ReadOnly(_) => why.remedy("name the one that can be written to").remedy(
            "all hosts, such as \
             postgres://user:password@host1,host2/database?target_session_attrs=read-write",
        ),
        Failed::Shared => why
            .remedy("set pool_mode = session for this database")
            .remedy(address("name the server itself in")),
    })
}

fn address(before: &'static str) -> Remedy {
    Remedy::Address { before, after: "" }
}

/// What a connection met: a sentence for the operator that names the remedy.
pub(super) fn open(server: &impl std::fmt::Display, error: &tokio_postgres::Error) -> Error {
    let reason = words(error);
    let why = OpenError::new(format!("cannot use {server}: {reason}"));
    let why = match error.code() {
        Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => why
            .remedy(Remedy::Address {
                before: "check the user and the password in",
                after: ", and the server's pg_hba.conf",
            }),
        Some(&SqlState::INVALID_CATALOG_NAME) => why
            .remedy("create the database (createdb)")
            .remedy("name another"),
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => why
            .remedy("let this user create tables: GRANT CREATE, USAGE ON SCHEMA public TO it"),
        Some(&SqlState::TOO_MANY_CONNECTIONS) => why
            .remedy("raise max_connections of the server")
            .remedy(Remedy::FewerConnections),
        Some(code) if code.code() == READ_ONLY => {
            why.remedy("name the server that can be written to")
        }
        Some(code) if code.code() == "3F000" => why.remedy(
            "let the search_path of this user name a schema that exists: ALTER ROLE it SET search_path = public",
        ),
        // A pooler's own words.
        Some(code) if code.code() == "08P01" && reason.contains("startup parameter") => why
            .remedy(address("remove ?options= from"))
            .remedy("name it in ignore_startup_parameters of the pooler"),
        Some(code) if code.code().starts_with("57P") => {
            why.remedy("wait until the server has started")
        }
        Some(_) => why.remedy("see the server's log"),
        None if let Some(remedies) = tls::remedies(error) => {
            remedies.into_iter().fold(why, OpenError::remedy)
        }
        None if reason.contains("password missing") => {
            why.remedy(address("add the password to"))
        }
        None => why
            .remedy("start the server")
            .remedy(address("correct host and port in")),
    };
    // Not reached, not resolved, starting, full: it may be there in a moment.
    if is_lost(error) && tls::remedies(error).is_none() {
        Error::NotYet(why)
    } else {
        Error::Open(why)
    }
}
