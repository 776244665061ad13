//! The yardstick: a bare hyper server that answers what `turnkey run` answers,
//! and does nothing else.
//!
//! `scripts/bench` drives both with the same load; what is missing to this one
//! is the price of turns: locks, states, the database. Same HTTP settings, same
//! kind of threads (one single-threaded runtime each). The main thread accepts
//! and deals the connections out in turn, so no thread has more than its share.

use std::convert::Infallible;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::num::NonZeroUsize;

use bytes::Bytes;
use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

/// What the counter bot answers to a user's first message.
const ANSWER: &[u8] = br#"{"replies":[{"text":"1: hi"}]}"#;

/// A bare hyper server: POST /http answers a fixed body.
#[derive(Parser)]
struct Options {
    /// Threads that serve.
    #[arg(long, default_value = "2", value_name = "N")]
    workers: NonZeroUsize,

    /// Port to listen on; 0 picks a free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    port: u16,
}

fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let listener = TcpListener::bind(("127.0.0.1", options.port))?;
    let threads = (0..options.workers.get())
        .map(|_| start_thread())
        .collect::<std::io::Result<Vec<_>>>()?;
    println!("listening on {}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    for thread in threads.iter().cycle() {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        thread
            .send(stream)
            .map_err(|_| std::io::Error::other("a thread has ended"))?;
    }
    Ok(())
}

/// Starts a thread that serves the connections it is sent.
fn start_thread() -> std::io::Result<mpsc::UnboundedSender<TcpStream>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new().spawn(move || {
        tokio::task::LocalSet::new().block_on(&runtime, serve(receiver));
    })?;
    Ok(sender)
}

async fn serve(mut connections: mpsc::UnboundedReceiver<TcpStream>) {
    while let Some(stream) = connections.recv().await {
        let stream = match tokio::net::TcpStream::from_std(stream) {
            Ok(stream) => TokioIo::new(stream),
            Err(error) => {
                eprintln!("lost a connection: {error}");
                continue;
            }
        };
        tokio::task::spawn_local(async move {
            // A client that breaks off is no error of ours.
            drop(
                http1::Builder::new()
                    .max_buf_size(16 << 10)
                    .max_headers(64)
                    .header_read_timeout(None)
                    .serve_connection(stream, service_fn(answer))
                    .await,
            );
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let known = request.method() == Method::POST && request.uri().path() == "/http";
    let body = request.into_body().collect().await;
    let mut response = Response::new(Full::default());
    match body {
        Ok(_) if known => {
            let json = hyper::header::HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            *response.body_mut() = Full::from(ANSWER);
        }
        Ok(_) => *response.status_mut() = StatusCode::NOT_FOUND,
        Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}
