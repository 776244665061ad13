//! The client: one request on a connection, and what exactly became of it.
//!
//! Raw HTTP/1.1 over TCP, since a client library hides what matters here: how many bytes
//! went out, whether the connection was new, whether it was reset or closed. It is a
//! decent client: before it uses a connection again it looks whether the server has
//! closed it, and then opens another. It never sends a request twice.
//!
//! Called by `load.rs`. Bound: each request has a time limit.

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout_at};

use super::aim::Aim;
use super::answer::Answer;
use super::record::{End, Kind, Micros, Record};
use super::template::Wire;

/// After an answer that announces the end of the connection: for that end, and for a
/// second answer.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// How long requests may take, and what is looked for in their answers.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) timeout: Duration,
    /// Moments count from here.
    pub(super) base: Instant,
    /// The header field that names who answered, in small letters.
    pub(super) backend: Option<Arc<str>>,
}

/// A connection between two requests.
pub(super) struct Connection {
    stream: TcpStream,
    port: u16,
    opened: Micros,
}

/// What is found on a connection that waits.
pub(super) enum Idle {
    /// Nothing: it can be used again.
    Open,
    Closed,
    /// Bytes that nobody asked for.
    Bytes,
}

/// A request that pauses in the middle of its life.
#[derive(Clone, Copy)]
pub(super) struct Hold {
    pub(super) at: Kind,
    pub(super) until: Instant,
}

/// What to send.
pub(super) struct Order<'a> {
    pub(super) n: u64,
    pub(super) client: usize,
    pub(super) kind: Kind,
    pub(super) aim: usize,
    pub(super) method: &'a str,
    pub(super) wire: &'a Wire,
    pub(super) keep_alive: bool,
    pub(super) hold: Option<Hold>,
}

impl Connection {
    /// Asks the system itself: what the event loop knows may be older.
    pub(super) fn look(&self) -> Idle {
        let mut byte = [MaybeUninit::uninit()];
        match SockRef::from(&self.stream).peek(&mut byte) {
            Ok(0) => Idle::Closed,
            Ok(_) => Idle::Bytes,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Idle::Open,
            Err(_) => Idle::Closed,
        }
    }
}

impl Client {
    pub(super) fn now(&self) -> Micros {
        self.base.elapsed().as_micros() as Micros
    }

