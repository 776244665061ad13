//! What the program `turnkey` needs from the framework besides [`App`](crate::App). Not for
//! bots: any version may change it.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use turnkey_storage::DialogKey;
use turnkey_storage::timers::Timer;

use crate::author::message::{Update, When};
pub use crate::cli::Extra;

/// Exit codes, as every command uses them.
pub mod exit {
    pub use crate::process::exit::{CLEAN, CUT, INTERRUPTED};
}

/// Reads a time such as `8s`, `500ms`, `2m` or `1h`.
///
/// # Errors
/// A sentence with an example.
pub fn duration(text: &str) -> Result<Duration, String> {
    crate::config::duration(text)
}

/// The systemd unit of a bot, as its command `systemd` prints it.
///
/// # Errors
/// When the arguments are none of `run`.
pub fn unit(name: &str, program: &Path, arguments: &[String]) -> anyhow::Result<String> {
    crate::cli::unit(name, program, arguments)
}

/// Whether a text is one of settings, as `--config` reads them.
///
/// # Errors
/// What is wrong, and in which line.
pub fn check_settings(text: &str) -> Result<(), String> {
    crate::config::parse(text).map(drop)
}

/// A timer of a dialog, due then (milliseconds since 1970): its row, and the update that it
/// fires.
///
/// # Errors
/// As [`Turn::at`](crate::Turn::at).
pub fn timer(dialog: DialogKey, name: &str, due: i64) -> Result<(Timer, Vec<u8>), String> {
    let update = Update::new(dialog, String::new(), String::new(), Bytes::new());
    crate::turn::timing::row(&update, name.to_owned(), When::At(due), Value::Null)
}
