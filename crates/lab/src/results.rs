//! Every number of a laboratory, as `results.json` keeps it. Plain data.
//!
//! Written by `laboratory.rs`, read again by `turnkey bench report`. Fields that are
//! null could not be measured there; units are in the names.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::measure::{FileSystem, Machine, Percentiles, SyncTimes};
use super::order::SyncLevel;
use super::plan::Plan;

/// The format of the file; a reader refuses a newer one.
pub(crate) const FORMAT: u32 = 1;

/// A laboratory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) format: u32,
    /// Name and version of this program.
    pub(crate) program: String,
    /// Milliseconds since 1970.
    pub(crate) started_at: u64,
    /// Ctrl-C came before the end.
    pub(crate) interrupted: bool,
    /// Whether no run failed or lost a turn.
    pub(crate) ok: bool,
    pub(crate) machine: Machine,
    pub(crate) file_system: FileSystem,
    pub(crate) disk_sync: SyncTimes,
    pub(crate) settings: Plan,
    /// Of libraries and servers.
    pub(crate) versions: BTreeMap<String, String>,
    /// How libraries and servers were set up.
    pub(crate) setup: BTreeMap<String, Vec<String>>,
    /// What each engine does.
    pub(crate) engines: BTreeMap<String, String>,
    pub(crate) warnings: Vec<String>,
    pub(crate) medians: Vec<Median>,
    pub(crate) runs: Vec<Run>,
}

impl Results {
    /// This program, then what it measured, with their versions.
    pub(crate) fn versions_line(&self) -> String {
        let mut line = self.program.clone();
        for (name, version) in &self.versions {
            line += &format!(", {name} {version}");
        }
        line
    }
}

/// One run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) engine: String,
    pub(crate) sync: String,
    pub(crate) processes: usize,
    pub(crate) in_flight: usize,
    /// From 1.
    pub(crate) repeat: usize,
    /// Why it does not count: it could not be measured, or turns were lost.
    pub(crate) failed: Option<String>,
    /// Of the window.
    pub(crate) seconds: f64,
    /// Acknowledged within the window.
    pub(crate) turns: u64,
    pub(crate) turns_per_second: f64,
    pub(crate) latency_us: Percentiles,
    /// The most and the fewest turns of one process: how even they were served.
    pub(crate) turns_of_processes: Vec<u64>,
    pub(crate) errors: BTreeMap<String, u64>,
    /// With warm-up and what ended after the window: what the counters must show.
    pub(crate) acknowledged: u64,
    pub(crate) uncertain: u64,
    pub(crate) sum_of_counters: u64,
    /// Transactions.
    pub(crate) turns_per_commit: Option<f64>,
    pub(crate) syncs_per_turn: Option<f64>,
    /// Where `syncs_per_turn` comes from.
    pub(crate) syncs_source: Option<String>,
    /// Flushes of the whole device, from /sys/dev/block.
    pub(crate) device_flushes_per_turn: Option<f64>,
    /// What reached the block device, other programs' too, from /sys/dev/block; with
    /// warm-up, for each acknowledged turn. None: it cannot be measured here.
    pub(crate) device_bytes_per_turn: Option<f64>,
    pub(crate) cpu_us_per_turn: CpuPerTurn,
    /// Share of the machine that others used (and the kernel's own threads), 0 to 1.
    pub(crate) others_share: Option<f64>,
    /// Connections of each process, of a plain engine.
    pub(crate) pool: Option<usize>,
}

/// Microseconds of processor time for a turn, from /proc/PID/stat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CpuPerTurn {
    pub(crate) clients: Option<f64>,
    pub(crate) writer: Option<f64>,
    pub(crate) server: Option<f64>,
    /// None when a part of it is not known: the server is on another machine.
    pub(crate) total: Option<f64>,
}

impl Run {
    pub(crate) fn is_good(&self) -> bool {
        self.failed.is_none()
    }
}

impl Results {
    /// "full" of the file, whatever level that was in a newer program.
    pub(crate) fn sync_levels(&self) -> Vec<&'static str> {
        self.settings
            .sync
            .iter()
            .map(|level: &SyncLevel| level.name())
            .collect()
    }
}

/// The middle of the repeats of one situation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Median {
    pub(crate) engine: String,
    pub(crate) sync: String,
    pub(crate) processes: usize,
    pub(crate) in_flight: usize,
    pub(crate) runs: usize,
    pub(crate) failed: usize,
    pub(crate) turns_per_second: f64,
    pub(crate) least_turns_per_second: f64,
    pub(crate) most_turns_per_second: f64,
    pub(crate) latency_us: Percentiles,
    pub(crate) cpu_us_per_turn: CpuPerTurn,
    pub(crate) turns_per_commit: Option<f64>,
    pub(crate) syncs_per_turn: Option<f64>,
    pub(crate) device_bytes_per_turn: Option<f64>,
    /// The largest of all runs: one noisy run makes a figure doubtful.
    pub(crate) others_share: Option<f64>,
    /// Of all runs together.
    pub(crate) errors: u64,
    pub(crate) errors_by_kind: std::collections::BTreeMap<String, u64>,
    /// Turns a second over those of sqlite-direct, in the same situation.
    pub(crate) ratio_to_sqlite_direct: Option<f64>,
    pub(crate) ratio_to_postgres: Option<f64>,
}

impl Median {
    pub(crate) fn is_beside(&self, other: &Median) -> bool {
        (&self.sync, self.processes, self.in_flight)
            == (&other.sync, other.processes, other.in_flight)
    }
}
