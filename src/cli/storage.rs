//! The `--storage` of the commands that work on one database.

use clap::Args;

use crate::config::{self, Address};
use crate::shared::scrub;

/// Which database.
#[derive(Args)]
pub(super) struct Database {
    /// The database, such as sqlite:bot.db, postgres://user:password@host/db or
    /// mysql://user:password@host/db.
    #[arg(
        long,
        env = "TURNKEY_STORAGE",
        hide_env_values = true,
        value_name = "URL"
    )]
    storage: String,
}

/// The same, where only a file will do.
#[derive(Args)]
pub(super) struct DatabaseFile {
    /// The bot's database, such as sqlite:bot.db.
    #[arg(
        long,
        env = "TURNKEY_STORAGE",
        hide_env_values = true,
        value_name = "URL"
    )]
    storage: String,
}

impl Database {
    /// Where it is.
    pub(super) fn address(&self) -> anyhow::Result<Address> {
        address(&self.storage)
    }
}

impl DatabaseFile {
    /// Where it is.
    pub(super) fn address(&self) -> anyhow::Result<Address> {
        address(&self.storage)
    }
}

/// Reads an address.
pub(super) fn address(url: &str) -> anyhow::Result<Address> {
    scrub::learn_address(url);
    Ok(config::database(url)?)
}
