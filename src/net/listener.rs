//! A listening socket: TCP or Unix, for the world or for operators.
//!
//! Bound by `process/sockets.rs`, shared by all workers; `worker/accept.rs` accepts from it.
//! Invariants: all copies share one queue of connections; a Unix socket's file is removed only
//! while it still belongs to this socket.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::{fs, io};

use socket2::{Domain, SockFilter, SockRef};

/// Who connects to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Purpose {
    /// Platforms and callers.
    Public,
    /// Operators, and programs that watch.
    Admin,
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) purpose: Purpose,
    pub(crate) socket: ListeningSocket,
}

/// Its two kinds.
#[derive(Debug)]
pub(crate) enum ListeningSocket {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// Where a Unix socket is in the file system.
#[derive(Clone, Debug)]
pub(crate) struct SocketFile {
    pub(crate) path: PathBuf,
    /// Device and inode: another program may have put its own there.
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    pub(crate) fn at(path: PathBuf) -> Self {
        let identity = fs::metadata(&path)
            .ok()
            .map(|meta| (meta.dev(), meta.ino()));
        SocketFile { path, identity }
    }

    fn remove(&self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(meta) if Some((meta.dev(), meta.ino())) == self.identity => {
                fs::remove_file(&self.path)
            }
            // Gone, or another's.
            _ => Ok(()),
        }
    }
}

impl Listener {
    pub(crate) fn tcp(purpose: Purpose, listener: TcpListener) -> Self {
        let socket = ListeningSocket::Tcp(listener);
        Listener { purpose, socket }
    }

    /// A socket that another program, or the init system, has opened.
    ///
    /// # Errors
    /// It is no socket that listens for streams.
    pub(crate) fn adopt(purpose: Purpose, file: OwnedFd) -> io::Result<Self> {
        let socket = SockRef::from(&file);
        if socket.r#type()? != socket2::Type::STREAM || !socket.is_listener()? {
            return Err(io::Error::other("it does not listen"));
        }
        let is_unix = socket.domain()? == Domain::UNIX;
        let socket = if is_unix {
            let listener = UnixListener::from(file);
            let address = listener.local_addr()?;
            let path = address.as_pathname().map(PathBuf::from).unwrap_or_default();
            ListeningSocket::Unix(listener, SocketFile::at(path))
        } else {
            ListeningSocket::Tcp(TcpListener::from(file))
        };
        let listener = Listener { purpose, socket };
        listener.welcome()?;
        Ok(listener)
    }

    /// Lets newcomers in, should an earlier program have closed the door on its way out.
    fn welcome(&self) -> io::Result<()> {
        match &self.socket {
            ListeningSocket::Unix(listener, _) => listener.set_nonblocking(true),
            ListeningSocket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                match SockRef::from(listener).detach_filter() {
                    Err(e) if e.raw_os_error() != Some(nix::libc::ENOENT) => Err(e),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Another handle of the same socket.
    ///
    /// # Errors
    /// No more files can be opened.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let socket = match &self.socket {
            ListeningSocket::Tcp(listener) => ListeningSocket::Tcp(listener.try_clone()?),
            ListeningSocket::Unix(listener, file) => {
                ListeningSocket::Unix(listener.try_clone()?, file.clone())
            }
        };
        Ok(Listener {
            purpose: self.purpose,
            socket,
        })
    }

    /// Where it is bound to; none for a Unix socket.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.local_addr().ok(),
            ListeningSocket::Unix(..) => None,
        }
    }

    /// Lets nobody new in. TCP: from now on the kernel drops bare SYNs, so the queue of a
    /// listener can only shrink and, once it is empty, be closed without resetting
    /// anybody. A client that comes now sees its refusal when it sends its SYN again,
    /// after a second. Without it (the kernel refuses filters) a connection that is
    /// completed in the last moment is reset; its client may safely try again. Unix: the
    /// file goes.
    ///
    /// Not for sockets that outlive this program: the filter would, too.
    ///
    /// # Errors
    /// The kernel takes no filter, or the file cannot be removed.
    pub(crate) fn refuse_newcomers(&self) -> io::Result<()> {
        // The filter sees the TCP header; byte 13 holds the flags (RFC 9293, 3.1).
        const SYN: u32 = 0x02;
        const SYN_OR_ACK: u32 = 0x12;
        let program = [
            SockFilter::new(0x30, 0, 0, 13),         // A = flags
            SockFilter::new(0x54, 0, 0, SYN_OR_ACK), // A &= SYN | ACK
            SockFilter::new(0x15, 0, 1, SYN),        // a bare SYN?
            SockFilter::new(0x06, 0, 0, 0),          // yes: drop
            SockFilter::new(0x06, 0, 0, u32::MAX),   // no: take all of it
        ];
        match &self.socket {
            ListeningSocket::Tcp(listener) => SockRef::from(listener).attach_filter(&program),
            ListeningSocket::Unix(_, file) => file.remove(),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            ListeningSocket::Tcp(listener) => listener.as_fd(),
            ListeningSocket::Unix(listener, _) => listener.as_fd(),
        }
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
