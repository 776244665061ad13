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

pub(super) async fn route(
    bot: &Rc<Bot>,
    limits: &ServerLimits,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let Some(channel) = bot.channels.at(request.uri().path()) else {
        return error(StatusCode::NOT_FOUND, "no such path");
    };
    if request.method() != Method::POST {
        let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "POST only");
        let post = HeaderValue::from_static("POST");
        response.headers_mut().insert(ALLOW, post);
        return response;
    }
    match webhooks::receive(bot, channel, limits, request).await {
        Ok((status, body)) => json(status, body),
        Err(refusal) => error(refusal.status, &refusal.reason),
    }
}

pub(super) fn too_many_connections() -> Response<Full<Bytes>> {
    error(StatusCode::SERVICE_UNAVAILABLE, "too many connections")
}

fn error(status: StatusCode, reason: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "error": reason }).to_string();
    let mut response = json(status, body.into_bytes());
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // Telegram and others obey it.
        let second = HeaderValue::from_static("1");
        response.headers_mut().insert(RETRY_AFTER, second);
    }
    response
}

fn json(status: StatusCode, body: Vec<u8>) -> Response<Full<Bytes>> {
    let typed = !body.is_empty();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    if typed {
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
    }
    response
}
