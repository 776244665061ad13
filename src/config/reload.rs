//! The settings that a reload does not change.
//!
//! Called by `process/master/reload.rs`. The table marks these settings (`changed_by`); here
//! are the values that were derived from several of them.

use super::{Config, Listen, Updater};

impl Config {
    /// Whether anybody is listened to: platforms that post, or, beside polling, other
    /// systems that bring a token.
    pub(crate) fn listens(&self) -> bool {
        self.updater == Updater::Webhooks || self.rpc_token.is_some() || self.http.token.is_some()
    }

    /// What was bound or opened once stays as it was in `old`; the settings that are
    /// different here, by their flags.
    pub(crate) fn keep_fixed(&mut self, old: &Config) -> Vec<String> {
        let mut changed = self.values.keep_fixed(&old.values);
        self.listen.clone_from(&old.listen);
        self.database.clone_from(&old.database);
        self.sync = old.sync;
        if admin(self) != admin(old) {
            self.admin.clone_from(&old.admin);
        }
        // Certificates come and go; HTTPS is a matter of the socket.
        if self.tls.is_some() != old.tls.is_some() {
            changed.push("--tls-cert or --tls-domain".to_owned());
            self.tls.clone_from(&old.tls);
        }
        // So is whether anybody is listened to; by webhooks everybody is.
        if self.listens() != old.listens() {
            changed.push("TURNKEY_RPC_TOKEN or TURNKEY_HTTP_TOKEN beside polling".to_owned());
        }
        changed
    }
}

fn admin(config: &Config) -> Option<&Listen> {
    config.admin.as_ref().map(|admin| &admin.listen)
}
