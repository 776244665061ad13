//! The repository itself: imports, prose, pages, examples.

use std::fs;
use std::path::{Path, PathBuf};

pub(crate) mod examples;
pub(crate) mod layers;
pub(crate) mod pages;
pub(crate) mod prose;

/// Where the repository is.
fn root() -> PathBuf {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
    fs::canonicalize(root).unwrap()
}

/// The files below a folder that end so, but for what is built.
fn files(directory: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                found.extend(files(&path, endings));
            }
        } else if path
            .extension()
            .is_some_and(|ending| endings.iter().any(|wanted| ending == *wanted))
        {
            found.push(path);
        }
    }
    found
}
