//! The platform posts updates to us.
//!
//! Called by `worker/routes.rs` for each request to a channel's path: reads the
//! body, has the channel verify and parse it, runs a turn for each update and
//! answers when all of them are committed, or in the inbox. Updates of one dialog run one
//! after another and stop at the first that is refused: the platform sends them all
//! again, and those that were taken are known. Bounds: `--max-body`, `--body-timeout`,
//! [`MAX_BODIES`], `--rate-per-user`.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, EXPECT};
use hyper::{HeaderMap, Request, StatusCode};
use tokio::sync::oneshot::error::RecvError;
use tokio::task::JoinSet;
use turnkey_storage::Arrival;

use crate::author::message::{DialogKey, Update};
use crate::channels::{Channel, PlatformAnswer, Received, Refusal};
use crate::config::ServerLimits;
use crate::turn::turn::{self, Answer, Bot, WaitsFor};

/// Bytes of all bodies that a worker is reading; beyond it 503.
const MAX_BODIES: usize = 128 << 20;

/// Microseconds between the arrivals of a batch's updates of one dialog: in the inbox each
/// needs a place of its own, further from the next than two readings of a clock differ.
const APART: i64 = 100;

/// How long a leaving worker waits for the rest of a body.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// How many times the limit is read and thrown away, so that a client that is
/// still sending gets to read its 413.
const DISCARD: usize = 16;

/// The answer to a request.
pub(crate) async fn receive(
    bot: &Rc<Bot>,
    channel: &dyn Channel,
    limits: &ServerLimits,
    request: Request<Incoming>,
) -> Result<PlatformAnswer, Refusal> {
    let (head, body) = request.into_parts();
    if channel.wants_json_type() {
        require_json(&head.headers)?;
    }
    let limit = channel.max_body(limits.body);
    let room = Room::take(bot, body.size_hint().upper(), limit)?;
    let body = tokio::select! {
        body = read_body(&head.headers, body, limit) => body?,
        () = too_long(bot, limits.body_timeout) => {
            return Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body took too long",
            ));
        }
    };
    channel.verify(&head.headers, &body)?;
    let received = channel.parse(&head.headers, &body)?;
    drop(body);
    drop(room);
    // All of a request arrived now, however long an update waits for the one
    // before it.
    let arrived = Arrival::now();
    let updates = match received {
        Received::Updates(updates) => updates,
        Received::Async(update) => return accept(bot, channel, update, arrived).await,
        Received::Answer(answer) => return Ok(answer),
    };

    let mut answer = channel.answer(Vec::new());
    if updates.len() == 1 {
        for update in updates {
            answer = run(bot, channel, update, arrived).await?;
        }
        return Ok(answer);
    }
    let mut dialogs = JoinSet::new();
    for updates in by_dialog(updates) {
        dialogs.spawn_local(run_in_order(bot.clone(), updates, arrived));
    }
    let mut refused = None;
    // Also after a failure: what is sent again then finds all the others done.
    while let Some(ended) = dialogs.join_next().await {
        match ended.unwrap_or_else(|_| Err(stopping())) {
            Ok(last) => answer = last,
            Err(refusal) => refused = Some(refusal),
        }
    }
    refused.map_or(Ok(answer), Err)
}

/// The same updates in one list for each dialog, the order kept.
fn by_dialog(updates: Vec<Update>) -> Vec<Vec<Update>> {
    let mut dialogs: Vec<Vec<Update>> = Vec::new();
    let mut places = HashMap::new();
    for update in updates {
        let place = *places.entry(update.dialog.clone()).or_insert(dialogs.len());
        match dialogs.get_mut(place) {
            Some(dialog) => dialog.push(update),
            None => dialogs.push(vec![update]),
        }
    }
    dialogs
}

/// The updates of one dialog, up to the first that fails.
async fn run_in_order(
    bot: Rc<Bot>,
    updates: Vec<Update>,
    arrived: Arrival,
) -> Result<PlatformAnswer, Refusal> {
    let mut answer = Err(stopping());
    for (place, update) in updates.into_iter().enumerate() {
        let channel = bot.channels.of(&update.dialog);
        let arrived = match place {
            0 => arrived,
            place => Arrival::at(arrived.unix_us() + place as i64 * APART),
        };
        answer = run(&bot, channel, update, arrived).await;
        if answer.is_err() {
            break;
        }
    }
    answer
}

/// Runs a turn. It is a task of its own: should the client hang up, only the
/// waiting here is cancelled.
async fn run(
    bot: &Rc<Bot>,
    channel: &dyn Channel,
    update: Update,
    arrived: Arrival,
) -> Result<PlatformAnswer, Refusal> {
    let place = UserPlace::take(bot, &update)?;
    let update = Arc::new(update);
    let ended = turn::start(bot, update.clone(), arrived).await;
    place.forgive_if_known(bot, &ended);
    let ended = match ended {
        Ok(Answer::Seen(seen)) => Ok(turn::seen_in_order(bot, &update, seen).await),
        ended => ended,
    };
    otherwise(channel, &update.digest, ended)
}

/// Takes an update into the inbox, for a caller who asked not to wait.
async fn accept(
    bot: &Rc<Bot>,
    channel: &dyn Channel,
    update: Update,
    arrived: Arrival,
) -> Result<PlatformAnswer, Refusal> {
    let place = UserPlace::take(bot, &update)?;
    let (digest, id) = (update.digest.clone(), update.id.clone());
    let ended = turn::start_for(bot, update, arrived, WaitsFor::Row).await;
    place.forgive_if_known(bot, &ended);
    match ended {
        Ok(Answer::Accepted(body)) => Ok(channel.answer_async(&id, body)),
        ended => otherwise(channel, &digest, ended),
    }
}

/// A place of `--rate-per-user`; without that limit, nothing.
struct UserPlace(Option<DialogKey>);

impl UserPlace {
    /// Refuses with 429 when the user has none left now: the platform sends again.
    fn take(bot: &Bot, update: &Update) -> Result<Self, Refusal> {
        if !bot.limiter.limits_users() {
            return Ok(UserPlace(None));
        }
        let DialogKey { channel, user_id } = &update.dialog;
        match bot.limiter.user(channel, user_id) {
            Ok(()) => Ok(UserPlace(Some(update.dialog.clone()))),
            Err(_) => Err(Refusal::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many updates of this user",
            )),
        }
    }

    /// What was handled before costs its user nothing.
    fn forgive_if_known(self, bot: &Bot, ended: &Result<Answer, RecvError>) {
        if let (Some(dialog), Ok(Answer::Seen(_))) = (self.0, ended) {
            bot.limiter.forgive(&dialog.channel, &dialog.user_id);
        }
    }
}

fn otherwise(
    channel: &dyn Channel,
    digest: &[u8],
    ended: Result<Answer, RecvError>,
) -> Result<PlatformAnswer, Refusal> {
    let busy = |reason: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason);
    match ended {
        Ok(Answer::Committed(body) | Answer::Accepted(body)) => Ok(channel.answer(body)),
        Ok(Answer::Seen(seen)) => Ok(channel.answer_seen(digest, seen)),
        Ok(Answer::Busy(reason)) => Err(busy(reason)),
        Ok(Answer::Failed) => Err(busy("the handler failed".to_owned())),
        Err(_) => Err(stopping()),
    }
}

fn stopping() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the worker is stopping")
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
