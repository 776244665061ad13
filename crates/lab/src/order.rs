//! What the laboratory and its processes say to each other: one JSON object a line.
//!
//! The laboratory writes an [`Order`] and, to those that measure, a [`Window`]; a
//! process answers with [`Line`]s. When its input ends, a process leaves. Plain data.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use turnkey_storage::Sync;

use super::engines::Engine;
use super::servers::Kind;
use super::workload::Workload;

/// How durable a commit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SyncLevel {
    /// On the disk before it is acknowledged.
    Full,
    /// In the operating system.
    Normal,
}

impl SyncLevel {
    pub(crate) fn name(self) -> &'static str {
        match self {
            SyncLevel::Full => "full",
            SyncLevel::Normal => "normal",
        }
    }

    pub(crate) fn storage(self) -> Sync {
        match self {
            SyncLevel::Full => Sync::Full,
            SyncLevel::Normal => Sync::Normal,
        }
    }
}

/// What a process is for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Order {
    /// Makes tables and users, and ends.
    Fill(Load),
    /// Takes turns.
    Load(Load),
    /// Writes the SQLite file, until its input ends.
    Write(Load),
    /// Keeps a private server, until its input ends.
    Serve {
        kind: Kind,
        /// Where its data goes; exists, and is empty.
        directory: PathBuf,
        /// Of the server, beyond ours.
        settings: BTreeMap<String, String>,
    },
    /// Keeps a bot, until its input ends.
    Bot {
        storage: String,
        workers: usize,
        sync: String,
    },
}

/// The turns of one process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) engine: Engine,
    /// The address of the database.
    pub(crate) url: String,
    pub(crate) sync: SyncLevel,
    pub(crate) users: u64,
    pub(crate) state_bytes: usize,
    /// Turns at any time.
    pub(crate) in_flight: usize,
    /// Connections of a plain engine's process.
    pub(crate) pool: usize,
    /// Of this process's random numbers.
    pub(crate) seed: u64,
    /// This process's place among the clients, from 0.
    #[serde(default)]
    pub(crate) process: usize,
    pub(crate) processes: usize,
    /// Turns that are due in a second, in all processes together; none: the next begins
    /// when one ends.
    pub(crate) rate: Option<u64>,
    /// What the tests plant.
    pub(crate) stall: Option<Stall>,
    /// Pragmas of SQLite, by name.
    pub(crate) pragmas: BTreeMap<String, String>,
    /// What is done instead of turns.
    pub(crate) workload: Option<Workload>,
    /// Of a foreign engine.
    pub(crate) command: Option<String>,
}

impl Load {
    /// The file of an address `sqlite:…`.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(self.url.strip_prefix("sqlite:").unwrap_or(&self.url))
    }
}

/// A time in which nothing is begun: what the tests plant to see whether it shows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stall {
    /// Of the window, in nanoseconds.
    pub(crate) after: u64,
    pub(crate) lasting: u64,
}

/// The moments of a run: CLOCK_MONOTONIC in nanoseconds, one clock for all processes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Window {
    /// The first turn.
    pub(crate) begin: u64,
    /// The measured part.
    pub(crate) from: u64,
    pub(crate) until: u64,
}

/// What a process answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Line {
    Ready,
    Error(String),
    Loaded(Loaded),
    Written(Written),
    Serving(Serving),
}

/// What one process measured.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Loaded {
    /// Turns that ended within the window.
    pub(crate) turns: u64,
    /// All acknowledged turns, warm-up included.
    pub(crate) acknowledged: u64,
    /// Turns of which nobody knows whether they were committed.
    pub(crate) uncertain: u64,
    /// Of a schedule: turns that were due within the window.
    pub(crate) due: Option<u64>,
    /// Those of them that had not begun at its end.
    pub(crate) not_begun: u64,
    /// By kind.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Latencies as (nanoseconds, count).
    pub(crate) latencies: Vec<(u64, u64)>,
    /// Transactions and syncs within the window, where this process makes them.
    pub(crate) commits: Option<u64>,
    pub(crate) syncs: Option<u64>,
    /// Part by part of the window.
    pub(crate) series: Vec<Slot>,
    /// Of a workload, by name.
    pub(crate) transactions: BTreeMap<String, Transactions>,
    /// The settings that the engine's connection had.
    pub(crate) in_force: BTreeMap<String, String>,
}

/// A part of the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slot {
    /// That ended in it.
    pub(crate) turns: u64,
    /// Of their latencies, in nanoseconds.
    pub(crate) longest: u64,
}

/// One kind of transaction of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transactions {
    /// That ended within the window.
    pub(crate) turns: u64,
    /// All, warm-up included.
    pub(crate) acknowledged: u64,
    /// Of which nobody knows.
    pub(crate) uncertain: u64,
    /// As (nanoseconds, count).
    pub(crate) latencies: Vec<(u64, u64)>,
}

/// What the writer did within the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) turns: u64,
    pub(crate) commits: u64,
    pub(crate) syncs: u64,
    pub(crate) checkpoints: u64,
}

/// A private server, or a bot, that answers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Serving {
    /// An address of an administrator's database.
    pub(crate) url: String,
    /// Its first process.
    pub(crate) pid: u32,
    /// How it is set up, for the report.
    pub(crate) settings: Vec<String>,
}
