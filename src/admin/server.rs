//! Accepts at the admin listeners and serves HTTP/1.1 to the few who ask there.
//!
//! Run by each worker ([`super::Admin::serve`]); they share the listeners, and any of
//! them answers for all. Bounds, apart from those of the public address, so that neither
//! can starve the other: [`CONNECTIONS`] in a worker (more wait in the kernel's queue),
//! [`HEAD`] bytes and [`HEADERS`] lines of a head, [`HEAD_TIME`] for it, [`LIFE`] of a
//! connection, [`ANSWER_TIME`] for an answer. A body is not read.

use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Admin, routes};
use crate::listener::{Listener, ListeningSocket};

/// Connections in each worker.
const CONNECTIONS: usize = 32;

/// Bytes of a request's head.
const HEAD: usize = 16 << 10;

/// Header lines of a request.
const HEADERS: usize = 64;

/// For a request's head.
const HEAD_TIME: Duration = Duration::from_secs(5);

/// For an answer to be read by its client, after the connection's time is over.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Of a connection.
const LIFE: Duration = Duration::from_secs(60);

/// Before the next attempt when the process has no more files to open.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// Accepts and serves for as long as it is polled.
pub(super) async fn accept(admin: Rc<Admin>, listener: Listener) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    match listener.socket {
        ListeningSocket::Tcp(listener) => {
            let listener = TcpListener::from_std(listener)?;
            loop {
                let Some(place) = place(&places).await else {
                    return Ok(());
                };
                match listener.accept().await {
                    Ok((stream, _)) => start(&admin, stream, false, place),
                    Err(error) => failed(&error).await,
                }
            }
        }
        ListeningSocket::Unix(listener, _) => {
            let listener = UnixListener::from_std(listener)?;
            loop {
                let Some(place) = place(&places).await else {
                    return Ok(());
                };
                match listener.accept().await {
                    Ok((stream, _)) => start(&admin, stream, true, place),
                    Err(error) => failed(&error).await,
                }
            }
        }
    }
}

/// None when the semaphore is closed, which nobody does.
async fn place(places: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    places.clone().acquire_owned().await.ok()
}

async fn failed(error: &io::Error) {
    tracing::debug!("cannot accept a connection at --admin: {error}");
    tokio::time::sleep(OUT_OF_FILES).await;
}

fn start<S>(admin: &Rc<Admin>, stream: S, is_unix: bool, place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let admin = admin.clone();
    tokio::task::spawn_local(async move {
        serve(admin, stream, is_unix).await;
        drop(place);
    });
}

async fn serve<S>(admin: Rc<Admin>, stream: S, is_unix: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let service = service_fn(|request: Request<Incoming>| {
        let admin = admin.clone();
        async move { Ok::<_, std::convert::Infallible>(routes::answer(&admin, is_unix, &request).await) }
    });
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(HEAD)
            .max_headers(HEADERS)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service)
    );
    let ended = tokio::time::timeout(LIFE, connection.as_mut()).await;
    if ended.is_err() {
        connection.as_mut().graceful_shutdown();
        // Whoever does not read the last answer is cut off.
        drop(tokio::time::timeout(ANSWER_TIME, connection).await);
    }
}
