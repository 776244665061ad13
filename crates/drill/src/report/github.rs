//! Annotations for GitHub's workflows: lines that it shows beside a run
//! (<https://docs.github.com/actions/reference/workflow-commands>).

use turnkey_report::say;

use super::super::results::{Report, Round};

/// Says on stderr what is wrong, an error a round, with its causes and remedies.
pub fn annotate(report: &Report) {
    for line in lines(report) {
        say!("{line}");
    }
}

fn lines(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for round in report.rounds.iter().filter(|round| !round.is_clean()) {
        let mut text = round.problems.join("\n");
        for finding in &round.findings {
            text.push_str(&format!(
                "\n{} {}: {}. {}",
                finding.number, finding.what, finding.remedy, finding.page
            ));
        }
        lines.push(line("error", round, &text));
    }
    let allowed = report
        .rounds
        .iter()
        .filter(|round| !round.allowed.is_empty());
    lines.extend(allowed.map(|round| {
        let text = format!("{} (allowed)", round.allowed.join("\n"));
        line("notice", round, &text)
    }));
    lines
}

fn line(kind: &str, round: &Round, text: &str) -> String {
    let title = format!("drill: {}", round.name());
    format!("::{kind} title={}::{}", property(&title), data(text))
}

fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_github_reads_otherwise_is_escaped() {
        assert_eq!(property("a: b, 5%\n"), "a%3A b%2C 5%25%0A");
        assert_eq!(data("a: b, 5%\n"), "a: b, 5%25%0A");
    }
}
