//! Database servers: those that a laboratory is told of, and private ones.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | what the laboratory asks of any server |
//! | `private.rs` | starting and stopping the programs that are installed |
//! | `mysql_admin.rs` `mysql_private.rs` | both, for MySQL and MariaDB |
//! | `postgres_admin.rs` `postgres_private.rs` | both, for PostgreSQL |
//!
//! Another kind of server gets a name in [`Kind`] and its own two files.

pub(super) mod mysql_admin;
mod mysql_private;
pub(super) mod postgres_admin;
mod postgres_private;
mod private;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use turnkey_storage::{About, Remedy};

use super::order::SyncLevel;
use crate::error::Error;

pub(super) use private::Running;

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Mysql,
    Postgres,
}

impl Kind {
    /// As people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Mysql => "MySQL",
            Kind::Postgres => "PostgreSQL",
        }
    }

    /// The flag that names one.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Kind::Mysql => "--mysql",
            Kind::Postgres => "--postgres",
        }
    }

    /// Who runs a private one when we are root: the first of these that there is.
    fn users(self) -> [&'static str; 2] {
        match self {
            Kind::Mysql => ["mysql", "nobody"],
            Kind::Postgres => ["postgres", "nobody"],
        }
    }
}

/// What a server has done so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    /// For all databases, of its log at least.
    pub(crate) syncs: u64,
    /// Transactions of one database, or of all where it does not tell them apart.
    pub(crate) commits: u64,
    /// Where the syncs are read.
    pub(crate) source: &'static str,
}

/// A server as the laboratory sees it: a database of its own for each run, and
/// counters. It touches nothing else.
pub(crate) trait Admin {
    /// Gives commits this durability where it is a setting of the whole server: a
    /// private one is set, one that was named must have it.
    ///
    /// # Errors
    /// A sentence that names the setting.
    fn set_durability(&self, sync: SyncLevel) -> crate::error::Result<()>;

    /// Makes a database; its address.
    ///
    /// # Errors
    /// A sentence with the server's reason.
    fn create(&self, name: &str) -> crate::error::Result<String>;

    /// Gives all sessions of a database these settings.
    ///
    /// # Errors
    /// A sentence with the server's reason.
    fn set_settings(
        &self,
        name: &str,
        settings: &BTreeMap<String, String>,
    ) -> crate::error::Result<()>;

    /// Every setting that the server has.
    ///
    /// # Errors
    /// The server's.
    fn in_force(&self) -> crate::error::Result<BTreeMap<String, String>>;

    /// Drops a database that [`Self::create`] made, with whoever is left in it.
    ///
    /// # Errors
    /// A sentence that names the database that is left.
    fn remove(&self, name: &str) -> crate::error::Result<()>;

    /// Waits some seconds until nobody is in a database: what a session has done is
    /// counted at its end.
    ///
    /// # Errors
    /// The server's.
    fn wait_until_left(&self, name: &str) -> crate::error::Result<()>;

    /// None where the server is too old to count.
    ///
    /// # Errors
    /// The server's.
    fn counters(&self, database: &str) -> crate::error::Result<Option<Counters>>;

    /// Its version, and the settings that matter here.
    ///
    /// # Errors
    /// The server's.
    fn about(&self) -> crate::error::Result<(String, Vec<String>)>;

    /// Its first process, when it runs on this machine.
    fn local_pid(&self) -> Option<u32>;
}

/// Connects to a server, which is `private` or was named.
///
/// # Errors
/// A sentence: it cannot be reached, takes no new databases from this user, or
/// this program was built without it.
pub(crate) fn admin(kind: Kind, url: &str, private: bool) -> crate::error::Result<Box<dyn Admin>> {
    match kind {
        Kind::Mysql => Ok(Box::new(mysql_admin::Mysql::connect(url, private)?)),
        Kind::Postgres => Ok(Box::new(postgres_admin::Postgres::connect(url)?)),
    }
}

/// Starts a private server in a directory that exists and is empty; `settings` are beyond
/// ours.
pub(super) fn start(
    kind: Kind,
    directory: &std::path::Path,
    settings: &BTreeMap<String, String>,
) -> crate::error::Result<Running> {
    let private: &dyn private::Private = match kind {
        Kind::Mysql => &mysql_private::Mysql,
        Kind::Postgres => &postgres_private::Postgres { settings },
    };
    private::start(private, kind, directory)
}

/// An address that the storage refuses, in the name of the option that gave it.
fn refused(error: &turnkey_storage::Error, option: &str) -> Error {
    let turnkey_storage::Error::Open(why) = error else {
        return Error::start(error);
    };
    Error::Start(why.worded(
        |about| match about {
            About::Address => option.to_owned(),
            other => other.to_string(),
        },
        |remedy| match remedy {
            Remedy::Address { before, after } => format!("{before} {option}{after}"),
            other => other.to_string(),
        },
    ))
}

/// The address of another database of the same server.
fn with_database(kind: Kind, url: &str, name: &str) -> crate::error::Result<String> {
    let (base, query) = url
        .split_once('?')
        .map_or((url, None), |(b, q)| (b, Some(q)));
    let (scheme, rest) = base.split_once("://").ok_or_else(|| {
        Error::Start(format!(
            "{} is no address; write {}://user:password@host/database",
            kind.flag(),
            kind.flag().trim_start_matches('-')
        ))
    })?;
    let host = rest.split_once('/').map_or(rest, |(host, _)| host);
    let query = query.map(|q| format!("?{q}")).unwrap_or_default();
    Ok(format!("{scheme}://{host}/{name}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_refused_in_the_name_of_its_option() {
        let mysql = turnkey_storage::mysql::Server::parse("mysql://").map(drop);
        let postgres = turnkey_storage::postgres::Server::parse("postgres://").map(drop);
        for (kind, parsed) in [(Kind::Mysql, mysql), (Kind::Postgres, postgres)] {
            let sentence = refused(&parsed.unwrap_err(), kind.flag()).to_string();
            assert!(
                sentence.starts_with(&format!("{} ", kind.flag())),
                "{sentence}"
            );
        }
    }

    #[test]
    fn another_database_of_the_same_server() {
        for (url, expected) in [
            ("postgres://ann:x@db/bot", "postgres://ann:x@db/new"),
            ("postgres://ann@db:6432", "postgres://ann@db:6432/new"),
            (
                "postgres://ann@%2Frun%2Fpg/bot?pool=4",
                "postgres://ann@%2Frun%2Fpg/new?pool=4",
            ),
        ] {
            assert_eq!(with_database(Kind::Postgres, url, "new").unwrap(), expected);
        }
        assert!(with_database(Kind::Postgres, "db", "new").is_err());
    }
}
