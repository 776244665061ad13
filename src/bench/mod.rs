//! Measuring: the storage laboratory (`turnkey bench storage`) and whole turns over
//! HTTP (`turnkey bench turn`).
//!
//! Called by `cli/bench.rs` only. Nothing else in the program knows of it.
//!
//! | file | what |
//! | --- | --- |
//! | `plan.rs` | what is to be measured, with its bounds |
//! | `laboratory.rs` | all runs, in turn, until the end or Ctrl-C |
//! | `run.rs` | one run: processes, window, counters, check |
//! | `process.rs` `child.rs` `order.rs` | the processes of a run from the inside, from the outside, and what they are told |
//! | `engines/` | the engines that are compared |
//! | `servers/` | private database servers |
//! | `measure/` | histograms, `/proc`, the disk, the machine |
//! | `state.rs` `check.rs` | the counter in each state, and whether one was lost |
//! | `results.rs` `summary.rs` | every number, and their medians |
//! | `report/` `table.rs` | HTML, charts, the terminal (with `crate::report`) |
//! | `progress.rs` | what is shown meanwhile |
//! | `http/` | `bench turn` |
//!
//! Invariants: a turn counts when it was acknowledged; after every run the counters in
//! the database must add up to the acknowledged turns, or the run has failed. Every
//! process that is started here ends with this one: it watches its input.

mod check;
mod child;
mod engines;
mod http;
mod laboratory;
#[cfg_attr(not(any(feature = "mysql", feature = "postgres")), allow(unused))]
mod measure;
mod order;
mod plan;
mod process;
mod progress;
mod report;
mod results;
mod run;
// Without any kind of server, most of it has no user.
#[cfg_attr(not(any(feature = "mysql", feature = "postgres")), allow(unused))]
mod servers;
mod state;
mod summary;
mod table;

pub(crate) use engines::known_engines;
pub(crate) use http::{HttpOptions, bench as http};
pub(crate) use laboratory::{bench as storage, redraw};
pub(crate) use plan::StorageOptions;
pub(crate) use process::main as process;

/// How a benchmark ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Every run was measured and no turn was lost.
    Good,
    /// A run failed, or lost a turn.
    Failed,
    /// Ctrl-C.
    Interrupted,
}
