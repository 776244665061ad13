//! What is measured, and where it is read.
//!
//! | file | what |
//! | --- | --- |
//! | `meter.rs` | turns and latencies of one process |
//! | `proc.rs` | processor time of processes, and of the whole machine |
//! | `disk.rs` | flushes of a disk, bytes written to it, and what one sync takes |

mod disk;
mod meter;
mod proc;

use nix::time::{ClockId, clock_gettime};

pub(crate) use disk::{Device, SyncTimes, sync_times, write_back};
pub(crate) use meter::{Meter, Percentiles, coarse_histogram, histogram, slot_of};
pub(crate) use proc::{Usage, is_named, machine_time, parent_of, tree, usage};
pub(crate) use turnkey_report::machine::{FileSystem, Machine};

/// A run that others disturbed by more than this share of the machine is marked.
pub(crate) const NOISY: f64 = 0.08;

/// CLOCK_MONOTONIC in nanoseconds: one clock for all processes of a machine.
pub(crate) fn now() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |t| {
        t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64
    })
}
