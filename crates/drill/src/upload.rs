//! Large bodies that take their time, so that they are under way when the signal comes:
//! sent piece by piece, while an early answer is listened for.
//!
//! Called by `client/http1.rs`; `http2/` has its own way to the same end. Half of the clients
//! ask for leave first (`Expect: 100-continue`). Bounds: the request's time limit, and
//! [`LEAVE`] for that leave.

use std::time::{Duration, Instant};

use tokio::io::{ReadHalf, split};
use tokio::time::{sleep, timeout_at};

use super::client::Exchange;
use super::connect::Stream;
use super::record::End;
use super::template::{Paced, Wire};

/// For the server to say 100; then the body is sent without (RFC 9110, 10.1.1).
const LEAVE: Duration = Duration::from_secs(1);

/// Sends head and body and reads the answer, whichever comes first.
pub(super) async fn send(
    exchange: &mut Exchange<'_>,
    stream: &mut Stream,
    wire: &Wire,
    paced: Paced,
) -> End {
    exchange.record.size += paced.size;
    let (mut reader, mut writer) = split(stream);
    let mut buffer = vec![0; 16 << 10];
    if let Err(end) = exchange.write(&mut writer, &wire.bytes).await {
        return last_words(exchange, &mut reader, end).await;
    }
    if paced.expects {
        let leave = exchange.deadline.min(Instant::now() + LEAVE);
        while !exchange.answer.continued {
            let read = exchange.read(&mut reader, &mut buffer);
            match timeout_at(leave.into(), read).await {
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
                read = exchange.read(&mut reader, &mut buffer) => if let Some(end) = read {
                    exchange.record.early = end == End::Complete;
                    return end;
                },
                () = &mut pause => break,
            }
        }
        if let Err(end) = exchange.write(&mut writer, &piece).await {
            let end = last_words(exchange, &mut reader, end).await;
            exchange.record.early = end == End::Complete;
            return end;
        }
    }
    exchange.record.all_sent = Some(exchange.client.now());
    exchange.rest(&mut reader).await
}

/// It may have answered before it closed.
async fn last_words(
    exchange: &mut Exchange<'_>,
    reader: &mut ReadHalf<&mut Stream>,
    end: End,
) -> End {
    match exchange.rest(reader).await {
        End::Complete => End::Complete,
        _ => end,
    }
}
