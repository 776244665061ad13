//! TLS to the server: `sslmode` and `sslrootcert` with libpq's meanings
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html>).
//!
//! Used by `server.rs`; `errors.rs` puts what is refused here into words. One difference: where
//! libpq looks for `~/.postgresql/root.crt`, the compiled-in roots (Mozilla's) are used. Host
//! names are checked only against the certificate's alternative names, as in every modern
//! client, never against its common name.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;
use x509_cert::der::Decode;

use crate::{Error, OpenError, Remedy, Result};

/// The values of `sslmode`.
const MODES: &[(&str, Mode)] = &[
    ("disable", Mode::Disable),
    ("prefer", Mode::Prefer),
    ("require", Mode::Require),
    ("verify-ca", Mode::VerifyCa),
    ("verify-full", Mode::VerifyFull),
];

/// The value of `sslrootcert` that means the roots compiled in.
const SYSTEM: &str = "system";

/// How much is asked of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    /// No TLS.
    Disable,
    /// TLS where the server has it, with any certificate; else none.
    Prefer,
    /// TLS, with any certificate.
    Require,
    /// TLS, with a certificate that a known root has signed.
    VerifyCa,
    /// The same, and it must be the host's.
    VerifyFull,
}

/// What an address says about TLS, made ready.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) mode: Mode,
    pub(super) connect: MakeRustlsConnect,
}

impl Tls {
    /// Reads the two parameters, and the file that is named.
    ///
    /// # Errors
    /// [`Error::Open`] with a sentence that names the remedy.
    pub(super) fn new(mode: Option<&str>, root: Option<&str>) -> Result<Self> {
        let given = mode.map(|name| {
            let found = MODES.iter().find(|(known, _)| *known == name);
            found.map(|(_, mode)| *mode).ok_or_else(|| {
                Error::open(format!(
                    "?sslmode= takes disable, prefer, require, verify-ca or verify-full, not {name:?}"
                ))
            })
        });
        let given = given.transpose()?;
        let mode = match (given, root) {
            (None, Some(SYSTEM)) => Mode::VerifyFull,
            (Some(weak), Some(SYSTEM)) if weak < Mode::VerifyFull => {
                return Err(Error::open(
                    "?sslrootcert=system needs sslmode=verify-full: anybody can get a certificate \
                     from a public authority, so the name must be checked; write sslmode=verify-full, \
                     or name your own root's file"
                        .to_owned(),
                ));
            }
            // As libpq does, for those who set both before there was verify-ca.
            (Some(Mode::Require), Some(_)) => Mode::VerifyCa,
            (given, _) => given.unwrap_or(Mode::Prefer),
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trust = match (mode >= Mode::VerifyCa, root) {
            (false, _) => None,
            (true, None | Some(SYSTEM)) => Some(Trust {
                roots: RootCertStore {
                    roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
                },
                own: Vec::new(),
            }),
            (true, Some(path)) => Some(Trust::read(Path::new(path))?),
        };
        let verifier = Verifier {
            trust,
            name: mode == Mode::VerifyFull,
            algorithms: provider.signature_verification_algorithms,
        };
        let mut config = builder(provider)?
            .dangerous() // It is what the mode says, and signatures are always checked.
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        // What a server asks for that begins with TLS at once (sslnegotiation=direct).
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Tls {
            mode,
            connect: MakeRustlsConnect::new(config),
        })
    }

    /// What the library is to do.
    pub(super) fn ssl_mode(&self) -> SslMode {
        match self.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        }
    }
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::open(format!("this program cannot speak TLS: {e}")))
}

/// Whom to believe.
struct Trust {
    roots: RootCertStore,
    /// The certificates themselves: a server may show one that is its own root.
    own: Vec<CertificateDer<'static>>,
}

