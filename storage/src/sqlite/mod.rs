//! The SQLite engine: one file, one writer, any number of processes.
//!
//! | file | what |
//! | --- | --- |
//! | `schema.rs` | tables, migrations |
//! | `pragmas.rs` | every setting, with its reason |
//! | `writer.rs` | the loop: gather, execute, commit, answer |
//! | `statements.rs` | the SQL of a turn |
//! | `locks.rs` | who holds which dialog, who waits |
//! | `protocol.rs` | the bytes between worker and writer |
//! | `client.rs` | the worker's side |
//! | `readers.rs` | read-only connections |
//! | `checkpoint.rs` | when the log is copied into the file |
//! | `inspect.rs` | dump and check, while a bot runs or not |
//! | `backup.rs` | a copy of the file while it is written to, and the way back |
//! | `names.rs` | a file gets a name, never one that is taken |
//! | `series.rs` | backups that are named by the time, the oldest removed |
//! | `copy.rs` | its side of a move to or from another database |
//! | `presence.rs` | whether the names still lead to the open files |
//! | `rescue.rs` | what an open file without a name holds, written out |
//! | `ceiling.rs` | the writer's SQL without the writer, for measuring only |
//!
//! A program that uses it: [`Files::lock`] once, so that nobody else serves the
//! file; [`prepare`]; [`Files::bind`] the socket; start [`Writer::run`] in a
//! process or thread; [`connect`] in every process that takes turns.
//!
//! Beside `bot.db` stand SQLite's own `bot.db-wal` and `bot.db-shm`, and ours:
//! `bot.db-lock`, held while the file is served, and `bot.db-writer`, the socket.

mod backup;
#[doc(hidden)]
pub mod ceiling;
mod checkpoint;
mod client;
mod copy;
mod inspect;
pub mod locks;
mod names;
mod pragmas;
mod presence;
mod protocol;
mod readers;
mod rescue;
mod schema;
mod series;
mod statements;
mod writer;

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::stat::{Mode, fchmod};
use rusqlite::Connection;

pub use backup::{BackedUp, backup, restore};
pub use copy::{CopyFile, copy_source, copy_target};
pub use inspect::{check, dump, must_exist};
pub use presence::FileId;
pub use schema::{is_current, prepare, prepare_for_operator};
pub use series::{Series, SeriesLock};
pub use writer::{Taken, Writer, WriterStats};

use crate::{
    Begin, Begun, BoxFuture, Commit, DialogKey, Error, Grant, Owner, ReplyId, Result, Row,
    Statement, Storage,
};

/// Bytes of a socket's path that the kernel takes, less the final NUL (unix(7)).
const MAX_SOCKET_PATH: usize = 107;

/// How long a start waits for the last program to leave the file: one whose
/// master was killed still finishes its turns.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The files of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// The database itself.
    pub database: PathBuf,
    /// Locked while the database is served.
    pub lock: PathBuf,
    /// Where the writer listens.
    pub socket: PathBuf,
}

/// Holds a database for this program. The lock is the kernel's and is shared
/// with the processes forked from this one: it ends with the last of them.
#[derive(Debug)]
pub struct FileLock {
    lock: Flock<File>,
}

impl FileLock {
    /// The same lock, from a program that this one takes over from and was started by.
    ///
    /// # Errors
    /// [`Error::Open`] when it is not a lock that is held by that program.
    pub fn inherited(file: OwnedFd) -> Result<Self> {
        match Flock::lock(File::from(file), FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(FileLock { lock }),
            Err((_, e)) => Err(Error::Open(format!("the lock was not left to us: {e}"))),
        }
    }

    /// Leaves a line for whoever looks at the running program: see [`Files::note`].
    /// Whoever reads meanwhile sees this line or the one before.
    ///
    /// # Errors
    /// What the file system says.
    pub fn note(&self, line: &str) -> std::io::Result<()> {
        let line = format!("{line}\n");
        self.lock.write_all_at(line.as_bytes(), 0)?;
        self.lock.set_len(line.len() as u64)
    }
}

impl AsFd for FileLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

impl Files {
    /// The files of a database. Symbolic links are followed, as SQLite does:
    /// whatever name it is reached by, a database has one lock.
    pub fn of(database: &Path) -> Self {
        let database = &real_path(database);
        let beside = |suffix: &str| {
            let mut name = database.as_os_str().to_owned();
            name.push(suffix);
            PathBuf::from(name)
        };
        Files {
            database: database.to_owned(),
            lock: beside("-lock"),
            socket: beside("-writer"),
        }
    }

