//! Connections to the platforms, and to whoever else is called over HTTP.
//!
//! Used by `channels/client.rs` and `acme/client.rs`, as the connector of hyper's pooled
//! client. A host with several addresses is tried as in RFC 8305 ("Happy Eyeballs"), with one
//! difference: an attempt succeeds only when the TLS handshake does, so an address that accepts
//! connections and then resets them or stays silent holds up nobody. A failed address family is
//! remembered, also when it fails only later ([`Connector::note_failed`]): the other one is
//! tried first for the next [`REMEMBERED`]. Proxies: `config/proxies.rs`, `tunnel.rs`.
//! Invariant: an error names addresses, and no secret. Bounds: [`MOST`] addresses of a host;
//! the caller limits the whole time.

mod stream;
mod tunnel;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::Uri;
use hyper_rustls::ConfigBuilderExt;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tower_service::Service;

pub(crate) use self::stream::Remote;
use self::stream::Stream;
use crate::config::{Proxies, Proxy};

/// Before the next address is tried beside the ones that do not answer (RFC 8305, 5).
const DELAY: Duration = Duration::from_millis(250);

/// Addresses of a host that are tried.
const MOST: usize = 8;

/// How long the family of an address that failed comes second.
const REMEMBERED: Duration = Duration::from_secs(600);

/// Opens connections. Cheap to clone; all share what they remember.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: TlsConnector,
    proxies: Proxies,
    failed: Failed,
}

impl Connector {
    /// Trusts the web's roots.
    ///
    /// # Errors
    /// ring has no common protocol: a mistake of ours.
    pub(crate) fn new(proxies: &Proxies) -> Result<Self, rustls::Error> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_webpki_roots()
            .with_no_client_auth();
        Ok(Self::trusting(config, proxies))
    }

    /// Trusts what this configuration trusts.
    pub(crate) fn trusting(config: ClientConfig, proxies: &Proxies) -> Self {
        Connector {
            tls: TlsConnector::from(Arc::new(config)),
            proxies: proxies.clone(),
            failed: Failed::default(),
        }
    }

    /// A connection to this address came to nothing after it was made.
    pub(crate) fn note_failed(&self, remote: SocketAddr) {
        self.failed.note(remote, Instant::now());
    }

    async fn connect(self, to: Uri) -> io::Result<Stream> {
        let target = Arc::new(Target::of(&to, self.tls.clone())?);
        let proxy = self.proxies.of(&to).cloned().map(Arc::new);
        let (host, port) = match &proxy {
            Some(proxy) => (proxy.host.as_str(), proxy.port),
            None => (target.host.as_str(), target.port),
        };
        let (host, port) = (host.to_owned(), port);
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let through = proxy.as_ref().map(|proxy| format!(" (through {proxy})"));
        let through = through.unwrap_or_default();
        let found = found.map_err(|e| {
            io::Error::new(e.kind(), format!("cannot resolve {host}{through}: {e}"))
        })?;
        let made = self.race(found.collect(), &target, proxy).await;
        made.map_err(|reasons| match reasons.as_str() {
            "" => io::Error::other(format!("{host} has no address{through}")),
            _ => io::Error::other(format!("{reasons}{through}")),
        })
    }

    /// Tries addresses until one serves; what all of them said, if none does.
    async fn race(
        &self,
        found: Vec<SocketAddr>,
        target: &Arc<Target>,
        proxy: Option<Arc<Proxy>>,
    ) -> Result<Stream, String> {
        let mut waiting = self.failed.in_order(found, Instant::now());
        let mut running = JoinSet::new();
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut reasons: Vec<String> = Vec::new();
        loop {
            if let Some(address) = waiting.pop_front() {
                tried.push(address);
                let (target, proxy, failed) = (target.clone(), proxy.clone(), self.failed.clone());
                running.spawn(async move {
                    let made = attempt(address, proxy.as_deref(), &target, failed).await;
                    (address, made)
                });
            } else if running.is_empty() {
                return Err(reasons.join("; "));
            }
            let next = async {
                match waiting.is_empty() {
                    true => std::future::pending().await,
                    false => tokio::time::sleep(DELAY).await,
                }
            };
            tokio::select! {
                biased;
                Some(ended) = running.join_next() => match ended {
                    Ok((address, Ok(stream))) => {
                        // Whoever was first and is not there yet comes second the next time.
                        for slow in tried.iter().filter(|slow| slow.is_ipv6() != address.is_ipv6()) {
                            self.failed.note(*slow, Instant::now());
                        }
                        return Ok(stream);
                    }
                    Ok((address, Err(error))) => {
                        self.failed.note(address, Instant::now());
                        reasons.push(format!("{address}: {error}"));
                    }
                    Err(error) => reasons.push(error.to_string()),
                },
                () = next => {}
            }
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TokioIo<Stream>>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.connect(to).await.map(TokioIo::new) })
    }
}

