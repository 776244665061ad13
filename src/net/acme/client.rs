//! Requests to the ACME server, for the ACME library.
//!
//! One for each attempt, made by `order.rs`. Bounds: [`TIMEOUT`] for a whole request,
//! [`MAX_ANSWER`] bytes of answer; HTTP/1.1, at most two connections.

use std::fs;
use std::future::Future;
use std::io::{Error, Result as IoResult};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::header::{HeaderMap, RETRY_AFTER};
use hyper_util::client::legacy::Client as Pooled;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use instant_acme::{BodyWrapper, BytesResponse, HttpClient};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::failure::{Failure, chain};
use crate::config::Proxies;
use crate::net::outgoing::Connector;

/// For connecting, sending and the whole answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of an answer: a chain of a few certificates at most.
const MAX_ANSWER: usize = 1 << 20;

/// Kept alive for the next request.
const IDLE: Duration = Duration::from_secs(30);

type Answer = Result<BytesResponse, instant_acme::Error>;

/// Cheap to clone; all share the connections.
#[derive(Clone)]
pub(super) struct Client {
    pooled: Pooled<Connector, BodyWrapper<Bytes>>,
    retry_after: Arc<Mutex<Option<Duration>>>,
}

impl Client {
    /// Trusts the web's roots, or this certificate alone.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn new(ca: Option<&Path>, proxies: &Proxies) -> Result<Self, Failure> {
        let connector = match ca {
            None => Connector::new(proxies)
                .map_err(|e| Failure::new(format!("cannot speak HTTPS: {e}")))?,
            Some(file) => Connector::trusting(trusting(file)?, proxies),
        };
        Ok(Client {
            pooled: Pooled::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(2)
                .build(connector),
            retry_after: Arc::default(),
        })
    }

    /// What the last answer that was an error said about the time to come again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        *self.last()
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Duration>> {
        self.retry_after
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(self, request: Request<BodyWrapper<Bytes>>) -> Answer {
        let host = request.uri().host().unwrap_or("the server").to_owned();
        let other = |reason: String| instant_acme::Error::Other(Error::other(reason).into());
        let response = self.pooled.request(request).await;
        let response = response.map_err(|e| other(unreached(&host, &e)))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER);
        let body = body
            .collect()
            .await
            .map_err(|e| other(format!("the answer of {host} broke off: {e}")))?
            .to_bytes();
        if parts.status.is_client_error() || parts.status.is_server_error() {
            *self.last() = retry_after(&parts.headers);
            let is_json = serde_json::from_slice::<serde_json::Map<_, _>>(&body).is_ok();
            if !is_json {
                return Err(other(format!(
                    "{host} answers {} and no reason; is --acme-url the address of an ACME directory?",
                    parts.status
                )));
            }
        }
        let body = Box::new(body);
        Ok(BytesResponse { parts, body })
    }
}

/// Why it was not reached.
fn unreached(host: &str, error: &hyper_util::client::legacy::Error) -> String {
    let reason = chain(error);
    let remedy = match reason.contains("invalid peer certificate") {
        true => "; for an ACME server of your own, name its root certificate with --acme-ca",
        false => "",
    };
    format!("{host} cannot be reached: {reason}{remedy}")
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let asked = self.clone().ask(request);
        Box::pin(async move {
            match tokio::time::timeout(TIMEOUT, asked).await {
                Ok(answer) => answer,
                Err(_) => Err(instant_acme::Error::Str("an answer within 30 s")),
            }
        })
    }
}

/// The header, in either of its forms (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => {
            let at = httpdate::parse_http_date(value).ok()?;
            at.duration_since(SystemTime::now()).ok()
        }
    }
}

/// Trusts the certificates of a file, and nobody else.
///
/// # Errors
/// The file cannot be used.
pub(super) fn trusting(file: &Path) -> Result<ClientConfig, Failure> {
    let config = || -> IoResult<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&fs::read(file)?) {
            let certificate = certificate.map_err(Error::other)?;
            roots.add(certificate).map_err(Error::other)?;
        }
        if roots.is_empty() {
            return Err(Error::other("it holds no certificate (PEM)"));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Error::other)?;
        Ok(config.with_root_certificates(roots).with_no_client_auth())
    };
    config().map_err(|e| Failure::new(format!("cannot use --acme-ca {}: {e}", file.display())))
}
