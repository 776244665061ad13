//! The HTTP client of the platforms' APIs: one pool of kept-alive connections for each
//! channel of a worker.
//!
//! Used by the channels' `send`, by polling and registration. Bounds: [`TIMEOUT`] for a whole
//! call, longer for a long poll; [`MAX_ANSWER`] bytes of answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::http::Extensions;
use hyper::{Request, StatusCode, Uri};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::de::DeserializeOwned;

use super::SendError;
use super::lenient::readable;
use super::upload::{Form, Sending};
use crate::author::error::chain;
use crate::author::start_error::StartError;
use crate::config::Proxies;
use crate::net::outgoing::{Connector, Remote};

/// For connecting, sending and the whole answer. The platforms answer in well
/// under a second; Telegram itself gives up after 60.
const TIMEOUT: Duration = Duration::from_secs(30);

/// For a call that uploads files: 50 MB at 3 Mbit/s.
const UPLOAD: Duration = Duration::from_secs(150);

/// Bytes of an answer that are read: a hundred updates of the 512 KiB that Telegram takes
/// for one, and some more. An answer that is not read comes again for ever.
const MAX_ANSWER: usize = 64 << 20;

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
    /// JSON, as text that can be read: see `lenient.rs`.
    pub(super) body: Bytes,
}

impl Response {
    /// What the API says.
    ///
    /// # Errors
    /// When it is not the API that speaks, or not in its words: to be tried again.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, SendError> {
        serde_json::from_slice(&self.body).map_err(|_| self.not_the_api())
    }

    /// What a proxy before the API says.
    pub(super) fn not_the_api(&self) -> SendError {
        let reason = format!("{} without an answer of the API", self.status);
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => self.too_many(reason),
            _ => self.away(reason),
        }
    }

    /// Too many calls of this bot: again when the header says so.
    pub(super) fn too_many(&self, reason: String) -> SendError {
        SendError::TooMany {
            reason,
            after: self.retry_after,
            all: true,
        }
    }

    /// It takes nothing of this bot for now: again when the header says so.
    pub(super) fn away(&self, reason: String) -> SendError {
        SendError::Away {
            reason,
            after: self.retry_after,
        }
    }

    /// It did not take this reply: try again, when the header says so.
    pub(super) fn retry(&self, reason: String) -> SendError {
        SendError::Retry {
            reason,
            after: self.retry_after,
        }
    }
}

#[derive(Clone)]
pub(super) struct Client {
    pooled: Pooled<Connector, Sending>,
    connector: Connector,
}

impl Client {
    /// # Errors
    /// [`StartError::Refused`]: HTTPS cannot be spoken.
    pub(super) fn new(proxies: &Proxies) -> crate::StartResult<Self> {
        let connector = Connector::new(proxies)
            .map_err(|e| StartError::Refused(format!("cannot speak HTTPS: {e}")))?;
        Ok(Client {
            pooled: Pooled::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(MAX_IDLE)
                .build(connector.clone()),
            connector,
        })
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
            .body(Sending::from(Bytes::from(body)))
            .map_err(|e| SendError::Refused(e.to_string()))?;
        self.call(request, TIMEOUT).await
    }

    /// Posts a form with files. The whole may take as long as [`UPLOAD`].
    pub(super) async fn upload(&self, uri: Uri, form: Form) -> Result<Response, SendError> {
        let (media_type, body) = form.end();
        let request = Request::post(uri)
            .header(CONTENT_TYPE, media_type)
            .body(body)
            .map_err(|e| SendError::Refused(e.to_string()))?;
        self.call(request, UPLOAD).await
    }

    /// Posts JSON, and waits for an answer that may take as long as `wait`.
    pub(super) async fn poll(
        &self,
        uri: Uri,
        body: Vec<u8>,
        wait: Duration,
    ) -> Result<Response, SendError> {
        let request = Request::post(uri)
            .header(CONTENT_TYPE, "application/json")
            .body(Sending::from(Bytes::from(body)))
            .map_err(|e| SendError::Refused(e.to_string()))?;
        self.call(request, wait + TIMEOUT / 2).await
    }

