//! HTTPS: whom the drill trusts, which name it asks for, which protocol it agrees to.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use turnkey_drill::{Drill, Mode, Scenario, Verdict};

use super::rollouts::Running;
use super::{run, short};

/// A server in the clear with TLS before it, on a thread that lives as long as the tests.
struct Secured {
    server: Running,
    address: SocketAddr,
    directory: TempDir,
}

impl Secured {
    fn start(kind: &str) -> Self {
        let server = Running::start(kind);
        let backend = SocketAddr::from(([127, 0, 0, 1], server.port));
        let names = vec!["localhost".to_owned()];
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("ca.pem"), pair.cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![pair.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            terminate(listener, backend, TlsAcceptor::from(Arc::new(config)))
        });
        Secured {
            server,
            address,
            directory,
        }
    }

    fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn drill(&self) -> Drill {
        short(Drill::running())
            .url(format!("https://localhost:{}", self.address.port()))
            .scenario(Scenario::Do(":".to_owned()))
    }
}

fn terminate(listener: TcpListener, backend: SocketAddr, acceptor: TlsAcceptor) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    listener.set_nonblocking(true).unwrap();
    runtime.block_on(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that trusts nobody ends here.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let Ok(mut backend) = TcpStream::connect(backend).await else {
                    return;
                };
                drop(copy_bidirectional(&mut stream, &mut backend).await);
            });
        }
    });
}

#[test]
fn both_protocols_are_spoken_over_tls() {
    let server = Secured::start("perfect");
    for drill in [server.drill(), server.drill().http2()] {
        let report = run(drill.ca(server.ca()));
        report.assert_clean();
        assert_eq!(report.rounds.len(), 2);
    }
    run(server.drill().insecure().sni("elsewhere.example")).assert_clean();
}

#[test]
fn who_is_not_trusted_is_not_loaded() {
    let server = Secured::start("perfect");
    let wait = std::time::Duration::from_millis(500);
    let refused = |drill: Drill| drill.start_timeout(wait).run().unwrap_err().to_string();
    let stranger = refused(server.drill());
    assert!(
        stranger.contains("--ca names whose certificates"),
        "{stranger}"
    );
    let other = refused(server.drill().ca(server.ca()).sni("elsewhere.example"));
    assert!(other.contains("no TLS"), "{other}");
    let missing = refused(server.drill().ca("/no/such/file"));
    assert!(missing.contains("--ca /no/such/file"), "{missing}");
    let plain = refused(
        short(Drill::running())
            .url(format!("http://127.0.0.1:{}", server.address.port()))
            .scenario(Scenario::Do(":".to_owned())),
    );
    assert!(plain.contains("http"), "{plain}");
}

/// The handshake itself is a part of the request's life.
#[test]
fn what_is_dropped_behind_tls_is_cut() {
    let server = Secured::start("drops");
    let end = format!("kill -TERM {}; sleep 0.5", server.server.pid());
    let url = format!("https://localhost:{}", server.address.port());
    let report = run(short(Drill::running())
        .url(url)
        .ca(server.ca())
        .mode(Mode::New)
        .scenario(Scenario::Do(end)));
    assert!(report.total(Verdict::Cut) > 0, "{report}");
}
