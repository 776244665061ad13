//! Secrets: where each may be set, so that none is ever shown.
//!
//! Called by `read.rs` at the start and at each reload, and for the database's address by
//! `cli/`. A secret has no flag, since every user of a machine can read command lines. It is
//! set in a variable, in the file that `…_FILE` names, in the directory of systemd's
//! credentials (systemd.exec(5), `LoadCredential=`), or in the `--config` file. Of the first
//! three only one may be set for a secret; two are refused. Bounds: [`LONGEST`].

use std::ffi::OsString;
use std::fmt;
use std::fs::OpenOptions;
use std::io::Read;
use std::ops::Deref;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::refuse;

/// Bytes of a secret; a file with more is another one.
const LONGEST: u64 = 16 << 10;

/// Where systemd puts the credentials of a service.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Reads a variable.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A secret. It is compared and sent, and never shown: not in a log, not by a panic.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The error's own words would repeat the value.
        match String::deserialize(deserializer) {
            Ok(secret) => Ok(Secret(secret)),
            Err(_) => Err(serde::de::Error::custom("a secret is a text in quotes")),
        }
    }
}

impl Deref for Secret {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Secret(secret)
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        Secret(secret.to_owned())
    }
}

/// What was found outside of the file of `--config`.
pub(crate) struct Found {
    /// The secret.
    pub(crate) secret: Secret,
    /// A sentence for the log, if something is not as it should be.
    pub(crate) remark: Option<String>,
}

/// The variable of a setting in the file.
pub(super) fn variable(name: &str) -> String {
    format!("TURNKEY_{}", name.to_uppercase().replace('-', "_"))
}

/// The environment of this process.
pub(crate) fn environment(variable: &str) -> Option<OsString> {
    std::env::var_os(variable)
}

/// Looks for a setting in its variable, in the file that its `…_FILE` names, and among
/// the credentials.
///
/// # Errors
/// It stands in two of them, or cannot be read.
pub(crate) fn find(name: &str, get: Environment<'_>) -> crate::StartResult<Option<Found>> {
    let variable = variable(name);
    let file_variable = format!("{variable}_FILE");
    let file = get(&file_variable).map(PathBuf::from);
    let credential = match get(CREDENTIALS) {
        None => None,
        Some(directory) => credential(&Path::new(&directory).join(name))?,
    };
    match (get(&variable), file, credential) {
        (None, None, None) => Ok(None),
        (Some(value), None, None) => match value.into_string() {
            Ok(value) => Ok(Some(Found {
                secret: Secret(value),
                remark: None,
            })),
            Err(_) => refuse(format!("{variable} is not UTF-8")),
        },
        (None, Some(path), None) => read(&path, &file_variable).map(Some),
        (None, None, Some(path)) => read(&path, &format!("the credential {name}")).map(Some),
        (Some(_), Some(_), _) => refuse(format!(
            "{variable} and {file_variable} are the same setting; give one of them"
        )),
        (value, ..) => refuse(format!(
            "{} and the credential {name} in {CREDENTIALS} are the same setting; give one of them",
            if value.is_some() {
                variable
            } else {
                file_variable
            }
        )),
    }
}

/// One that is not allowed to be seen is not one that is not there: at a reload the bot
/// would go on without.
fn credential(path: &Path) -> crate::StartResult<Option<PathBuf>> {
    match path.try_exists() {
        Ok(exists) => Ok(exists.then(|| path.to_owned())),
        Err(e) => refuse(format!(
            "cannot look for the credential {}: {e}; the user that the bot runs as must be able to read it",
            path.display()
        )),
    }
}

