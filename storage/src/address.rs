//! Addresses of databases, such as `sqlite:bot.db`: which engine, and where.
//!
//! Parsing opens nothing. `database.rs` uses an address as the program that serves it,
//! `tools.rs` as an operator. Invariant: no text made from an address shows its password.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, Result};
#[cfg(feature = "mysql")]
use crate::mysql;
#[cfg(feature = "postgres")]
use crate::postgres;
#[cfg(not(all(feature = "mysql", feature = "postgres")))]
use crate::remedy::Remedy;
use crate::remedy::{About, OpenError};

/// Where a database is. It never shows its password.
///
/// ```
/// use turnkey_storage::Address;
///
/// let address: Address = "sqlite:bot.db".parse()?;
/// assert_eq!(address.to_string(), "bot.db");
/// # Ok::<(), turnkey_storage::Error>(())
/// ```
#[derive(Clone, Debug)]
pub enum Address {
    /// `sqlite:PATH`
    Sqlite(PathBuf),
    /// `postgres://…`
    #[cfg(feature = "postgres")]
    Postgres(postgres::Server),
    /// `mysql://…`
    #[cfg(feature = "mysql")]
    Mysql(mysql::Server),
}

impl FromStr for Address {
    type Err = Error;

    /// Reads an address such as `sqlite:bot.db` or `postgres://user:password@host/bot`.
    fn from_str(url: &str) -> Result<Self> {
        match url.split_once(':') {
            Some(("sqlite", path)) => {
                // sqlite:///var/lib/bot.db is how other programs write it.
                let path = path.strip_prefix("//").unwrap_or(path);
                if path.starts_with("file:") || path.contains(['?', '#']) {
                    return refuse(
                        OpenError::new(format!(
                            "{url:?}: sqlite: takes a path and nothing else, no file: and no ?options"
                        ))
                        .remedy("write sqlite:bot.db"),
                    );
                }
                if path.is_empty() || path == ":memory:" {
                    return refuse(
                        OpenError::new("sqlite: names no file, and several processes need one")
                            .remedy("write sqlite:bot.db"),
                    );
                }
                Ok(Address::Sqlite(PathBuf::from(path)))
            }
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", _)) => {
                postgres::Server::parse(url).map(Address::Postgres)
            }
            #[cfg(not(feature = "postgres"))]
            Some(("postgres" | "postgresql", _)) => refuse(
                OpenError::new("postgres: this program was built without it")
                    .remedy(Remedy::Feature("postgres")),
            ),
            #[cfg(feature = "mysql")]
            Some(("mysql" | "mariadb", _)) => mysql::Server::parse(url).map(Address::Mysql),
            #[cfg(not(feature = "mysql"))]
            Some(("mysql" | "mariadb", _)) => refuse(
                OpenError::new("mysql: this program was built without it")
                    .remedy(Remedy::Feature("mysql")),
            ),
            // It may hold a password, and its beginning be the user.
            _ if url.contains('@') => refuse(
                "takes an address such as sqlite:bot.db or postgres://user:password@host/db, and this begins with neither",
            ),
            _ => refuse(format!(
                "takes an address such as sqlite:bot.db, not {:?}",
                url.split_once(':').map_or(url, |(engine, _)| engine)
            )),
        }
    }
}

impl Address {
    /// The file, of a database that is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Address::Sqlite(path) => Some(path),
            #[cfg(feature = "postgres")]
            Address::Postgres(_) => None,
            #[cfg(feature = "mysql")]
            Address::Mysql(_) => None,
        }
    }
}

/// As the user named it, without a password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Sqlite(path) => write!(f, "{}", path.display()),
            #[cfg(feature = "postgres")]
            Address::Postgres(server) => write!(f, "{server}"),
            #[cfg(feature = "mysql")]
            Address::Mysql(server) => write!(f, "{server}"),
        }
    }
}

fn refuse(why: impl Into<OpenError>) -> Result<Address> {
    Err(Error::Open(why.into().about(About::Address)))
}
