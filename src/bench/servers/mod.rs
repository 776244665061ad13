//! Database servers: those that a laboratory is told of, and private ones.
//!
//! | file | what |
//! | --- | --- |
//! | `mod.rs` | what the laboratory asks of any server |
//! | `private.rs` | starting and stopping the programs that are installed |
//! | `postgres_admin.rs` `postgres_private.rs` | both, for PostgreSQL |
//!
//! Another kind of server gets a name in [`Kind`] and its own two files.

#[cfg(feature = "postgres")]
pub(super) mod postgres_admin;
#[cfg(feature = "postgres")]
mod postgres_private;
mod private;

use serde::{Deserialize, Serialize};

#[cfg(not(feature = "postgres"))]
use crate::error::Error;

pub(super) use private::{Running, start};

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Postgres,
}

impl Kind {
    /// As people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Postgres => "PostgreSQL",
        }
    }

    /// The flag that names one.
    pub(crate) fn flag(self) -> &'static str {
        match self {
            Kind::Postgres => "--postgres",
        }
    }
}

/// What a server has done so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    /// Syncs of its log, for all databases.
    pub(crate) syncs: u64,
    /// Transactions of one database.
    pub(crate) commits: u64,
    /// Where they are read.
    pub(crate) source: &'static str,
}

/// A server as the laboratory sees it: a database of its own for each run, and
/// counters. It touches nothing else.
pub(crate) trait Admin {
    /// Makes a database; its address.
    ///
    /// # Errors
    /// A sentence with the server's reason.
    fn create(&self, name: &str) -> crate::Result<String>;

    /// Drops a database that [`Self::create`] made, with whoever is left in it.
    ///
    /// # Errors
    /// A sentence that names the database that is left.
    fn remove(&self, name: &str) -> crate::Result<()>;

    /// Waits some seconds until nobody is in a database: what a session has done is
    /// counted at its end.
    ///
    /// # Errors
    /// The server's.
    fn wait_until_left(&self, name: &str) -> crate::Result<()>;

    /// None where the server is too old to count.
    ///
    /// # Errors
    /// The server's.
    fn counters(&self, database: &str) -> crate::Result<Option<Counters>>;

    /// Its version, and the settings that matter here.
    ///
    /// # Errors
    /// The server's.
    fn about(&self) -> crate::Result<(String, Vec<String>)>;

    /// Its first process, when it runs on this machine.
    fn local_pid(&self) -> Option<u32>;
}

/// Connects to a server.
///
/// # Errors
/// A sentence: it cannot be reached, takes no new databases from this user, or
/// this program was built without it.
pub(crate) fn admin(kind: Kind, url: &str) -> crate::Result<Box<dyn Admin>> {
    match kind {
        #[cfg(feature = "postgres")]
        Kind::Postgres => Ok(Box::new(postgres_admin::Postgres::connect(url)?)),
        #[cfg(not(feature = "postgres"))]
        Kind::Postgres => {
            let _ = url;
            Err(without(kind))
        }
    }
}

#[cfg(not(feature = "postgres"))]
pub(super) fn without(kind: Kind) -> Error {
    Error::Start(format!("this program was built without {}", kind.name()))
}