fn read(path: &Path, what: &str) -> crate::StartResult<Found> {
    let failed = |e: std::io::Error| {
        crate::StartError::Refused(format!(
            "cannot read {what}, {}: {e}; name a file that the user of the bot may read",
            path.display()
        ))
    };
    // A pipe nobody writes to must not stop the program that reads its settings anew.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !meta.is_file() {
        return refuse(format!("{what}, {}, is not a file", path.display()));
    }
    let mut text = String::new();
    file.take(LONGEST + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > LONGEST {
        return refuse(format!(
            "{what}, {}, is longer than {LONGEST} bytes: is it the right file?",
            path.display()
        ));
    }
    // Editors end a file with one.
    let value = text.trim_end_matches(['\n', '\r']);
    if value.is_empty() {
        return refuse(format!("{what}, {}, is empty", path.display()));
    }
    let is_open = meta.mode() & 0o004 != 0;
    Ok(Found {
        secret: Secret(value.to_owned()),
        remark: is_open.then(|| {
            format!(
                "every user of this machine can read {what}, {0}: chmod 600 {0}",
                path.display()
            )
        }),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn found(name: &str, variables: &[(&str, &str)]) -> crate::StartResult<Option<Found>> {
        let variables: HashMap<_, _> = variables.iter().copied().collect();
        find(name, &|variable| {
            variables.get(variable).map(OsString::from)
        })
    }

    fn refused(name: &str, variables: &[(&str, &str)]) -> String {
        match found(name, variables) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{variables:?} was taken"),
        }
    }

    #[test]
    fn a_secret_stands_in_a_variable_a_file_or_a_credential() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("telegram-token");
        fs::write(&path, "12:abc d \r\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let (file, credentials) = (path.to_str().unwrap(), directory.path().to_str().unwrap());
        for variables in [
            [("TURNKEY_TELEGRAM_TOKEN", "12:abc d ")],
            [("TURNKEY_TELEGRAM_TOKEN_FILE", file)],
            [("CREDENTIALS_DIRECTORY", credentials)],
        ] {
            let found = found("telegram-token", &variables).unwrap().unwrap();
            assert_eq!(&*found.secret, "12:abc d ", "{variables:?}");
            assert_eq!(found.remark, None);
        }
        assert!(found("telegram-token", &[]).unwrap().is_none());
        let others = [("CREDENTIALS_DIRECTORY", credentials)];
        assert!(found("vk-token", &others).unwrap().is_none());
        for both in [
            [
                ("TURNKEY_TELEGRAM_TOKEN", "x"),
                ("TURNKEY_TELEGRAM_TOKEN_FILE", file),
            ],
            [
                ("TURNKEY_TELEGRAM_TOKEN", "x"),
                ("CREDENTIALS_DIRECTORY", credentials),
            ],
            [
                ("TURNKEY_TELEGRAM_TOKEN_FILE", file),
                ("CREDENTIALS_DIRECTORY", credentials),
            ],
        ] {
            let sentence = refused("telegram-token", &both);
            assert!(sentence.contains("give one of them"), "{sentence}");
            assert!(sentence.contains(both[0].0), "{sentence}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let open = found("telegram-token", &[("TURNKEY_TELEGRAM_TOKEN_FILE", file)]);
        let remark = open.unwrap().unwrap().remark.unwrap();
        assert!(remark.contains(&format!("chmod 600 {file}")), "{remark}");
        assert!(!remark.contains("abc"), "{remark}");
    }

    #[test]
    fn files_that_hold_no_secret_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("empty"), "\n\n").unwrap();
        fs::write(path("long"), "x".repeat(LONGEST as usize + 1)).unwrap();
        fs::write(path("bytes"), b"\xff\xfe").unwrap();
        nix::unistd::mkfifo(path("pipe").as_str(), nix::sys::stat::Mode::S_IRUSR).unwrap();
        for (name, why) in [
            ("empty", "is empty"),
            ("long", "right file"),
            ("bytes", "UTF-8"),
            ("pipe", "not a file"),
            ("", "not a file"),
            ("none", "No such file"),
        ] {
            let sentence = refused("vk-secret", &[("TURNKEY_VK_SECRET_FILE", &path(name))]);
            assert!(sentence.contains(why), "{name}: {sentence}");
            assert!(sentence.contains("TURNKEY_VK_SECRET_FILE"), "{sentence}");
        }
    }
}
