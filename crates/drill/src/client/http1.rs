//! HTTP/1.1: one request on a connection, and what exactly became of it.
//!
//! By hand, since a client library hides what matters here: how many bytes went out, whether
//! the connection was new, whether it was reset or closed.
//!
//! Called by `client/mod.rs`; `upload.rs` sends large bodies with it. Bound: each request has a
//! time limit.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{sleep_until, timeout_at};

use super::{Client, Order};
use crate::aim::Aim;
use crate::answer::Answer;
use crate::connect::{self, Idle, Stream};
use crate::record::{Birth, End, Kind, Record};
use crate::template::Wire;
use crate::upload;

/// After an answer that announces the end of the connection: for that end, and for a
/// second answer.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// A connection between two requests.
pub(crate) struct Connection {
    stream: Stream,
    birth: Birth,
}

impl Connection {
    pub(super) async fn look(&mut self) -> Idle {
        self.stream.look().await
    }
}

/// Sends one request and reads its answer; the connection, if it can be used again.
pub(super) async fn request(
    client: &Client,
    aim: &Aim,
    kept: Option<Connection>,
    order: &Order<'_>,
) -> (Record, Option<Connection>) {
    let mut record = order.record(client.now());
    record.reused = kept.is_some();
    let deadline = Instant::now() + client.timeout;
    let connection = match kept {
        Some(connection) => Ok(connection),
        None => connect::open(aim, client.base, deadline, order.pause_on_connecting())
            .await
            .map(|opened| Connection {
                stream: opened.stream,
                birth: opened.birth,
            }),
    };
    let mut connection = match connection {
        Ok(connection) => connection,
        Err(failed) => {
            record.outcome = record.not_opened(failed);
            record.end = client.now();
            return (record, None);
        }
    };
    record.over(connection.birth);
    let wire = order.message.http1(&aim.host, !order.keep_alive);
    record.size = wire.bytes.len();
    let mut exchange = Exchange {
        client,
        order,
        answer: Answer::to(&order.message.method).asking(client.backend.as_ref()),
        record: &mut record,
        deadline,
    };
    let stream = &mut connection.stream;
    let outcome = match order.upload {
        Some(paced) => upload::send(&mut exchange, stream, &wire, paced).await,
        None => exchange.run(stream, &wire).await,
    };
    let answer = exchange.answer;
    record.outcome = outcome;
    record.end = client.now();
    record.status = answer.status;
    record.retry_after = answer.retry_after;
    record.backend = answer.backend;
    if record.outcome != End::Complete {
        return (record, None);
    }
    if order.keep_alive && !answer.close && !record.extra && !record.early {
        return (record, Some(connection));
    }
    let mut more = [0; 1];
    let look = Instant::now() + LAST_LOOK;
    if let Ok(Ok(1..)) = timeout_at(look.into(), connection.stream.read(&mut more)).await {
        record.extra = true;
    }
    (record, None)
}

/// A request under way on its connection, with what is known of it.
pub(crate) struct Exchange<'a> {
    pub(crate) client: &'a Client,
    order: &'a Order<'a>,
    pub(crate) answer: Answer,
    pub(crate) record: &'a mut Record,
    pub(crate) deadline: Instant,
}

impl Exchange<'_> {
    async fn run(&mut self, stream: &mut Stream, wire: &Wire) -> End {
        match self.send(stream, wire).await {
            Ok(()) => self.rest(stream).await,
            // It may have answered and closed without waiting for the rest.
            Err(End::Reset) => match self.rest(stream).await {
                End::Closed => End::Reset,
                end => end,
            },
            Err(outcome) => outcome,
        }
    }

    async fn send(&mut self, stream: &mut Stream, wire: &Wire) -> Result<(), End> {
        let (bytes, head) = (&wire.bytes, wire.head);
        let pause = match self.order.hold.map(|hold| hold.at) {
            Some(Kind::Connect) => 0,
            Some(Kind::Head) => head / 2,
            Some(Kind::Body) => head + (bytes.len() - head) / 2,
            _ => bytes.len(),
        };
        self.write(stream, &bytes[..pause]).await?;
        if pause < bytes.len()
            && let Some(hold) = self.order.hold
        {
            sleep_until(hold.until.into()).await;
            self.write(stream, &bytes[pause..]).await?;
        }
        self.record.all_sent = Some(self.client.now());
        Ok(())
    }

    pub(crate) async fn write(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        mut bytes: &[u8],
    ) -> Result<(), End> {
        while !bytes.is_empty() {
            let written = timeout_at(self.deadline.into(), stream.write(bytes)).await;
            let count = match written {
                Err(_) => return Err(End::TimedOut),
                Ok(Err(_) | Ok(0)) => return Err(End::Reset),
                Ok(Ok(count)) => count,
            };
            self.record.first_sent.get_or_insert(self.client.now());
            self.record.sent += count;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    /// Some bytes of the answer; how it ended, if it did. Cancel safe.
    pub(crate) async fn read(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        buffer: &mut [u8],
    ) -> Option<End> {
        let count = match stream.read(buffer).await {
            Ok(0) if self.answer.ends_with_connection() => return Some(End::Complete),
            Ok(0) => return Some(End::Closed),
            Ok(count) => count,
            Err(_) => return Some(End::Reset),
        };
        self.record.first_read.get_or_insert(self.client.now());
        self.record.read += count;
        let events = self.order.events;
        let fed = self.answer.feed_with(&buffer[..count], |bytes| {
            if let Some(events) = events {
                events.borrow_mut().feed(bytes);
            }
        });
        match fed {
            Err(_) => Some(End::Malformed),
            Ok(used) if self.answer.is_complete() => {
                self.record.extra = used < count;
                Some(End::Complete)
            }
            Ok(_) => None,
        }
    }

    /// What is left of the answer.
    pub(crate) async fn rest(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> End {
        let mut buffer = [0; 16 << 10];
        loop {
            // A reader that is held takes one byte and comes back for the rest.
            let is_first = self.record.read == 0;
            let hold = self.order.hold;
            let held = hold.filter(|hold| hold.at == Kind::Read && is_first);
            let room = if held.is_some() { 1 } else { buffer.len() };
            let deadline = self.deadline.into();
            let read = self.read(stream, &mut buffer[..room]);
            match timeout_at(deadline, read).await {
                Err(_) => return End::TimedOut,
                Ok(Some(end)) => return end,
                Ok(None) => {}
            }
            if let Some(hold) = held {
                sleep_until(hold.until.into()).await;
            }
        }
    }
}
