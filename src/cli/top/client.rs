//! Asks a bot's admin address.
//!
//! Called by `top.rs`. Opens a connection for each request, so that any free worker answers.
//! Bounds: [`PATIENCE`], [`MOST`] bytes of an answer.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::operator::admin::Status;

/// For an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of an answer.
const MOST: usize = 4 << 20;

enum Target {
    Tcp(String),
    Unix(PathBuf),
}

pub(super) struct Client {
    /// As it was given.
    pub(super) address: String,
    target: Target,
    token: Option<String>,
}

impl Client {
    /// # Errors
    /// The address is none.
    pub(super) fn new(address: &str, token: Option<String>) -> anyhow::Result<Self> {
        let target = match address.strip_prefix("unix:") {
            Some(path) => Target::Unix(PathBuf::from(path)),
            None => {
                // As a person copies it from the browser or the log.
                let bare = address.strip_prefix("http://").unwrap_or(address);
                let bare = bare.split('/').next().unwrap_or_default();
                let port = bare
                    .rsplit_once(':')
                    .and_then(|(_, port)| port.parse::<u16>().ok());
                if port.is_none() {
                    bail!(
                        "--admin takes HOST:PORT or unix:PATH, such as 127.0.0.1:8081, not {address:?}"
                    );
                }
                Target::Tcp(bare.to_owned())
            }
        };
        Ok(Client {
            address: address.to_owned(),
            target,
            token,
        })
    }

    /// # Errors
    /// Nobody answers there, or not with a status.
    pub(super) async fn ask(&self) -> anyhow::Result<Status> {
        match tokio::time::timeout(PATIENCE, self.exchange()).await {
            Ok(answer) => answer,
            Err(_) => bail!(
                "{} has not answered for {} s",
                self.address,
                PATIENCE.as_secs()
            ),
        }
    }

    async fn exchange(&self) -> anyhow::Result<Status> {
        let nobody = || {
            format!(
                "nobody answers at {}; start the bot with --admin {0}, or say where its address is with --admin",
                self.address
            )
        };
        match &self.target {
            Target::Tcp(at) => {
                let stream = TcpStream::connect(at).await.with_context(nobody)?;
                self.exchange_over(stream, at).await
            }
            Target::Unix(path) => {
                let stream = UnixStream::connect(path).await.with_context(nobody)?;
                self.exchange_over(stream, "localhost").await
            }
        }
    }

    async fn exchange_over<S>(&self, stream: S, host: &str) -> anyhow::Result<Status>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let mut request = Request::get("/status.json").header(HOST, host);
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .context("TURNKEY_ADMIN_TOKEN is no token")?;
        let exchange = async {
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, MOST).collect().await;
            anyhow::Ok((
                head.status,
                body.map_err(|e| anyhow::anyhow!("{e}"))?.to_bytes(),
            ))
        };
        let (status, body) = tokio::select! {
            answer = exchange => answer?,
            Err(error) = connection => return Err(error.into()),
        };
        match status {
            StatusCode::OK => serde_json::from_slice(&body).with_context(|| {
                format!(
                    "{} is not the admin address of a bot of this version",
                    self.address
                )
            }),
            StatusCode::UNAUTHORIZED => {
                bail!(
                    "{} wants a token; set TURNKEY_ADMIN_TOKEN as the bot has it",
                    self.address
                )
            }
            status => bail!(
                "{} is not the admin address of a bot: {status} {}",
                self.address,
                String::from_utf8_lossy(&body).trim()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_run_or_of_a_browser() {
        for good in [
            "127.0.0.1:8081",
            "[::1]:80",
            "unix:/run/x.sock",
            "http://localhost:81/status",
        ] {
            assert!(Client::new(good, None).is_ok(), "{good}");
        }
        for bad in ["localhost", "8081", "https://x:81/", ":", "x:99999"] {
            assert!(Client::new(bad, None).is_err(), "{bad}");
        }
    }
}
