//! What the operator's commands share: which database, how to print.
//!
//! Used by `dead.rs`, `dialogs.rs` and `outbox.rs`. They work on a running or a stopped
//! bot's database.

use std::io::{ErrorKind, Write};

use clap::Args;
use serde::Serialize;
use turnkey_storage::Storage;

use super::storage::Database;
use crate::database;

#[derive(Args)]
pub(super) struct Operator {
    #[command(flatten)]
    database: Database,
    /// Print JSON, one object a line.
    #[arg(long)]
    pub(super) json: bool,
}

impl Operator {
    /// Does the work on the database.
    pub(super) fn work<T>(
        &self,
        work: impl AsyncFnOnce(&dyn Storage) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let address = self.database.address()?;
        database::operate(&address, work)
    }
}

/// Prints a line for programs or for people. Whoever reads may have had enough:
/// `dead list | head`.
pub(super) fn print(
    as_json: bool,
    shown: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let line = match as_json {
        true => serde_json::to_string(shown)?,
        false => text(),
    };
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

/// Bytes as a person reads them.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
