//! Certificates for tests, and clients that trust them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::client::{Failure, tcp};

/// An authority of a test's own.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    root_pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root_pem = params.self_signed(&key).unwrap().pem();
        let root = CertificateDer::from_pem_slice(root_pem.as_bytes()).unwrap();
        Authority {
            issuer: Issuer::new(params, key),
            root,
            root_pem,
        }
    }

    /// Writes a certificate for `localhost` and its key; their paths. An earlier pair is
    /// replaced as a careful tool does it.
    pub(crate) fn issue(&self, directory: &Path) -> (PathBuf, PathBuf) {
        self.issue_for(directory, (2000, 4000))
    }

    /// The same, valid from the first day of one year to that of another.
    pub(crate) fn issue_for(&self, directory: &Path, years: (i32, i32)) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        let place = |name: &str, pem: String| {
            let path = directory.join(name);
            let new = directory.join("new.pem");
            fs::write(&new, pem).unwrap();
            fs::rename(&new, &path).unwrap();
            path
        };
        let key = place("key.pem", key.serialize_pem());
        (place("cert.pem", cert.pem()), key)
    }

    /// A client that trusts this authority alone and offers these protocols.
    pub(crate) fn client(&self, protocols: &[&str]) -> TlsClient {
        TlsClient::trusting(self.root.clone(), "localhost", protocols)
    }

    /// The same, which keeps the sessions that it is given and resumes them.
    pub(crate) fn resuming_client(&self, version: &'static SupportedProtocolVersion) -> TlsClient {
        let root = self.root.clone();
        TlsClient::with(
            root,
            "localhost",
            &[],
            &[version],
            Resumption::in_memory_sessions(64),
        )
    }

    /// Its own certificate, PEM.
    pub(crate) fn root_pem(&self) -> &str {
        &self.root_pem
    }
}

/// A client of HTTPS.
#[derive(Clone)]
pub(crate) struct TlsClient {
    connector: TlsConnector,
    name: String,
}

impl TlsClient {
    /// Trusts this root alone, asks for this name and offers these protocols.
    pub(crate) fn trusting(root: CertificateDer<'_>, name: &str, protocols: &[&str]) -> Self {
        // Each handshake shows what is served now.
        let resumption = Resumption::disabled();
        Self::with(root, name, protocols, rustls::DEFAULT_VERSIONS, resumption)
    }

    fn with(
        root: CertificateDer<'_>,
        name: &str,
        protocols: &[&str],
        versions: &[&'static SupportedProtocolVersion],
        resumption: Resumption,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(root.into_owned()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = resumption;
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        TlsClient {
            connector: TlsConnector::from(Arc::new(config)),
            name: name.to_owned(),
        }
    }

    pub(crate) async fn connect(&self, port: u16) -> Result<TlsStream<TcpStream>, Failure> {
        let name = ServerName::try_from(self.name.clone())?;
        Ok(self.connector.connect(name, tcp(port).await?).await?)
    }

    /// The certificate that is served.
    pub(crate) async fn served(&self, port: u16) -> Vec<u8> {
        let stream = self.connect(port).await.expect("a handshake");
        let chain = stream.get_ref().1.peer_certificates();
        chain.expect("a certificate")[0].to_vec()
    }
}
