//! What a reload leaves as it is.
//!
//! Called by `process/master/reload.rs`. Which settings these are the table says
//! (`changed_by`); here is what was made of them together with others.

use super::{Config, Listen};

impl Config {
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
        changed
    }
}

fn admin(config: &Config) -> Option<&Listen> {
    config.admin.as_ref().map(|admin| &admin.listen)
}
