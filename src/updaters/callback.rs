//! Others come back: `POST /callback/TOKEN`, an address that `Turn::callback` gave away.
//!
//! Called by `worker/routes.rs`. The token is all that whoever posts needs to have, and all that is
//! looked at; nobody can guess one. The answer is 200 once the turn is in the inbox, and again if the
//! same address is posted to later: there is no second turn. 410 when its time is over, 404 for a
//! token that is none. Invariant: a token is in no log and no answer. Bounds: `--max-body`,
//! `--body-timeout`.

use std::rc::Rc;

use hyper::header::CONTENT_TYPE;
use hyper::{HeaderMap, StatusCode};
use turnkey_storage::Error as StorageError;

use super::body;
use super::webhooks::require_identity;
use crate::author::error::Error;
use crate::author::message::{CALLBACK_PATH, Token};
use crate::channels::{PlatformAnswer, Refusal};
use crate::config::ServerLimits;
use crate::net::request::Body;
use crate::turn::calling::{self, Posted};
use crate::turn::context::Bot;
use crate::turn::{told, turn};

/// Bytes of a media type that are kept.
const MAX_TYPE: usize = 255;

/// The path's token, if it is the path of a callback.
pub(crate) fn target(path: &str) -> Option<&str> {
    path.strip_prefix(CALLBACK_PATH)
}

/// The answer to a request.
pub(crate) async fn receive(
    bot: &Rc<Bot>,
    limits: &ServerLimits,
    token: &str,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<PlatformAnswer, Refusal> {
    let token = Token::read(token).ok_or_else(unknown)?;
    let found = calling::find(bot, &token).await;
    // Before the body is read: nobody else gets that far.
    let callback = found.map_err(|e| away(&e))?.ok_or_else(unknown)?;
    require_identity(headers)?;
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let media_type = media_type.filter(|kind| kind.len() <= MAX_TYPE);
    let (body, _room) = body::read(bot, body, limits.body, limits.body_timeout).await?;
    match calling::post(bot, &callback, media_type.unwrap_or_default(), &body).await {
        Ok(Posted::Taken(dialog)) => {
            let bot = bot.clone();
            tokio::task::spawn_local(async move { turn::resume(&bot, dialog).await });
            Ok(PlatformAnswer::json(Vec::new()))
        }
        Ok(Posted::Before) => Ok(PlatformAnswer::json(Vec::new())),
        Ok(Posted::TooLate) => Err(Refusal::new(StatusCode::GONE, "its time is over")),
        Ok(Posted::Unknown) => Err(unknown()),
        Err(Error::Storage(error)) => Err(away(&error)),
        Err(error) => {
            tracing::error!(
                "{}: a callback cannot start its turn: {error}",
                callback.dialog
            );
            let reason = "it cannot be read";
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, reason))
        }
    }
}

fn unknown() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "no such callback")
}

fn away(error: &StorageError) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, told::of_storage(error))
}
