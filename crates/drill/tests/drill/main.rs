//! The drill on servers with a known fault each, and on their healthy twins: it finds just
//! that, and names its cause. `/bin/sh` plays the shell, as in anybody's tests.
//!
//! What the drill says of our own bot is in `tests/program/tools/drill.rs`.

#![allow(clippy::unwrap_used)] // A test may panic.

mod balancers;
mod causes;
#[path = "../../../../tests/servers/front.rs"]
mod front;
mod http2;
mod https;
mod lasting;
mod rollouts;
mod stops;
mod uploads;

use std::path::PathBuf;
use std::time::Duration;

use turnkey_drill::{Drill, Report, Verdict};

/// The server, which `cargo test` builds beside the tests.
fn faulty() -> PathBuf {
    let tests = std::env::current_exe().expect("a name");
    let profile = tests.ancestors().nth(2).expect("target/debug");
    profile.join("examples/server_with_faults")
}

/// A short drill with limits that a busy machine keeps.
fn short(drill: Drill) -> Drill {
    drill
        .before(Duration::from_millis(300))
        .after(Duration::from_millis(500))
        .timeout(Duration::from_secs(30))
        .limit(Duration::from_secs(60))
        .connections(8)
}

fn server(kind: &str) -> Drill {
    short(Drill::command([faulty().as_os_str(), kind.as_ref()]))
}

fn run(drill: Drill) -> Report {
    let report = drill.run().expect("a server that can be drilled");
    assert!(report.total(Verdict::Answered) > 0, "{report}");
    assert_eq!(report.total(Verdict::NotSent), 0, "{report}");
    report
}