impl Trust {
    fn read(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read(path).map_err(|e| {
            Error::Open(
                OpenError::new(format!("cannot read ?sslrootcert={shown}: {e}"))
                    .remedy("name the file with the root certificate, or write sslrootcert=system"),
            )
        })?;
        let wrong = |why: String| {
            Error::open(format!(
                "?sslrootcert={shown} is not a file of certificates: {why}; it takes PEM, which begins with -----BEGIN CERTIFICATE-----"
            ))
        };
        let own = CertificateDer::pem_slice_iter(&text)
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|e| wrong(e.to_string()))?;
        if own.is_empty() {
            return Err(wrong("there is none in it".to_owned()));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &own {
            roots
                .add(certificate.clone())
                .map_err(|e| wrong(e.to_string()))?;
        }
        Ok(Trust { roots, own })
    }
}

struct Verifier {
    /// None: any certificate will do.
    trust: Option<Trust>,
    /// The certificate must be the host's.
    name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Some(trust) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        // A certificate that signed itself is what `openssl req -x509` makes, and the
        // server's handbook tells to. As a root it may not also be a server's, says
        // webpki; OpenSSL, and so libpq, takes it.
        if trust.own.contains(end_entity) {
            in_force(end_entity, now)?;
        } else {
            verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &trust.roots,
                intermediates,
                now,
                self.algorithms.all,
            )
            .map_err(|error| match error {
                // It signed itself and was not named: a root that is not known.
                rustls::Error::InvalidCertificate(CertificateError::Other(why))
                    if why.to_string().contains("CaUsedAsEndEntity") =>
                {
                    CertificateError::UnknownIssuer.into()
                }
                error => error,
            })?;
        }
        if self.name {
            verify_server_name(&parsed, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Whether the certificate's dates are those of today.
fn in_force(
    certificate: &CertificateDer<'_>,
    now: UnixTime,
) -> std::result::Result<(), rustls::Error> {
    let refuse = |why| Err(rustls::Error::InvalidCertificate(why));
    let Ok(parsed) = x509_cert::Certificate::from_der(certificate) else {
        return refuse(CertificateError::BadEncoding);
    };
    let validity = parsed.tbs_certificate.validity;
    let now = Duration::from_secs(now.as_secs());
    if now < validity.not_before.to_unix_duration() {
        return refuse(CertificateError::NotValidYet);
    }
    if now > validity.not_after.to_unix_duration() {
        return refuse(CertificateError::Expired);
    }
    Ok(())
}

/// What to do about a handshake that failed; none when it was something else.
pub(super) fn remedies(error: &tokio_postgres::Error) -> Option<Vec<Remedy>> {
    use CertificateError as C;
    let rustls = rustls_error(error);
    let remedy = match rustls {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            C::UnknownIssuer => {
                "name the file of the server's root certificate with ?sslrootcert=PATH"
            }
            C::NotValidForName | C::NotValidForNameContext { .. } => {
                return Some(vec![
                    Remedy::Address {
                        before: "write the host's name in",
                        after: " as the certificate has it (among its alternative names)",
                    },
                    "sslmode=verify-ca to let any name pass".into(),
                ]);
            }
            C::Expired
            | C::ExpiredContext { .. }
            | C::NotValidYet
            | C::NotValidYetContext { .. } => {
                "give the server a certificate that is in force, or set this machine's clock"
            }
            _ => "give the server another certificate (X.509 version 3, with alternative names)",
        },
        Some(_) => "see the server's log; TLS 1.2 or newer is needed",
        None if error.to_string() == "error performing TLS handshake" => {
            "switch it on (ssl = on in postgresql.conf), or, on a network you trust, write sslmode=prefer"
        }
        None => return None,
    };
    Some(vec![remedy.into()])
}

/// Whether the server was reached and it was TLS that failed.
pub(super) fn failed(error: &tokio_postgres::Error) -> bool {
    remedies(error).is_some()
}

fn rustls_error(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    use std::error::Error as _;
    let io = error.source()?.downcast_ref::<std::io::Error>()?;
    io.get_ref()?.downcast_ref()
}
