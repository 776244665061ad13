//! An operator's tools for a database, whether a bot serves it or not: dump, check, work on its
//! rows, back up, restore, copy.
//!
//! Called by command-line programs, outside any async runtime. Each call opens the database and
//! closes it again. Bounds: those of the engines.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::address::Address;
use crate::copy::{self, CopySource, CopyTarget, Progress, Report, Wanted};
use crate::database::{Database, connect_sqlite, runtime};
use crate::error::{Error, Result};
#[cfg(feature = "mysql")]
use crate::mysql;
#[cfg(feature = "postgres")]
use crate::postgres;
use crate::remedy::{OpenError, Remedy};
use crate::sqlite::{self, BackedUp, BackupDirectory, Files};
use crate::{DialogLine, Finding, Owner, Storage, Sync};

/// Hands every dialog of a database to `each`.
///
/// # Errors
/// When it cannot be read; else what `each` returned.
pub fn dump<E>(
    address: &Address,
    with_history: bool,
    each: impl FnMut(DialogLine) -> std::result::Result<(), E>,
) -> std::result::Result<(), E>
where
    E: From<Error> + From<std::io::Error>,
{
    match address {
        Address::Sqlite(path) => sqlite::dump(path, with_history, each),
        #[cfg(feature = "postgres")]
        Address::Postgres(server) => {
            runtime()?.block_on(postgres::dump(server, with_history, each))
        }
        #[cfg(feature = "mysql")]
        Address::Mysql(server) => runtime()?.block_on(mysql::dump(server, with_history, each)),
    }
}

/// Verifies a database.
///
/// # Errors
/// When it cannot be read.
pub fn check(address: &Address) -> Result<Vec<Finding>> {
    let runtime = runtime()?;
    match address {
        Address::Sqlite(path) => runtime.block_on(sqlite::check(path)),
        #[cfg(feature = "postgres")]
        Address::Postgres(server) => runtime.block_on(postgres::check(server)),
        #[cfg(feature = "mysql")]
        Address::Mysql(server) => runtime.block_on(mysql::check(server)),
    }
}

/// Lets an operator's command work on a database, whether a bot uses it or not: as one
/// more client of the writer's, or with a writer of its own.
///
/// # Errors
/// When it cannot be opened; else what `work` returned.
pub fn operate<T, E: From<Error>>(
    address: &Address,
    work: impl AsyncFnOnce(&dyn Storage) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let runtime = runtime()?;
    let owner = sqlite::random_owner()?;
    match address {
        Address::Sqlite(path) => {
            if !path.is_file() {
                return Err(E::from(Error::Open(
                    OpenError::new(format!("there is no file {}", path.display()))
                        .remedy(Remedy::NameDatabase),
                )));
            }
            let files = Files::of(path);
            if files.is_served()? {
                return runtime.block_on(async { work(&*connect_sqlite(&files, owner)?).await });
            }
            operate_alone(&Database::at(address, Sync::Full)?, runtime, owner, work)
        }
        #[cfg(feature = "postgres")]
        Address::Postgres(server) => runtime.block_on(async {
            work(&*crate::database::connect_postgres(server, Sync::Full)?).await
        }),
        #[cfg(feature = "mysql")]
        Address::Mysql(server) => runtime
            .block_on(async { work(&*crate::database::connect_mysql(server, Sync::Full)?).await }),
    }
}

/// With the file to ourselves: its writer is a thread, for as long as the work takes.
fn operate_alone<T, E: From<Error>>(
    database: &Database,
    runtime: tokio::runtime::Runtime,
    owner: Owner,
    work: impl AsyncFnOnce(&dyn Storage) -> std::result::Result<T, E>,
) -> std::result::Result<T, E> {
    let listener = database.bind()?;
    let (Some(listener), Some(files)) = (listener, database.files()) else {
        return Err(E::from(Error::open(
            "this database needs no writer".to_owned(),
        )));
    };
    sqlite::prepare_for_operator(&files.database, database.sync)
        .inspect_err(|_| database.leave())?;
    let gone = |e: std::io::Error| Error::open(format!("the system gives no writer: {e}"));
    let (lifeline, stop) = UnixStream::pair().map_err(gone)?;
    let writer = sqlite::Writer {
        files: files.clone(),
        file: None,
        sync: database.sync,
        listener,
        expected: Vec::new(),
        monitor: Box::new(|_| {}),
    };
    let writer = std::thread::Builder::new()
        .name("writer".to_owned())
        .spawn(move || writer.run(stop.as_fd()))
        .map_err(gone)?;
    let done = runtime.block_on(async { work(&*connect_sqlite(files, owner)?).await });
    // Our connection is a task of the runtime, and the writer waits for its end; closing
    // the line stops it.
    drop(runtime);
    drop(lifeline);
    let written = writer
        .join()
        .unwrap_or_else(|_| Err(Error::Poisoned("it panicked".to_owned())));
    database.leave();
    let done = done?;
    written?;
    Ok(done)
}

