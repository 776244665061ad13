//! One connection, from its first byte to its last: which protocol it speaks, and who answers.
//!
//! Called by `server.rs` for each connection. HTTPS begins with a handshake, which also
//! chooses between HTTP/2 (`http2.rs`) and HTTP/1.1 (`http1.rs`); a port without
//! certificates speaks HTTP/1.1. Bounds: a handshake has
//! `--header-timeout`, and [`LAST_HANDSHAKE`] in a drain.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;

use super::accept::Accepted;
use super::exchange::Caller;
use super::serving::Serving;
use super::{http1, http2};
use crate::net::tls;
use crate::shared::drain;

/// For a handshake that is under way when the worker drains: some round trips over a slow
/// line. A client that stays silent must not hold up a stop.
const LAST_HANDSHAKE: Duration = Duration::from_secs(2);

/// Serves a connection until it ends. `full`: it is one too many.
pub(super) async fn serve(
    server: Rc<Serving>,
    accepted: Accepted,
    full: bool,
    draining: watch::Receiver<bool>,
) {
    match accepted {
        Accepted::Tcp(stream, peer) if server.tls.is_some() => {
            // Boxed, as are the others: a connection has no room for a kind that it is not.
            Box::pin(serve_tls(server, stream, peer, full, draining)).await;
        }
        Accepted::Tcp(stream, peer) => {
            let caller = Caller {
                peer: Some(peer),
                full,
            };
            Box::pin(http1::serve(server, stream, caller, draining)).await;
        }
        Accepted::Unix(stream) => {
            let caller = Caller { peer: None, full };
            Box::pin(http1::serve(server, stream, caller, draining)).await;
        }
    }
}

async fn serve_tls(
    server: Rc<Serving>,
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
            () = drain::begins(&mut leaving) => {
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
        Some(tls::HTTP_2) => Box::pin(http2::serve(server, stream, caller, draining)).await,
        // Whoever checks a name has seen what it came for.
        Some(tls::ACME) => {}
        _ => Box::pin(http1::serve(server, stream, caller, draining)).await,
    }
}
