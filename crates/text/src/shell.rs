//! Command lines as a person types them.

use std::path::Path;

/// The name of this program's file: a bot of an author's has its own.
pub fn program_name() -> String {
    let program = std::env::current_exe().ok();
    let name = program.as_deref().and_then(Path::file_name);
    let name = name.map_or_else(|| "turnkey".into(), |name| name.to_string_lossy());
    // The kernel's note when another file was put in its place since.
    name.trim_end_matches(" (deleted)").to_owned()
}

/// A word as a shell reads it.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
