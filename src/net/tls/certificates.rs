//! The certificate that is served, reloaded when its file changes.
//!
//! Asked by rustls in each handshake; kept current by [`Certificates::keep_current`], a task of
//! each worker. So a renewal needs no signal, and takes effect in every worker within [`LOOK`].
//! Invariant: a pair that cannot be read, or does not fit together, replaces nothing: the
//! previous one is still served, also by workers that start later (`kept.rs`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::pair::{Pair, Stamp, chain_in, key_in, out_of_time, read, read_pair};
use super::{ACME, Paths, kept};
use crate::author::start_error::StartError;
use crate::config::Tls;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// The certificates of a worker.
pub(crate) struct Certificates {
    paths: Paths,
    /// Taken before they were read for the first time: what changes since is seen.
    first: Stamp,
    current: RwLock<Option<Pair>>,
    /// Why the files cannot be served, while another pair is.
    problem: RwLock<Option<String>>,
}

impl Certificates {
    /// Reads them.
    ///
    /// # Errors
    /// [`StartError::Refused`] with the remedy; none for one that is got by ACME.
    pub(crate) fn open(tls: &Tls) -> crate::StartResult<Arc<Self>> {
        let paths = Paths::of(tls);
        let first = paths.stamp();
        let mut problem = None;
        let current = match read_pair(&paths.cert, &paths.key) {
            Ok(pair) => Some(pair),
            // One that cannot be read is got again, as if there were none.
            Err(_) if matches!(tls, Tls::Acme(_)) => None,
            Err(reason) => match kept::of(&paths) {
                Some(pair) => {
                    tracing::warn!("the certificate before is served on: {reason}");
                    problem = Some(reason);
                    Some(pair)
                }
                None => return Err(StartError::Refused(reason)),
            },
        };
        Ok(Arc::new(Certificates {
            paths,
            first,
            current: RwLock::new(current),
            problem: RwLock::new(problem),
        }))
    }

    /// Whether somebody may come to check a name.
    pub(super) fn answers_challenges(&self) -> bool {
        self.paths.challenges.is_some()
    }

    /// Says so if clients refuse the one that is served.
    pub(super) fn warn_of_time(&self) {
        let current = self.current();
        if let Some(sentence) = current.and_then(|pair| out_of_time(&pair, &self.paths.cert)) {
            tracing::warn!("{sentence}");
        }
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
        self.pair().map(|pair| pair.served)
    }

    fn pair(&self) -> Option<Pair> {
        let current = self.current.read();
        current.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the files are not served; none while they are.
    pub(crate) fn problem(&self) -> Option<String> {
        let problem = self.problem.read();
        problem.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// In the master: what it forks has this pair, should the files be bad then. `beside`
    /// is where the last run has kept one.
    pub(super) fn open_first(tls: &Tls, beside: Option<&Path>) -> crate::StartResult<Arc<Self>> {
        let paths = Paths::of(tls);
        let stamp = paths.stamp();
        if let Tls::Files { cert, key } = tls {
            let good = read_pair(cert, key).ok();
            let pair = good.or_else(|| kept::read_beside(beside?, &paths));
            if let Some(pair) = pair {
                kept::put(&paths, stamp, pair);
            }
        }
        Self::open(tls)
    }

    /// Keeps what is served for the next start.
    async fn keep_beside(&self, file: &Path) {
        let (Some(pair), None) = (self.pair(), self.problem()) else {
            return;
        };
        let (file, paths) = (file.to_owned(), self.paths.clone());
        let written = tokio::task::spawn_blocking(move || kept::write(&file, &paths, &pair)).await;
        let written = written.unwrap_or_else(|e| Err(std::io::Error::other(e)));
        if let Err(error) = written {
            tracing::warn!("no copy of the certificate is kept beside the database: {error}");
        }
    }

    /// Looks at the files again and again; never ends. Keeps what is good in a file, too.
    pub(crate) async fn keep_current(self: Arc<Self>, beside: Option<PathBuf>) {
        let mut seen = self.first;
        if let Some(file) = &beside {
            self.keep_beside(file).await;
        }
        loop {
            tokio::time::sleep(LOOK).await;
            let stamp = self.paths.stamp();
            if stamp == seen {
                continue;
            }
            seen = stamp;
            match read_pair(&self.paths.cert, &self.paths.key) {
                Ok(pair) => {
                    self.replace(pair);
                    self.note(None);
                    tracing::info!("serving the new {}", self.paths.cert.display());
                    self.warn_of_time();
                    if let Some(file) = &beside {
                        self.keep_beside(file).await;
                    }
                }
                Err(reason) => {
                    tracing::warn!("the certificate before is served on: {reason}");
                    self.note(Some(reason));
                }
            }
        }
    }

    fn replace(&self, pair: Pair) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(pair);
    }

    fn note(&self, problem: Option<String>) {
        *self.problem.write().unwrap_or_else(PoisonError::into_inner) = problem;
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
    let pem = read(file)?;
    let (chain, key) = (chain_in(&pem, file)?, key_in(&pem, file)?);
    let key = ring::default_provider().key_provider.load_private_key(key);
    let key = key.map_err(|e| format!("the key in {} is not known: {e}", file.display()))?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}