/// Copies a database to a file, as of one moment.
///
/// # Errors
/// With the remedy; also when the engine's own tools are to be used.
pub fn backup(address: &Address, to: &Path, progress: impl FnMut(u64, u64)) -> Result<BackedUp> {
    sqlite::backup(sqlite_file(address)?, to, progress)
}

/// Puts a copy in a database's place; the name under which what was there is kept, if that
/// was asked for.
///
/// # Errors
/// As [`backup`]; also when a bot uses the database.
pub fn restore(
    from: &Path,
    address: &Address,
    existing: sqlite::Existing,
    progress: impl FnMut(u64, u64),
) -> Result<(BackedUp, Option<PathBuf>)> {
    let files = Files::of(sqlite_file(address)?);
    let lock = files.lock()?;
    sqlite::restore(from, &files, &lock, existing, progress)
}

/// Backups of the database in a directory.
///
/// # Errors
/// As [`backup`].
pub fn backups(address: &Address, directory: &Path) -> Result<BackupDirectory> {
    sqlite::must_exist(sqlite_file(address)?)?;
    backups_of(address, directory)
}

/// As [`backups`], of a database that may not be there yet.
///
/// # Errors
/// When it is no SQLite file.
pub fn backups_of(address: &Address, directory: &Path) -> Result<BackupDirectory> {
    Ok(BackupDirectory::scheduled(sqlite_file(address)?, directory))
}

fn sqlite_file(address: &Address) -> Result<&Path> {
    match address {
        Address::Sqlite(path) => Ok(path),
        #[cfg(any(feature = "mysql", feature = "postgres"))]
        other => Err(Error::open(format!(
            "{other} is no SQLite file: use its server's own tools, such as pg_dump or mariadb-dump, or `turnkey copy` to a file while no bot runs"
        ))),
    }
}

/// A side of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What is read.
    From,
    /// What is written.
    To,
}

/// Copies everything from one database to another. Dropping the future stops it: what was
/// copied so far does not count, and the target says so.
///
/// # Errors
/// When it cannot be done, and at which side.
pub async fn copy(
    from: &Address,
    to: &Address,
    migrations: &[String],
    wanted: &Wanted,
    progress: impl FnMut(Progress<'_>),
) -> std::result::Result<Report, (Side, Error)> {
    let source = source(from).await.map_err(|e| (Side::From, e))?;
    let target = target(to).await.map_err(|e| (Side::To, e))?;
    copy::run(&*source, &*target, migrations, wanted, progress)
        .await
        .map_err(|e| (Side::To, e))
}

/// Whether two addresses name the same database, as far as their words tell.
pub fn is_same(from: &Address, to: &Address) -> bool {
    match (from, to) {
        (Address::Sqlite(from), Address::Sqlite(to)) => Files::of(from) == Files::of(to),
        #[cfg(feature = "postgres")]
        (Address::Postgres(from), Address::Postgres(to)) => from.to_string() == to.to_string(),
        #[cfg(feature = "mysql")]
        (Address::Mysql(from), Address::Mysql(to)) => from.to_string() == to.to_string(),
        #[cfg(any(feature = "mysql", feature = "postgres"))]
        _ => false,
    }
}

async fn source(address: &Address) -> Result<Box<dyn CopySource>> {
    Ok(match address {
        Address::Sqlite(path) => Box::new(sqlite::copy_source(path)?),
        #[cfg(feature = "postgres")]
        Address::Postgres(server) => Box::new(postgres::copy_source(server).await?),
        #[cfg(feature = "mysql")]
        Address::Mysql(server) => Box::new(mysql::copy_source(server).await?),
    })
}

async fn target(address: &Address) -> Result<Box<dyn CopyTarget>> {
    Ok(match address {
        Address::Sqlite(path) => Box::new(sqlite::copy_target(path)?),
        #[cfg(feature = "postgres")]
        Address::Postgres(server) => Box::new(postgres::copy_target(server).await?),
        #[cfg(feature = "mysql")]
        Address::Mysql(server) => Box::new(mysql::copy_target(server).await?),
    })
}
