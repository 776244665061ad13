//! Measuring: the storage laboratory (`turnkey bench storage`), whole turns over
//! HTTP (`turnkey bench turn`), timers beside them (`turnkey bench timers`).
//!
//! Called by `crates/tool/src/bench/` only. Nothing else in the program knows of it.
//!
//! | file | what |
//! | --- | --- |
//! | `options.rs` `plan.rs` `settings.rs` | what is asked for; what is to be measured; pragmas and settings to try |
//! | `workload/` | what is done instead of turns: tables, transactions, invariants |
//! | `pace.rs` | when turns begin: closed and open loop |
//! | `laboratory.rs` | all runs, in turn, until the end or Ctrl-C |
//! | `run.rs` `tally.rs` | one run: processes, window, check; its figures |
//! | `process.rs` `child.rs` `order.rs` | the processes of a run from the inside, from the outside, and what they are told |
//! | `engines/` | the engines that are compared |
//! | `servers/` `keepers.rs` | private database servers; those of a laboratory |
//! | `measure/` | histograms, `/proc`, the disk, the machine |
//! | `state.rs` `check.rs` | the counter in each state, and whether one was lost |
//! | `results.rs` `schema.rs` `stored.rs` `csv.rs` | every number, the published format, a file read again, a line for each run |
//! | `summary.rs` `stats.rs` `judge.rs` | medians, their intervals, what may be said of two |
//! | `sweep.rs` `effects.rs` | where an engine breaks; what a setting does |
//! | `verdict.rs` | what was found, in sentences |
//! | `compare.rs` `commit.rs` | two results; what this program was built of |
//! | `report/` `table.rs` | HTML, charts, a site, the terminal (with `crate::report`) |
//! | `progress.rs` `help.rs` | what is shown meanwhile; what `--help` says |
//! | `http/` | `bench turn`, `bench timers` |
//!
//! Invariants: a turn counts when it was acknowledged; after every run the counters in
//! the database must add up to the acknowledged turns, or the invariants of the workload
//! hold, or the run has failed. Every process that is started here ends with this one: it
//! watches its input.

mod check;
mod child;
mod commit;
mod compare;
mod csv;
mod effects;
mod engines;
mod error;
mod help;
mod http;
mod judge;
mod keepers;
mod laboratory;
mod measure;
mod options;
mod order;
mod pace;
mod plan;
mod process;
mod progress;
mod report;
mod results;
mod run;
#[cfg(test)]
mod schema;
mod servers;
mod settings;
mod state;
mod stats;
mod stored;
mod summary;
mod sweep;
mod table;
mod tally;
mod verdict;
mod workload;

pub use compare::{CompareOptions, compare};
pub use error::{Error, Result};
pub use help::{known_engines, known_workloads};
pub use http::{HttpOptions, MakeTimer, STEP, Timers, bench as http};
pub use laboratory::{bench as storage, redraw, schema, workload};
pub use options::StorageOptions;
pub use process::main as process;

/// Workers that `bench turn` can start: as many as a bot has.
const MAX_WORKERS: usize = 256;

/// How a benchmark ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every run was measured and no turn was lost.
    Good,
    /// A run failed, or lost a turn.
    Failed,
    /// Ctrl-C.
    Interrupted,
}
