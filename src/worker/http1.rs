//! A connection that speaks HTTP/1.1.
//!
//! Called by `connection.rs`. Hyper serves it; here are its time limits and its end.
//! Invariants: a slow client holds up only itself; a drain never closes a connection whose
//! request may be on the wire: one that was just busy, or has sent nothing yet, stays open for
//! [`LINGER`] first, since hyper's graceful shutdown closes an idle connection at once; every
//! answer from then on says `Connection: close`. A request that was refused before it was read
//! completely ends its connection, but only after its sender has had time to read why
//! (`request.rs`). A connection that was idle for [`SLEEPS_AFTER`] is left by hyper, so that its
//! buffers are free for others, and comes back to it with its next byte: 6,000 connections that
//! were kept alive took 3 KiB each beside some traffic, and 19 when none slept. Bounds: the head,
//! body and idle timeouts of the server.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::exchange::{Caller, Stream, answer, most};
use super::serving::Serving;
use crate::config::ServerLimits;
use crate::net::request::Kept;
use crate::updaters::body::too_long;

/// How long a draining worker waits for one more request on a connection that is
/// idle: longer than a request takes to arrive.
const LINGER: Duration = Duration::from_millis(500);

/// A connection that was idle for longer is closed at once: its client will hardly
/// come back within [`LINGER`], and might as well come a moment after.
const LONG_IDLE: Duration = Duration::from_secs(5);

/// Before an idle connection is closed the sockets are looked at once more: its
/// request may have arrived while this worker was busy with others.
const LAST_LOOK: Duration = Duration::from_millis(2);

/// An idle connection keeps hyper's buffers for so long: a client that posts one request after
/// another never meets this.
const SLEEPS_AFTER: Duration = Duration::from_secs(1);

/// Header lines of a request; more is answered 431.
const MAX_HEADERS: usize = 64;

/// What a connection is waiting for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first byte of a request.
    Idle,
    /// The rest of its head.
    Head,
    /// Us.
    Busy,
}

struct ConnectionState {
    phase: Cell<Phase>,
    since: Cell<Instant>,
    closing: Cell<bool>,
    /// No request has come yet.
    is_new: Cell<bool>,
    /// Its time is over, and it was looked at once more.
    looked: Cell<bool>,
    /// Something that was sent is not read, and never will be.
    is_cut: Cell<bool>,
    /// Something was written and is not known to have left.
    owes: Cell<bool>,
}

/// Why hyper has left a connection.
enum Left {
    /// It has ended.
    Ended,
    /// It sleeps; what was read of its next request already.
    Asleep(Bytes),
}

impl ConnectionState {
    fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(Instant::now());
        self.is_new.set(false);
        self.looked.set(false);
    }

    /// Nothing came for long, and nothing is on its way out.
    fn may_sleep(&self) -> bool {
        self.phase.get() == Phase::Idle
            && !self.closing.get()
            && !self.owes.get()
            && self.since.get().elapsed() >= SLEEPS_AFTER
    }

    /// The worker drains: this connection's next answer is its last.
    fn close_soon(&self) {
        self.closing.set(true);
        // It lingers from now on.
        if self.phase.get() == Phase::Idle
            && (self.is_new.get() || self.since.get().elapsed() < LONG_IDLE)
        {
            self.since.set(Instant::now());
        }
    }

    /// When to look again: a head that begins to arrive shortens the deadline
    /// without waking anybody.
    fn next_look(&self, limits: &ServerLimits) -> Instant {
        let now = Instant::now();
        let look = self.deadline(limits).min(now + limits.header_timeout / 2);
        match self.since.get() + SLEEPS_AFTER {
            tired if self.phase.get() == Phase::Idle && tired > now => look.min(tired),
            _ => look,
        }
    }

    /// When its patience with the client ends.
    fn deadline(&self, limits: &ServerLimits) -> Instant {
        let limit = match self.phase.get() {
            Phase::Idle if self.closing.get() => LINGER,
            Phase::Idle => limits.idle_timeout,
            Phase::Head if self.closing.get() => limits.header_timeout.min(LINGER * 4),
            Phase::Head => limits.header_timeout,
            // The body and the turn have limits of their own.
            Phase::Busy => return Instant::now() + limits.idle_timeout,
        };
        self.since.get() + limit
    }
}

/// Serves a connection until it ends.
pub(super) async fn serve(
    server: Rc<Serving>,
    stream: impl Stream,
    caller: Caller,
    draining: watch::Receiver<bool>,
) {
    let state = Rc::new(ConnectionState {
        phase: Cell::new(Phase::Idle),
        since: Cell::new(Instant::now()),
        closing: Cell::new(caller.full),
        is_new: Cell::new(true),
        looked: Cell::new(false),
        is_cut: Cell::new(false),
        owes: Cell::new(false),
    });
    let stream = Kept::new(stream);
    let mut read = Bytes::new();
    loop {
        let watched = Watched {
            stream: stream.clone(),
            state: state.clone(),
            read: std::mem::take(&mut read),
        };
        // Boxed, as all here that is long: a connection has room only for what it is doing.
        let served = serve_requests(&server, watched, &state, caller, draining.clone());
        let left = Box::pin(served).await;
        read = match left {
            Left::Ended => break,
            Left::Asleep(begun) => begun,
        };
        if !read.is_empty() {
            continue;
        }
        let asleep = sleep(&server, stream.clone(), &state, draining.clone());
        match Box::pin(asleep).await {
            Some(byte) => read = Bytes::copy_from_slice(&[byte]),
            None => return,
        }
    }
    if state.is_cut.get() {
        let until = too_long(&server.bot, server.limits.body_timeout);
        Box::pin(stream.linger(most(&server), until)).await;
    }
}

