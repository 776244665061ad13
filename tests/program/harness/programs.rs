//! Programs that are built, run to their end, and what they said.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// For things that take milliseconds, on a machine that is busy with other work.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// For what waits for a slow handler or for several attempts with their pauses, on such a
/// machine.
pub(crate) const LATER: Duration = Duration::from_secs(60);

/// Says what could not be tested here, past the test runner, which swallows what a
/// passing test prints.
pub(crate) fn skipped(what: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {what}").expect("stderr");
}

/// Whether a program is there; if not, that is said.
pub(crate) fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if !is_there {
        skipped(&format!("{program} is missing"));
    }
    is_there
}

/// A copy of a program, to be run. Made by a process of its own: had this one the copy open for
/// writing, so would whatever another test starts at that moment, and the copy would be busy.
pub(crate) fn copy_program(program: &Path, copy: &Path) {
    let copied = Command::new("cp").arg(program).arg(copy).status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "a copy of the program"
    );
}

/// An example, as it is now: `cargo test` builds it, `cargo test --test program`
/// does not, and would leave us with that of an earlier day.
pub(crate) fn example(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_turnkey"));
    let profile = program.parent().expect("target/debug");
    let example = profile.join("examples").join(name);
    let age = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    if age(&example) < age(program) {
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        build.args(["build", "--quiet", "--example", name, "--manifest-path"]);
        build.arg(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).join("Cargo.toml"));
        build
            .arg("--target-dir")
            .arg(profile.parent().expect("target"));
        // What cargo tells a test about itself would make build scripts run again.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                build.env_remove(name);
            }
        }
        if profile.ends_with("release") {
            build.arg("--release");
        }
        // What cargo tells tests about their package; seen by the build scripts of
        // others they would be reasons to compile those anew, each time.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("CARGO_") && name != "CARGO_HOME" {
                build.env_remove(name);
            }
        }
        let built = build.status().expect("cargo");
        assert!(built.success(), "the example `{name}` does not build");
    }
    example
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn finish(mut command: Command, limit: Duration) -> Ended {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let read = |mut pipe: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            drop(pipe.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = read(Box::new(child.stdout.take().expect("piped")));
    let stderr = read(Box::new(child.stderr.take().expect("piped")));
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait().expect("our own child") {
            Some(status) => break Some(status),
            None if Instant::now() >= deadline => break None,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let group = Pid::from_raw(child.id() as i32);
    // Nothing of it may be left behind, whether it ended or not.
    killpg(group, Signal::SIGKILL).unwrap_or(()); // It may be gone.
    drop(child.wait());
    let ended = Ended {
        code: status.and_then(|status| status.code()),
        stdout: stdout.join().expect("reads only"),
        stderr: stderr.join().expect("reads only"),
    };
    assert!(
        status.is_some(),
        "{command:?} did not end within {limit:?}: {ended:?}"
    );
    ended
}
