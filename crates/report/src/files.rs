//! The files of a report. Pages and charts are written over files of the same names, since
//! they can be drawn again from the figures; figures of another measurement (`*.json`)
//! are kept under another name first. No others are touched.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
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
            reason(&e)
        ))
    };
    fs::create_dir_all(out).map_err(refuse)?;
    // Tells a directory without write permission now, not after hours.
    tempfile::tempfile_in(out).map(drop).map_err(refuse)
}

/// Why something could not be done, as people say it, without the number.
pub fn reason(error: &io::Error) -> String {
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
pub fn write(out: &Path, files: Vec<(String, String)>) -> crate::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (name, text) in files {
        let path = out.join(name);
        // Beside it first: a reader never sees half a file.
        keep_figures(&path, &text)
            .and_then(|()| {
                // As any file that a program writes: less the process's mask.
                let mode = fs::Permissions::from_mode(0o666);
                tempfile::Builder::new().permissions(mode).tempfile_in(out)
            })
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.persist(&path).map_err(|e| e.error)
            })
            .map_err(|e| {
                Error::Start(format!("cannot write {}: {}", path.display(), reason(&e)))
            })?;
        written.push(path);
    }
    Ok(written)
}

/// What another measurement has found becomes `results-1.json`, or the next number.
fn keep_figures(path: &Path, text: &str) -> io::Result<()> {
    if path.extension().is_none_or(|extension| extension != "json") {
        return Ok(());
    }
    let before = match fs::read(path) {
        Ok(before) if before != text.as_bytes() => before,
        Ok(_) => return Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    let stem = path.with_extension("");
    for number in 1..u32::MAX {
        let mut name = stem.clone().into_os_string();
        name.push(format!("-{number}.json"));
        match fs::File::create_new(&name) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            file => return file?.write_all(&before),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_another_measurement_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path();
        for text in ["1", "1", "2", "3"] {
            let files = ["results.json", "report.html"].map(|n| (n.to_owned(), text.to_owned()));
            write(out, files.to_vec()).unwrap();
        }
        let read = |name: &str| fs::read_to_string(out.join(name)).unwrap();
        assert_eq!(read("results-1.json"), "1");
        assert_eq!(read("results-2.json"), "2");
        assert_eq!(read("results.json"), "3");
        assert_eq!(read("report.html"), "3");
        assert_eq!(fs::read_dir(out).unwrap().count(), 4);
    }
}
