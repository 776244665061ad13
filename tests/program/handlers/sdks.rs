//! The SDKs' own tests, and the examples': each language's own runner runs them.

use crate::harness::programs::has;
use std::path::Path;
use std::process::Command;

fn passes(command: &mut Command) {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    let program = env!("CARGO_BIN_EXE_turnkey");
    let ended = command
        .current_dir(root)
        .env("TURNKEY_PROGRAM", program)
        .output()
        .expect("it can be started");
    assert!(
        ended.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr)
    );
}

#[test]
fn the_python_sdk_keeps_its_promises() {
    if !has("python3") {
        return;
    }
    for directory in ["sdk/python/tests", "examples/handlers"] {
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", "sdk/python/src");
        passes(command.args(["-m", "unittest", "discover", "-s", directory, "-q"]));
    }
}

#[test]
fn the_javascript_sdk_keeps_its_promises() {
    if !has("node") {
        return;
    }
    let all = "for test in sdk/javascript/test/*.test.js; do set -- \"$@\" \"$test\"; done; node --test \"$@\"";
    passes(Command::new("sh").args(["-c", all]));
}
