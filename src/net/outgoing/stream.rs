//! An open connection, with TLS or without, as hyper's client needs it.
//!
//! Made by the connector (`mod.rs`). A connection that ends before a byte of an answer was read
//! counts as failed, like one that could not be made; its errors name the address. No bounds of
//! its own.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper_util::client::legacy::connect::{Connected, Connection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Failed;

/// The address at the other end: the platform's, or the proxy's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote(pub(crate) SocketAddr);

/// One that was never used and is closed by the other side has not failed, unless it is
/// closed at once.
const AT_ONCE: Duration = Duration::from_secs(3);

/// A connection.
pub(crate) struct Stream {
    kind: Kind,
    remote: Remote,
    failed: Failed,
    made: Instant,
    was_written: bool,
    was_read: bool,
}

enum Kind {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Both are streams, and are nothing else here.
macro_rules! either {
    ($stream:ident, $inner:ident => $call:expr) => {
        match &mut $stream.kind {
            Kind::Plain($inner) => {
                let $inner = Pin::new($inner);
                $call
            }
            Kind::Tls($inner) => {
                let $inner = Pin::new($inner.as_mut());
                $call
            }
        }
    };
}

impl Stream {
    pub(super) fn plain(stream: TcpStream, remote: Remote, failed: Failed) -> Self {
        Self::new(Kind::Plain(stream), remote, failed)
    }

    pub(super) fn tls(stream: TlsStream<TcpStream>, remote: Remote, failed: Failed) -> Self {
        Self::new(Kind::Tls(Box::new(stream)), remote, failed)
    }

    fn new(kind: Kind, remote: Remote, failed: Failed) -> Self {
        Stream {
            kind,
            remote,
            failed,
            made: Instant::now(),
            was_written: false,
            was_read: false,
        }
    }

    /// It came to an end: an error that names the address, if there was to be an answer.
    fn ended(&self, error: Option<io::Error>) -> io::Result<()> {
        let Remote(address) = self.remote;
        if !self.was_read && (self.was_written || self.made.elapsed() < AT_ONCE) {
            self.failed.note(address, Instant::now());
        } else if error.is_none() {
            return Ok(());
        }
        Err(match error {
            Some(error) => io::Error::new(error.kind(), format!("{address}: {error}")),
            None => io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{address} closed the connection and had not answered"),
            ),
        })
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.remote)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = either!(this, inner => inner.poll_read(context, buffer));
        match polled {
            Poll::Ready(Ok(())) if buffer.filled().len() > before => {
                this.was_read = true;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) if buffer.remaining() == 0 => Poll::Ready(Ok(())),
            Poll::Ready(ended) => Poll::Ready(this.ended(ended.err())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.was_written = true;
        either!(this, inner => inner.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.was_written = true;
        either!(this, inner => inner.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.kind {
            Kind::Plain(stream) => stream.is_write_vectored(),
            Kind::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        either!(this, inner => inner.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        either!(this, inner => inner.poll_shutdown(context))
    }
}
