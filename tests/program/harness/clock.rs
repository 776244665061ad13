//! A bot whose clock a test sets: with libfaketime, which `scripts/faketime` brings.
//!
//! Only the wall clock is another one: what is measured from moment to moment stays.

use std::process::Command;

use super::bot::{Setup, skipped};

/// The file that says by how much the clock is off.
const FILE: &str = "clock";

/// With a clock that [`set_clock`] sets, right at first. None without the library, which is said.
pub(crate) fn with_a_clock(setup: Setup) -> Option<Setup> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/faketime");
    let found = Command::new(script).arg("where").output();
    let found = found.expect("scripts/faketime").stdout;
    let library = String::from_utf8_lossy(&found).trim().to_owned();
    if library.is_empty() {
        skipped("there is no libfaketime");
        return None;
    }
    set_clock(&setup, "+0");
    let file = setup.path(FILE).display().to_string();
    let setup = setup
        .env("LD_PRELOAD", library)
        .env("FAKETIME_TIMESTAMP_FILE", file)
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("NO_FAKE_STAT", "1");
    Some(setup)
}

/// Sets its clock: `+1d`, or `-60` for a minute back, each from the right time.
pub(crate) fn set_clock(setup: &Setup, to: &str) {
    setup.write(FILE, &format!("{to}\n"));
}
