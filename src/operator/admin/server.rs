//! Accepts connections from the admin listeners and serves HTTP/1.1 to the few clients there.
//!
//! Run by each worker ([`super::Admin::serve`]); they share the listeners, and any of
//! them answers for all. Bounds, apart from those of the public address, so that neither
//! can starve the other: [`CONNECTIONS`] in a worker (more wait in the kernel's queue),
//! [`HEAD`] bytes and [`HEADERS`] lines of a head, [`HEAD_TIME`] for it, [`LIFE`] of a
//! connection, [`ANSWER_TIME`] for an answer. A body is thrown away, up to [`BODY`] bytes, but for that of a form (`acts.rs`).

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{Admin, routes};
use crate::net::listener::{Listener, ListeningSocket};
use crate::net::request::{self, Body, FIRST, Kept};

/// Connections in each worker.
const CONNECTIONS: usize = 32;

/// Bytes of a request's head.
const HEAD: usize = 16 << 10;

/// Header lines of a request.
const HEADERS: usize = 64;

/// Bytes of a body, which nobody wants.
const BODY: usize = 16 << 20;

/// For a request's head.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// For an answer to be read by its client, after the connection's time is over.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Of a connection.
const LIFE: Duration = Duration::from_secs(60);

/// For the request of a connection that is open when others are to serve.
const LINGER: Duration = Duration::from_millis(500);

/// For those who are being answered when others are to serve.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Before the next attempt when the process has no more files to open.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// Accepts and serves until others are to do it, then finishes what is asked for.
pub(super) async fn accept(
    admin: Rc<Admin>,
    listener: Listener,
    leaving: watch::Receiver<bool>,
) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut leaves = leaving.clone();
    match listener.socket {
        ListeningSocket::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            while let Some(place) = place(&places).await {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => start(&admin, stream, false, place, &leaving),
                        Err(error) => failed(&error).await,
                    },
                    () = told(&mut leaves) => break,
                }
            }
        }
        ListeningSocket::Unix(listener, _) => {
            let listener = UnixListener::from_std(listener)?;
            while let Some(place) = place(&places).await {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => start(&admin, stream, true, place, &leaving),
                        Err(error) => failed(&error).await,
                    },
                    () = told(&mut leaves) => break,
                }
            }
        }
    }
    // All places are free: nobody is being answered any more.
    let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
    drop(tokio::time::timeout(LAST_ANSWERS, places.acquire_many(all)).await);
    Ok(())
}

/// Resolves when others are to serve. What `wait_for` gives is a lock on the value: not to
/// be held while anything is waited for.
async fn told(leaving: &mut watch::Receiver<bool>) {
    drop(leaving.wait_for(|leaves| *leaves).await);
}

/// None when the semaphore is closed, which nobody does.
async fn place(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    places.clone().acquire_owned().await.ok()
}

async fn failed(error: &io::Error) {
    tracing::debug!("cannot accept a connection at --admin: {error}");
    tokio::time::sleep(OUT_OF_FILES).await;
}

fn start<S>(
    admin: &Rc<Admin>,
    stream: S,
    is_unix: bool,
    place: OwnedSemaphorePermit,
    leaving: &watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let (admin, leaving) = (admin.clone(), leaving.clone());
    tokio::task::spawn_local(async move {
        serve(admin, stream, is_unix, leaving).await;
        drop(place);
    });
}

async fn serve<S>(admin: Rc<Admin>, stream: S, is_unix: bool, mut leaving: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let leaves = leaving.clone();
    let is_cut = Cell::new(false);
    let stream = Kept::new(stream);
    let service = service_fn(|request: Request<Incoming>| {
        let (admin, leaves, is_cut) = (admin.clone(), leaves.clone(), &is_cut);
        async move {
            let (head, mut body) = Body::of(request);
            let checked = request::check(&head);
            let mut response = match checked {
                Ok(()) => routes::answer(&admin, is_unix, &head, &mut body).await,
                Err(wrong) => routes::refused(wrong),
            };
            let read = tokio::time::timeout(FIRST, body.discard(BODY)).await;
            let is_whole = read.unwrap_or(false) && checked.is_ok();
            is_cut.set(!is_whole);
            if !is_whole || *leaves.borrow() {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(HEAD)
            .max_headers(HEADERS)
            .half_close(true)
            .serve_connection(TokioIo::new(stream.clone()), service)
    );
    tokio::select! {
        ended = connection.as_mut() => {
            if is_cut.get() || ended.is_err_and(|error| error.is_parse()) {
                let until = async {
                    tokio::select! { () = tokio::time::sleep(FIRST) => {}, () = told(&mut leaving) => {} }
                };
                stream.linger(BODY, until).await;
            }
            return;
        }
        () = tokio::time::sleep(LIFE) => {}
        () = told(&mut leaving) => {
            // Its request may be on the way, and hyper would close an idle one at once.
            if tokio::time::timeout(LINGER, connection.as_mut()).await.is_ok() {
                return;
            }
        }
    }
    connection.as_mut().graceful_shutdown();
    // Whoever does not read the last answer is cut off.
    drop(tokio::time::timeout(ANSWER_TIME, connection).await);
}
