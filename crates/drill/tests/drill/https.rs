//! HTTPS: whom the drill trusts, which name it asks for, which protocol it agrees to.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use turnkey_drill::{Drill, Mode, Scenario, Verdict};

use super::rollouts::Running;
use super::{front, run, short};

/// A server in the clear with TLS before it.
struct Secured {
    server: Running,
    address: SocketAddr,
    directory: TempDir,
}

impl Secured {
    fn start(kind: &str) -> Self {
        let server = Running::start(kind);
        let names = vec!["localhost".to_owned()];
        let pair = rcgen::generate_simple_self_signed(names).unwrap();
        let directory = TempDir::new().unwrap();
        fs::write(directory.path().join("ca.pem"), pair.cert.pem()).unwrap();
        let key = PrivateKeyDer::Pkcs8(pair.signing_key.serialize_der().into());
        let chain = vec![pair.cert.der().clone()];
        let address = front::start(chain, key, server.port);
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
