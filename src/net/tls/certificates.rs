//! The certificate that is served, read anew when its file changes.
//!
//! Asked by rustls in each handshake; looked after by [`Certificates::keep_current`], a
//! task of each worker. So a renewal needs no signal, and takes effect in every worker
//! within [`LOOK`]. Invariant: a pair that cannot be read, or does not fit together,
//! replaces nothing: the one before is served on, also by workers that start later
//! (`kept.rs`).

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::{ACME, Paths, kept};
use crate::author::error::Error;
use crate::config::Tls;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// The longest chain that is read, in bytes: some hundred certificates.
const MAX_FILE: u64 = 1 << 20;

/// What the files were when they were read: size, time, inode of each.
pub(super) type Stamp = [Option<(u64, i64, i64, u64)>; 2];

impl Paths {
    pub(super) fn stamp(&self) -> Stamp {
        [&self.cert, &self.key].map(|path| {
            let meta = fs::metadata(path).ok()?;
            Some((meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()))
        })
    }

    /// Whatever directory is the current one.
    pub(super) fn absolute(&self) -> [PathBuf; 2] {
        [&self.cert, &self.key]
            .map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()))
    }
}

/// A chain with its key, as it is served and as it was read.
#[derive(Clone)]
pub(super) struct Pair {
    served: Arc<CertifiedKey>,
    pub(super) pem: Arc<Vec<u8>>,
}

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
    /// [`Error::Start`] with the remedy; none for one that is got by ACME.
    pub(crate) fn open(tls: &Tls) -> crate::Result<Arc<Self>> {
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
                None => return Err(Error::Start(reason)),
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
    pub(super) fn open_first(tls: &Tls, beside: Option<&Path>) -> crate::Result<Arc<Self>> {
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
    let (chain, key) = (read_chain(file)?, read_key(file)?);
    let key = ring::default_provider().key_provider.load_private_key(key);
    let key = key.map_err(|e| format!("the key in {} is not known: {e}", file.display()))?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// Reads a chain and its key. The reason says which file is wrong, and how.
pub(super) fn read_pair(cert: &Path, key: &Path) -> Result<Pair, String> {
    let (chain, key_der) = (read_chain(cert)?, read_key(key)?);
    let pair = CertifiedKey::from_der(chain, key_der, &ring::default_provider()).map_err(|e| {
        format!(
            "{} and {} do not belong together, or are of a kind that is not known: {e}",
            cert.display(),
            key.display()
        )
    })?;
    let mut pem = read(cert)?;
    if cert != key {
        pem.push(b'\n');
        pem.extend(read(key)?);
    }
    Ok(Pair {
        served: Arc::new(pair),
        pem: Arc::new(pem),
    })
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
    let pem = read(key)?;
    let holds = |words: &[u8]| pem.windows(words.len()).any(|part| part == words);
    // PKCS#8 (RFC 5958), and what OpenSSL wrote before.
    if holds(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(b"Proc-Type: 4,ENCRYPTED") {
        return Err(format!(
            "the key in {0} is encrypted, and nobody is there to type its password; write it anew without one (openssl pkey -in {0} -out NEW) into a file that only the bot may read",
            key.display()
        ));
    }
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|e| format!("{} holds no private key: {e}", key.display()))
}

/// Clients refuse a certificate outside its time. It is served all the same: who is told
/// so can mend it while the bot runs.
fn out_of_time(pair: &CertifiedKey, path: &Path) -> Option<String> {
    let own = Certificate::from_der(pair.cert.first()?).ok()?;
    let validity = own.tbs_certificate.validity;
    let now = SystemTime::now();
    if validity.not_after.to_system_time() < now {
        return Some(format!(
            "the certificate in {} has expired on {}: clients refuse it; put a new one there, which is served at once",
            path.display(),
            validity.not_after
        ));
    }
    (validity.not_before.to_system_time() > now).then(|| {
        format!(
            "the certificate in {} is valid from {} only: clients refuse it until then; is the clock right?",
            path.display(),
            validity.not_before
        )
    })
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    let length = fs::metadata(path).map(|meta| meta.len());
    match length {
        Ok(length) if length > MAX_FILE => Err(format!("{} is too large", path.display())),
        Ok(_) => {
            let bytes =
                fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
            // An editor's invisible mark, of UTF-8 or of either UTF-16.
            let marks: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];
            if marks.iter().any(|mark| bytes.starts_with(mark)) {
                return Err(format!(
                    "{} begins with a byte order mark (BOM), which a PEM file must not have; save it as plain text, ASCII or UTF-8 without BOM",
                    path.display()
                ));
            }
            Ok(bytes)
        }
        Err(e) => Err(format!("cannot read {}: {e}", path.display())),
    }
}
