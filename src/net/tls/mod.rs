//! HTTPS on the public port: what the handshake needs.
//!
//! Loaded by each worker (`worker/mod.rs`), after its fork; the master only checks that it can
//! be ([`check`]). Invariants: TLS 1.2 and 1.3 only, with ring's choice of ciphers; a
//! certificate is replaced while it is served, and open connections go on; returning clients
//! resume their session in any worker (`tickets.rs`). Bounds: a handshake has as much time as a
//! request's head.

mod certificates;
pub(crate) mod kept;
mod pair;
mod tickets;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use tokio_rustls::TlsAcceptor;

pub(crate) use self::certificates::Certificates;
use self::tickets::Ticketer;
pub(crate) use self::tickets::Tickets;
use crate::config::{AcmeConfig, Tls};

/// The protocol of a client that comes to check that a name leads here (RFC 8737).
pub(crate) const ACME: &[u8] = b"acme-tls/1";

/// HTTP/2, as RFC 9113 names it.
pub(crate) const HTTP_2: &[u8] = b"h2";

/// Where certificates are, whoever keeps them.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// The chain, PEM.
    pub(crate) cert: PathBuf,
    /// Its key, PEM; may be the same file.
    pub(crate) key: PathBuf,
    /// One file NAME.pem for each name that an ACME server is checking, chain and key.
    pub(crate) challenges: Option<PathBuf>,
}

impl Paths {
    /// The paths of a configuration.
    pub(crate) fn of(tls: &Tls) -> Self {
        match tls {
            Tls::Files { cert, key } => Paths {
                cert: cert.clone(),
                key: key.clone(),
                challenges: None,
            },
            Tls::Acme(acme) => Paths::of_acme(acme),
        }
    }

    /// What `--tls-domain` keeps. Chain and key are one file, so that they change at once;
    /// it has the name of the first domain, so bots of different names may share the
    /// directory.
    pub(crate) fn of_acme(acme: &AcmeConfig) -> Self {
        let name = acme.domains.first().map_or("certificate", String::as_str);
        let pair = acme.dir.join(format!("{name}.pem"));
        Paths {
            cert: pair.clone(),
            key: pair,
            challenges: Some(acme.dir.join("challenges")),
        }
    }
}

/// Whether HTTPS can be served: certificate and key are there and belong together. One
/// that is still to be got may be missing; in place of a bad one that of the last run is
/// served, which it has kept `beside` the database.
///
/// # Errors
/// [`crate::StartError::Refused`] with the remedy.
pub(crate) fn check(tls: &Tls, beside: Option<&Path>) -> crate::StartResult<()> {
    Certificates::open_first(tls, beside)?.warn_of_time();
    Ok(())
}

/// Whether the files themselves can be served, whatever was kept of earlier ones.
///
/// # Errors
/// [`crate::StartError::Refused`] with the remedy.
pub(crate) fn must_read(tls: &Tls) -> crate::StartResult<()> {
    match tls {
        Tls::Files { cert, key } => pair::read_pair(cert, key)
            .map(drop)
            .map_err(crate::StartError::Refused),
        Tls::Acme(_) => Ok(()),
    }
}

/// Makes the acceptor of handshakes.
///
/// # Errors
/// [`crate::StartError::Refused`] when ring has no common protocol: a mistake of ours.
pub(crate) fn acceptor(
    certificates: Arc<Certificates>,
    tickets: Tickets,
) -> crate::StartResult<TlsAcceptor> {
    let provider = Arc::new(ring::default_provider());
    let mut protocols = vec![HTTP_2.to_vec(), b"http/1.1".to_vec()];
    if certificates.answers_challenges() {
        protocols.push(ACME.to_vec());
    }
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| crate::StartError::Refused(format!("cannot serve HTTPS: {e}")))?
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = protocols;
    config.ticketer = Arc::new(Ticketer::new(tickets));
    Ok(TlsAcceptor::from(Arc::new(config)))
}
