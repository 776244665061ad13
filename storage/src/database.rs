//! A database, as the program that serves it sees it: how to lock, prepare and connect to it,
//! whichever engine it is.
//!
//! The process that starts the others locks ("takes") it; each process connects for itself.
//! Taking does not open SQLite: it only locks the file (`FileLock`), so that one program serves
//! it. SQLite has a writer and a file lock; servers have neither, and many programs may share
//! one.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::address::Address;
use crate::error::{Error, Result};
#[cfg(feature = "mysql")]
use crate::mysql;
#[cfg(feature = "postgres")]
use crate::postgres;
use crate::sqlite::{self, FileId, FileLock, Files};
use crate::{Owner, Storage, Sync};

/// A database that this program uses.
pub struct Database {
    /// What its commits survive.
    pub sync: Sync,
    engine: Engine,
}

enum Engine {
    Sqlite {
        files: Files,
        /// Held by every process of this program, and so until the last has left.
        lock: FileLock,
        /// Which file has the name, once it is prepared.
        file: OnceLock<FileId>,
    },
    #[cfg(feature = "postgres")]
    Postgres(postgres::Server),
    #[cfg(feature = "mysql")]
    Mysql(mysql::Server),
}

impl Database {
    /// Takes the database at an address.
    ///
    /// # Errors
    /// [`Error::Open`] with the remedy.
    pub fn at(address: &Address, sync: Sync) -> Result<Self> {
        let engine = match address {
            Address::Sqlite(path) => {
                let files = Files::of(path);
                let lock = files.lock()?;
                Engine::Sqlite {
                    files,
                    lock,
                    file: OnceLock::new(),
                }
            }
            #[cfg(feature = "postgres")]
            Address::Postgres(server) => Engine::Postgres(server.clone()),
            #[cfg(feature = "mysql")]
            Address::Mysql(server) => Engine::Mysql(server.clone()),
        };
        Ok(Database { sync, engine })
    }

    /// Takes over a file, with the lock on it, from a program that still serves it.
    ///
    /// # Errors
    /// [`Error::Open`]: the descriptor is no lock.
    pub fn inherit(path: &Path, sync: Sync, lock: OwnedFd) -> Result<Self> {
        let lock = FileLock::inherited(lock)?;
        let files = Files::of(path);
        Ok(Database {
            sync,
            engine: Engine::Sqlite {
                files,
                lock,
                file: OnceLock::new(),
            },
        })
    }

    /// The lock on the file, of a database that has one.
    pub fn lock(&self) -> Option<&FileLock> {
        match &self.engine {
            Engine::Sqlite { lock, .. } => Some(lock),
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => None,
            #[cfg(feature = "mysql")]
            Engine::Mysql(_) => None,
        }
    }

    /// Whether [`Database::prepare`] may be killed at any moment: each step of it is a
    /// transaction. MySQL has none for changes of tables.
    pub fn prepares_in_transactions(&self) -> bool {
        match &self.engine {
            Engine::Sqlite { .. } => true,
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => true,
            #[cfg(feature = "mysql")]
            Engine::Mysql(_) => false,
        }
    }

    /// Whether [`Database::prepare`] would change nothing of a file that is served
    /// now. Servers take changes at any time.
    ///
    /// # Errors
    /// [`Error::Open`] with the remedy.
    pub fn is_current(&self, migrations: &[String]) -> Result<bool> {
        match self.files() {
            Some(files) => sqlite::is_current(&files.database, migrations),
            None => Ok(false),
        }
    }

    /// Creates or migrates the tables. Opens and closes the database: for a process
    /// that ends, or has no other connection to it. Where a backup was made before, it
    /// comes back.
    ///
    /// # Errors
    /// [`Error::Open`] with the remedy.
    pub fn prepare(&self, migrations: &[String]) -> Result<Option<PathBuf>> {
        match &self.engine {
            Engine::Sqlite { files, .. } => sqlite::prepare(&files.database, self.sync, migrations),
            #[cfg(feature = "postgres")]
            Engine::Postgres(server) => runtime()?
                .block_on(postgres::prepare(server, self.sync, migrations))
                .map(|()| None),
            #[cfg(feature = "mysql")]
            Engine::Mysql(server) => runtime()?
                .block_on(mysql::prepare(server, self.sync, migrations))
                .map(|()| None),
        }
    }

