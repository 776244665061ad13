//! A static site of several results: a page that lists them, and for each a directory with
//! its whole report.
//!
//! Called by `turnkey bench report --page`. Nothing in it needs a server, a script or the
//! network.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::super::results::Results;
use super::super::verdict::{headline, losses};
use turnkey_report::files;
use turnkey_report::page;
use turnkey_report::svg::escape;
use turnkey_text::numbers::counted;

/// Writes all of it; the names of the files.
///
/// # Errors
/// [`crate::Error::Start`] when one cannot be written.
pub(in super::super) fn write(
    from: &[PathBuf],
    all: &[Results],
    out: &Path,
) -> crate::error::Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for (file, results) in from.iter().zip(all) {
        let name = unused(&name(file), &names);
        let directory = out.join(&name);
        files::make_directory(&directory)?;
        written.extend(super::write(results, &directory)?);
        names.push(name);
    }
    let index = index(&names, all);
    written.extend(files::write(out, vec![("index.html".to_owned(), index)])?);
    Ok(written)
}

/// What people call a result: its directory, or its file if it has another name.
fn name(file: &Path) -> String {
    let stem = |path: &Path| {
        path.file_stem()
            .map(|name| name.to_string_lossy().into_owned())
    };
    let own = stem(file).filter(|name| name != "results");
    let name = own
        .or_else(|| stem(std::path::absolute(file).ok()?.parent()?))
        .unwrap_or_else(|| "results".to_owned());
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '-'
        }
    };
    name.chars().map(safe).collect()
}

fn unused(name: &str, names: &[String]) -> String {
    let is_free = |name: &String| !names.contains(name);
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    std::iter::once(name.to_owned())
        .chain(numbered)
        .find(is_free)
        .unwrap_or_default()
}

fn index(names: &[String], all: &[Results]) -> String {
    let mut body = format!(
        "<h1>Turnkey storage laboratory</h1>\n<p class=\"headline\">{}</p>\n",
        counted(all.len() as u64, "measurement")
    );
    for (name, results) in names.iter().zip(all) {
        let _ = write!(
            body,
            "<h2><a href=\"{name}/report.html\">{name}</a></h2>\n<p>{}</p>\n{}\
             <p class=\"soft\">{} on {}, {}; {}; {}. <a href=\"{name}/results.json\">results.json</a>, \
             <a href=\"{name}/runs.csv\">runs.csv</a></p>\n<p class=\"note\"><code>{}</code></p>\n",
            escape(&headline(results)),
            losses(results).map_or(String::new(), |losses| format!(
                "<p>{}</p>\n",
                escape(&losses)
            )),
            escape(&results.file_system.kind),
            escape(&results.machine.processor),
            escape(&results.machine.kernel),
            escape(&results.versions_line()),
            counted(results.runs.len() as u64, "run"),
            escape(&results.command_line())
        );
    }
    page::page("Turnkey storage laboratory", &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_result_has_a_directory_and_a_place_on_the_page() {
        let directory = tempfile::tempdir().unwrap();
        let sample = super::super::tests::sample();
        let from = ["a/results.json", "b/results.json", "c/a.json"].map(PathBuf::from);
        let all = [sample.clone(), sample.clone(), sample];
        let written = write(&from, &all, directory.path()).unwrap();
        assert!(written.contains(&directory.path().join("index.html")));
        let index = std::fs::read_to_string(directory.path().join("index.html")).unwrap();
        for name in ["a", "b", "a-2"] {
            assert!(directory.path().join(name).join("report.html").exists());
            assert!(
                index.contains(&format!("href=\"{name}/report.html\"")),
                "{index}"
            );
        }
        assert!(!index.contains("<script"));
    }
}
