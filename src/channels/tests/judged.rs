//! Other people's libraries judge what we send and read: `scripts/judges install` brings
//! them, `scripts/judging/` asks them, and the tests named `judged` are about what they say.
//! Where they are not, such a test says that it is skipped.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What was brought for one platform.
pub(super) struct Judges(PathBuf);

impl Judges {
    /// None: they are not there, which is said.
    pub(super) fn of(platform: &str) -> Option<Self> {
        let script = here().join("scripts/judges");
        let found = Command::new(script).args(["where", platform]).output();
        if let Ok(found) = found
            && found.status.success()
        {
            let place = String::from_utf8(found.stdout).unwrap();
            return Some(Judges(place.trim_end().into()));
        }
        note(&format!(
            "SKIPPED: the judges of {platform} are missing (scripts/judges install)"
        ));
        None
    }

    /// A file that was brought, too.
    pub(super) fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// What one of `scripts/judging/` writes, given this on its input. It must agree.
    pub(super) fn say(&self, script: &str, words: &[&str], input: &str) -> String {
        let mut child = Command::new(self.0.join("venv/bin/python"))
            .arg(here().join("scripts/judging").join(script))
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stdout).unwrap();
        assert!(ended.status.success(), "{script} {words:?}: {said}");
        said
    }
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Says how it went, past the test runner, which swallows what a passing test prints.
pub(super) fn note(words: &str) {
    writeln!(std::io::stderr(), "{words}").unwrap();
}
