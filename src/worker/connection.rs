//! One connection, from its first byte to its last: what it speaks, and who answers.
//!
//! Called by `server.rs` for each connection. HTTPS begins with a handshake, which also
//! chooses between HTTP/2 (`http2.rs`) and HTTP/1.1 (`http1.rs`); a port without
//! certificates speaks HTTP/1.1. Bounds: a handshake has
//! `--header-timeout`, and [`LAST_HANDSHAKE`] in a drain.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::accept::Accepted;
use super::server::Server;
use super::{http1, http2, routes};
use crate::net::request::{self, Body, DISCARD, FIRST};
use crate::net::tls;
use crate::shared::scoreboard::Field;
use crate::updaters::body::too_long;

/// For a handshake that is under way when the worker drains: some round trips over a slow
/// line. A client that stays silent must not hold up a stop.
const LAST_HANDSHAKE: Duration = Duration::from_secs(2);

/// Serves a connection until it ends. `full`: it is one too many.
pub(super) async fn serve(
    server: Rc<Server>,
    accepted: Accepted,
    full: bool,
    draining: watch::Receiver<bool>,
) {
    match accepted {
        Accepted::Tcp(stream, peer) if server.tls.is_some() => {
            serve_tls(server, stream, peer, full, draining).await;
        }
        Accepted::Tcp(stream, peer) => {
            let caller = Caller {
                peer: Some(peer),
                full,
            };
            http1::serve(server, stream, caller, draining).await;
        }
        Accepted::Unix(stream) => {
            let caller = Caller { peer: None, full };
            http1::serve(server, stream, caller, draining).await;
        }
    }
}

async fn serve_tls(
    server: Rc<Server>,
    stream: TcpStream,
    peer: IpAddr,
    full: bool,
    draining: watch::Receiver<bool>,
) {
    let Some(tls) = &server.tls else { return };
    let mut leaving = draining.clone();
    let too_long = async {
        let limit = server.limits.header_timeout;
        tokio::select! {
            () = tokio::time::sleep(limit) => {}
            // Its result is a lock on the value: not to be held while we wait.
            () = async { drop(leaving.wait_for(|drain| *drain).await) } => {
                tokio::time::sleep(limit.min(LAST_HANDSHAKE)).await;
            }
        }
    };
    let stream = tokio::select! {
        shaken = tls.accept(stream) => match shaken {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!("no handshake with {peer}: {error}"),
        },
        () = too_long => return tracing::debug!("no handshake with {peer}: it took too long"),
    };
    let caller = Caller {
        peer: Some(peer),
        full,
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(tls::HTTP_2) => http2::serve(server, stream, caller, draining).await,
        // Whoever checks a name has seen what it came for.
        Some(tls::ACME) => {}
        _ => http1::serve(server, stream, caller, draining).await,
    }
}

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
    server: &Server,
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
pub(super) fn most(server: &Server) -> usize {
    server.limits.body.saturating_mul(DISCARD)
}
