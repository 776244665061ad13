//! What the unit of an init system must contain for a bot, derived from the bot's settings
//! before it runs there.
//!
//! Called by `cli/systemd.rs` with flags and a file only: variables and secrets belong to the
//! place where the bot will run. So unlike `validate/` this does not check whether all settings
//! fit together; the bot does so at its start.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::choices::Updater;
use super::read::read_file;
use super::serving::Listen;
use super::settings::Settings;
use super::validate::{database, listen};
use super::{Address, refuse};

/// What of the settings matters to whoever starts the program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    /// How long a stop may take.
    pub(crate) grace: Duration,
    /// Where the world connects; none when the bot asks for updates and no address is set.
    pub(crate) listen: Option<Listen>,
    /// Where operators connect, if anywhere.
    pub(crate) admin: Option<Listen>,
    /// Whether it was said where states are kept.
    pub(crate) has_storage: bool,
    /// Directories that it writes to, as far as they were named with their whole paths;
    /// sorted, each once.
    pub(crate) writes: Vec<PathBuf>,
    /// Whether its handler makes machine code while it runs, as Node.js does.
    pub(crate) compiles: bool,
}

impl Settings {
    /// Reads these flags over a file, if one was named.
    ///
    /// # Errors
    /// [`crate::StartError::Refused`]: the file or an address cannot be read, or a setting has no
    /// place under an init system.
    pub(crate) fn outline(self, file: Option<&Path>) -> crate::StartResult<Outline> {
        let settings = match file {
            Some(path) => self.over(read_file(path)?),
            None => self,
        };
        let is_set =
            settings.listen.is_some() || settings.host.is_some() || settings.port.is_some();
        let values = settings.complete()?;
        if let Some(user) = &values.user {
            return refuse(format!(
                "run's --user is for a start as root; here the init system starts the bot as its user: leave it out and give --user {user} before the --"
            ));
        }
        let listen = listen(&values)?;
        let listen = Some(listen).filter(|_| is_set || values.updater != Some(Updater::Polling));
        let admin = values.admin.as_deref();
        let admin = admin
            .map(|text| Listen::parse("--admin", text))
            .transpose()?;
        let storage = values.storage.as_deref().map(database).transpose()?;

        let parent = |path: &PathBuf| path.parent().map(Path::to_owned);
        let socket = |listen: &Option<Listen>| match listen {
            Some(Listen::Unix(path)) => parent(path),
            _ => None,
        };
        let file = match &storage {
            Some(Address::Sqlite(path)) => parent(path),
            _ => None,
        };
        let log = values.log_file.as_ref().and_then(parent);
        let directories = [values.backup_dir, values.acme_dir];
        let named = directories.into_iter().flatten();
        let named = named.chain(file).chain(log);
        let named = named.chain(socket(&listen)).chain(socket(&admin));
        let mut writes: Vec<PathBuf> = named.filter(|path| path.is_absolute()).collect();
        writes.sort();
        writes.dedup();
        Ok(Outline {
            grace: values.grace,
            listen,
            admin,
            has_storage: storage.is_some(),
            writes,
            compiles: false,
        })
    }
}