    /// Takes the database for this program, waiting a few seconds for an earlier
    /// one that is about to leave.
    ///
    /// # Errors
    /// [`Error::NotYet`] when another program serves it, [`Error::Open`] when there is no
    /// right to write beside it.
    pub fn lock(&self) -> Result<FileLock> {
        refuse_device(&self.database)?;
        let mut file = self.open_lock()?;
        let deadline = Instant::now() + LOCK_WAIT;
        let mut said = false;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => {
                    // What an earlier program noted there is not true any more.
                    lock.set_len(0).map_err(|e| {
                        Error::Open(format!("cannot write {}: {e}", self.lock.display()))
                    })?;
                    return Ok(FileLock { lock });
                }
                Err((back, nix::errno::Errno::EWOULDBLOCK)) if Instant::now() < deadline => {
                    file = back;
                    if !std::mem::replace(&mut said, true) {
                        tracing::info!(
                            "{} is in use: waiting for the other program to leave",
                            self.database.display()
                        );
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => {
                    return Err(Error::NotYet(format!(
                        "{} is in use by another running bot; stop it first, or name another file with --storage",
                        self.database.display()
                    )));
                }
                Err((_, e)) => {
                    return Err(Error::Open(format!(
                        "cannot lock {}: {e}",
                        self.lock.display()
                    )));
                }
            }
        }
    }

    /// Whether some program serves the database now.
    ///
    /// # Errors
    /// [`Error::Open`] when that cannot be found out.
    pub fn is_served(&self) -> Result<bool> {
        if !self.lock.exists() {
            return Ok(false);
        }
        match Flock::lock(self.open_lock()?, FlockArg::LockSharedNonblock) {
            Ok(_) => Ok(false),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(true),
            Err((_, e)) => Err(Error::Open(format!(
                "cannot look at {}: {e}",
                self.lock.display()
            ))),
        }
    }

    /// The line that the program which serves the database has noted, empty if it has
    /// not; none when no program does.
    ///
    /// # Errors
    /// [`Error::Open`] when that cannot be found out.
    pub fn note(&self) -> Result<Option<String>> {
        if !self.is_served()? {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&self.lock)
            .map_err(|e| Error::Open(format!("cannot read {}: {e}", self.lock.display())))?;
        Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
    }

    /// Binds the writer's socket, mode 0600. Only whoever holds the lock may: a
    /// socket left by a killed program is removed.
    ///
    /// # Errors
    /// [`Error::Open`] when the directory takes no sockets.
    pub fn bind(&self, _lock: &FileLock) -> Result<UnixListener> {
        let fail = |e: std::io::Error| {
            Error::Open(format!(
                "cannot make the socket {}: {e}; keep the database on a local disk this user may write to",
                self.socket.display()
            ))
        };
        if fs::symlink_metadata(&self.socket).is_ok_and(|there| !there.file_type().is_socket()) {
            return Err(Error::Open(format!(
                "{} is no socket; move it away, the database's writer listens under this name",
                self.socket.display()
            )));
        }
        self.remove_socket().map_err(fail)?;
        bind_private(&ShortPath::of(&self.socket).path).map_err(|e| fail(e.into()))
    }

    /// Removes the writer's socket, at the end.
    ///
    /// # Errors
    /// What the file system says, save that it is not there.
    pub fn remove_socket(&self) -> std::io::Result<()> {
        match std::fs::remove_file(&self.socket) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    fn open_lock(&self) -> Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            // Where everybody may write, a link of somebody else's leads anywhere.
            .custom_flags(nix::libc::O_NOFOLLOW)
            .open(&self.lock)
            .map_err(|e| {
                Error::Open(match e.kind() {
                    ErrorKind::PermissionDenied if self.lock.exists() => format!(
                        "no right to write to {}; give this user write access to it",
                        self.lock.display()
                    ),
                    ErrorKind::PermissionDenied => format!(
                        "no right to write to the directory {}; give this user write access to it, the database has other files beside it",
                        directory_of(&self.lock).display()
                    ),
                    ErrorKind::NotFound => format!(
                        "the directory of {} does not exist; create it, or name another file with --storage",
                        self.database.display()
                    ),
                    _ => format!("cannot create {}: {e}", self.lock.display()),
                })
            })
    }
}

/// Refuses what a name leads to when that is neither a file nor a directory (which is
/// refused with a sentence of its own).
pub(crate) fn refuse_device(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(there) if !there.is_file() && !there.is_dir() => Err(Error::Open(format!(
            "{} is a device, pipe or socket, and a database needs a file; name one with --storage",
            path.display()
        ))),
        _ => Ok(()),
    }
}

/// Where a file is.
fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Connecting to a socket takes the right to write to it. Linux gives the file the
/// mode that the socket had before, so it never exists with another one, and the
/// process's mask is left alone: it is every thread's.
fn bind_private(path: &Path) -> nix::Result<UnixListener> {
    let socket = socket::socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    socket::listen(&socket, Backlog::MAXCONN)?;
    Ok(UnixListener::from(socket))
}

