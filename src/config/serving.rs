//! Where and how the bot is reached: addresses, certificates, limits of callers; where
//! its backups go.
//!
//! Made by `validate/`; read by the master, which binds, and by the workers.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::proxies::Proxies;
use super::refuse;
use super::secrets::Secret;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Listen {
    /// Every address of a host; port 0 for a free one.
    Tcp {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// 0 for a free one.
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Listen {
    /// Reads `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`.
    ///
    /// # Errors
    /// [`crate::StartError::Refused`] that names the flag.
    pub(super) fn parse(flag: &str, text: &str) -> crate::StartResult<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => refuse(format!(
                    "{flag} unix: names no file; write unix:/run/bot.sock"
                )),
                path => Ok(Listen::Unix(PathBuf::from(path))),
            };
        }
        let parts = text.rsplit_once(':');
        let parsed = parts.and_then(|(host, port)| {
            let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
            let is_plain = bare.is_some() || !host.contains(':');
            let host = bare.unwrap_or(host);
            let port = port.parse().ok()?;
            (is_plain && !host.is_empty()).then(|| Listen::Tcp {
                host: host.to_owned(),
                port,
            })
        });
        parsed.map_or_else(
            || {
                refuse(format!(
                    "{flag} takes HOST:PORT or unix:PATH, such as 127.0.0.1:8081, not {text:?}"
                ))
            },
            Ok,
        )
    }

    /// Whether only this machine can reach it.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Listen::Unix(_) => true,
            Listen::Tcp { host, .. } => {
                host == "localhost"
                    || host
                        .parse::<std::net::IpAddr>()
                        .is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

/// As it is given.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
            Listen::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Listen::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// Where certificates come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tls {
    /// From files that somebody else keeps.
    Files {
        /// The chain, PEM.
        cert: PathBuf,
        /// The private key, PEM.
        key: PathBuf,
    },
    /// From an ACME server.
    Acme(AcmeConfig),
}

/// How certificates are got and renewed (RFC 8555).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AcmeConfig {
    /// The names in the certificate, lower case; at least one.
    pub(crate) domains: Vec<String>,
    /// The account and certificates.
    pub(crate) dir: PathBuf,
    /// The server's directory.
    pub(crate) url: String,
    /// What the server's own certificate is checked against; none: the web's roots.
    pub(crate) ca: Option<PathBuf>,
    /// A mail address.
    pub(crate) contact: Option<String>,
    /// What the server is called through.
    pub(crate) proxies: Proxies,
}

/// The address for operators.
#[derive(Clone, Debug)]
pub(crate) struct AdminConfig {
    /// Where.
    pub(crate) listen: Listen,
    /// The bearer token that requests must carry, if any.
    pub(crate) token: Option<Secret>,
}

/// Backups that the bot makes by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BackupConfig {
    /// Where they are put.
    pub(crate) dir: PathBuf,
    /// From one to the next.
    pub(crate) every: Duration,
    /// How many stay.
    pub(crate) keep: usize,
}

/// How much is taken of whom, each second; none for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RateLimits {
    /// Updates of one user.
    pub(crate) user: Option<u32>,
    /// Requests from one address.
    pub(crate) address: Option<u32>,
}
