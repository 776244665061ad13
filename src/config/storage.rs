//! Where states are kept: what `--storage` names.
//!
//! Called by `validate.rs`, and by every command that takes a `--storage`.

use std::path::PathBuf;

#[cfg(feature = "mysql")]
use turnkey_storage::mysql;
#[cfg(feature = "postgres")]
use turnkey_storage::postgres;

use super::validate::refuse;
#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::author::error::Error;

/// A database, as `--storage` names it. It never shows its password.
#[derive(Clone, Debug)]
pub(crate) enum Address {
    /// `sqlite:PATH`
    Sqlite(PathBuf),
    /// `postgres://…`
    #[cfg(feature = "postgres")]
    Postgres(postgres::Server),
    /// `mysql://…`
    #[cfg(feature = "mysql")]
    Mysql(mysql::Server),
}

/// Reads a storage address such as `sqlite:bot.db`.
pub(crate) fn database(url: &str) -> crate::Result<Address> {
    match url.split_once(':') {
        Some(("sqlite", path)) => {
            // sqlite:///var/lib/bot.db is how other programs write it.
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.starts_with("file:") || path.contains(['?', '#']) {
                return refuse(format!(
                    "--storage {url:?}: sqlite: takes a path and nothing else, no file: and no ?options; write sqlite:bot.db"
                ));
            }
            if path.is_empty() || path == ":memory:" {
                return refuse(
                    "--storage sqlite: names no file, and several processes need one; write sqlite:bot.db",
                );
            }
            Ok(Address::Sqlite(PathBuf::from(path)))
        }
        #[cfg(feature = "postgres")]
        Some(("postgres" | "postgresql", _)) => postgres::Server::parse(url)
            .map(Address::Postgres)
            .map_err(|e| Error::Start(e.to_string())),
        #[cfg(not(feature = "postgres"))]
        Some(("postgres" | "postgresql", _)) => refuse(
            "--storage postgres: this program was built without it; build it with --features postgres",
        ),
        #[cfg(feature = "mysql")]
        Some(("mysql" | "mariadb", _)) => mysql::Server::parse(url)
            .map(Address::Mysql)
            .map_err(|e| Error::Start(e.to_string())),
        #[cfg(not(feature = "mysql"))]
        Some(("mysql" | "mariadb", _)) => refuse(
            "--storage mysql: this program was built without it; build it with --features mysql",
        ),
        // Not the whole of it: it may hold a password.
        _ => refuse(format!(
            "--storage takes an address such as sqlite:bot.db, not {:?}",
            url.split_once("://").map_or(url, |(engine, _)| engine)
        )),
    }
}
