//! The parameters of an address that tokio-postgres does not read: ours, and those
//! about TLS, of whose values it knows half.
//!
//! Called by `server.rs`. No sentence here shows a value that may be a password.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::tls::Tls;
use crate::Result;
use crate::server::bounds::{self, DEFAULT_LEASE, DEFAULT_POOL};

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
    /// [`Error::Open`](crate::Error::Open) when a value is out of bounds, or a file cannot be read.
    pub(super) fn take(url: &str) -> Result<Self> {
        let (start, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut pool, mut lease) = (DEFAULT_POOL, DEFAULT_LEASE);
        let (mut mode, mut root) = (None, None);
        let mut rest = Vec::new();
        for parameter in query.split('&').filter(|p| !p.is_empty()) {
            let (name, raw) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = percent_decode_str(raw).decode_utf8_lossy();
            match name {
                "pool" => pool = bounds::pool(&value)?,
                "lease" => lease = bounds::lease(&value)?,
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
