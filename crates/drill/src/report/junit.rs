//! JUnit's XML, which CI systems show: one test case for each round.
//!
//! Elements and attributes as in <https://github.com/testmoapp/junitxml>, which says what
//! the readers understand in common.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::super::results::{Report, Round};
use turnkey_report::Error;
use turnkey_report::files;
use turnkey_report::svg::escape;

/// Characters of output in a failure.
const OUTPUT: usize = 20_000;

/// # Errors
/// [`Error::Start`] when the file cannot be written.
pub fn write(report: &Report, file: &Path) -> turnkey_report::Result<()> {
    fs::write(file, text(report)).map_err(|e| {
        Error::Start(format!(
            "cannot write --junit {}: {}",
            file.display(),
            files::reason(&e)
        ))
    })
}

fn text(report: &Report) -> String {
    let failures = report
        .rounds
        .iter()
        .filter(|round| !round.is_clean())
        .count();
    let time: f64 = report.rounds.iter().map(seconds).sum();
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"{tests}\" failures=\"{failures}\" \
         errors=\"0\" time=\"{time:.3}\">\n<testsuite name=\"turnkey drill: {name}\" tests=\"{tests}\" \
         failures=\"{failures}\" errors=\"0\" skipped=\"0\" time=\"{time:.3}\">\n",
        tests = report.rounds.len(),
        name = escape(&report.command),
    );
    for round in &report.rounds {
        case(&mut xml, round);
    }
    xml.push_str("</testsuite>\n</testsuites>\n");
    xml
}

fn seconds(round: &Round) -> f64 {
    round.signal_after_s
        + round
            .gone_after_s
            .or(round.left_after_s)
            .unwrap_or_default()
}

fn case(xml: &mut String, round: &Round) {
    let _ = write!(
        xml,
        "<testcase classname=\"drill.{}\" name=\"{}, round {}\" time=\"{:.3}\"",
        escape(&round.scenario),
        round.load,
        round.repeat,
        seconds(round)
    );
    if round.is_clean() {
        xml.push_str("/>\n");
        return;
    }
    let _ = writeln!(
        xml,
        ">\n<failure message=\"{}\">{}</failure>",
        escape(&round.problems.join("; ")),
        escape(&round.details().join("\n"))
    );
    if !round.output.is_empty() {
        let skipped = round.output.chars().count().saturating_sub(OUTPUT);
        let output: String = round.output.chars().skip(skipped).collect();
        let _ = writeln!(xml, "<system-out>{}</system-out>", escape(&output));
    }
    xml.push_str("</testcase>\n");
}
