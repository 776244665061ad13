//! The report: `results.json`, `runs.csv`, `report.html` and the charts as files of their
//! own; of several results a site.
//!
//! Called at the end of a laboratory and by `turnkey bench report`. It overwrites files
//! of these names and touches no others.

mod charts;
mod html;
mod load;
mod panels;
mod site;

use std::path::{Path, PathBuf};

use super::results::Results;
pub(super) use site::write as write_site;
use turnkey_report::files;
pub(super) use turnkey_report::files::make_directory;

/// Where there are rates, those of a sweep; else the others.
fn all_charts(results: &Results) -> Vec<charts::Chart> {
    let draw = match results.settings.rates.is_empty() {
        true => charts::draw,
        false => load::draw,
    };
    charts::sheets(results).iter().flat_map(draw).collect()
}

/// Writes all files; their names.
///
/// # Errors
/// [`Error::Start`] when one cannot be written.
pub(super) fn write(results: &Results, out: &Path) -> crate::error::Result<Vec<PathBuf>> {
    let charts = all_charts(results);
    let mut files = vec![(
        "results.json".to_owned(),
        serde_json::to_string_pretty(results)? + "\n",
    )];
    files.push(("runs.csv".to_owned(), super::csv::draw(results)));
    files.push(("report.html".to_owned(), html::draw(results, &charts)));
    for chart in charts {
        files.push((format!("{}.svg", chart.name), chart.svg));
    }
    Ok(files::write(out, files)?)
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::results::Results;
    use super::super::summary;

    /// Results as a laboratory writes them, for the tests of charts and page.
    pub(in super::super) fn sample() -> Results {
        let mut results = serde_json::from_str(include_str!("sample.json")).unwrap();
        summary::conclude(&mut results);
        results
    }

    #[test]
    fn a_report_is_written_twice_over_itself_and_beside_other_files() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("mine.txt"), "mine").unwrap();
        let out = directory.path();
        super::make_directory(out).unwrap();
        let first = super::write(&sample(), out).unwrap();
        assert_eq!(super::write(&sample(), out).unwrap(), first);
        for path in &first {
            assert!(path.exists(), "{path:?}");
        }
        let count = std::fs::read_dir(out).unwrap().count();
        assert_eq!(count, first.len() + 1, "nothing else is left there");
        assert_eq!(
            std::fs::read_to_string(out.join("mine.txt")).unwrap(),
            "mine"
        );
    }
}
