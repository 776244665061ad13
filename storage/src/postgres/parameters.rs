//! The parameters of an address that tokio-postgres does not read: ours, and those of which it
//! supports only some values.
//!
//! Called by `server.rs`. No message here shows a value that may be a password.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::tls::Tls;
use crate::lanes::address;
use crate::lanes::bounds::{self, DEFAULT_LEASE, DEFAULT_POOL};
use crate::{About, Error, OpenError, Result};

/// What was taken out of an address.
pub(super) struct Parameters {
    /// The address without it.
    pub(super) url: String,
    pub(super) pool: usize,
    pub(super) lease: Duration,
    pub(super) tls: Tls,
    /// Also a tool that only reads wants a server that can be written to.
    pub(super) read_write: bool,
}

impl Parameters {
    /// Splits an address.
    ///
    /// # Errors
    /// [`Error::Open`] when a value is out of bounds, or a file cannot be read.
    pub(super) fn take(url: &str) -> Result<Self> {
        let parts = address::parts(url).map_err(wrong)?;
        let (mut pool, mut lease) = (DEFAULT_POOL, DEFAULT_LEASE);
        let (mut mode, mut root) = (None, None);
        let mut read_write = false;
        let mut rest = Vec::new();
        for parameter in parts.query.split('&').filter(|p| !p.is_empty()) {
            let (name, raw) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = percent_decode_str(raw).decode_utf8_lossy();
            match name {
                "pool" => pool = bounds::pool(&value)?,
                "lease" => lease = bounds::lease(&value)?,
                "sslmode" => mode = Some(value),
                "sslrootcert" => root = Some(value),
                "target_session_attrs" => read_write = is_read_write(&value)?,
                _ => rest.push(parameter),
            }
        }
        let start = parts.start;
        Ok(Parameters {
            url: match rest.is_empty() {
                true => start.to_owned(),
                false => format!("{start}?{}", rest.join("&")),
            },
            pool,
            lease,
            tls: Tls::new(mode.as_deref(), root.as_deref())?,
            read_write,
        })
    }
}

/// `target_session_attrs`, in libpq's words. A bot writes, whatever stands there.
fn is_read_write(value: &str) -> Result<bool> {
    match value {
        "any" => Ok(false),
        "read-write" | "primary" => Ok(true),
        _ => Err(Error::open(
            "?target_session_attrs= takes read-write, primary or any: a bot needs a server that \
             can be written to"
                .to_owned(),
        )),
    }
}

/// What is said of an address that cannot be read. `why` shows no part of it.
pub(super) fn wrong(why: impl std::fmt::Display) -> Error {
    Error::Open(
        OpenError::new(format!("is no address of a PostgreSQL database: {why}"))
            .about(About::Address)
            .remedy("write postgres://user:password@host/database"),
    )
}
