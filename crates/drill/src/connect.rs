//! A connection to the server: TCP, or TLS over it.
//!
//! Used by the clients of all protocols. Bound: the deadline of the request that needs it.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::aim::Aim;
use super::record::{Birth, End, Micros};

/// For bytes that have arrived to be decrypted.
const DECRYPTED: Duration = Duration::from_millis(2);

/// Bytes in both directions.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that came about.
pub(super) struct Opened {
    pub(super) stream: Stream,
    pub(super) birth: Birth,
}

/// One that did not.
pub(super) struct Failed {
    pub(super) end: End,
    /// Once the kernel had said that it is there: then the server took it, and lost it.
    pub(super) birth: Option<Birth>,
    /// What TLS says, for a person.
    pub(super) why: Option<String>,
}

/// What is found on a connection that waits.
pub(super) enum Idle {
    /// Nothing: it can be used again.
    Open,
    Closed,
    /// Bytes that nobody asked for.
    Bytes,
}

/// Opens one. `pause`: after the kernel's part, before that of TLS.
pub(super) async fn open(
    aim: &Aim,
    base: Instant,
    deadline: Instant,
    pause: Option<Instant>,
) -> Result<Opened, Failed> {
    let failed = |end| Failed {
        end,
        birth: None,
        why: None,
    };
    let now = || base.elapsed().as_micros() as Micros;
    let dialled = now();
    let stream = match timeout_at(deadline.into(), TcpStream::connect(aim.address)).await {
        Err(_) => return Err(failed(End::NotConnected)),
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => {
            return Err(failed(match e.kind() {
                io::ErrorKind::ConnectionRefused => End::Refused,
                // Only who has been accepted can be reset.
                io::ErrorKind::ConnectionReset => End::Reset,
                io::ErrorKind::TimedOut => End::NotConnected,
                _ => End::Local,
            }));
        }
    };
    let birth = Birth {
        port: stream.local_addr().map_or(0, |address| address.port()),
        dialled,
        opened: now(),
    };
    // Small writes must not wait for each other.
    drop(stream.set_nodelay(true));
    let Some(tls) = &aim.tls else {
        return Ok(Opened {
            stream: Stream::Plain(stream),
            birth,
        });
    };
    if let Some(until) = pause {
        sleep_until(until.into()).await;
    }
    let connector = TlsConnector::from(tls.config.clone());
    let shaken = connector.connect(tls.name.clone(), stream);
    let (end, why) = match timeout_at(deadline.into(), shaken).await {
        Ok(Ok(stream)) => {
            return Ok(Opened {
                stream: Stream::Tls(Box::new(stream)),
                birth,
            });
        }
        Err(_) => (End::TimedOut, None),
        Ok(Err(e)) => match e.kind() {
            io::ErrorKind::UnexpectedEof => (End::Closed, None),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => (End::Reset, None),
            _ => (End::NoTls, Some(e.to_string())),
        },
    };
    Err(Failed {
        end,
        birth: Some(birth),
        why,
    })
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Stream::Plain(stream) => stream,
            Stream::Tls(stream) => stream.get_ref().0,
        }
    }

    /// The protocol that the handshake chose.
    pub(super) fn protocol(&self) -> Option<&[u8]> {
        match self {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// Asks the system itself: what the event loop knows may be older.
    pub(super) async fn look(&mut self) -> Idle {
        let mut byte = [MaybeUninit::uninit()];
        let found = match SockRef::from(self.tcp()).peek(&mut byte) {
            Ok(0) => Idle::Closed,
            Ok(_) => Idle::Bytes,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Idle::Open,
            Err(_) => Idle::Closed,
        };
        if matches!(self, Stream::Plain(_)) || !matches!(found, Idle::Bytes) {
            return found;
        }
        // A ticket for another session, or a goodbye.
        match timeout(DECRYPTED, self.read(&mut [0])).await {
            Err(_) => Idle::Open,
            Ok(Ok(1..)) => Idle::Bytes,
            Ok(_) => Idle::Closed,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
