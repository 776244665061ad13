//! Pebble, the ACME server that the makers of Let's Encrypt test clients with, and the
//! road from it to the bot.
//!
//! It is what Debian's package `pebble` installs: the server, and a DNS server for which
//! every name leads to this machine. Each test has a pair of its own. The checks of names
//! go through a [`Road`] that a test can close or hold up. Pebble refuses a twentieth of
//! all nonces by itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::harness::bot::{SOON, Setup, skipped, until};
use crate::harness::certificate::{Authority, TlsClient};
use crate::harness::client::Failure;

/// What comes to the bot's "port 443".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// Is refused.
    Closed,
    /// Waits.
    Held,
    /// Goes to this port.
    Open(u16),
}

/// Where Pebble connects to, to check a name.
pub(crate) struct Road {
    port: u16,
    gate: watch::Sender<Gate>,
    came: watch::Receiver<u32>,
}

impl Road {
    async fn build() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (gate, gates) = watch::channel(Gate::Closed);
        let (arrived, came) = watch::channel(0);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                arrived.send_modify(|count| *count += 1);
                tokio::spawn(pass(stream, gates.clone()));
            }
        });
        Road { port, gate, came }
    }

    pub(crate) fn set(&self, gate: Gate) {
        self.gate.send_replace(gate);
    }

    /// How many have come.
    pub(crate) fn came(&self) -> u32 {
        *self.came.borrow()
    }
}

async fn pass(mut stream: TcpStream, mut gates: watch::Receiver<Gate>) {
    let gate = gates.wait_for(|gate| *gate != Gate::Held).await;
    let Ok(Gate::Open(port)) = gate.map(|gate| *gate) else {
        return;
    };
    if let Ok(mut bot) = TcpStream::connect(("127.0.0.1", port)).await {
        drop(tokio::io::copy_bidirectional(&mut stream, &mut bot).await);
    }
}

/// A process that does not outlive the test.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap_or(()); // It may be gone.
        drop(self.0.wait());
    }
}

pub(crate) struct Pebble {
    pub(crate) road: Road,
    dir: TempDir,
    port: u16,
    management: u16,
    authority: Authority,
    dns: u16,
    server: Running,
    _names: Running,
}

impl Pebble {
    /// One whose certificates live that long; none where Pebble is not installed.
    pub(crate) async fn start(lifetime: Duration) -> Option<Self> {
        if Command::new("pebble").arg("-h").output().is_err() {
            skipped("certificates by ACME: install the package pebble");
            return None;
        }
        for _ in 0..5 {
            if let Some(pebble) = Self::try_start(lifetime).await {
                return Some(pebble);
            }
        }
        panic!("Pebble does not start");
    }

    /// It cannot be given port 0, so another program may take a port that was free.
    async fn try_start(lifetime: Duration) -> Option<Self> {
        let [port, management, dns, control] = free_ports();
        let local = |port: u16| format!("127.0.0.1:{port}");
        let dir = TempDir::with_prefix("turnkey-pebble-").unwrap();
        let road = Road::build().await;
        let authority = Authority::new();
        let (cert, key) = authority.issue(dir.path());
        fs::write(dir.path().join("root.pem"), authority.root_pem()).unwrap();
        let config = json!({ "pebble": {
            "listenAddress": local(port),
            "managementListenAddress": local(management),
            "certificate": cert,
            "privateKey": key,
            "httpPort": 5002,
            "tlsPort": road.port,
            "certificateValidityPeriod": lifetime.as_secs(),
        }});
        fs::write(dir.path().join("pebble.json"), config.to_string()).unwrap();
        let mut names = Command::new("pebble-challtestsrv");
        names.args(["-dns01", &local(dns), "-management", &local(control)]);
        names.args(["-http01", "", "-https01", "", "-tlsalpn01", ""]);
        names.args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
        let names = names.stdout(Stdio::null()).stderr(Stdio::null());
        let names = Running(names.spawn().unwrap());
        let mut server = spawn(dir.path(), dns);
        for port in [port, management, control] {
            wait_for(port, &mut server).await?;
        }
        Some(Pebble {
            road,
            dir,
            port,
            management,
            authority,
            dns,
            server,
            _names: names,
        })
    }

    /// Another, at the same address, that knows nothing of the one before.
    pub(crate) async fn restart(&mut self) {
        self.server.0.kill().unwrap();
        self.server.0.wait().unwrap();
        self.server = spawn(self.dir.path(), self.dns);
        for port in [self.port, self.management] {
            let listens = wait_for(port, &mut self.server).await;
            listens.expect("Pebble on the same port");
        }
    }

    /// A bot that gets its certificate here.
    pub(crate) fn serve(&self, setup: Setup, names: &str) -> Setup {
        self.serve_by(setup, names, &self.url("dir"))
    }

    /// The same, by means of another directory.
    pub(crate) fn serve_by(&self, setup: Setup, names: &str, directory: &str) -> Setup {
        let ca = self.dir.path().join("root.pem").display().to_string();
        let setup = setup.args(&["--tls-domain", names, "--acme-url", directory]);
        setup.args(&["--acme-ca", &ca])
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.port)
    }

    /// A client that trusts only what comes from here.
    pub(crate) async fn client(&self, name: &str) -> TlsClient {
        let root = self.root().await.expect("Pebble's root");
        let root = CertificateDer::from_pem_slice(&root).unwrap();
        TlsClient::trusting(root, name, &["http/1.1"])
    }

    async fn root(&self) -> Result<Bytes, Failure> {
        let stream = self.authority.client(&[]).connect(self.management).await?;
        let io = TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await?;
        tokio::spawn(connection);
        let request = Request::get("/roots/0")
            .header("host", "localhost")
            .body(Full::<Bytes>::default())?;
        let answer = sender.send_request(request).await?;
        Ok(answer.into_body().collect().await?.to_bytes())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Orders that were made so far.
    pub(crate) fn orders(&self) -> usize {
        self.log().matches("Added order").count()
    }

    /// Accounts that were made so far.
    pub(crate) fn accounts(&self) -> usize {
        self.log().matches("accounts in memory").count()
    }
}

fn spawn(dir: &Path, dns: u16) -> Running {
    let log = fs::File::create(dir.join("log")).unwrap();
    let mut server = Command::new("pebble");
    server.arg("-config").arg(dir.join("pebble.json"));
    server.args(["-dnsserver", &format!("127.0.0.1:{dns}")]);
    // Checks begin at once, and each order is checked.
    server.env("PEBBLE_VA_NOSLEEP", "1");
    server.env("PEBBLE_AUTHZREUSE", "0");
    server.stdout(log.try_clone().unwrap()).stderr(log);
    Running(server.spawn().unwrap())
}

/// Waits until somebody listens there; none if the server has ended.
async fn wait_for(port: u16, server: &mut Running) -> Option<()> {
    let deadline = Instant::now() + SOON;
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        let has_ended = server.0.try_wait().unwrap().is_some();
        if has_ended || Instant::now() > deadline {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Some(())
}

/// Ports that nobody listens at; another program may take them.
pub(crate) fn free_ports<const N: usize>() -> [u16; N] {
    let held = [(); N].map(|()| std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// The bot's directory for ACME.
pub(crate) fn directory(setup: &Setup) -> PathBuf {
    let mut path = setup.database().into_os_string();
    path.push("-acme");
    path.into()
}

/// Waits until somebody has come to check a name.
pub(crate) async fn check_begins(pebble: &Pebble) {
    until("a check of the name", SOON, || pebble.road.came() > 0).await;
}
