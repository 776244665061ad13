//! What `--help` says of engines and workloads: names, and texts in a column beside them.
//!
//! Called by `crates/tool/src/bench/` when the program starts, whatever its command is:
//! nothing here may take time.

use super::engines::Engine;
use super::workload::shipped;

/// Engines that a build knows.
pub fn known_engines() -> String {
    let all = Engine::ALL.iter();
    column(
        all.map(|engine| (engine.name().unwrap_or_default(), engine.about())),
        15,
        66,
    )
}

/// Workloads that come with the program.
pub fn known_workloads() -> String {
    column(shipped::abouts(), 18, 64)
}

/// Texts of at most `width` characters a line, behind names that take `names`.
fn column(
    each: impl Iterator<Item = (&'static str, &'static str)>,
    names: usize,
    width: usize,
) -> String {
    let mut lines = Vec::new();
    for (mut name, about) in each {
        let mut line = String::new();
        for word in about.split(' ') {
            if line.len() + 1 + word.len() > width {
                lines.push(format!("  {name:<names$} {line}"));
                (name, line) = ("", String::new());
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(format!("  {name:<names$} {line}"));
    }
    lines.join("\n")
}
