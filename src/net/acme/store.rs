//! The directory of `--acme-dir`, file by file.
//!
//! Written by whoever holds [`Store::try_lock`], read by all workers (`net/tls/`). Invariants:
//! only the owner can read the directory (0700) and each file (0600), so no key is ever
//! readable by others; a file appears complete under its name (written beside it, synced,
//! renamed).
//!
//! | file | what |
//! | --- | --- |
//! | `account.json` | the account and its key |
//! | `NAME.pem` | the chain and its key, and where they come from; NAME is the first domain |
//! | `NAME.attempts.json` | recent failed attempts |
//! | `challenges/NAME.pem` | the answer to a challenge for NAME, during the order |
//! | `lock` | locked while a certificate is ordered |

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{AccessFlags, access};

use super::certificate::Held;
use super::failure::Failure;
use crate::config::AcmeConfig;
use crate::net::tls::Paths;

/// Bytes of a file that are read; the largest holds a chain of a few certificates.
const MAX_FILE: u64 = 1 << 20;

/// The right to get a certificate; it ends with the process, however that ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Flock<File>,
}

/// The files.
#[derive(Clone, Debug)]
pub(super) struct Store {
    dir: PathBuf,
    certificate: PathBuf,
    challenges: PathBuf,
}

impl Store {
    /// Makes the directory, if it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn open(config: &AcmeConfig) -> Result<Self, Failure> {
        let paths = Paths::of_acme(config);
        let store = Store {
            dir: config.dir.clone(),
            certificate: paths.cert,
            challenges: paths.challenges.unwrap_or_default(),
        };
        for dir in [&store.dir, &store.challenges] {
            match DirBuilder::new().mode(0o700).create(dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(Failure::new(format!(
                        "cannot make the directory {}: {e}; say with --acme-dir where it may be",
                        dir.display()
                    )));
                }
                _ => {}
            }
        }
        Ok(store)
    }

    /// Whether files can be made there.
    ///
    /// # Errors
    /// They cannot.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let may = access(&self.dir, AccessFlags::W_OK | AccessFlags::X_OK);
        may.map_err(|e| self.cannot("write to", &self.dir, &e.into()))
    }

    /// Takes the right to get a certificate; none while another process has it.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub(super) fn try_lock(&self) -> Result<Option<Lock>, Failure> {
        let path = self.dir.join("lock");
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| self.cannot("write to", &path, &e))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Some(Lock { _file: file })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, e)) => Err(self.cannot("lock", &path, &e.into())),
        }
    }

    /// The certificate that is there, if it can be read; one that cannot is worth as much
    /// as none, and is replaced.
    pub(super) fn certificate(&self) -> Option<Held> {
        let pem = read(&self.certificate).ok()??;
        Held::parse(&pem).ok()
    }

    /// Puts another certificate in its place.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub(super) async fn put_certificate(&self, pem: String) -> Result<(), Failure> {
        self.write(self.certificate.clone(), pem).await
    }

    /// What [`Store::put`] has put there; none if nothing has.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn get(&self, name: &str) -> Result<Option<String>, Failure> {
        let path = self.dir.join(name);
        read(&path).map_err(|e| self.cannot("read", &path, &e))
    }

    /// Writes a small file.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub(super) async fn put(&self, name: &str, text: String) -> Result<(), Failure> {
        self.write(self.dir.join(name), text).await
    }

    /// What whoever checks `domain` is answered with from now on, by every worker.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub(super) async fn put_challenge(&self, domain: &str, pem: String) -> Result<(), Failure> {
        let file = self.challenges.join(format!("{domain}.pem"));
        self.write(file, pem).await
    }

    /// Removes all answers, those that a dead worker has left too.
    ///
    /// # Errors
    /// The directory cannot be written to.
    pub(super) fn clear_challenges(&self) -> Result<(), Failure> {
        let clear = || {
            for entry in fs::read_dir(&self.challenges)? {
                fs::remove_file(entry?.path())?;
            }
            Ok(())
        };
        clear().map_err(|e| self.cannot("clear", &self.challenges, &e))
    }

    /// On a thread of its own: a sync may take long, and the worker serves meanwhile.
    async fn write(&self, path: PathBuf, text: String) -> Result<(), Failure> {
        let file = path.clone();
        let written = tokio::task::spawn_blocking(move || write_whole(&file, text.as_bytes()));
        match written.await {
            Ok(written) => written.map_err(|e| self.cannot("write", &path, &e)),
            Err(panic) => Err(self.cannot("write", &path, &io::Error::other(panic))),
        }
    }

    fn cannot(&self, what: &str, path: &Path, error: &io::Error) -> Failure {
        Failure::new(format!(
            "cannot {what} {}: {error}; {} must belong to the user that the bot runs as",
            path.display(),
            self.dir.display()
        ))
    }
}

/// None if it is not there.
fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() > MAX_FILE => Err(io::Error::other("it is too large")),
        Ok(_) => fs::read_to_string(path).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Writes it beside, then gives it its name.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.to_owned().into_os_string();
    new.push(".new");
    let new = PathBuf::from(new);
    // A dead worker may have left one, with any mode.
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    // The name is on the disk, too.
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}
