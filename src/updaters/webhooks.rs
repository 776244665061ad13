//! The platform posts updates to us.
//!
//! Called by `worker/routes.rs` for each request to a channel's path: reads the
//! body, has the channel verify and parse it, starts a turn for each update and
//! answers when all of them have ended. Bounds: `--max-body`, `--body-timeout`,
//! [`MAX_BODIES`].

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, EXPECT};
use hyper::{HeaderMap, Request, StatusCode};

use crate::channels::{Channel, Refusal};
use crate::config::ServerLimits;
use crate::turn::{self, Answer, Bot};

/// Bytes of all bodies that a worker is reading; beyond it 503.
const MAX_BODIES: usize = 128 << 20;

/// How long a leaving worker waits for the rest of a body.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// How many times the limit is read and thrown away, so that a client that is
/// still sending gets to read its 413.
const DISCARD: usize = 16;

/// Status and body of the answer to a request.
pub(crate) async fn receive(
    bot: &Rc<Bot>,
    channel: &dyn Channel,
    limits: &ServerLimits,
    request: Request<Incoming>,
) -> Result<(StatusCode, Vec<u8>), Refusal> {
    let (head, body) = request.into_parts();
    require_json(&head.headers)?;
    let room = Room::take(bot, body.size_hint().upper(), limits.body)?;
    let body = tokio::select! {
        body = read_body(&head.headers, body, limits.body) => body?,
        () = too_long(bot, limits.body_timeout) => {
            return Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body took too long",
            ));
        }
    };
    channel.verify(&head.headers, &body)?;
    let updates = channel.parse(&head.headers, &body)?;
    drop(body);
    drop(room);

    // Each turn is a task of its own from here on: should the client hang up,
    // only the waiting below is cancelled.
    let turns: Vec<_> = updates
        .into_iter()
        .map(|update| {
            let digest = update.digest.clone();
            (digest, turn::start(bot, update))
        })
        .collect();
    let mut answered = (StatusCode::OK, Vec::new());
    for (digest, turn) in turns {
        let answer = turn
            .await
            .unwrap_or_else(|_| Answer::Busy("the worker is stopping".to_owned()));
        match answer {
            Answer::Committed(body) => answered = (StatusCode::OK, body),
            Answer::Seen(seen) => {
                let again = channel.answer_seen(&digest, seen);
                answered = (again.status, again.body);
            }
            Answer::Busy(reason) => {
                return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason));
            }
            Answer::Failed => {
                return Err(Refusal::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "the handler failed",
                ));
            }
        }
    }
    Ok(answered)
}

/// Resolves when a body has had its time; sooner when the worker is leaving.
async fn too_long(bot: &Bot, limit: Duration) {
    let mut draining = bot.draining.clone();
    let leaving = async {
        // An error means that the worker is gone: the same.
        drop(draining.wait_for(|leaving| *leaving).await);
        tokio::time::sleep(DRAIN_LIMIT.min(limit)).await;
    };
    tokio::select! { () = tokio::time::sleep(limit) => {}, () = leaving => {} }
}

/// Room for a body that is being read. Bodies come before anything is known of
/// their senders, so there is a limit for all of them together.
struct Room<'a> {
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

fn require_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .unwrap_or_default()
        .trim();
    if media_type.eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "send Content-Type: application/json",
    ))
}

async fn read_body(
    headers: &HeaderMap,
    mut body: Incoming,
    limit: usize,
) -> Result<Bytes, Refusal> {
    let too_large = || {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is larger than {limit} bytes"),
        )
    };
    if body.size_hint().lower() > limit as u64 {
        // A client that asks first has not sent it yet.
        if headers.get(EXPECT).is_none() {
            discard(body, limit).await;
        }
        return Err(too_large());
    }
    match Limited::new(&mut body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            discard(body, limit).await;
            Err(too_large())
        }
        Err(error) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            format!("the body broke off: {error}"),
        )),
    }
}

/// Reads the rest of a body that is refused. Closing at once would reset the
/// connection, and the client would never see why.
async fn discard(mut body: Incoming, limit: usize) {
    let mut left = limit.saturating_mul(DISCARD);
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
