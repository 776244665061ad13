//! The files of a report. They are written over files of the same names; no others are
//! touched.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::author::error::Error;

/// Makes the directory of a report, or finds it, before anything is measured.
///
/// # Errors
/// [`Error::Start`] when it cannot be written to.
pub(crate) fn make_directory(out: &Path) -> crate::Result<()> {
    let refuse = |e: std::io::Error| {
        Error::Start(format!(
            "cannot write to --out {}: {}; name another directory",
            out.display(),
            reason(&e)
        ))
    };
    fs::create_dir_all(out).map_err(refuse)?;
    // Tells a directory without write permission now, not after hours.
    tempfile::tempfile_in(out).map(drop).map_err(refuse)
}

/// Why something could not be done, as people say it, without the number.
pub(crate) fn reason(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such directory".to_owned(),
        ErrorKind::NotADirectory => "a part of the path is a file".to_owned(),
        ErrorKind::AlreadyExists => "it is there, and no directory".to_owned(),
        ErrorKind::IsADirectory => "it is a directory".to_owned(),
        ErrorKind::PermissionDenied => "no right to write there".to_owned(),
        ErrorKind::StorageFull => "the disk is full".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read only".to_owned(),
        _ => error.to_string(),
    }
}

/// Writes files, given by name; their paths.
///
/// # Errors
/// [`Error::Start`] when one cannot be written.
pub(crate) fn write(out: &Path, files: Vec<(String, String)>) -> crate::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (name, text) in files {
        let path = out.join(name);
        // Beside it first: a reader never sees half a file.
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        fs::write(&beside, text)
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(|e| {
                Error::Start(format!("cannot write {}: {}", path.display(), reason(&e)))
            })?;
        written.push(path);
    }
    Ok(written)
}
