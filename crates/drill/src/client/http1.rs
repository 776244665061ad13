//! HTTP/1.1: one request on a connection, and what exactly became of it.
//!
//! By hand, since a client library hides what matters here: how many bytes went out, whether
//! the connection was new, whether it was reset or closed.
//!
//! Called by `client/mod.rs`. Bound: each request has a time limit.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep_until, timeout_at};

use super::{Client, Order};
use crate::aim::Aim;
use crate::answer::Answer;
use crate::connect::{self, Idle, Stream};
use crate::record::{End, Kind, Micros, Record};
use crate::template::Wire;
use crate::upload;

/// After an answer that announces the end of the connection: for that end, and for a
/// second answer.
const LAST_LOOK: Duration = Duration::from_millis(100);

/// A connection between two requests.
pub(crate) struct Connection {
    stream: Stream,
    port: u16,
    opened: Micros,
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
                port: opened.port,
                opened: opened.at,
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
    record.over(connection.port, connection.opened);
    let wire = order.message.http1(&aim.host, !order.keep_alive);
    record.size = wire.bytes.len();
    let mut answer = Answer::to(&order.message.method).asking(client.backend.as_ref());
    let stream = &mut connection.stream;
    record.outcome = match order.upload {
        Some(paced) => {
            upload::exchange(
                client,
                stream,
                &wire,
                paced,
                &mut answer,
                &mut record,
                deadline,
            )
            .await
        }
        None => {
            exchange(
                client,
                stream,
                order,
                &wire,
                &mut answer,
                &mut record,
                deadline,
            )
            .await
        }
    };
    record.end = client.now();
    record.status = answer.status;
    record.retry_after = answer.retry_after;
    record.backend = answer.backend.take();
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

async fn exchange(
    client: &Client,
    stream: &mut Stream,
    order: &Order<'_>,
    wire: &Wire,
    answer: &mut Answer,
    record: &mut Record,
    deadline: Instant,
) -> End {
    match send(client, stream, order, wire, record, deadline).await {
        Ok(()) => read(client, stream, order, answer, record, deadline).await,
        // It may have answered and closed without waiting for the rest.
        Err(End::Reset) => match read(client, stream, order, answer, record, deadline).await {
            End::Closed => End::Reset,
            end => end,
        },
        Err(outcome) => outcome,
    }
}

async fn send(
    client: &Client,
    stream: &mut Stream,
    order: &Order<'_>,
    wire: &Wire,
    record: &mut Record,
    deadline: Instant,
) -> Result<(), End> {
    let (bytes, head) = (&wire.bytes, wire.head);
    let pause = match order.hold.map(|hold| hold.at) {
        Some(Kind::Connect) => 0,
        Some(Kind::Head) => head / 2,
        Some(Kind::Body) => head + (bytes.len() - head) / 2,
        _ => bytes.len(),
    };
    write(client, stream, &bytes[..pause], record, deadline).await?;
    if pause < bytes.len()
        && let Some(hold) = order.hold
    {
        sleep_until(hold.until.into()).await;
        write(client, stream, &bytes[pause..], record, deadline).await?;
    }
    record.all_sent = Some(client.now());
    Ok(())
}

async fn write(
    client: &Client,
    stream: &mut Stream,
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
        record.first_sent.get_or_insert(client.now());
        record.sent += count;
        bytes = &bytes[count..];
    }
    Ok(())
}

async fn read(
    client: &Client,
    stream: &mut Stream,
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
        record.first_read.get_or_insert(client.now());
        record.read += count;
        let fed = answer.feed_with(&buffer[..count], |bytes| {
            if let Some(events) = order.events {
                events.borrow_mut().feed(bytes);
            }
        });
        match fed {
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
