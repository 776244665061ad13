//! What the operator's commands share: which database, how to print.
//!
//! Used by `dead.rs`, `dialogs.rs`, `inbox.rs`, `outbox.rs`, `timers.rs` and `callbacks.rs`. They work on
//! a running or a stopped bot's database.

use clap::Args;
use serde::Serialize;
use turnkey_storage::{DialogKey, Storage};

use super::storage::Database;
use turnkey_storage::tools;
use turnkey_text::output;

#[derive(Args)]
pub(super) struct Operator {
    #[command(flatten)]
    database: Database,
    /// Print JSON, one object a line.
    #[arg(long)]
    pub(super) json: bool,
}

/// What a list of things that dialogs have is asked for.
#[derive(Args)]
pub(super) struct List {
    /// Only those of this dialog: its channel, such as telegram.
    #[arg(requires = "user")]
    channel: Option<String>,
    /// The user, or in a group the dialog, as `dialogs list` shows it.
    user: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 1000, value_name = "NUMBER")]
    pub(super) limit: u32,
    #[command(flatten)]
    pub(super) operator: Operator,
}

impl List {
    /// The dialog whose they are to be; none: of all.
    pub(super) fn dialog(&self) -> Option<DialogKey> {
        let (channel, user) = self.channel.as_ref().zip(self.user.as_ref())?;
        Some(DialogKey::new(channel, user))
    }
}

impl Operator {
    /// Does the work on the database.
    pub(super) fn work<T>(
        &self,
        work: impl AsyncFnOnce(&dyn Storage) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let address = self.database.address()?;
        tools::operate(&address, work)
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
        false => without_controls(&text(), |c| c == '\n'),
    };
    Ok(output::line(line)?)
}

/// What somebody else wrote, such as a user's id, as part of a line: it makes no lines of
/// its own and tells the terminal nothing.
pub(super) fn one_line(text: &str) -> String {
    without_controls(text, |_| false)
}

/// So many seconds as an operator counts them: 90 s, 20 min, 3 h, 6 days.
pub(super) fn roughly(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{} s", seconds.max(0)),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn without_controls(text: &str, is_meant: impl Fn(char) -> bool) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() && !is_meant(c) {
            true => plain.extend(c.escape_default()),
            false => plain.push(c),
        }
    }
    plain
}

/// Bytes as a person reads them.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
