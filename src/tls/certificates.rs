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
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::{ACME, Paths};
use crate::config::Tls;
use crate::error::Error;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// The longest chain that is read, in bytes: some hundred certificates.
const MAX_FILE: u64 = 1 << 20;

/// What the files were when they were read: size, time, inode of each.
type Stamp = [Option<(u64, i64, i64, u64)>; 2];

/// The certificates of a worker.
pub(crate) struct Certificates {
    paths: Paths,
    current: RwLock<Option<Arc<CertifiedKey>>>,
}

impl Certificates {
    /// Reads them.
    ///
    /// # Errors
    /// [`Error::Start`] with the remedy. One that is got by ACME may be missing.
    pub(crate) fn open(tls: &Tls) -> crate::Result<Arc<Self>> {
        let paths = Paths::of(tls);
        let is_awaited = matches!(tls, Tls::Acme(_)) && !paths.cert.exists();
        let current = match is_awaited {
            true => None,
            false => Some(read_pair(&paths.cert, &paths.key).map_err(Error::Start)?),
        };
        Ok(Arc::new(Certificates {
            paths,
            current: RwLock::new(current),
        }))
    }

    /// Whether somebody may come to check a name.
    pub(super) fn answers_challenges(&self) -> bool {
        self.paths.challenges.is_some()
    }

    /// Looks at the files again and again; never ends.
    pub(crate) async fn keep_current(self: Arc<Self>) {
        let mut seen = self.stamp();
        loop {
            tokio::time::sleep(LOOK).await;
            let stamp = self.stamp();
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

    fn stamp(&self) -> Stamp {
        [&self.paths.cert, &self.paths.key].map(|path| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()))
        })
    }

    /// The certificate for whoever checks that a name leads here.
    fn challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        // rustls has made sure that it is a name: no path.
        let name = name.to_ascii_lowercase();
        let file = self.paths.challenges.as_ref()?.join(format!("{name}.pem"));
        match read_pair(&file, &file) {
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
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificates of {}", self.paths.cert.display())
    }
}

/// Reads a chain and its key. The reason says which file is wrong, and how.
fn read_pair(cert: &Path, key: &Path) -> Result<Arc<CertifiedKey>, String> {
    let chain = CertificateDer::pem_slice_iter(&read(cert)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| format!("{} is no PEM file: {e}", cert.display()))?;
    if chain.is_empty() {
        return Err(format!(
            "{} holds no certificate; give a PEM file that begins with the server's own",
            cert.display()
        ));
    }
    let key_der = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|e| format!("{} holds no private key: {e}", key.display()))?;
    let pair = CertifiedKey::from_der(chain, key_der, &ring::default_provider()).map_err(|e| {
        format!(
            "{} and {} do not belong together, or are of a kind that is not known: {e}",
            cert.display(),
            key.display()
        )
    })?;
    Ok(Arc::new(pair))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let length = fs::metadata(path).map(|meta| meta.len());
    match length {
        Ok(length) if length > MAX_FILE => Err(format!("{} is too large", path.display())),
        Ok(_) => fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display())),
        Err(e) => Err(format!("cannot read {}: {e}", path.display())),
    }
}
