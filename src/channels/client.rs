//! The HTTP client that replies go out with: one pool of kept-alive connections
//! in each worker.
//!
//! Used by the channels' `send`. Bounds: [`TIMEOUT`] for a whole call,
//! [`MAX_ANSWER`] bytes of answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;

use super::SendError;

/// For connecting, sending and the whole answer. The platforms answer in well
/// under a second; Telegram itself gives up after 60.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of an answer that are read.
const MAX_ANSWER: usize = 1 << 20;

/// Kept alive for the next reply. Servers close at 60 s or more.
const IDLE: Duration = Duration::from_secs(50);

/// Connections kept for the next replies; a burst may open more.
const MAX_IDLE: usize = 64;

/// A platform's answer.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    /// Of its header, if it has one in seconds.
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

impl Response {
    /// What the API says.
    ///
    /// # Errors
    /// When it is not the API that speaks, or not in its words: to be tried again.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, SendError> {
        serde_json::from_slice(&self.body)
            .map_err(|_| self.retry(format!("{} without an answer of the API", self.status)))
    }

    /// Try again, when the header says so.
    pub(super) fn retry(&self, reason: String) -> SendError {
        SendError::Retry {
            reason,
            after: self.retry_after,
        }
    }
}

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

    /// Posts something. The error is a sentence without the address, which may
    /// hold a token.
    pub(super) async fn post(
        &self,
        uri: Uri,
        headers: &[(&'static str, &HeaderValue)],
        media_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Response, SendError> {
        let mut request = Request::post(uri).header(CONTENT_TYPE, media_type);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::from(body))
            .map_err(|e| SendError::Refused(e.to_string()))?;
        let call = async {
            let response = self.pooled.request(request).await.map_err(describe)?;
            let status = response.status();
            let retry_after = seconds(response.headers().get(RETRY_AFTER));
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(|e| format!("its answer broke off: {e}"))?
                .to_bytes();
            Ok(Response {
                status,
                retry_after,
                body,
            })
        };
        tokio::time::timeout(TIMEOUT, call)
            .await
            .unwrap_or_else(|_| Err(format!("no answer in {} s", TIMEOUT.as_secs())))
            .map_err(SendError::retry)
    }
}

fn seconds(header: Option<&HeaderValue>) -> Option<Duration> {
    let seconds = header?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
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
