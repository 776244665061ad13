//! Paths of the admin address, and the headers of each answer.
//!
//! Called by `server.rs` for each request. GET and HEAD, and for `/status/act` also POST: nothing else
//! changes anything. Bounds: [`QUERY`] bytes of a query string; each database query has the time limit of
//! `queues.rs`.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::content::{Content, JSON};
use super::{Admin, acts, gate, metrics, page};
use crate::net::request::{Body, Wrong};
use crate::shared::scrub::told;
use crate::shared::trends::Span;

/// Bytes of a query string.
const QUERY: usize = 2048;

/// Pages hold no script and no style of their own, ask nobody else, and stand in no
/// frame: whatever a user may have smuggled in stays text.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
     img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Answers a request.
pub(super) async fn answer(
    admin: &Admin,
    is_unix: bool,
    head: &Parts,
    body: &mut Body,
) -> Response<Full<Bytes>> {
    let content = match gate::check(admin.token.as_deref(), is_unix, &head.headers) {
        Err(refused) => Content::text(refused.status, refused.reason),
        Ok(()) if head.method == Method::POST && head.uri.path() == "/status/act" => {
            acts::act(admin, head, body).await
        }
        Ok(()) if !matches!(head.method, Method::GET | Method::HEAD) => Content::text(
            StatusCode::METHOD_NOT_ALLOWED,
            "GET only: nothing is changed at this path",
        ),
        Ok(()) => match head.uri.query() {
            Some(query) if query.len() > QUERY => {
                Content::text(StatusCode::URI_TOO_LONG, "this question is too long")
            }
            query => content(admin, head, query.unwrap_or_default()).await,
        },
    };
    respond(content)
}

/// A request that might mean two things.
pub(super) fn refused(wrong: Wrong) -> Response<Full<Bytes>> {
    respond(Content::text(wrong.status, wrong.reason))
}

async fn content(admin: &Admin, head: &Parts, query: &str) -> Content {
    match head.uri.path() {
        "/healthz" => Content::text(StatusCode::OK, "ok"),
        "/readyz" => match admin.not_ready().await {
            // It serves; whoever looks is told what will not survive a move.
            None => match admin.certificate_problem() {
                None => Content::text(StatusCode::OK, "ok"),
                Some(why) => {
                    let line = format!("ok; the certificate before is served on: {why}");
                    Content::text(StatusCode::OK, &line)
                }
            },
            Some(reason) => Content::text(StatusCode::SERVICE_UNAVAILABLE, &reason),
        },
        "/metrics" => {
            let format = metrics::Format::wanted(&head.headers);
            Content::ok(format.media_type(), metrics::text(admin, format).await)
        }
        "/status.json" => match serde_json::to_string(&admin.status(span(query)).await) {
            Ok(json) => Content::ok(JSON, json),
            Err(error) => Content::text(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        "/" => Content::text(StatusCode::SEE_OTHER, "see /status"),
        "/status" => page::overview(&admin.status(span(query)).await),
        "/status/style.css" => Content::ok("text/css; charset=utf-8", page::STYLE),
        "/status/live.js" => Content::ok("text/javascript; charset=utf-8", page::SCRIPT),
        "/status/dialogs" => page::dialogs(admin, query).await,
        "/status/act" => acts::ask(admin, query),
        "/status/dead" => page::dead(admin, query).await,
        path => match path
            .strip_prefix("/status/dialogs/")
            .and_then(|p| p.split_once('/'))
        {
            Some((channel, user)) => page::dialog(admin, (channel, user), query).await,
            None => Content::text(
                StatusCode::NOT_FOUND,
                "no such path; there are /status, /status.json, /metrics, /readyz and /healthz",
            ),
        },
    }
}

/// What the charts are to show: `?charts=1h`.
fn span(query: &str) -> Span {
    let named = page::field(query, "charts");
    named
        .and_then(|name| Span::named(&name))
        .unwrap_or_default()
}

fn respond(content: Content) -> Response<Full<Bytes>> {
    let body = match told(&content.body) {
        Cow::Owned(clean) => clean,
        Cow::Borrowed(_) => content.body,
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = content.status;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(CONTENT_TYPE, content.media_type);
    set(CACHE_CONTROL, "no-store");
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(CONTENT_SECURITY_POLICY, POLICY);
    // Without any, browsers do not say where our own forms come from: see `acts.rs`.
    set(REFERRER_POLICY, "same-origin");
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    );
    match content.status {
        StatusCode::UNAUTHORIZED => {
            set(WWW_AUTHENTICATE, "Basic realm=\"turnkey\", Bearer");
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            set(ALLOW, "GET, HEAD");
        }
        StatusCode::SEE_OTHER => {
            set(LOCATION, "/status");
        }
        _ => {}
    }
    response
}
