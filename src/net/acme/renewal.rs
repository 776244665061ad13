//! When the ACME server wants a certificate to be renewed (ARI, RFC 9773): this may be early,
//! because the certificate will be revoked, or to spread the server's load.
//!
//! Called by `mod.rs` at each check; it can only make a renewal earlier. Servers need not
//! support it; if one cannot be asked, nothing changes. Bounds: the bot asks again when the
//! server's Retry-After is over, clamped to [`OFTEN`] … [`RARELY`]; a certificate is kept for
//! at least a 90th of its lifetime (1 day of 90), whatever the server says.

use std::time::{Duration, SystemTime};

use super::account::Accounts;
use super::certificate::Held;
use super::client::Client;
use super::failure::Failure;
use super::store::Store;
use crate::config::AcmeConfig;

/// Not before, after an answer.
const OFTEN: Duration = Duration::from_secs(60);

/// At the latest; servers that have no opinion are asked so.
const RARELY: Duration = Duration::from_secs(24 * 3600);

/// After no answer.
const AGAIN: Duration = Duration::from_secs(6 * 3600);

/// What a server has said.
pub(super) struct Renewal {
    /// Our place in any window, 0 to 1: chance, so that not all come at its begin.
    place: f64,
    known: Option<Known>,
}

struct Known {
    /// The certificate, as the server names it.
    of: String,
    /// When it is to be renewed, by the server's wish.
    due: Option<SystemTime>,
    ask_again: SystemTime,
}

impl Renewal {
    pub(super) fn new() -> Self {
        Renewal {
            place: fastrand::f64(),
            known: None,
        }
    }

    /// Whether the server wants it renewed by now.
    pub(super) async fn is_wanted(
        &mut self,
        config: &AcmeConfig,
        store: &Store,
        held: &Held,
    ) -> bool {
        let Some(id) = held.id() else { return false };
        let name = id.to_string();
        let now = SystemTime::now();
        let known = self.known.take().filter(|known| known.of == name);
        let known = match known {
            Some(known) if now < known.ask_again => known,
            known => {
                let (due, again) = match ask(config, store, &id).await {
                    Ok(Some((start, end, again))) => {
                        let width = end.duration_since(start).unwrap_or_default();
                        let due = start + width.mul_f64(self.place);
                        (Some(due), again.clamp(OFTEN, RARELY))
                    }
                    Ok(None) => (None, RARELY),
                    Err(failure) => {
                        tracing::debug!("when to renew could not be asked: {failure}");
                        (known.and_then(|known| known.due), AGAIN)
                    }
                };
                Known {
                    of: name,
                    due,
                    ask_again: now + again,
                }
            }
        };
        let is_due = known.due.is_some_and(|due| due <= now);
        self.known = Some(known);
        is_due && held.not_before + held.lifetime() / 90 <= now
    }
}

/// The server's window and when to ask again; none if it has none.
async fn ask(
    config: &AcmeConfig,
    store: &Store,
    id: &instant_acme::CertificateIdentifier<'_>,
) -> Result<Option<(SystemTime, SystemTime, Duration)>, Failure> {
    let client = Client::new(config.ca.as_deref(), &config.proxies)?;
    let accounts = Accounts {
        config,
        store,
        client: &client,
    };
    let Some(account) = accounts.open().await? else {
        return Ok(None);
    };
    match account.renewal_info(id).await {
        Ok((info, again)) => {
            let window = info.suggested_window;
            Ok(Some((window.start.into(), window.end.into(), again)))
        }
        Err(instant_acme::Error::Unsupported(_)) => Ok(None),
        Err(error) => Err(Failure::of(error, &config.url)),
    }
}
