//! A listener, as a worker's event loop sees it.
//!
//! Used by `server.rs`. Bounds: none of its own; the queue is the kernel's.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::net::listener::{Listener, ListeningSocket};

/// One of the two kinds of sockets.
pub(super) enum Door {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection, as it was accepted.
pub(super) enum Accepted {
    Tcp(TcpStream, IpAddr),
    /// From a program on this machine.
    Unix(UnixStream),
}

impl Door {
    /// # Errors
    /// The event loop cannot watch it.
    pub(super) fn open(listener: Listener) -> io::Result<Self> {
        Ok(match listener.socket {
            ListeningSocket::Tcp(listener) => Door::Tcp(TcpListener::from_std(listener)?),
            ListeningSocket::Unix(listener, _) => Door::Unix(UnixListener::from_std(listener)?),
        })
    }

    /// Waits for the next connection. Cancel safe.
    ///
    /// # Errors
    /// The client gave up, or there are no more files.
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        Ok(match self {
            Door::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Accepted::Tcp(stream, peer.ip())
            }
            Door::Unix(listener) => Accepted::Unix(listener.accept().await?.0),
        })
    }

    /// Whether a connection waits in the queue.
    pub(super) fn is_pending(&self) -> bool {
        let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }

    /// Takes what waits in the queue at this moment and closes it, with nothing between
    /// the last look and the close.
    pub(super) fn close(self) -> Vec<io::Result<Accepted>> {
        let mut last = Vec::new();
        match self {
            Door::Tcp(listener) => {
                let Ok(listener) = listener.into_std() else {
                    return last;
                };
                while let Ok((stream, peer)) = listener.accept() {
                    let stream = stream
                        .set_nonblocking(true)
                        .and_then(|()| TcpStream::from_std(stream));
                    last.push(stream.map(|stream| Accepted::Tcp(stream, peer.ip())));
                }
            }
            Door::Unix(listener) => {
                let Ok(listener) = listener.into_std() else {
                    return last;
                };
                while let Ok((stream, _)) = listener.accept() {
                    let stream = stream
                        .set_nonblocking(true)
                        .and_then(|()| UnixStream::from_std(stream));
                    last.push(stream.map(Accepted::Unix));
                }
            }
        }
        last
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Door::Tcp(listener) => listener.as_fd(),
            Door::Unix(listener) => listener.as_fd(),
        }
    }
}
