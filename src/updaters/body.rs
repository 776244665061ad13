//! Reads the bodies of requests.
//!
//! Called by `webhooks.rs` and `rpc.rs`. Bounds: the limit of the channel and
//! `--body-timeout` for one; [`MAX_BODIES`] for all that a worker reads at a time.

use std::time::Duration;

use bytes::Bytes;
use hyper::StatusCode;

use crate::channels::Refusal;
use crate::net::request::{Body, NotRead};
use crate::shared::drain;
use crate::turn::context::Bot;

/// Bytes of all bodies that a worker is reading; beyond it 503.
const MAX_BODIES: usize = 128 << 20;

/// How long a leaving worker waits for the rest of a body.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// Reads a body of at most `limit` bytes. Its room is taken until it was parsed.
///
/// # Errors
/// 413, 408, 503; 400 for one that broke off.
pub(super) async fn read<'a>(
    bot: &'a Bot,
    body: &mut Body,
    limit: usize,
    time: Duration,
) -> Result<(Bytes, Room<'a>), Refusal> {
    let room = Room::take(bot, body.length(), limit)?;
    let read = tokio::select! {
        read = body.read(limit) => read,
        () = too_long(bot, time) => {
            body.give_up();
            return Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body took too long",
            ));
        }
    };
    match read {
        Ok(bytes) => Ok((bytes, room)),
        Err(NotRead::TooLarge) => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {limit} bytes"),
        )),
        Err(NotRead::BrokeOff(error)) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("the body broke off: {error}"),
        )),
    }
}

/// Resolves when a body has had its time; sooner when the worker is leaving.
pub(crate) async fn too_long(bot: &Bot, limit: Duration) {
    let mut draining = bot.draining.clone();
    let leaving = async {
        drain::begins(&mut draining).await;
        tokio::time::sleep(DRAIN_LIMIT.min(limit)).await;
    };
    tokio::select! { () = tokio::time::sleep(limit) => {}, () = leaving => {} }
}

/// Room for a body that is being read. Bodies come before anything is known of
/// their senders, so there is a limit for all of them together.
pub(super) struct Room<'a> {
    bot: &'a Bot,
    bytes: usize,
}

impl<'a> Room<'a> {
    fn take(bot: &'a Bot, length: Option<u64>, limit: usize) -> Result<Self, Refusal> {
        // A body of unknown length may become as large as is allowed.
        let bytes = length.map_or(limit, |length| limit.min(length as usize));
        let taken = bot.body_bytes.get();
        if taken > 0 && taken + bytes > MAX_BODIES {
            return Err(Refusal::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "too many large requests",
            ));
        }
        bot.body_bytes.set(taken + bytes);
        Ok(Room { bot, bytes })
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let taken = &self.bot.body_bytes;
        taken.set(taken.get() - self.bytes);
    }
}