    /// Gets something that may take as long as `wait`.
    pub(super) async fn get(&self, uri: Uri, wait: Duration) -> Result<Response, SendError> {
        let request = Request::get(uri)
            .body(Sending::from(Bytes::new()))
            .map_err(|e| SendError::Refused(e.to_string()))?;
        self.call(request, wait + TIMEOUT / 2).await
    }

    /// Gets a file: its body comes as it is read.
    ///
    /// # Errors
    /// A sentence without the address.
    pub(super) async fn fetch(
        &self,
        uri: Uri,
        headers: Vec<(HeaderName, HeaderValue)>,
    ) -> Result<hyper::Response<hyper::body::Incoming>, String> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request
            .body(Sending::from(Bytes::new()))
            .map_err(|e| e.to_string())?;
        tokio::time::timeout(TIMEOUT, self.pooled.request(request))
            .await
            .map_err(|_| format!("no answer in {} s", TIMEOUT.as_secs()))?
            .map_err(|e| chain(&e))
    }

    async fn call(
        &self,
        mut request: Request<Sending>,
        limit: Duration,
    ) -> Result<Response, SendError> {
        let connection = capture_connection(&mut request);
        let call = async {
            let response = self.pooled.request(request).await.map_err(|e| chain(&e))?;
            let status = response.status();
            let retry_after = seconds(response.headers().get(RETRY_AFTER));
            let body = Limited::new(response.into_body(), MAX_ANSWER)
                .collect()
                .await
                .map_err(|e| format!("its answer broke off: {}", chain(&*e)))?
                .to_bytes();
            Ok(Response {
                status,
                retry_after,
                // It holds what users' clients sent.
                body: readable(&body),
            })
        };
        let called = tokio::time::timeout(limit, call)
            .await
            .unwrap_or_else(|_| Err(format!("no answer in {} s", limit.as_secs())));
        called.map_err(|reason| match remote(&connection) {
            // Most errors name the address themselves; of silence nobody knows but us.
            Some(Remote(address)) if !reason.contains(&address.to_string()) => {
                self.connector.note_failed(address);
                SendError::away(format!("{reason} (at {address})"))
            }
            _ => SendError::away(reason),
        })
    }
}

/// The address that a call went to, if it was connected to.
fn remote(connection: &CaptureConnection) -> Option<Remote> {
    let mut extras = Extensions::new();
    connection
        .connection_metadata()
        .as_ref()?
        .get_extras(&mut extras);
    extras.get().copied()
}

fn seconds(header: Option<&HeaderValue>) -> Option<Duration> {
    let seconds = header?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever reads the log can tell which of a host's addresses it was.
    #[tokio::test]
    async fn an_error_names_the_address() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let of_silent = silent.local_addr().unwrap();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        let client = Client::new(&Proxies::default()).unwrap();
        let get = |port: u16, limit: u64| {
            let uri = format!("http://127.0.0.1:{port}/bot12:secret/x").parse();
            client.call(
                Request::get::<Uri>(uri.unwrap())
                    .body(Sending::from(Bytes::new()))
                    .unwrap(),
                Duration::from_secs(limit),
            )
        };
        let reset = get(address.port(), 20).await.unwrap_err().to_string();
        assert!(reset.contains(&address.to_string()), "{reset}");
        let silence = get(of_silent.port(), 1).await.unwrap_err().to_string();
        assert_eq!(silence, format!("no answer in 1 s (at {of_silent})"));
        let refused = get(1, 20).await.unwrap_err().to_string();
        assert!(refused.contains("127.0.0.1:1: "), "{refused}");
        assert!(!format!("{reset} {silence} {refused}").contains("secret"));
    }
}
