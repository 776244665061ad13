//! The configured database: where it is, how it is prepared and connected to. The
//! only place, beside the writer's own files, that knows one engine from another.
//!
//! Called by the master before the first fork and by each child for its own
//! part. Nothing of SQLite or PostgreSQL is opened in the master: preparing runs in
//! a child that ends afterwards. SQLite has a writer process and a lock on its file;
//! PostgreSQL has neither: its server is the writer, and many bots may share it.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use turnkey_storage::copy::{self, CopySource, CopyTarget, Progress, Report, Wanted};
#[cfg(feature = "mysql")]
use turnkey_storage::mysql;
#[cfg(feature = "postgres")]
use turnkey_storage::postgres;
use turnkey_storage::sqlite::{self, BackedUp, FileId, FileLock, Files, Series};
use turnkey_storage::{DialogLine, Finding, Owner, Storage, Sync};

use crate::author::error::Error;
use crate::config::{Address, Config};
use crate::process::lock_note::Running;

/// A database that this program uses.
pub(crate) struct Database {
    pub(crate) sync: Sync,
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
    /// Takes the configured database, or makes a name for a new one.
    ///
    /// # Errors
    /// [`Error::Start`] with the remedy.
    pub(crate) fn take(config: &Config) -> crate::Result<Self> {
        match &config.database {
            Some(address) => Self::at(address, config.sync),
            None => Self::at(&Address::Sqlite(new_in_temporary_directory()?), config.sync),
        }
    }