/// Where a connection leads.
struct Target {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Target {
    fn of(to: &Uri, tls: TlsConnector) -> io::Result<Self> {
        let host = to.host().unwrap_or_default();
        let host = host.trim_matches(['[', ']']).to_owned();
        let is_https = to.scheme_str() == Some("https");
        let tls = match is_https {
            true => {
                let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                Some((tls, name))
            }
            false => None,
        };
        let port = to.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        Ok(Target { host, port, tls })
    }
}

/// One attempt, up to the first byte of HTTP.
async fn attempt(
    address: SocketAddr,
    proxy: Option<&Proxy>,
    target: &Target,
    failed: Failed,
) -> io::Result<Stream> {
    let mut plain = TcpStream::connect(address).await?;
    plain.set_nodelay(true)?;
    if let Some(proxy) = proxy {
        plain = tunnel::through(proxy, plain, &target.host, target.port).await?;
    }
    let remote = Remote(address);
    Ok(match &target.tls {
        None => Stream::plain(plain, remote, failed),
        Some((tls, name)) => {
            let shaken = tls.connect(name.clone(), plain).await;
            let shaken = shaken.map_err(|e| {
                let what = match e.kind() {
                    io::ErrorKind::UnexpectedEof => "it was closed in the TLS handshake".to_owned(),
                    _ => format!("TLS handshake: {e}"),
                };
                io::Error::new(e.kind(), what)
            })?;
            Stream::tls(shaken, remote, failed)
        }
    })
}

/// When an address of each family failed last.
#[derive(Clone, Default)]
struct Failed(Arc<Mutex<[Option<Instant>; 2]>>);

impl Failed {
    fn families(&self) -> MutexGuard<'_, [Option<Instant>; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, address: SocketAddr, now: Instant) {
        self.families()[usize::from(address.is_ipv6())] = Some(now);
    }

