//! What every connection of a worker is served with.

use std::rc::Rc;

use tokio_rustls::TlsAcceptor;

use super::Requests;
use crate::config::network::Network;
use crate::config::{Config, ServerLimits};
use crate::turn::turn::Bot;

/// Shared by a worker's connections, and never changed.
pub(super) struct Serving {
    pub(super) bot: Rc<Bot>,
    pub(super) limits: ServerLimits,
    pub(super) requests: Requests,
    pub(super) rpc_token: Option<String>,
    pub(super) trusted_proxies: Vec<Network>,
    /// HTTPS is served.
    pub(super) tls: Option<TlsAcceptor>,
}

impl Serving {
    pub(super) fn new(
        bot: Rc<Bot>,
        config: &Config,
        requests: Requests,
        tls: Option<TlsAcceptor>,
    ) -> Self {
        Serving {
            bot,
            limits: config.server,
            requests,
            rpc_token: config.rpc_token.as_deref().map(str::to_owned),
            trusted_proxies: config.trusted_proxies.clone(),
            tls,
        }
    }
}
