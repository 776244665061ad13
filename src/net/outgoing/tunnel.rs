//! A tunnel through a proxy: HTTP's CONNECT, or SOCKS5, as hyper-util implements them.
//!
//! Called by the connector (`mod.rs`) with a connection to the proxy, which resolves names.
//! Invariant: an error says what the proxy did, and shows no user or password.

use std::future::{Ready, ready};
use std::io;
use std::task::{Context, Poll};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::Uri;
use hyper::header::HeaderValue;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::author::error::chain;
use crate::config::{Proxy, ProxyKind};

/// Has the proxy connect to a host.
pub(super) async fn through(
    proxy: &Proxy,
    to_proxy: TcpStream,
    host: &str,
    port: u16,
) -> io::Result<TcpStream> {
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let target: Uri = format!("http://{host}:{port}/")
        .parse()
        .map_err(io::Error::other)?;
    // Where it is was known before: what follows needs one, and does not look.
    let unused = Uri::from_static("http://proxy/");
    let given = Given(Some(to_proxy));
    let said = |error: &dyn std::error::Error| {
        io::Error::other(format!("the proxy does not connect: {}", chain(error)))
    };
    let connected = match proxy.kind {
        ProxyKind::Http => {
            let mut tunnel = Tunnel::new(unused, given);
            if let Some((user, password)) = &proxy.user {
                let pair = BASE64_STANDARD.encode(format!("{user}:{password}"));
                let value = HeaderValue::from_str(&format!("Basic {pair}"));
                tunnel = tunnel.with_auth(value.map_err(io::Error::other)?);
            }
            tunnel.call(target).await.map_err(|e| said(&e))?
        }
        ProxyKind::Socks5 => {
            let mut socks = SocksV5::new(unused, given);
            if let Some((user, password)) = &proxy.user {
                socks = socks.with_auth(user.clone(), password.clone());
            }
            socks.call(target).await.map_err(|e| said(&e))?
        }
    };
    Ok(connected.into_inner())
}

/// A connection that is there already, in the place of one that is to be made.
struct Given(Option<TcpStream>);

impl Service<Uri> for Given {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = Ready<io::Result<TokioIo<TcpStream>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let given = self.0.take().map(TokioIo::new);
        ready(given.ok_or_else(|| io::Error::other("it was given away")))
    }
}