    /// Sends one request and reads its answer; the connection, if it can be used again.
    pub(super) async fn request(
        &self,
        aim: &Aim,
        kept: Option<Connection>,
        order: &Order<'_>,
    ) -> (Record, Option<Connection>) {
        let start = self.now();
        let deadline = Instant::now() + self.timeout;
        let mut record = Record {
            n: order.n,
            client: order.client,
            kind: order.kind,
            aim: order.aim,
            reused: kept.is_some(),
            port: 0,
            opened: None,
            start,
            connected: None,
            first_sent: None,
            all_sent: None,
            first_read: None,
            end: start,
            size: order.wire.bytes.len(),
            sent: 0,
            read: 0,
            status: None,
            retry_after: false,
            extra: false,
            backend: None,
            outcome: End::Complete,
        };
        let connection = match kept {
            Some(connection) => Ok(connection),
            None => self.connect(aim, deadline).await,
        };
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(outcome) => {
                record.outcome = outcome;
                record.end = self.now();
                return (record, None);
            }
        };
        record.port = connection.port;
        record.opened = Some(connection.opened);
        record.connected = Some(connection.opened.max(start));
        let mut answer = Answer::to(order.method).asking(self.backend.as_ref());
        let stream = &mut connection.stream;
        record.outcome = match self.send(stream, order, &mut record, deadline).await {
            Ok(()) => {
                self.read(stream, order, &mut answer, &mut record, deadline)
                    .await
            }
            // It may have answered and closed without waiting for the rest.
            Err(End::Reset) => {
                let read = self
                    .read(stream, order, &mut answer, &mut record, deadline)
                    .await;
                if read == End::Closed {
                    End::Reset
                } else {
                    read
                }
            }
            Err(outcome) => outcome,
        };
        record.end = self.now();
        record.status = answer.status;
        record.retry_after = answer.retry_after;
        record.backend = answer.backend.take();
        if record.outcome != End::Complete {
            return (record, None);
        }
        if order.keep_alive && !answer.close && !record.extra {
            return (record, Some(connection));
        }
        let mut more = [0; 1];
        let look = Instant::now() + LAST_LOOK;
        if let Ok(Ok(1..)) = timeout_at(look.into(), connection.stream.read(&mut more)).await {
            record.extra = true;
        }
        (record, None)
    }

    async fn connect(&self, aim: &Aim, deadline: Instant) -> Result<Connection, End> {
        let stream = match timeout_at(deadline.into(), TcpStream::connect(aim.address)).await {
            Err(_) => return Err(End::NotConnected),
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => {
                return Err(match e.kind() {
                    io::ErrorKind::ConnectionRefused => End::Refused,
                    // Only who has been accepted can be reset.
                    io::ErrorKind::ConnectionReset => End::Reset,
                    io::ErrorKind::TimedOut => End::NotConnected,
                    _ => End::Local,
                });
            }
        };
        let opened = self.now();
        let port = stream.local_addr().map_or(0, |address| address.port());
        // Small writes must not wait for each other.
        drop(stream.set_nodelay(true));
        Ok(Connection {
            stream,
            port,
            opened,
        })
    }

    async fn send(
        &self,
        stream: &mut TcpStream,
        order: &Order<'_>,
        record: &mut Record,
        deadline: Instant,
    ) -> Result<(), End> {
        let (bytes, head) = (&order.wire.bytes, order.wire.head);
        let pause = match order.hold.map(|hold| hold.at) {
            Some(Kind::Connect) => 0,
            Some(Kind::Head) => head / 2,
            Some(Kind::Body) => head + (bytes.len() - head) / 2,
            _ => bytes.len(),
        };
        self.write(stream, &bytes[..pause], record, deadline)
            .await?;
        if pause < bytes.len()
            && let Some(hold) = order.hold
        {
            sleep_until(hold.until.into()).await;
            self.write(stream, &bytes[pause..], record, deadline)
                .await?;
        }
        record.all_sent = Some(self.now());
        Ok(())
    }

    async fn write(
        &self,
        stream: &mut TcpStream,
        mut bytes: &[u8],
        record: &mut Record,
        deadline: Instant,
    ) -> Result<(), End> {
        while !bytes.is_empty() {
            let written = timeout_at(deadline.into(), stream.write(bytes)).await;
            let count = match written {
                Err(_) => return Err(End::TimedOut),
                Ok(Err(_)) => return Err(End::Reset),
                Ok(Ok(count)) => count,
            };
            record.first_sent.get_or_insert(self.now());
            record.sent += count;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    async fn read(
        &self,
        stream: &mut TcpStream,
        order: &Order<'_>,
        answer: &mut Answer,
        record: &mut Record,
        deadline: Instant,
    ) -> End {
        let mut buffer = [0; 16 << 10];
        loop {
            // A reader that is held takes one byte and comes back for the rest.
            let held = order
                .hold
                .filter(|hold| hold.at == Kind::Read && record.read == 0);
            let room = if held.is_some() { 1 } else { buffer.len() };
            let read = timeout_at(deadline.into(), stream.read(&mut buffer[..room])).await;
            let count = match read {
                Err(_) => return End::TimedOut,
                Ok(Ok(0)) if answer.ends_with_connection() => return End::Complete,
                Ok(Ok(0)) => return End::Closed,
                Ok(Ok(count)) => count,
                Ok(Err(_)) => return End::Reset,
            };
            record.first_read.get_or_insert(self.now());
            record.read += count;
            match answer.feed(&buffer[..count]) {
                Err(_) => return End::Malformed,
                Ok(used) if answer.is_complete() => {
                    record.extra = used < count;
                    return End::Complete;
                }
                Ok(_) => {}
            }
            if let Some(hold) = held {
                sleep_until(hold.until.into()).await;
            }
        }
    }
}
