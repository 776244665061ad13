//! Large bodies that take their time, so that they are under way when the signal comes:
//! sent piece by piece, while an early answer is listened for.
//!
//! Called by `client/http1.rs`; `http2/` has its own way to the same end. Half of the clients ask
//! for leave first (`Expect: 100-continue`). Bounds: the request's time limit, and
//! [`LEAVE`] for that leave.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::{sleep, timeout_at};

use super::answer::Answer;
use super::client::Client;
use super::connect::Stream;
use super::record::{End, Record};
use super::template::{Paced, Wire};

/// For the server to say 100; then the body is sent without (RFC 9110, 10.1.1).
const LEAVE: Duration = Duration::from_secs(1);

/// Sends head and body and reads the answer, whichever comes first.
pub(super) async fn exchange(
    client: &Client,
    stream: &mut Stream,
    wire: &Wire,
    paced: Paced,
    answer: &mut Answer,
    record: &mut Record,
    deadline: Instant,
) -> End {
    record.size = wire.bytes.len() + paced.size;
    let (mut reader, mut writer) = split(stream);
    let mut half = Half {
        client,
        answer,
        record,
        buffer: vec![0; 16 << 10],
    };
    if let Err(end) = half.write(&mut writer, &wire.bytes, deadline).await {
        return half.last_words(&mut reader, end, deadline).await;
    }
    if paced.expects {
        let leave = deadline.min(Instant::now() + LEAVE);
        while !half.answer.continued {
            match timeout_at(leave.into(), half.read(&mut reader)).await {
                Err(_) => break,
                Ok(Some(end)) => return end,
                Ok(None) => {}
            }
        }
    }
    for piece in paced.pieces() {
        let pause = sleep(paced.pause());
        tokio::pin!(pause);
        loop {
            tokio::select! {
                biased;
                read = half.read(&mut reader) => if let Some(end) = read {
                    half.record.early = end == End::Complete;
                    return end;
                },
                () = &mut pause => break,
            }
        }
        if let Err(end) = half.write(&mut writer, &piece, deadline).await {
            let end = half.last_words(&mut reader, end, deadline).await;
            half.record.early = end == End::Complete;
            return end;
        }
    }
    half.record.all_sent = Some(client.now());
    half.rest(&mut reader, deadline).await
}

struct Half<'a> {
    client: &'a Client,
    answer: &'a mut Answer,
    record: &'a mut Record,
    buffer: Vec<u8>,
}

impl Half<'_> {
    async fn write(
        &mut self,
        writer: &mut WriteHalf<&mut Stream>,
        bytes: &[u8],
        deadline: Instant,
    ) -> Result<(), End> {
        let written = timeout_at(deadline.into(), writer.write_all(bytes)).await;
        match written {
            Err(_) => Err(End::TimedOut),
            Ok(Err(_)) => Err(End::Reset),
            Ok(Ok(())) => {
                self.record.first_sent.get_or_insert(self.client.now());
                self.record.sent += bytes.len();
                Ok(())
            }
        }
    }

    /// Some bytes; how it ended, if it did.
    async fn read(&mut self, reader: &mut ReadHalf<&mut Stream>) -> Option<End> {
        let count = match reader.read(&mut self.buffer).await {
            Ok(0) if self.answer.ends_with_connection() => return Some(End::Complete),
            Ok(0) => return Some(End::Closed),
            Ok(count) => count,
            Err(_) => return Some(End::Reset),
        };
        self.record.first_read.get_or_insert(self.client.now());
        self.record.read += count;
        match self.answer.feed_with(&self.buffer[..count], |_| {}) {
            Err(_) => Some(End::Malformed),
            Ok(_) => self.answer.is_complete().then_some(End::Complete),
        }
    }

    async fn rest(&mut self, reader: &mut ReadHalf<&mut Stream>, deadline: Instant) -> End {
        loop {
            match timeout_at(deadline.into(), self.read(reader)).await {
                Err(_) => return End::TimedOut,
                Ok(Some(end)) => return end,
                Ok(None) => {}
            }
        }
    }

    /// It may have answered before it closed.
    async fn last_words(
        &mut self,
        reader: &mut ReadHalf<&mut Stream>,
        end: End,
        deadline: Instant,
    ) -> End {
        match self.rest(reader, deadline).await {
            End::Complete => End::Complete,
            _ => end,
        }
    }
}
