//! The files of a drill: `results.json`, `report.html` with a timeline for each scenario
//! and load, the timelines as files of their own, JUnit's XML and annotations
//! for CI.

mod github;
mod html;
mod junit;
mod timeline;

use std::path::Path;

use super::results::Report;
use turnkey_report::files;

pub use github::annotate;
pub use junit::write as junit;
pub use turnkey_report::files::make_directory;

/// Writes all files and notes their paths in the report.
///
/// # Errors
/// [`Error::Start`](turnkey_report::Error::Start) when one cannot be written.
pub fn write(report: &mut Report, out: &Path) -> turnkey_report::Result<()> {
    let timelines = timeline::draw(report);
    let mut all = vec![
        (
            "results.json".to_owned(),
            serde_json::to_string_pretty(report)? + "\n",
        ),
        ("report.html".to_owned(), html::draw(report, &timelines)),
    ];
    all.extend(
        timelines
            .into_iter()
            .map(|timeline| (timeline.file, timeline.svg)),
    );
    report.files = files::write(out, all)?;
    Ok(())
}