/// Waits for the first byte of the next request; none: the connection is over.
async fn sleep(
    server: &Serving,
    mut stream: impl Stream,
    state: &ConnectionState,
    mut draining: watch::Receiver<bool>,
) -> Option<u8> {
    loop {
        let mut byte = [0];
        let at = match state.looked.get() {
            false => state.deadline(&server.limits),
            true => Instant::now() + LAST_LOOK,
        };
        tokio::select! {
            // What has arrived counts before what falls due.
            biased;
            read = stream.read(&mut byte) => return match read {
                Ok(1) => Some(byte[0]),
                _ => None,
            },
            () = tokio::time::sleep_until(at) => if state.looked.replace(true) {
                // Whoever does not take the end of an encrypted connection is cut off.
                let rest = server.limits.header_timeout;
                drop(Box::pin(tokio::time::timeout(rest, stream.shutdown())).await);
                return None;
            },
            _ = draining.wait_for(|drain| *drain), if !state.closing.get() => state.close_soon(),
        }
    }
}

async fn serve_requests<S: Stream>(
    server: &Rc<Serving>,
    watched: Watched<S>,
    state: &Rc<ConnectionState>,
    caller: Caller,
    mut draining: watch::Receiver<bool>,
) -> Left {
    let leaving = draining.clone();
    let service = service_fn(|request: Request<Incoming>| {
        let server = server.clone();
        let state = state.clone();
        let leaving = leaving.clone();
        async move {
            state.enter(Phase::Busy);
            let answered = answer(&server, caller, request).await;
            let mut response = answered.response;
            state.is_cut.set(!answered.is_whole);
            if !answered.is_whole || state.closing.get() || *leaving.borrow() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            state.enter(Phase::Idle);
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(server.limits.header)
        .max_headers(MAX_HEADERS)
        .header_read_timeout(None)
        // A client may close its half when it has sent all.
        .half_close(true)
        .serve_connection(TokioIo::new(watched), service);
    let mut alarm = pin!(tokio::time::sleep_until(state.next_look(&server.limits)));
    loop {
        tokio::select! {
            // What has arrived counts before what falls due.
            biased;
            ended = &mut connection => {
                // What is no HTTP was told so. A client that breaks off is no error of ours.
                state.is_cut.set(state.is_cut.get() || ended.is_err_and(|e| e.is_parse()));
                return Left::Ended;
            }
            () = alarm.as_mut() => {
                if Instant::now() >= state.deadline(&server.limits) {
                    match state.phase.get() {
                        Phase::Head => return Left::Ended,
                        Phase::Idle if !state.looked.replace(true) => {
                            alarm.as_mut().reset(Instant::now() + LAST_LOOK);
                            continue;
                        }
                        Phase::Idle => {
                            Pin::new(&mut connection).graceful_shutdown();
                            // Whoever does not read the last answer is cut off.
                            let rest = server.limits.header_timeout;
                            drop(tokio::time::timeout(rest, connection).await);
                            return Left::Ended;
                        }
                        Phase::Busy => {}
                    }
                } else if state.may_sleep() {
                    // A copy, mostly of nothing, which has no hold of hyper's buffer.
                    let begun = connection.into_parts().read_buf;
                    return Left::Asleep(Bytes::copy_from_slice(&begun));
                }
                alarm.as_mut().reset(state.next_look(&server.limits));
            }
            _ = draining.wait_for(|drain| *drain), if !state.closing.get() => {
                state.close_soon();
                alarm.as_mut().reset(state.next_look(&server.limits));
            }
        }
    }
}

/// A stream that notes when a request begins to arrive, and when an answer has left.
struct Watched<S> {
    stream: Kept<S>,
    state: Rc<ConnectionState>,
    /// What was read before: it comes first.
    read: Bytes,
}

impl<S: Stream> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if !self.read.is_empty() {
            let length = self.read.len().min(buffer.remaining());
            buffer.put_slice(&self.read.split_to(length));
            if self.state.phase.get() == Phase::Idle {
                self.state.enter(Phase::Head);
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && self.state.phase.get() == Phase::Idle {
            self.state.enter(Phase::Head);
        }
        polled
    }
}

impl<S: Stream> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.state.owes.set(true);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        self.state.owes.set(true);
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.state.owes.set(false);
        }
        flushed
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
