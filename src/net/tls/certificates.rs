//! The certificate that is served, read anew when its file changes.
//!
//! Asked by rustls in each handshake; looked after by [`Certificates::keep_current`], a
//! task of each worker. So a renewal needs no signal, and takes effect in every worker
//! within [`LOOK`]. Invariant: a pair that cannot be read, or does not fit together,
//! replaces nothing: the one before is served on.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::{ACME, Paths};
use crate::author::error::Error;
use crate::config::Tls;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// The longest chain that is read, in bytes: some hundred certificates.
const MAX_FILE: u64 = 1 << 20;

/// What the files were when they were read: size, time, inode of each.
type Stamp = [Option<(u64, i64, i64, u64)>; 2];

impl Paths {
    fn stamp(&self) -> Stamp {
        [&self.cert, &self.key].map(|path| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()))
        })
    }
}

/// The certificates of a worker.
pub(crate) struct Certificates {
    paths: Paths,
    /// Taken before they were read for the first time: what changes since is seen.
    first: Stamp,
    current: RwLock<Option<Arc<CertifiedKey>>>,
}

impl Certificates {
    /// Reads them.
    ///
    /// # Errors
    /// [`Error::Start`] with the remedy; none for one that is got by ACME.
    pub(crate) fn open(tls: &Tls) -> crate::Result<Arc<Self>> {
        let paths = Paths::of(tls);
        let first = paths.stamp();
        let current = match read_pair(&paths.cert, &paths.key) {
            Ok(pair) => Some(pair),
            // One that cannot be read is got again, as if there were none.
            Err(_) if matches!(tls, Tls::Acme(_)) => None,
            Err(reason) => return Err(Error::Start(reason)),
        };
        Ok(Arc::new(Certificates {
            paths,
            first,
            current: RwLock::new(current),
        }))
    }

    /// Whether somebody may come to check a name.
    pub(super) fn answers_challenges(&self) -> bool {
        self.paths.challenges.is_some()
    }

    /// Waits until there is one: nobody can be told to come before.
    pub(crate) async fn awaited(&self) {
        while self.current().is_none() {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// When the one that is served ends; none before there is one.
    pub(crate) fn valid_until(&self) -> Option<SystemTime> {
        let current = self.current()?;
        let own = Certificate::from_der(current.cert.first()?).ok()?;
        Some(own.tbs_certificate.validity.not_after.to_system_time())
    }

    fn current(&self) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at the files again and again; never ends.
    pub(crate) async fn keep_current(self: Arc<Self>) {
        let mut seen = self.first;
        loop {
            tokio::time::sleep(LOOK).await;
            let stamp = self.paths.stamp();
            if stamp == seen {
                continue;
            }
            seen = stamp;
            match read_pair(&self.paths.cert, &self.paths.key) {
                Ok(pair) => {
                    let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
                    *current = Some(pair);
                    tracing::info!("serving the new {}", self.paths.cert.display());
                }
                Err(reason) => tracing::warn!("the certificate before is served on: {reason}"),
            }
        }
    }

    /// The certificate for whoever checks that a name leads here.
    fn challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        // rustls has made sure that it is a name: no path.
        let name = name.to_ascii_lowercase();
        let file = self.paths.challenges.as_ref()?.join(format!("{name}.pem"));
        match read_challenge(&file) {
            Ok(pair) => Some(pair),
            Err(reason) => {
                tracing::info!("{name} was asked for, but {reason}");
                None
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_challenge = self.answers_challenges()
            && hello
                .alpn()
                .is_some_and(|mut protocols| protocols.all(|protocol| protocol == ACME));
        if is_challenge {
            return self.challenge(hello.server_name()?);
        }
        self.current()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates of {}", self.paths.cert.display())
    }
}

/// Reads the answer to a check. Its certificate holds an extension that rustls would
/// refuse if it looked whether the key belongs to it (RFC 8737, 3): critical, and unknown.
fn read_challenge(file: &Path) -> Result<Arc<CertifiedKey>, String> {
    let (chain, key) = (read_chain(file)?, read_key(file)?);
    let key = ring::default_provider().key_provider.load_private_key(key);
    let key = key.map_err(|e| format!("the key in {} is not known: {e}", file.display()))?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// Reads a chain and its key. The reason says which file is wrong, and how.
fn read_pair(cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, String> {
    let (chain, key_der) = (read_chain(cert)?, read_key(key)?);
    let pair = CertifiedKey::from_der(chain, key_der, &ring::default_provider()).map_err(|e| {
        format!(
            "{} and {} do not belong together, or are of a kind that is not known: {e}",
            cert.display(),
            key.display()
        )
    })?;
    Ok(Arc::new(pair))
}

fn read_chain(cert: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(&read(cert)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("{} is no PEM file: {e}", cert.display()))?;
    match chain.is_empty() {
        true => Err(format!(
            "{} holds no certificate; give a PEM file that begins with the server's own",
            cert.display()
        )),
        false => Ok(chain),
    }
}

fn read_key(key: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|e| format!("{} holds no private key: {e}", key.display()))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let length = fs::metadata(path).map(|meta| meta.len());
    match length {
        Ok(length) if length > MAX_FILE => Err(format!("{} is too large", path.display())),
        Ok(_) => fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display())),
        Err(e) => Err(format!("cannot read {}: {e}", path.display())),
    }
}
