//! The HTTP client that replies go out with: one pool of kept-alive connections
//! in each worker.
//!
//! Used by the channels' `send`. Bounds: [`TIMEOUT`] for a whole call,
//! [`MAX_ANSWER`] bytes of answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// For connecting, sending and the whole answer. The platforms answer in well
/// under a second; Telegram itself gives up after 60.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 1 << 20;

/// Kept alive for the next reply. Servers close at 60 s or more.
const IDLE: Duration = Duration::from_secs(50);

/// Connections kept for the next replies; a burst may open more.
const MAX_IDLE: usize = 64;

#[derive(Clone)]
pub(super) struct Client {
    pooled: Pooled<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    pub(super) fn new() -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .build();
        Client {
            pooled: Pooled::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(MAX_IDLE)
                .build(connector),
        }
    }

    /// Posts JSON; the status and the body of the answer. The error is a
    /// sentence without the address, which may hold a token.
    pub(super) async fn post(
        &self,
        uri: Uri,
        json: Vec<u8>,
    ) -> Result<(StatusCode, Bytes), String> {
        let request = Request::post(uri)
            .header("content-type", "application/json")
            .body(Full::from(json))
            .map_err(|e| e.to_string())?;
        let call = async {
            let response = self.pooled.request(request).await.map_err(describe)?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(|e| format!("its answer broke off: {e}"))?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(TIMEOUT, call)
            .await
            .unwrap_or_else(|_| Err(format!("no answer in {} s", TIMEOUT.as_secs())))
    }
}

fn describe(error: hyper_util::client::legacy::Error) -> String {
    let mut text = String::new();
    let mut source: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = source {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
