//! The parameters of an address that tokio-postgres does not read: ours, and those
//! about TLS, of whose values it knows half.
//!
//! Called by `server.rs`. No sentence here shows a value that may be a password.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::server::{DEFAULT_LEASE, DEFAULT_POOL, LEASES, MAX_POOL};
use super::tls::Tls;
use crate::{Error, Result};

/// What was taken out of an address.
pub(super) struct Parameters {
    /// The address without it.
    pub(super) url: String,
    pub(super) pool: usize,
    pub(super) lease: Duration,
    pub(super) tls: Tls,
}

impl Parameters {
    /// Splits an address.
    ///
    /// # Errors
    /// [`Error::Open`] when a value is out of bounds, or a file cannot be read.
    pub(super) fn take(url: &str) -> Result<Self> {
        let (start, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut pool, mut lease) = (DEFAULT_POOL, DEFAULT_LEASE);
        let (mut mode, mut root) = (None, None);
        let mut rest = Vec::new();
        for parameter in query.split('&').filter(|p| !p.is_empty()) {
            let (name, raw) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = percent_decode_str(raw).decode_utf8_lossy();
            match name {
                "pool" => {
                    pool = number(&value)
                        .filter(|n| (4..=MAX_POOL).contains(n))
                        .ok_or_else(|| {
                            Error::Open(format!("?pool= takes 4 to {MAX_POOL}, not {value:?}"))
                        })?;
                }
                "lease" => {
                    lease = number(&value)
                        .map(Duration::from_secs)
                        .filter(|lease| LEASES.contains(lease))
                        .ok_or_else(|| {
                            Error::Open(format!(
                                "?lease= takes {} to {} seconds, not {value:?}",
                                LEASES.start().as_secs(),
                                LEASES.end().as_secs()
                            ))
                        })?;
                }
                "sslmode" => mode = Some(value),
                "sslrootcert" => root = Some(value),
                _ => rest.push(parameter),
            }
        }
        Ok(Parameters {
            url: match rest.is_empty() {
                true => start.to_owned(),
                false => format!("{start}?{}", rest.join("&")),
            },
            pool,
            lease,
            tls: Tls::new(mode.as_deref(), root.as_deref())?,
        })
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}