    /// Remembers which file has the name, so that another one that is put in its place later
    /// is not taken for ours. To be called once, after [`Database::prepare`] and before the
    /// first writer is started; a second call changes nothing. A database on a server has no
    /// file, and nothing is remembered.
    ///
    /// # Errors
    /// [`Error::Open`] when the file is gone since it was prepared.
    #[cfg_attr(
        not(any(feature = "mysql", feature = "postgres")),
        allow(irrefutable_let_patterns)
    )]
    pub fn remember_file(&self) -> Result<()> {
        if let Engine::Sqlite { files, file, .. } = &self.engine {
            let path = &files.database;
            let id = FileId::of(path).map_err(|e| {
                Error::open(format!("{} was there a moment ago: {e}", path.display()))
            })?;
            file.get_or_init(|| id);
        }
        Ok(())
    }

    /// The file that this program serves: none before [`Database::remember_file`], and none
    /// of a database on a server.
    pub fn file(&self) -> Option<FileId> {
        match &self.engine {
            Engine::Sqlite { file, .. } => file.get().copied(),
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => None,
            #[cfg(feature = "mysql")]
            Engine::Mysql(_) => None,
        }
    }

    /// Whether the file that this program serves still has its name. Also true before
    /// [`Database::remember_file`], and of a database on a server.
    pub fn is_in_place(&self) -> bool {
        match (self.files(), self.file()) {
            (Some(files), Some(file)) => FileId::of(&files.database).is_ok_and(|now| now == file),
            _ => true,
        }
    }

    /// The files of a database that needs a writer.
    pub fn files(&self) -> Option<&Files> {
        match &self.engine {
            Engine::Sqlite { files, .. } => Some(files),
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => None,
            #[cfg(feature = "mysql")]
            Engine::Mysql(_) => None,
        }
    }

    /// Binds the socket that workers reach the writer at; none when the engine
    /// needs no writer.
    ///
    /// # Errors
    /// [`Error::Open`] with the remedy.
    pub fn bind(&self) -> Result<Option<UnixListener>> {
        match &self.engine {
            Engine::Sqlite { files, lock, .. } => files.bind(lock).map(Some),
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => Ok(None),
            #[cfg(feature = "mysql")]
            Engine::Mysql(_) => Ok(None),
        }
    }

    /// Connects this process, after its fork and in its runtime.
    ///
    /// # Errors
    /// [`Error::Open`] with the remedy.
    pub fn connect(&self, owner: Owner) -> Result<Arc<dyn Storage>> {
        match &self.engine {
            Engine::Sqlite { files, .. } => connect_sqlite(files, owner),
            #[cfg(feature = "postgres")]
            Engine::Postgres(server) => connect_postgres(server, self.sync),
            #[cfg(feature = "mysql")]
            Engine::Mysql(server) => connect_mysql(server, self.sync),
        }
    }

    /// As a person would write it, without a password.
    pub fn url(&self) -> String {
        match &self.engine {
            Engine::Sqlite { files, .. } => format!("sqlite:{}", files.database.display()),
            #[cfg(feature = "postgres")]
            Engine::Postgres(server) => server.to_string(),
            #[cfg(feature = "mysql")]
            Engine::Mysql(server) => server.to_string(),
        }
    }

    /// Removes what is only there while the program runs.
    pub fn leave(&self) {
        if let Some(files) = self.files()
            && let Err(error) = files.remove_socket()
        {
            tracing::warn!("cannot remove {}: {error}", files.socket.display());
        }
    }
}

impl Address {
    /// Connects a process that is no child of the one that took the database. How durable
    /// commits are is the writer's to say, where there is one.
    ///
    /// # Errors
    /// [`Error::Open`] with the remedy.
    #[cfg_attr(
        not(any(feature = "mysql", feature = "postgres")),
        allow(unused_variables)
    )]
    pub fn connect(&self, sync: Sync, owner: Owner) -> Result<Arc<dyn Storage>> {
        match self {
            Address::Sqlite(path) => connect_sqlite(&Files::of(path), owner),
            #[cfg(feature = "postgres")]
            Address::Postgres(server) => connect_postgres(server, sync),
            #[cfg(feature = "mysql")]
            Address::Mysql(server) => connect_mysql(server, sync),
        }
    }
}

pub(crate) fn connect_sqlite(files: &Files, owner: Owner) -> Result<Arc<dyn Storage>> {
    let storage = sqlite::connect(files, owner)?;
    Ok(Arc::new(storage))
}

/// It numbers its processes itself: other boxes know nothing of ours.
#[cfg(feature = "postgres")]
pub(crate) fn connect_postgres(server: &postgres::Server, sync: Sync) -> Result<Arc<dyn Storage>> {
    let storage = postgres::connect(server, sync)?;
    Ok(Arc::new(storage))
}

/// As [`connect_postgres`].
#[cfg(feature = "mysql")]
pub(crate) fn connect_mysql(server: &mysql::Server, sync: Sync) -> Result<Arc<dyn Storage>> {
    let storage = mysql::connect(server, sync)?;
    Ok(Arc::new(storage))
}

/// For a call that is made once, outside of any runtime.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::open(format!("the system gives no event loop: {e}")))
}
