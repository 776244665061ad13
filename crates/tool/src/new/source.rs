//! Where a project in Rust finds the framework: in a checkout, or as a released version.
//!
//! Called by `new.rs`. The texts stand in braces after `turnkey = ` in its Cargo.toml.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// This checkout, the one that this program is in, or a released version.
///
/// # Errors
/// The directory is no checkout.
pub(super) fn find(checkout: Option<PathBuf>) -> anyhow::Result<String> {
    match checkout.or_else(own_checkout) {
        Some(checkout) => of_checkout(&checkout),
        None => Ok(released()),
    }
}

fn released() -> String {
    format!("version = \"{}\"", env!("CARGO_PKG_VERSION"))
}

/// For a directory that must be a checkout.
fn of_checkout(directory: &Path) -> anyhow::Result<String> {
    let path = directory
        .canonicalize()
        .with_context(|| format!("there is no --turnkey {}", directory.display()))?;
    if !is_checkout(&path) {
        bail!(
            "--turnkey {} is no checkout of Turnkey: its Cargo.toml is not that of the package turnkey",
            directory.display()
        );
    }
    let path = path
        .to_str()
        .context("the path of --turnkey is not UTF-8")?;
    let path = toml::Value::String(path.to_owned());
    Ok(format!("path = {path}"))
}

fn is_checkout(directory: &Path) -> bool {
    let manifest = fs::read_to_string(directory.join("Cargo.toml"));
    manifest.is_ok_and(|text| text.lines().any(|line| line == "name = \"turnkey\""))
}

/// The checkout that this program was built in, if it is still there: above
/// `target/release`.
fn own_checkout() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let mut above = program.ancestors().skip(1);
    above
        .find(|directory| is_checkout(directory))
        .map(Path::to_owned)
}