/// The path without symbolic links; of a file that does not exist yet, that of its
/// directory. A path that leads nowhere stays as it is: opening it will tell.
fn real_path(path: &Path) -> PathBuf {
    if let Ok(real) = path.canonicalize() {
        return real;
    }
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    match (directory.canonicalize(), path.file_name()) {
        (Ok(directory), Some(name)) => directory.join(name),
        _ => path.to_owned(),
    }
}

/// A socket's path in a form short enough for the kernel: deep directories are
/// reached through a handle on the directory, open as long as this lives.
struct ShortPath {
    path: PathBuf,
    _directory: Option<File>,
}

impl ShortPath {
    fn of(path: &Path) -> Self {
        use std::os::unix::ffi::OsStrExt;
        if path.as_os_str().as_bytes().len() > MAX_SOCKET_PATH
            && let (Some(Ok(directory)), Some(name)) =
                (path.parent().map(File::open), path.file_name())
        {
            return ShortPath {
                path: PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name),
                _directory: Some(directory),
            };
        }
        ShortPath {
            path: path.to_owned(),
            _directory: None,
        }
    }
}

/// The storage of a process that takes turns: writes through the writer, reads
/// by itself.
#[derive(Debug)]
pub struct SqliteStorage {
    writer: client::WriterClient,
    readers: readers::Readers,
}

/// Connects this process as `owner` to the writer of a database. To be called in
/// a tokio runtime, after any fork.
///
/// # Errors
/// [`Error::Open`] when the file cannot be read.
pub fn connect(files: &Files, owner: Owner) -> Result<SqliteStorage> {
    Ok(SqliteStorage {
        writer: client::WriterClient::new(files.socket.clone(), owner),
        readers: readers::Readers::open(&files.database)?,
    })
}

/// A number for a process that nobody numbered.
///
/// # Errors
/// [`Error::Unavailable`] when the kernel gives no random bytes.
pub fn random_owner() -> Result<Owner> {
    getrandom::u64()
        .map(|n| Owner(n >> 1 | 1))
        .map_err(|e| Error::Unavailable(e.to_string()))
}

impl SqliteStorage {
    /// Runs statements in one transaction, outside any turn: all or none, and
    /// durable when it returns. At most once: unlike a turn's commit they cannot be
    /// recognised, so they are not sent again to the successor of a writer that died.
    ///
    /// # Errors
    /// [`Error::Statement`] when one of them fails; [`Error::Unavailable`] when the
    /// writer died before it answered, they may have taken effect or not.
    pub async fn write(&self, statements: Vec<Statement>) -> Result<()> {
        self.writer.write(statements).await
    }

    /// Reads with a connection of the pool, on a thread of its own.
    ///
    /// # Errors
    /// [`Error::Statement`] with SQLite's reason.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        self.readers.read(read).await
    }

    /// The workers that are connected to the writer.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when no writer answers.
    pub async fn owners(&self) -> Result<Vec<Owner>> {
        self.writer.owners().await
    }
}

impl Storage for SqliteStorage {
    fn begin(&self, begin: Begin) -> BoxFuture<'_, Result<Begun>> {
        Box::pin(self.writer.begin(begin))
    }

    fn commit<'a>(&'a self, grant: &'a mut Grant, commit: Commit) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.writer.commit(grant, commit))
    }

    fn sent<'a>(&'a self, grant: &'a Grant, replies: Vec<ReplyId>) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.writer.sent(grant, replies))
    }

    fn end(&self, grant: Grant, replies: Vec<ReplyId>) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.writer.end(grant, replies))
    }

    fn query<'a>(
        &'a self,
        grant: Option<&'a Grant>,
        query: Statement,
    ) -> BoxFuture<'a, Result<Vec<Row>>> {
        Box::pin(async move {
            // The turn before this one may be in a batch that is not committed.
            if grant.is_some_and(|grant| grant.open) {
                self.writer.barrier().await?;
            }
            self.readers.query(query).await
        })
    }

    fn dialogs_with_unsent(&self, limit: u32) -> BoxFuture<'_, Result<Vec<DialogKey>>> {
        Box::pin(self.writer.dialogs_with_unsent(limit))
    }

    fn own(&self, statements: Vec<Statement>) -> BoxFuture<'_, Result<Vec<u64>>> {
        Box::pin(self.writer.own(statements))
    }

    fn own_query(&self, query: Statement) -> BoxFuture<'_, Result<Vec<Row>>> {
        // Readers only read, so the author's guard is not in their way.
        Box::pin(self.readers.query(query))
    }

    fn due(&self, limit: u32) -> BoxFuture<'_, Result<Vec<DialogKey>>> {
        Box::pin(self.writer.due(limit))
    }

    fn write_ready(&self) -> BoxFuture<'_, Result<()>> {
        // A transaction with nothing in it: it takes the file's write lock, and the writer.
        Box::pin(async { self.writer.own(Vec::new()).await.map(drop) })
    }

    fn numbers_dialogs(&self) -> bool {
        true
    }
}
