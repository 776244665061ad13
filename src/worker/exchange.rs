//! One request and its answer, whichever version of HTTP it came over.
//!
//! Called by `http1.rs` and `http2.rs` for each request; asks `routes.rs`. Bounds: the unread
//! rest of a body is thrown away, up to [`most`] bytes and [`FIRST`].

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};

use super::routes;
use super::serving::Serving;
use crate::net::request::{self, Body, DISCARD, FIRST};
use crate::shared::scoreboard::Field;
use crate::updaters::body::too_long;

/// The other end of a connection.
#[derive(Clone, Copy)]
pub(super) struct Caller {
    /// None: a program on this machine, through a Unix socket.
    pub(super) peer: Option<IpAddr>,
    /// It is one too many.
    pub(super) full: bool,
}

/// What a connection is made of.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// What a request is answered with.
pub(super) struct Answered {
    pub(super) response: Response<Full<Bytes>>,
    /// Its body was read to its end, and where that is nobody doubts. If not, what comes
    /// next on an HTTP/1.1 connection is no request.
    pub(super) is_whole: bool,
}

/// Answers a request, and notes it meanwhile. What an answer leaves of a body is thrown
/// away first: most clients send all before they read.
pub(super) async fn answer(
    server: &Serving,
    caller: Caller,
    request: Request<Incoming>,
) -> Answered {
    let noted = server.requests.enter(request.method(), request.uri());
    server.bot.slot.add(Field::Requests, 1);
    let (head, mut body) = Body::of(request);
    let checked = request::check(&head);
    // HTTP/2 brings many on one connection: no more of them than connections may be open.
    let is_one_too_many = caller.full || noted.open > server.limits.connections;
    let response = match checked {
        Err(wrong) => routes::refused(wrong),
        Ok(()) if is_one_too_many => routes::too_many_connections(),
        Ok(()) => routes::route(server, caller.peer, &head, &mut body).await,
    };
    let limit = server.limits.body_timeout.min(FIRST);
    let is_read = tokio::select! {
        biased;
        is_read = body.discard(most(server)) => is_read,
        () = too_long(&server.bot, limit) => false,
    };
    drop(noted);
    Answered {
        response,
        is_whole: is_read && checked.is_ok(),
    }
}

/// Bytes of a body that are thrown away.
pub(super) fn most(server: &Serving) -> usize {
    server.limits.body.saturating_mul(DISCARD)
}
