//! What a failure of the server means for the caller.
//!
//! Used by every file here. The server's error number decides
//! (<https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html>; MariaDB has
//! the same up to 1899).

use mysql_async::{DriverError, Error as My, IoError};

use crate::lanes::bounds;
use crate::lanes::wire::Failure;
use crate::{Error, OpenError, Remedy};

/// Why a call of ours failed.
#[derive(Debug)]
pub(super) enum Failed {
    My(My),
    /// More bytes than `max_allowed_packet`, so never sent: the server would close the
    /// connection.
    TooLarge {
        bytes: usize,
        limit: usize,
    },
    /// A row is not what was asked for.
    Odd(&'static str),
    /// It took too long; the connection is of no more use.
    Slow,
}

impl From<My> for Failed {
    fn from(error: My) -> Self {
        Failed::My(error)
    }
}

impl Failed {
    pub(super) fn code(&self) -> Option<u16> {
        match self {
            Failed::My(My::Server(error)) => Some(error.code),
            _ => None,
        }
    }

    /// The server takes no writes now.
    pub(super) fn is_read_only(&self) -> bool {
        matches!(self, Failed::My(My::Server(error)) if is_read_only(error))
    }

    /// A row with this key is there already.
    pub(super) fn is_duplicate(&self) -> bool {
        self.code() == Some(1062)
    }
}

impl Failure for Failed {
    fn words(&self) -> String {
        match self {
            Failed::My(My::Server(error)) => error.message.clone(),
            Failed::My(My::Driver(DriverError::PacketTooLarge)) => {
                "a statement or a row is larger than the server's max_allowed_packet; raise that"
                    .to_owned()
            }
            Failed::My(error) => {
                // "Input/output error: Input/output error: connection refused"
                let words = error.to_string();
                let mut words = words.trim();
                while let Some(rest) = words.strip_prefix("Input/output error: ") {
                    words = rest;
                }
                words.trim_end_matches('.').to_owned()
            }
            Failed::TooLarge { bytes, limit } => format!(
                "{bytes} bytes to be written at once are more than the server's max_allowed_packet of {limit}; raise that"
            ),
            Failed::Odd(what) => (*what).to_owned(),
            Failed::Slow => "the server does not answer".to_owned(),
        }
    }

    fn is_lost(&self) -> bool {
        match self {
            // Too many connections; shutting down, killed; network; idle too long. And
            // read only: a primary that became a replica.
            Failed::My(My::Server(error)) => {
                is_read_only(error)
                    || matches!(
                        error.code,
                        1040 | 1053 | 1077 | 1079 | 1152 | 1158
                            ..=1161 | 1184 | 1203 | 1927 | 3032 | 3169 | 4031
                    )
            }
            Failed::My(My::Io(_)) => true,
            Failed::My(My::Driver(
                DriverError::ConnectionClosed
                | DriverError::PacketOutOfOrder
                | DriverError::UnexpectedPacket { .. },
            )) => true,
            Failed::Slow => true,
            _ => false,
        }
    }

    fn is_deadlock(&self) -> bool {
        // Chosen to give way; waited too long for a row.
        matches!(self.code(), Some(1213 | 1205))
    }

    fn ours(&self) -> Error {
        match self.code() {
            Some(1021 | 1114) => Error::Full,
            _ => Error::Unavailable(format!("MySQL: {}", self.words())),
        }
    }
}

/// The server takes no writes now. 1290 names the option that forbids something: another
/// one forbids what an author's statement does, such as writing files.
fn is_read_only(error: &mysql_async::ServerError) -> bool {
    match error.code {
        1290 => error.message.contains("read-only") || error.message.contains("read_only"),
        1836 | 1874 => true,
        _ => false,
    }
}

/// TLS was tried and failed.
pub(super) fn is_tls(error: &My) -> bool {
    match error {
        My::Io(IoError::Tls(_)) => true,
        // As tokio-rustls wraps what rustls has to say.
        My::Io(IoError::Io(error)) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

/// A failure of the author's SQL.
pub(super) fn authors(error: &Failed) -> Error {
    match error.code() {
        _ if error.is_lost() => error.ours(),
        Some(1021 | 1114) => Error::Full,
        // MariaDB's max_statement_time, MySQL's max_execution_time, an interrupted one.
        Some(1969 | 3024 | 1317) => too_slow(),
        _ => Error::Statement(error.words()),
    }
}

pub(super) fn too_slow() -> Error {
    Error::Statement(format!(
        "it took longer than {} s and was stopped",
        bounds::MAX_STATEMENT.as_secs()
    ))
}

/// A connection that could not be made, or what it met: a sentence for the operator
/// that names the remedy.
pub(super) fn open(server: &impl std::fmt::Display, error: &Failed) -> Error {
    let reason = error.words();
    let why = OpenError::new(format!("cannot use {server}: {reason}"));
    let address = |before| Remedy::Address { before, after: "" };
    let why = match error.code() {
        Some(1045 | 1698) if reason.contains("using password: NO") => why
            .remedy(address("add the password to"))
            .remedy("check the user"),
        Some(1045 | 1698) => why.remedy(address("check the user and the password in")),
        Some(1044) => {
            why.remedy("let this user use the database (GRANT ALL ON it), or name another")
        }
        Some(1049) => why.remedy("create the database (CREATE DATABASE), or name another"),
        Some(1142 | 1143 | 1227 | 1370) => {
            why.remedy("let this user create tables: GRANT ALL ON the database TO it")
        }
        Some(1130) => why.remedy("let this user log in from this host (CREATE USER name@host)"),
        Some(1129) => why.remedy("unblock this host (FLUSH HOSTS)"),
        Some(1040 | 1203) => why
            .remedy("raise max_connections of the server")
            .remedy(Remedy::FewerConnections),
        Some(1053) => why.remedy("wait until the server has started"),
        Some(1290 | 1836 | 1874) => why.remedy("name the server that can be written to"),
        Some(_) => why.remedy("see the server's log"),
        None => match error {
            Failed::My(My::Driver(DriverError::NoClientSslFlagFromServer)) => {
                why.remedy("let the server have a certificate, or write ?ssl-mode=PREFERRED")
            }
            Failed::My(error) if is_tls(error) => {
                let before =
                    "check ?ssl-ca= and that the server's certificate is for the host that";
                why.remedy(Remedy::Address {
                    before,
                    after: " names",
                })
                .remedy("choose another ?ssl-mode=")
            }
            Failed::TooLarge { .. } => why.remedy("see the server's settings"),
            _ => why
                .remedy("start the server")
                .remedy(address("correct host, port or socket in")),
        },
    };
    // Not reached, not resolved, starting, full, read only: it may be there in a moment.
    let is_tls = matches!(error, Failed::My(error) if is_tls(error));
    if error.is_lost() && !is_tls {
        Error::NotYet(why)
    } else {
        Error::Open(why)
    }
}
