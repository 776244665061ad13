//! The commit that this program was built of.
//!
//! Called at the start of a laboratory. A build may have it in (`TURNKEY_COMMIT`); a program
//! that lies in the `target` of a checkout asks git there, which costs a build nothing.

use std::process::Command;

/// Its hash, with `-dirty` if the checkout has other changes; none where nobody knows.
pub(super) fn this() -> Option<String> {
    if let Some(commit) = option_env!("TURNKEY_COMMIT") {
        return Some(commit.to_owned());
    }
    let program = std::env::current_exe().ok()?;
    // Elsewhere it would be told of a checkout that it has nothing to do with.
    if !program.iter().any(|part| part == "target") {
        return None;
    }
    let described = Command::new("git")
        .arg("-C")
        .arg(program.parent()?)
        .args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=12",
            "--exclude=*",
        ])
        .output()
        .ok()?;
    let text = String::from_utf8(described.stdout).ok()?;
    let is_commit = described.status.success() && !text.trim().is_empty();
    is_commit.then(|| text.trim().to_owned())
}
