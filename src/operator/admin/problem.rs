//! A problem, and what problems are found from beside the figures.
//!
//! Found by `problems.rs`; part of `status.rs`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use turnkey_storage::reasons::Reason;

/// A log that is longer than this has readers that keep it from being emptied.
pub(super) const LONG_LOG: u64 = 64 << 20;

/// Something that a person should look after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// A sentence without its full stop.
    pub(crate) what: String,
    /// What to do, in the same way.
    pub(crate) remedy: String,
    /// A command line that shows more or mends it.
    pub(crate) command: Option<String>,
}

/// The disk of the database's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Disk {
    pub(crate) used_percent: u64,
    /// Bytes that the bot can still write.
    pub(crate) free: u64,
}

/// What is no part of the status itself.
pub(super) struct More {
    /// Why dead letters and dead replies failed.
    pub(super) letters: Arc<[Reason]>,
    pub(super) replies: Arc<[Reason]>,
    /// A standby may lack turns that were acknowledged.
    pub(super) is_unsynchronised: bool,
}
