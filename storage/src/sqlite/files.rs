//! The files of a database: their names, the lock of the program that serves it, the
//! writer's socket.
//!
//! Used by all code that serves, copies or inspects a database. Invariant: a database has one
//! lock, whatever name it is reached by, and only the lock's holder binds the socket. Bounds:
//! [`LOCK_WAIT`] for another program to exit; [`MAX_SOCKET_PATH`] bytes of a socket's path; a
//! longer one is reached through a handle of its directory.

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

use crate::{Error, OpenError, Remedy, Result};

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
            Err((_, e)) => Err(Error::open(format!("the lock was not left to us: {e}"))),
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
        let deadline = Instant::now() + LOCK_WAIT;
        let mut said = false;
        loop {
            if let Some(lock) = self.try_lock()? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                return Err(Error::NotYet(
                    OpenError::new(format!(
                        "{} is in use by another running bot",
                        self.database.display()
                    ))
                    .remedy("stop it first")
                    .remedy(Remedy::AnotherFile),
                ));
            }
            if !std::mem::replace(&mut said, true) {
                tracing::info!(
                    "{} is in use: waiting for the other program to leave",
                    self.database.display()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Takes the database for this program; none when another serves it.
    ///
    /// # Errors
    /// [`Error::Open`] when there is no right to write beside it.
    pub(crate) fn try_lock(&self) -> Result<Option<FileLock>> {
        refuse_device(&self.database)?;
        match Flock::lock(self.open_lock()?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => {
                // What an earlier program noted there is not true any more.
                lock.set_len(0).map_err(|e| {
                    Error::open(format!("cannot write {}: {e}", self.lock.display()))
                })?;
                Ok(Some(FileLock { lock }))
            }
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, e)) => Err(Error::open(format!(
                "cannot lock {}: {e}",
                self.lock.display()
            ))),
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
            Err((_, e)) => Err(Error::open(format!(
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
        self.last_note().map(Some)
    }

    /// The line in the lock file, of whoever has taken it last; empty if they noted nothing.
    ///
    /// # Errors
    /// [`Error::Open`] when it cannot be read.
    pub(super) fn last_note(&self) -> Result<String> {
        let text = std::fs::read_to_string(&self.lock)
            .map_err(|e| Error::open(format!("cannot read {}: {e}", self.lock.display())))?;
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// Binds the writer's socket, mode 0600. Only whoever holds the lock may: a
    /// socket left by a killed program is removed.
    ///
    /// # Errors
    /// [`Error::Open`] when the directory takes no sockets.
    pub fn bind(&self, _lock: &FileLock) -> Result<UnixListener> {
        let fail = |e: std::io::Error| {
            Error::Open(
                OpenError::new(format!(
                    "cannot make the socket {}: {e}",
                    self.socket.display()
                ))
                .remedy("keep the database on a local disk this user may write to"),
            )
        };
        if fs::symlink_metadata(&self.socket).is_ok_and(|there| !there.file_type().is_socket()) {
            return Err(Error::Open(
                OpenError::new(format!("{} is no socket", self.socket.display()))
                    .remedy("move it away, the database's writer listens under this name"),
            ));
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
                    ErrorKind::PermissionDenied if self.lock.exists() => {
                        OpenError::new(format!("no right to write to {}", self.lock.display()))
                            .remedy("give this user write access to it")
                    }
                    ErrorKind::PermissionDenied => OpenError::new(format!(
                        "no right to write to the directory {}",
                        directory_of(&self.lock).display()
                    ))
                    .remedy(
                        "give this user write access to it, the database has other files beside it",
                    ),
                    ErrorKind::NotFound => OpenError::new(format!(
                        "the directory of {} does not exist",
                        self.database.display()
                    ))
                    .remedy("create it")
                    .remedy(Remedy::AnotherFile),
                    _ => format!("cannot create {}: {e}", self.lock.display()).into(),
                })
            })
    }
}

/// Refuses what a name leads to when that is neither a file nor a directory (which is
/// refused with a sentence of its own).
pub(super) fn refuse_device(path: &Path) -> Result<()> {
    match fs::metadata(path) {
        Ok(there) if !there.is_file() && !there.is_dir() => Err(Error::Open(
            OpenError::new(format!(
                "{} is a device, pipe or socket, and a database needs a file",
                path.display()
            ))
            .remedy(Remedy::NameFile),
        )),
        _ => Ok(()),
    }
}

/// Where a file is.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Connecting to a socket takes the right to write to it. Linux gives the file the
/// mode that the socket had before, so it never exists with another one, and the
/// process's mask is left alone: it is every thread's.
pub(super) fn bind_private(path: &Path) -> nix::Result<UnixListener> {
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
pub(super) fn real_path(path: &Path) -> PathBuf {
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
pub(super) struct ShortPath {
    pub(super) path: PathBuf,
    _directory: Option<File>,
}

impl ShortPath {
    pub(super) fn of(path: &Path) -> Self {
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
