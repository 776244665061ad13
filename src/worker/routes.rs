//! Paths and methods; what every error answer looks like.
//!
//! Called by `connection.rs` for each request. A channel is served at `/` and
//! its name.

use std::rc::Rc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};

use crate::config::ServerLimits;
use crate::turn::Bot;
use crate::updaters::webhooks;

/// `Retry-After`, where no channel says otherwise.
const ONE_SECOND: &str = "1";

pub(super) async fn route(
    bot: &Rc<Bot>,
    limits: &ServerLimits,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let Some(channel) = bot.channels.at(request.uri().path()) else {
        return error(StatusCode::NOT_FOUND, "no such path", ONE_SECOND);
    };
    let answered = if request.method() == Method::POST {
        webhooks::receive(bot, channel, limits, request).await
    } else {
        let query = request.uri().query().unwrap_or_default();
        match channel.challenge(query) {
            Some(answer) if request.method() == Method::GET => answer,
            challenge => return wrong_method(challenge.is_some()),
        }
    };
    match answered {
        Ok(answer) => respond(answer.status, answer.media_type, answer.body),
        Err(refusal) => error(refusal.status, &refusal.reason, &channel.retry_after()),
    }
}

pub(super) fn too_many_connections() -> Response<Full<Bytes>> {
    error(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many connections",
        ONE_SECOND,
    )
}

fn wrong_method(get: bool) -> Response<Full<Bytes>> {
    let allowed = if get { "GET, POST" } else { "POST" };
    let reason = format!("{allowed} only");
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, &reason, ONE_SECOND);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

fn error(status: StatusCode, reason: &str, retry_after: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "error": reason }).to_string();
    let mut response = respond(status, "application/json", body.into_bytes());
    if status == StatusCode::SERVICE_UNAVAILABLE
        && let Ok(when) = HeaderValue::from_str(retry_after)
    {
        // Telegram and others obey it.
        response.headers_mut().insert(RETRY_AFTER, when);
    }
    response
}

fn respond(status: StatusCode, media_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let typed = !body.is_empty();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    if typed {
        let media_type = HeaderValue::from_static(media_type);
        response.headers_mut().insert(CONTENT_TYPE, media_type);
    }
    response
}