    /// The order in which addresses are tried: families take turns; the system's choice is
    /// first, unless it failed later than the other one, and not long ago.
    fn in_order(&self, found: Vec<SocketAddr>, now: Instant) -> VecDeque<SocketAddr> {
        let recent = self
            .families()
            .map(|at| at.filter(|at| now.saturating_duration_since(*at) < REMEMBERED));
        let chosen = found.first().is_some_and(SocketAddr::is_ipv6);
        let is_ipv6_first = match recent[usize::from(chosen)] > recent[usize::from(!chosen)] {
            true => !chosen,
            false => chosen,
        };
        let (mut first, mut second): (VecDeque<_>, VecDeque<_>) = found
            .into_iter()
            .partition(|address| address.is_ipv6() == is_ipv6_first);
        let mut order = VecDeque::new();
        while order.len() < MOST && !(first.is_empty() && second.is_empty()) {
            order.extend(first.pop_front());
            order.extend(second.pop_front());
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns_and_who_failed_comes_second() {
        let failed = Failed::default();
        let addresses = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter()
                .map(|address| address.parse().unwrap())
                .collect()
        };
        let found = addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "1.1.1.2:1"]);
        let now = Instant::now();
        let order = |at: Instant| -> Vec<SocketAddr> { failed.in_order(found.clone(), at).into() };
        let six = addresses(&["[::1]:1", "1.1.1.1:1", "[::2]:1", "1.1.1.2:1", "[::3]:1"]);
        let four = addresses(&["1.1.1.1:1", "[::1]:1", "1.1.1.2:1", "[::2]:1", "[::3]:1"]);
        assert_eq!(order(now), six);
        failed.note(found[0], now);
        assert_eq!(order(now), four);
        failed.note(found[3], now + Duration::from_secs(1));
        assert_eq!(order(now + Duration::from_secs(1)), six, "both failed");
        failed.note(found[0], now + Duration::from_secs(2));
        assert_eq!(order(now + Duration::from_secs(2)), four);
        assert_eq!(order(now + REMEMBERED * 2), six, "forgotten");
        let many: Vec<SocketAddr> = (0..100).map(|n| ([1, 1, 1, n], 1).into()).collect();
        assert_eq!(failed.in_order(many, now).len(), MOST);
    }

    /// An authority of the test's own, and what its server answers handshakes with.
    fn certified() -> (ClientConfig, tokio_rustls::TlsAcceptor) {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["bot.test".to_owned()]).unwrap();
        let cert = params.self_signed(&key).unwrap();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .unwrap();
        (client, tokio_rustls::TlsAcceptor::from(Arc::new(server)))
    }

    /// IPv6 takes the connection, and then resets it or says nothing: IPv4 serves, at once
    /// the next time.
    #[tokio::test]
    async fn an_address_that_connects_and_does_not_serve_is_passed_over() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        use tokio::net::TcpListener;
        for resets in [true, false] {
            let (client, acceptor) = certified();
            let four = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let Ok(six) = TcpListener::bind("[::1]:0").await else {
                return; // A machine without IPv6.
            };
            let found = vec![six.local_addr().unwrap(), four.local_addr().unwrap()];
            let taken = Arc::new(AtomicUsize::new(0));
            let count = taken.clone();
            tokio::spawn(async move {
                let mut silent = Vec::new();
                while let Ok((stream, _)) = six.accept().await {
                    count.fetch_add(1, Ordering::Relaxed);
                    if !resets {
                        silent.push(stream);
                    }
                }
            });
            tokio::spawn(async move {
                while let Ok((stream, _)) = four.accept().await {
                    drop(acceptor.accept(stream).await);
                }
            });
            let connector = Connector::trusting(client, &Proxies::default());
            let target = Target::of(&Uri::from_static("https://bot.test"), connector.tls.clone());
            let target = Arc::new(target.unwrap());
            let limit = Duration::from_secs(20);
            for _ in 0..2 {
                let made = connector.race(found.clone(), &target, None);
                let made = tokio::time::timeout(limit, made).await.expect("in time");
                made.unwrap_or_else(|reasons| panic!("{reasons}"));
            }
            assert_eq!(taken.load(Ordering::Relaxed), 1, "it was remembered");
            // Alone, it is named.
            let alone = connector.race(found[..1].to_vec(), &target, None);
            if resets {
                let reasons = alone.await.err().expect("nobody serves");
                assert!(reasons.starts_with(&found[0].to_string()), "{reasons}");
            }
        }
    }

    /// Without TLS it shows only when the answer does not come.
    #[tokio::test]
    async fn an_address_that_hangs_up_unanswered_comes_second() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        use tokio::net::TcpListener;
        let four = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let Ok(six) = TcpListener::bind("[::1]:0").await else {
            return; // A machine without IPv6.
        };
        let found = vec![six.local_addr().unwrap(), four.local_addr().unwrap()];
        tokio::spawn(async move { while six.accept().await.is_ok() {} });
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = four.accept().await {
                stream.write_all(b"HTTP").await.unwrap();
            }
        });
        let connector = Connector::new(&Proxies::default()).unwrap();
        let target = Target::of(&Uri::from_static("http://bot.test"), connector.tls.clone());
        let target = Arc::new(target.unwrap());
        let mut text = [0; 4];
        let first = connector.race(found.clone(), &target, None).await;
        let mut first = first.unwrap_or_else(|reasons| panic!("{reasons}"));
        let error = first.read_exact(&mut text).await.unwrap_err().to_string();
        assert!(error.contains(&found[0].to_string()), "{error}");
        let second = connector.race(found, &target, None).await;
        let mut second = second.unwrap_or_else(|reasons| panic!("{reasons}"));
        second.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"HTTP");
    }
}
