//! The files of a report. They are written over files of the same names; no others are
//! touched.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Makes the directory of a report, or finds it, before anything is measured.
///
/// # Errors
/// [`Error::Start`] when it cannot be written to.
pub fn make_directory(out: &Path) -> crate::Result<()> {
    let refuse = |e: std::io::Error| {
        Error::Start(format!(
            "cannot write to --out {}: {}; name another directory",
            out.display(),
            e.kind()
        ))
    };
    fs::create_dir_all(out).map_err(refuse)?;
    // Tells a directory without write permission now, not after hours.
    tempfile::tempfile_in(out).map(drop).map_err(refuse)
}

/// Writes files, given by name; their paths.
///
/// # Errors
/// [`Error::Start`] when one cannot be written.
pub fn write(out: &Path, files: Vec<(String, String)>) -> crate::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (name, text) in files {
        let path = out.join(name);
        // Beside it first: a reader never sees half a file.
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        fs::write(&beside, text)
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(|e| Error::Start(format!("cannot write {}: {}", path.display(), e.kind())))?;
        written.push(path);
    }
    Ok(written)
}
