//! Takes the updates that platforms post.
//!
//! Called by `worker/routes.rs` for each request to a channel's path: reads the body, has the
//! channel verify and parse it, runs a turn for each update and answers when all of them are
//! committed, or in the inbox. Updates of one dialog run one after another and stop at the
//! first that is refused: the platform sends them all again, and finished ones are recognised.
//! Bounds: those of `body.rs`, `--rate-per-user`.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, StatusCode};
use tokio::sync::oneshot::error::RecvError;
use tokio::task::JoinSet;
use turnkey_storage::Arrival;

use super::body;
use crate::author::message::{DialogKey, Update};
use crate::channels::{Channel, PlatformAnswer, Received, Refusal};
use crate::config::ServerLimits;
use crate::net::request::Body;
use crate::turn::context::Bot;
use crate::turn::receipt::{Answer, WaitsFor};
use crate::turn::{late, riding, turn};

/// Microseconds between the arrivals of a batch's updates of one dialog: in the inbox each
/// needs a place of its own, further from the next than two readings of a clock differ.
const APART: i64 = 100;

/// The answer to a request.
pub(crate) async fn receive(
    bot: &Rc<Bot>,
    channel: &dyn Channel,
    limits: &ServerLimits,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<PlatformAnswer, Refusal> {
    if channel.wants_json_type() {
        require_json(headers)?;
    }
    let limit = channel.max_body(limits.body);
    let (body, room) = body::read(bot, body, limit, limits.body_timeout).await?;
    channel.verify(headers, &body)?;
    let received = channel.parse(headers, &body)?;
    drop(body);
    drop(room);
    // All of a request arrived now, however long an update waits for the one
    // before it.
    let arrived = Arrival::now();
    let mut settled = Ok(());
    let mut updates = match received {
        Received::Updates(updates) => updates,
        Received::WithEnds(updates, ends) => {
            settled = late::settle(bot, &ends).await;
            updates
        }
        Received::Async(mut update) => {
            bot.dialog_by.apply(&mut update);
            return accept(bot, channel, *update, arrived).await;
        }
        Received::Answer(answer) => return Ok(answer),
    };

    for update in &mut updates {
        bot.dialog_by.apply(update);
    }

    // What could not be settled comes again, and with it the updates, which are known then.
    let settled = |answer| match settled {
        Ok(()) => Ok(answer),
        Err(reason) => Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, reason)),
    };
    let mut answer = channel.answer(Vec::new());
    if updates.len() == 1 {
        for update in updates {
            answer = run(bot, channel, update, arrived).await?;
        }
        return settled(answer);
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
    refused.map_or(settled(answer), Err)
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
        Ok(Answer::Seen(seen)) => Ok(riding::seen_in_order(bot, &update, seen).await),
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

/// JSON, and not packed.
pub(super) fn require_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str());
    let media_type = match text(CONTENT_TYPE) {
        Some(Ok(value)) => value.split(';').next().unwrap_or_default().trim(),
        _ => "",
    };
    if !media_type.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send Content-Type: application/json",
        ));
    }
    require_identity(headers)
}

/// Not packed.
pub(super) fn require_identity(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_identity = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers.get_all(CONTENT_ENCODING).iter().all(is_identity) {
        return Ok(());
    }
    Err(Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "the body is packed (Content-Encoding); send it as it is",
    ))
}
