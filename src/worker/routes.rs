//! Paths and methods; what every error answer looks like.
//!
//! Called by `connection.rs` for each request. A channel is served at `/` and its name, calls
//! of other systems at `/rpc/`, callbacks at `/callback/`, the status of updates at
//! `/http/updates/`. Refused requests are
//! logged (`-v`), with the client's address.

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::address;
use super::serving::Serving;
use crate::channels::PlatformAnswer;
use crate::net::request::{Body, Wrong};
use crate::shared::scrub;
use crate::updaters::{callback, rpc, status, webhooks};

/// `Retry-After`, where no channel says otherwise.
const ONE_SECOND: &str = "1";

pub(super) async fn route(
    server: &Serving,
    peer: Option<IpAddr>,
    head: &Parts,
    body: &mut Body,
) -> Response<Full<Bytes>> {
    // What a refusal is logged with, for whoever looks for its sender.
    let client = address::of_client(peer, &head.headers, &server.trusted_proxies);
    let path = head.uri.path();
    // Before anything else is done for it.
    let response = match client.map(|client| server.bot.limiter.address(client)) {
        // A proxy behind a Unix socket that tells no address is not limited.
        None | Some(Ok(())) => answer(server, head, body).await,
        Some(Err(_)) => too_many_requests(server, path),
    };
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        let path = scrub::told(path);
        match client {
            Some(client) => tracing::debug!("{status} to {client} at {path:?}"),
            None => tracing::debug!("{status} at {path:?}"),
        }
    }
    response
}

async fn answer(server: &Serving, head: &Parts, body: &mut Body) -> Response<Full<Bytes>> {
    let (bot, limits) = (&server.bot, &server.limits);
    let path = head.uri.path();
    if let (Some(token), Some(target)) = (&server.rpc_token, rpc::target(path)) {
        if head.method != Method::POST {
            return wrong_method("POST");
        }
        return match rpc::receive(bot, token, limits, target, &head.headers, body).await {
            Ok(answer) => respond(answer),
            Err(refusal) => error(refusal.status, &refusal.reason, ONE_SECOND),
        };
    }
    if let Some(token) = callback::target(path) {
        if head.method != Method::POST {
            return wrong_method("POST");
        }
        return match callback::receive(bot, limits, token, &head.headers, body).await {
            Ok(answer) => respond(answer),
            Err(refusal) => error(refusal.status, &refusal.reason, ONE_SECOND),
        };
    }
    if let (Some(id), Some(_)) = (status::target(path), server.channel("/http")) {
        if head.method != Method::GET {
            return wrong_method("GET");
        }
        return match status::answer(bot, &head.headers, id).await {
            Ok(answer) => respond(answer),
            Err(refusal) => error(refusal.status, &refusal.reason, ONE_SECOND),
        };
    }
    let Some(channel) = server.channel(path) else {
        return error(StatusCode::NOT_FOUND, "no such path", ONE_SECOND);
    };
    let answered = if head.method == Method::POST {
        webhooks::receive(bot, channel, limits, &head.headers, body).await
    } else {
        let query = head.uri.query().unwrap_or_default();
        match channel.challenge(query) {
            Some(answer) if head.method == Method::GET => answer,
            Some(_) => return wrong_method("GET, POST"),
            None => return wrong_method("POST"),
        }
    };
    match answered {
        Ok(answer) => respond(answer),
        Err(refusal) => error(refusal.status, &refusal.reason, &channel.retry_after()),
    }
}

/// There is a place within a second: one a second is the lowest limit.
fn too_many_requests(server: &Serving, path: &str) -> Response<Full<Bytes>> {
    let channel = server.channel(path);
    let when = channel.map_or_else(|| ONE_SECOND.to_owned(), |channel| channel.retry_after());
    let reason = "too many requests from this address";
    error(StatusCode::TOO_MANY_REQUESTS, reason, &when)
}

/// A request that might mean two things.
pub(super) fn refused(wrong: Wrong) -> Response<Full<Bytes>> {
    error(wrong.status, wrong.reason, ONE_SECOND)
}

pub(super) fn too_many_connections() -> Response<Full<Bytes>> {
    error(
        StatusCode::SERVICE_UNAVAILABLE,
        "too many connections",
        ONE_SECOND,
    )
}

fn wrong_method(allowed: &'static str) -> Response<Full<Bytes>> {
    let reason = format!("{allowed} only");
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, &reason, ONE_SECOND);
    let allowed = HeaderValue::from_static(allowed);
    response.headers_mut().insert(ALLOW, allowed);
    response
}

fn error(status: StatusCode, reason: &str, retry_after: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "error": reason }).to_string();
    let mut response = respond(PlatformAnswer {
        status,
        ..PlatformAnswer::json(body.into_bytes())
    });
    let comes_again = [
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::TOO_MANY_REQUESTS,
    ];
    if comes_again.contains(&status)
        && let Ok(when) = HeaderValue::from_str(retry_after)
    {
        // Telegram and others obey it.
        response.headers_mut().insert(RETRY_AFTER, when);
    }
    response
}

fn respond(answer: PlatformAnswer) -> Response<Full<Bytes>> {
    let typed = !answer.body.is_empty();
    let mut response = Response::new(Full::from(scrub::owned(answer.body)));
    *response.status_mut() = answer.status;
    if typed {
        let media_type = HeaderValue::from_static(answer.media_type);
        response.headers_mut().insert(CONTENT_TYPE, media_type);
    }
    for (name, value) in answer.headers {
        // Ours are ASCII; a channel's that is not is left out.
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}
