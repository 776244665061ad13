//! A connection that speaks HTTP/2: many requests at once.
//!
//! Called by `connection.rs`. A drain sends GOAWAY: the client sends no more requests, those on
//! their way are answered, then the connection closes (RFC 9113, 6.8); so only a connection whose
//! client may still be sending a body lingers here. Bounds: [`MAX_STREAMS`] requests and
//! [`CONNECTION_WINDOW`] bytes at once, `--max-header` for a head, `--idle-timeout` without a
//! request, `--header-timeout` for the first one and for a client that does not read its last
//! answers.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::Instant;

use super::exchange::{Caller, Stream, answer, most};
use super::serving::Serving;
use crate::net::request::Kept;
use crate::updaters::body::too_long;

/// Requests of a connection at once; the client is told, and waits. What RFC 9113, 6.5.2
/// recommends at least.
const MAX_STREAMS: u32 = 100;

/// Bytes of bodies that a client may send before they are read: of one request (the
/// protocol's own default) and of all, so that many connections cannot fill the memory.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// What a connection is doing.
struct ConnectionState {
    /// Requests that are being answered.
    open: Cell<u32>,
    /// Since when there is none.
    idle_since: Cell<Instant>,
    /// Its first request has not come yet.
    is_new: Cell<bool>,
}

/// Serves a connection until it ends.
pub(super) async fn serve(
    server: Rc<Serving>,
    stream: impl Stream + 'static,
    caller: Caller,
    draining: watch::Receiver<bool>,
) {
    let is_cut = Rc::new(Cell::new(false));
    let stream = Kept::new(stream);
    serve_requests(&server, stream.clone(), caller, draining, &is_cut).await;
    // A body that was answered before its end is still being sent.
    if is_cut.get() {
        let until = too_long(&server.bot, server.limits.body_timeout);
        stream.linger(most(&server), until).await;
    }
}

async fn serve_requests(
    server: &Rc<Serving>,
    stream: impl Stream + 'static,
    caller: Caller,
    mut draining: watch::Receiver<bool>,
    is_cut: &Rc<Cell<bool>>,
) {
    let limits = server.limits;
    let state = Rc::new(ConnectionState {
        open: Cell::new(0),
        idle_since: Cell::new(Instant::now()),
        is_new: Cell::new(true),
    });
    let of_requests = state.clone();
    let (server, is_cut) = (server.clone(), is_cut.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let open = Open::new(&of_requests);
        let (server, is_cut) = (server.clone(), is_cut.clone());
        async move {
            // What was left unread of a body is reset after its answer (RFC 9113, 8.1).
            let answered = answer(&server, caller, request).await;
            is_cut.set(is_cut.get() || !answered.is_whole);
            drop(open);
            Ok::<_, Infallible>(answered.response)
        }
    });
    let mut connection = pin!(
        hyper::server::conn::http2::Builder::new(Local)
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(CONNECTION_WINDOW as usize)
            .max_header_list_size(u32::try_from(limits.header).unwrap_or(u32::MAX))
            .serve_connection(TokioIo::new(stream), service)
    );
    let mut leaves = caller.full;
    while !leaves {
        let patience = match state.is_new.get() {
            true => limits.header_timeout,
            false => limits.idle_timeout,
        };
        let due = match state.open.get() {
            0 => state.idle_since.get() + patience,
            _ => Instant::now() + patience,
        };
        tokio::select! {
            // What has arrived counts before what falls due.
            biased;
            // A client that breaks off is no error of ours.
            _ = connection.as_mut() => return,
            () = tokio::time::sleep_until(due) => {
                leaves = state.open.get() == 0
                    && Instant::now() >= state.idle_since.get() + patience;
            }
            _ = draining.wait_for(|drain| *drain) => leaves = true,
        }
    }
    connection.as_mut().graceful_shutdown();
    loop {
        let rest = limits.header_timeout;
        if tokio::time::timeout(rest, connection.as_mut())
            .await
            .is_ok()
            || state.open.get() == 0
        {
            return;
        }
    }
}

/// A request that is being answered.
struct Open(Rc<ConnectionState>);

impl Open {
    fn new(state: &Rc<ConnectionState>) -> Self {
        state.open.set(state.open.get() + 1);
        state.is_new.set(false);
        Open(state.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.idle_since.set(Instant::now());
    }
}

/// Runs a connection's tasks on this thread.
#[derive(Clone)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}