    /// Takes the database at an address.
    ///
    /// # Errors
    /// [`Error::Start`] with the remedy.
    pub(crate) fn at(address: &Address, sync: Sync) -> crate::Result<Self> {
        let engine = match address {
            Address::Sqlite(path) => {
                let files = Files::of(path);
                let lock = files.lock().map_err(start_error)?;
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
    /// [`Error::Start`]: another database is configured now.
    pub(crate) fn inherit(config: &Config, path: &Path, lock: OwnedFd) -> crate::Result<Self> {
        let files = Files::of(path);
        let is_other = match &config.database {
            None => false,
            Some(Address::Sqlite(path)) => Files::of(path) != files,
            #[cfg(any(feature = "mysql", feature = "postgres"))]
            Some(_) => true,
        };
        if is_other {
            return Err(Error::Start(format!(
                "an upgrade keeps the database, {}; stop the bot to change --storage",
                path.display()
            )));
        }
        let lock = FileLock::inherited(lock).map_err(start_error)?;
        Ok(Database {
            sync: config.sync,
            engine: Engine::Sqlite {
                files,
                lock,
                file: OnceLock::new(),
            },
        })
    }

    /// The lock on the file, of a database that has one.
    pub(crate) fn lock(&self) -> Option<&FileLock> {
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
    pub(crate) fn prepares_in_transactions(&self) -> bool {
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
    /// [`Error::Start`] with the remedy.
    pub(crate) fn is_current(&self, migrations: &[String]) -> crate::Result<bool> {
        match self.files() {
            Some(files) => sqlite::is_current(&files.database, migrations).map_err(start_error),
            None => Ok(false),
        }
    }

    /// Creates or migrates the tables. Opens and closes the database: for a process
    /// that ends, or has no other connection to it. Where a backup was made before, it
    /// comes back.
    ///
    /// # Errors
    /// [`Error::Start`] with the remedy.
    pub(crate) fn prepare(&self, migrations: &[String]) -> crate::Result<Option<PathBuf>> {
        match &self.engine {
            Engine::Sqlite { files, .. } => {
                sqlite::prepare(&files.database, self.sync, migrations).map_err(start_error)
            }
            #[cfg(feature = "postgres")]
            Engine::Postgres(server) => runtime()?
                .block_on(postgres::prepare(server, migrations))
                .map(|()| None)
                .map_err(start_error),
            #[cfg(feature = "mysql")]
            Engine::Mysql(server) => runtime()?
                .block_on(mysql::prepare(server, self.sync, migrations))
                .map(|()| None)
                .map_err(start_error),
        }
    }

    /// Remembers which file has the name: to be called once it is prepared, before the
    /// first writer. Another one under this name is not ours.
    ///
    /// # Errors
    /// [`Error::Start`] when it is gone.
    pub(crate) fn remember_file(&self) -> crate::Result<()> {
        if let Engine::Sqlite { files, file, .. } = &self.engine {
            let path = &files.database;
            let id = FileId::of(path).map_err(|e| {
                Error::Start(format!("{} was there a moment ago: {e}", path.display()))
            })?;
            file.get_or_init(|| id);
        }
        Ok(())
    }

    /// The file that this program serves, once that is known.
    pub(crate) fn file(&self) -> Option<FileId> {
        match &self.engine {
            Engine::Sqlite { file, .. } => file.get().copied(),
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => None,
            #[cfg(feature = "mysql")]
            Engine::Mysql(_) => None,
        }
    }

    /// Whether the file that this program serves still has its name.
    pub(crate) fn is_in_place(&self) -> bool {
        match (self.files(), self.file()) {
            (Some(files), Some(file)) => FileId::of(&files.database).is_ok_and(|now| now == file),
            _ => true,
        }
    }

    /// The files of a database that needs a writer.
    pub(crate) fn files(&self) -> Option<&Files> {
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
    /// [`Error::Start`] with the remedy.
    pub(crate) fn bind(&self) -> crate::Result<Option<UnixListener>> {
        match &self.engine {
            Engine::Sqlite { files, lock, .. } => files.bind(lock).map(Some).map_err(start_error),
            #[cfg(feature = "postgres")]
            Engine::Postgres(_) => Ok(None),
            #[cfg(feature = "mysql")]
            Engine::Mysql(_) => Ok(None),
        }
    }

    /// Connects this process, after its fork and in its runtime.
    ///
    /// # Errors
    /// [`Error::Start`] with the remedy.
    pub(crate) fn connect(&self, owner: Owner) -> crate::Result<Arc<dyn Storage>> {
        match &self.engine {
            Engine::Sqlite { files, .. } => connect_sqlite(files, owner),
            #[cfg(feature = "postgres")]
            Engine::Postgres(server) => connect_postgres(server, self.sync),
            #[cfg(feature = "mysql")]
            Engine::Mysql(server) => connect_mysql(server, self.sync),
        }
    }

    /// Leaves word for the commands that signal this program.
    pub(crate) fn note(&self, running: &Running) {
        let Some(lock) = self.lock() else { return };
        let noted = serde_json::to_string(running)
            .map_err(std::io::Error::from)
            .and_then(|line| lock.note(&line));
        if let Err(error) = noted {
            // A full disk, say. Only `--pid` is left to those commands then.
            tracing::warn!("cannot note in the lock file which process this is: {error}");
        }
    }

    /// As a person would write it, without a password.
    pub(crate) fn url(&self) -> String {
        match &self.engine {
            Engine::Sqlite { files, .. } => format!("sqlite:{}", files.database.display()),
            #[cfg(feature = "postgres")]
            Engine::Postgres(server) => server.to_string(),
            #[cfg(feature = "mysql")]
            Engine::Mysql(server) => server.to_string(),
        }
    }

    /// Removes what is only there while the program runs.
    pub(crate) fn leave(&self) {
        if let Some(files) = self.files()
            && let Err(error) = files.remove_socket()
        {
            tracing::warn!("cannot remove {}: {error}", files.socket.display());
        }
    }
}

/// Connects a process that is no child of the one that took the database.
///
/// # Errors
/// [`Error::Start`] with the remedy.
#[cfg(feature = "bench")]
#[cfg_attr(
    not(any(feature = "mysql", feature = "postgres")),
    allow(unused_variables)
)]
pub(crate) fn connect(
    address: &Address,
    sync: Sync,
    owner: Owner,
) -> crate::Result<Arc<dyn Storage>> {
    match address {
        // How durable is the writer's to say.
        Address::Sqlite(path) => connect_sqlite(&Files::of(path), owner),
        #[cfg(feature = "postgres")]
        Address::Postgres(server) => connect_postgres(server, sync),
        #[cfg(feature = "mysql")]
        Address::Mysql(server) => connect_mysql(server, sync),
    }
}

fn connect_sqlite(files: &Files, owner: Owner) -> crate::Result<Arc<dyn Storage>> {
    let storage = sqlite::connect(files, owner).map_err(start_error)?;
    Ok(Arc::new(storage))
}

/// It numbers its processes itself: other boxes know nothing of ours.
#[cfg(feature = "postgres")]
fn connect_postgres(server: &postgres::Server, sync: Sync) -> crate::Result<Arc<dyn Storage>> {
    let storage = postgres::connect(server, sync).map_err(start_error)?;
    Ok(Arc::new(storage))
}

/// As [`connect_postgres`].
#[cfg(feature = "mysql")]
fn connect_mysql(server: &mysql::Server, sync: Sync) -> crate::Result<Arc<dyn Storage>> {
    let storage = mysql::connect(server, sync).map_err(start_error)?;
    Ok(Arc::new(storage))
}

/// Hands every dialog of a database to `each`.
///
/// # Errors
/// When it cannot be read; else what `each` returned.
pub(crate) fn dump<E>(
    address: &Address,
    with_history: bool,
    each: impl FnMut(DialogLine) -> Result<(), E>,
) -> Result<(), E>
where
    E: From<turnkey_storage::Error> + From<std::io::Error>,
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
pub(crate) fn check(address: &Address) -> anyhow::Result<Vec<Finding>> {
    let runtime = runtime()?;
    Ok(match address {
        Address::Sqlite(path) => runtime.block_on(sqlite::check(path)),
        #[cfg(feature = "postgres")]
        Address::Postgres(server) => runtime.block_on(postgres::check(server)),
        #[cfg(feature = "mysql")]
        Address::Mysql(server) => runtime.block_on(mysql::check(server)),
    }?)
}

/// Lets an operator's command work on a database, whether a bot uses it or not: as one
/// more client of the writer's, or with a writer of its own.
///
/// # Errors
/// When it cannot be opened; else what `work` returned.
pub(crate) fn operate<T>(
    address: &Address,
    work: impl AsyncFnOnce(&dyn Storage) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let runtime = runtime()?;
    let owner = sqlite::random_owner()?;
    match address {
        Address::Sqlite(path) => {
            if !path.is_file() {
                anyhow::bail!(
                    "there is no file {}; name the bot's database with --storage sqlite:PATH",
                    path.display()
                );
            }
            let files = Files::of(path);
            if files.is_served()? {
                return runtime.block_on(async {
                    work(&*connect_sqlite(&files, owner).map_err(plain)?).await
                });
            }
            operate_alone(
                &Database::at(address, Sync::Full).map_err(plain)?,
                runtime,
                owner,
                work,
            )
        }
        #[cfg(feature = "postgres")]
        Address::Postgres(server) => runtime
            .block_on(async { work(&*connect_postgres(server, Sync::Full).map_err(plain)?).await }),
        #[cfg(feature = "mysql")]
        Address::Mysql(server) => runtime
            .block_on(async { work(&*connect_mysql(server, Sync::Full).map_err(plain)?).await }),
    }
}

/// With the file to ourselves: its writer is a thread, for as long as the work takes.
fn operate_alone<T>(
    database: &Database,
    runtime: tokio::runtime::Runtime,
    owner: Owner,
    work: impl AsyncFnOnce(&dyn Storage) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let listener = database.bind().map_err(plain)?;
    let (Some(listener), Some(files)) = (listener, database.files()) else {
        anyhow::bail!("this database needs no writer");
    };
    sqlite::prepare_for_operator(&files.database, database.sync)
        .inspect_err(|_| database.leave())?;
    let (lifeline, stop) = UnixStream::pair()?;
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
        .spawn(move || writer.run(stop.as_fd()))?;
    let done =
        runtime.block_on(async { work(&*connect_sqlite(files, owner).map_err(plain)?).await });
    // Our connection is a task of the runtime, and the writer waits for its end; closing
    // the line stops it.
    drop(runtime);
    drop(lifeline);
    let written = writer
        .join()
        .unwrap_or_else(|_| Err(turnkey_storage::Error::Poisoned("it panicked".to_owned())));
    database.leave();
    let done = done?;
    written?;
    Ok(done)
}

/// Our own error, whose words are for people already.
fn plain(error: Error) -> anyhow::Error {
    anyhow::anyhow!("{error}")
}

/// Copies a database to a file, as of one moment.
///
/// # Errors
/// With the remedy; also when the engine's own tools are to be used.
pub(crate) fn backup(
    address: &Address,
    to: &Path,
    progress: impl FnMut(u64, u64),
) -> turnkey_storage::Result<BackedUp> {
    sqlite::backup(sqlite_file(address)?, to, progress)
}

/// Puts a copy in a database's place; the name under which what was there is kept.
///
/// # Errors
/// As [`backup`]; also when a bot uses the database.
pub(crate) fn restore(
    from: &Path,
    address: &Address,
    replace: bool,
    progress: impl FnMut(u64, u64),
) -> turnkey_storage::Result<(BackedUp, Option<PathBuf>)> {
    let files = Files::of(sqlite_file(address)?);
    let lock = files.lock()?;
    sqlite::restore(from, &files, &lock, replace, progress)
}

/// Backups of the database in a directory.
///
/// # Errors
/// As [`backup`].
pub(crate) fn series(address: &Address, directory: &Path) -> turnkey_storage::Result<Series> {
    sqlite::must_exist(sqlite_file(address)?)?;
    series_of(address, directory)
}

/// As [`series`], of a database that may not be there yet.
///
/// # Errors
/// When it is no SQLite file.
pub(crate) fn series_of(address: &Address, directory: &Path) -> turnkey_storage::Result<Series> {
    Ok(Series::scheduled(sqlite_file(address)?, directory))
}

fn sqlite_file(address: &Address) -> turnkey_storage::Result<&Path> {
    match address {
        Address::Sqlite(path) => Ok(path),
        #[cfg(any(feature = "mysql", feature = "postgres"))]
        other => Err(turnkey_storage::Error::Open(format!(
            "{other} is no SQLite file: use its server's own tools, such as pg_dump or mariadb-dump, or `turnkey copy` to a file while no bot runs"
        ))),
    }
}

/// Copies everything from one database to another; none when Ctrl-C stopped it.
///
/// # Errors
/// When it cannot be done.
pub(crate) fn copy(
    from: &Address,
    to: &Address,
    migrations: &[String],
    wanted: &Wanted,
    progress: impl FnMut(Progress<'_>),
) -> anyhow::Result<Option<Report>> {
    if is_same(from, to) {
        anyhow::bail!("--from and --to are the same database, {to}; name another one with --to");
    }
    let runtime = runtime()?;
    let copied = runtime.block_on(async {
        let copied = async {
            let source = source(from).await.map_err(|e| about("--from", e))?;
            let target = target(to).await.map_err(|e| about("--to", e))?;
            let copied = copy::run(&*source, &*target, migrations, wanted, progress).await;
            copied.map_err(|e| about("--to", e))
        };
        tokio::select! {
            copied = copied => copied.map(Some),
            pressed = tokio::signal::ctrl_c() => match pressed {
                Ok(()) => Ok(None),
                Err(e) => Err(turnkey_storage::Error::Open(e.to_string())),
            },
        }
    });
    // A thread that still reads is not waited for.
    runtime.shutdown_background();
    Ok(copied?)
}

/// The engines' sentences name the flag of the other commands.
fn about(flag: &str, error: turnkey_storage::Error) -> turnkey_storage::Error {
    match error {
        turnkey_storage::Error::Open(sentence) => {
            turnkey_storage::Error::Open(sentence.replace("--storage", flag))
        }
        other => other,
    }
}

fn is_same(from: &Address, to: &Address) -> bool {
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

async fn source(address: &Address) -> turnkey_storage::Result<Box<dyn CopySource>> {
    Ok(match address {
        Address::Sqlite(path) => Box::new(sqlite::copy_source(path)?),
        #[cfg(feature = "postgres")]
        Address::Postgres(server) => Box::new(postgres::copy_source(server).await?),
        #[cfg(feature = "mysql")]
        Address::Mysql(server) => Box::new(mysql::copy_source(server).await?),
    })
}

async fn target(address: &Address) -> turnkey_storage::Result<Box<dyn CopyTarget>> {
    Ok(match address {
        Address::Sqlite(path) => Box::new(sqlite::copy_target(path)?),
        #[cfg(feature = "postgres")]
        Address::Postgres(server) => Box::new(postgres::copy_target(server).await?),
        #[cfg(feature = "mysql")]
        Address::Mysql(server) => Box::new(mysql::copy_target(server).await?),
    })
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

pub(crate) fn start_error(error: turnkey_storage::Error) -> Error {
    Error::Start(error.to_string())
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// A file of its own for this run, empty and readable by this user alone.
fn new_in_temporary_directory() -> crate::Result<PathBuf> {
    let made = tempfile::Builder::new()
        .prefix("turnkey-")
        .suffix(".db")
        .tempfile()
        .and_then(|file| file.into_temp_path().keep().map_err(|e| e.error));
    made.map_err(|e| {
        Error::Start(format!(
            "cannot make a database in {}: {e}; name a file with --storage sqlite:bot.db",
            std::env::temp_dir().display()
        ))
    })
}
