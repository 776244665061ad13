//! A certificate with its key, read from two files.
//!
//! Read by `certificates.rs` and `kept.rs`. Bound: [`MAX_FILE`].

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::Paths;

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
    pub(super) served: Arc<CertifiedKey>,
    pub(super) pem: Arc<Vec<u8>>,
}

/// Reads a chain and its key. The reason says which file is wrong, and how.
pub(super) fn read_pair(cert: &Path, key: &Path) -> Result<Pair, String> {
    let mut pem = read(cert)?;
    let chain = chain_in(&pem, cert)?;
    let key_pem = read(key)?;
    let key_der = key_in(&key_pem, key)?;
    let pair = CertifiedKey::from_der(chain, key_der, &ring::default_provider()).map_err(|e| {
        format!(
            "{} and {} do not belong together, or are of a kind that is not known: {e}",
            cert.display(),
            key.display()
        )
    })?;
    if cert != key {
        pem.push(b'\n');
        pem.extend(key_pem);
    }
    Ok(Pair {
        served: Arc::new(pair),
        pem: Arc::new(pem),
    })
}

/// The chain in what was read from this file.
pub(super) fn chain_in(pem: &[u8], cert: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain = CertificateDer::pem_slice_iter(pem)
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

/// The key in what was read from this file.
pub(super) fn key_in(pem: &[u8], key: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let holds = |words: &[u8]| pem.windows(words.len()).any(|part| part == words);
    // PKCS#8 (RFC 5958), and what OpenSSL wrote before.
    if holds(b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(b"Proc-Type: 4,ENCRYPTED") {
        return Err(format!(
            "the key in {0} is encrypted, and nobody is there to type its password; write it anew without one (openssl pkey -in {0} -out NEW) into a file that only the bot may read",
            key.display()
        ));
    }
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|e| format!("{} holds no private key: {e}", key.display()))
}

/// Clients refuse a certificate outside its time. It is served all the same: who is told
/// so can mend it while the bot runs.
pub(super) fn out_of_time(pair: &CertifiedKey, path: &Path) -> Option<String> {
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
