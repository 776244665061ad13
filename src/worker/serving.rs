//! What every connection of a worker is served with.

use std::rc::Rc;

use tokio_rustls::TlsAcceptor;

use super::Requests;
use crate::channels::Channel;
use crate::config::network::Network;
use crate::config::{Config, ServerLimits, Updater};
use crate::turn::context::Bot;

/// Shared by a worker's connections, and never changed.
pub(super) struct Serving {
    pub(super) bot: Rc<Bot>,
    pub(super) limits: ServerLimits,
    pub(super) requests: Requests,
    pub(super) rpc_token: Option<String>,
    pub(super) trusted_proxies: Vec<Network>,
    /// Updates are polled for, so nobody posts them: of the channels only `http` is
    /// served, and only with a token.
    polls: bool,
    has_http_token: bool,
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
            polls: config.updater == Updater::Polling,
            has_http_token: config.http.token.is_some(),
            tls,
        }
    }

    /// The channel that is served at a path.
    pub(super) fn channel(&self, path: &str) -> Option<&dyn Channel> {
        let channel = self.bot.channels.at(path)?;
        let is_served = !self.polls || self.has_http_token && channel.name() == "http";
        is_served.then_some(channel)
    }
}
