//! The results on a terminal: a line for each scenario under each load, then what is
//! wrong. Plain text of at most some 130 columns.

use std::collections::BTreeMap;
use std::fmt;

use super::diagnosis::{Cause, Finding};
use super::results::{Report, Round};
use super::verdict::Verdict;
use turnkey_report::figures::thousands;

/// Rounds whose problems are listed, and how many ways in which requests were cut; the rest
/// is in the JSON. All of it should fit on one screen.
const LISTED: usize = 4;
const WAYS: usize = 3;

/// Causes that are listed.
const CAUSES: usize = 5;

/// Letters of a line.
const LINE: usize = 100;

/// The rounds of one scenario under one load.
pub(super) struct Row<'a> {
    pub(super) scenario: &'a str,
    pub(super) load: &'static str,
    pub(super) rounds: Vec<&'a Round>,
}

/// The rows of a report, in the order of their first rounds.
pub(super) fn rows(report: &Report) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for round in &report.rounds {
        let known = rows
            .iter_mut()
            .find(|row| row.scenario == round.scenario && row.load == round.load);
        match known {
            Some(row) => row.rounds.push(round),
            None => rows.push(Row {
                scenario: &round.scenario,
                load: round.load,
                rounds: vec![round],
            }),
        }
    }
    rows
}

impl Row<'_> {
    pub(super) fn sum(&self, verdict: Verdict) -> u64 {
        self.rounds.iter().map(|round| round.number(verdict)).sum()
    }

    pub(super) fn is_clean(&self) -> bool {
        self.rounds.iter().all(|round| round.is_clean())
    }

    /// From the least to the most, in seconds.
    pub(super) fn seconds(&self, pick: impl Fn(&Round) -> Option<f64>) -> String {
        let values: Vec<f64> = self.rounds.iter().filter_map(|round| pick(round)).collect();
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        match values.len() {
            0 => "-".to_owned(),
            _ if format!("{least:.2}") == format!("{most:.2}") => format!("{most:.2}"),
            _ => format!("{least:.2}-{most:.2}"),
        }
    }

    /// Exit codes, each once.
    pub(super) fn exits(&self) -> String {
        let mut exits: Vec<String> = self
            .rounds
            .iter()
            .map(|round| match round.exit {
                Some(exit) => exit.to_string(),
                None if round.killed_at_limit => "never".to_owned(),
                None => "-".to_owned(),
            })
            .collect();
        exits.sort();
        exits.dedup();
        exits.join(" ")
    }

    /// The longest time in which nobody took a connection, of a server that should go on.
    fn gap(&self) -> String {
        let stays = self
            .rounds
            .iter()
            .filter(|round| round.left_after_s.is_none());
        let longest = stays
            .map(|round| round.longest_refusal_s)
            .fold(0.0, f64::max);
        match longest {
            longest if longest < 0.005 => "-".to_owned(),
            longest => format!("{longest:.2}"),
        }
    }

    pub(super) fn slow(&self) -> String {
        let (answered, all) = self.rounds.iter().fold((0, 0), |(a, b), round| {
            (a + round.slow_answered.0, b + round.slow_answered.1)
        });
        match all {
            0 => "-".to_owned(),
            all => format!("{answered}/{all}"),
        }
    }

    /// The columns of a table.
    pub(super) fn cells(&self) -> Vec<String> {
        let number = |n: u64| match n {
            0 => "0".to_owned(),
            n => thousands(n as f64),
        };
        let sum = |verdict| number(self.sum(verdict));
        let failed = Verdict::ALL
            .into_iter()
            .filter(|verdict| verdict.is_failure() && *verdict != Verdict::Cut);
        let others: u64 = failed.map(|verdict| self.sum(verdict)).sum();
        let excused = self.sum(Verdict::WithWorker) + self.sum(Verdict::Forced);
        let [under_way, later] = cut_of(&self.rounds);
        let cut = |(cut, of): (u64, u64)| match cut {
            0 => "0".to_owned(),
            cut => format!("{} ({})", thousands(cut as f64), percent(cut, of)),
        };
        let traces: u64 = self.rounds.iter().map(|r| r.traces.count as u64).sum();
        let left: u64 = self.rounds.iter().map(|r| r.left_behind.len() as u64).sum();
        let missing = self.rounds.iter().filter_map(|r| r.storage.as_ref());
        let missing = match missing.clone().next() {
            None => "-".to_owned(),
            Some(_) => number(missing.map(|check| check.lost + check.twice).sum()),
        };
        vec![
            self.scenario.to_owned(),
            self.load.to_owned(),
            self.rounds.len().to_string(),
            number(under_way.1),
            cut(under_way),
            number(later.1),
            cut(later),
            number(others),
            number(excused),
            sum(Verdict::Declined),
            sum(Verdict::Told),
            sum(Verdict::Refused),
            self.gap(),
            self.slow(),
            self.seconds(|round| round.refused_after_s),
            self.seconds(|round| round.gone_after_s.or(round.left_after_s)),
            self.exits(),
            self.seconds(|round| round.replaced_after_s),
            number(left),
            number(traces),
            missing,
            if self.is_clean() { "ok" } else { "FAILED" }.to_owned(),
        ]
    }
}

/// The names of the columns, in two lines.
pub(super) const COLUMNS: [[&str; 2]; 22] = [
    ["scenario", ""],
    ["load", ""],
    ["rounds", ""],
    ["under", "way"],
    ["of these", "cut"],
    ["begun", "later"],
    ["of these", "cut"],
    ["other", "faults"],
    ["lost", "as must"],
    ["declined", ""],
    ["told", ""],
    ["refused", ""],
    ["longest", "gap s"],
    ["slow", "answered"],
    ["refuses", "after s"],
    ["left", "after s"],
    ["exit", ""],
    ["replaced", "after s"],
    ["left", "behind"],
    ["traces", ""],
    ["database", "faults"],
    ["", ""],
];

/// A column that says nothing is left out.
pub(super) fn shown(rows: &[Vec<String>]) -> Vec<usize> {
    let is_silent = |column: usize| {
        rows.iter().all(|row| match row[column].as_str() {
            "0" => column != EXIT,
            cell => cell == "-",
        })
    };
    (0..COLUMNS.len())
        .filter(|column| *column < ALWAYS || *column == COLUMNS.len() - 1 || !is_silent(*column))
        .collect()
}

/// Of the requests under way at the signal, and of later ones: how many were cut, of how
/// many.
pub(super) fn cut_of(rounds: &[&Round]) -> [(u64, u64); 2] {
    let sum = |which: usize| {
        rounds.iter().fold((0, 0), |(cut, of), round| {
            let found = round.cut_of()[which];
            (cut + found.0, of + found.1)
        })
    };
    [sum(0), sum(1)]
}

/// Under a number, in lines of a bounded length.
fn wrapped(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mut line = String::new();
    for word in text.split(' ') {
        if line.len() + word.len() > LINE - 8 && !line.is_empty() {
            writeln!(f, "       {line}")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(f, "       {line}")
}

/// A share, never rounded to nothing.
fn percent(part: u64, of: u64) -> String {
    let share = 100.0 * part as f64 / of.max(1) as f64;
    match share {
        share if share < 0.1 => "<0.1 %".to_owned(),
        share if share < 10.0 => format!("{share:.1} %"),
        share => format!("{share:.0} %"),
    }
}

/// Columns that are always shown, and that of exit codes, of which 0 says something.
const ALWAYS: usize = 7;
const EXIT: usize = 16;

/// Columns of words; the others are of figures.
const WORDS: usize = 2;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.command)?;
        let rows: Vec<Vec<String>> = rows(self).iter().map(Row::cells).collect();
        let shown = shown(&rows);
        let width = |column: usize| {
            let cells = rows.iter().map(|row| row[column].len());
            let names = COLUMNS[column].iter().map(|name| name.len());
            cells.chain(names).max().unwrap_or_default()
        };
        let mut line = |cell: &dyn Fn(usize) -> String| {
            let mut text = String::new();
            for column in &shown {
                let (cell, width) = (cell(*column), width(*column));
                match *column < WORDS || *column == COLUMNS.len() - 1 {
                    true => text.push_str(&format!("{cell:width$}  ")),
                    false => text.push_str(&format!("{cell:>width$}  ")),
                }
            }
            writeln!(f, "{}", text.trim_end())
        };
        line(&|column| COLUMNS[column][0].to_owned())?;
        line(&|column| COLUMNS[column][1].to_owned())?;
        for row in &rows {
            line(&|column| row[column].clone())?;
        }
        self.problems(f)?;
        self.causes(f)?;
        for note in &self.notes {
            writeln!(f, "\n{note}")?;
        }
        if let Some(sentence) = self.database() {
            writeln!(f, "\n{sentence}")?;
        }
        f.write_str(&self.verdict())
    }
}

impl Report {
    fn problems(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faulty: Vec<&Round> = self
            .rounds
            .iter()
            .filter(|round| !round.is_clean())
            .collect();
        for round in faulty.iter().take(LISTED) {
            writeln!(f, "\n{} (--seed {}):", round.name(), round.seed)?;
            for problem in &round.problems {
                writeln!(f, "  {problem}")?;
            }
            let mut ways: Vec<(&String, &u64)> = round.cut_how.iter().collect();
            ways.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
            for (how, number) in ways.into_iter().take(WAYS) {
                writeln!(f, "    {number} {how}")?;
            }
            for trace in round.traces.shown.iter().take(1) {
                for text in trace.lines() {
                    writeln!(f, "    | {text}")?;
                }
            }
        }
        if faulty.len() > LISTED {
            writeln!(
                f,
                "\n… and {} more rounds; --json has them",
                faulty.len() - LISTED
            )?;
        }
        Ok(())
    }

    /// The findings of all rounds, the most frequent first.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut numbers: BTreeMap<Cause, u64> = BTreeMap::new();
        for finding in self.rounds.iter().flat_map(|round| &round.findings) {
            *numbers.entry(finding.cause).or_default() += finding.number;
        }
        Finding::all(numbers)
    }

    fn causes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let findings = self.findings();
        if findings.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nWhy, and what helps:")?;
        for finding in findings.iter().take(CAUSES) {
            let number = thousands(finding.number as f64);
            writeln!(f, "{number:>5}  {}", finding.what)?;
            wrapped(f, &format!("Likely: {}.", finding.likely))?;
            wrapped(f, &format!("Remedy: {}. {}", finding.remedy, finding.page))?;
        }
        Ok(())
    }

    /// What was found in the database of a bot of ours.
    pub(super) fn database(&self) -> Option<String> {
        let checks = || {
            self.rounds
                .iter()
                .filter_map(|round| round.storage.as_ref())
        };
        let first = checks().next()?;
        let acknowledged = thousands(checks().map(|c| c.acknowledged).sum::<u64>() as f64);
        let lost: u64 = checks().map(|check| check.lost).sum();
        let twice: u64 = checks().map(|check| check.twice).sum();
        let counted = checks().all(|check| check.counted);
        Some(match (lost, twice) {
            (0, 0) if counted => format!(
                "{}: all {acknowledged} acknowledged messages are there, each once.",
                first.storage
            ),
            (0, 0) => format!(
                "{}: every user with an acknowledged message is there; their states have no \
                 field `count`, so the {acknowledged} messages themselves could not be counted.",
                first.storage
            ),
            (lost, twice) => format!(
                "{}: {lost} of {acknowledged} acknowledged messages are missing, {twice} took \
                 effect twice.",
                first.storage
            ),
        })
    }

    /// The whole in one sentence.
    pub(super) fn verdict(&self) -> String {
        let rounds = match (self.rounds.len(), self.planned) {
            (1, 1) => "1 round".to_owned(),
            (done, planned) if done == planned => format!("{done} rounds"),
            (done, planned) => format!("{done} of {planned} rounds"),
        };
        let failed = self.rounds.iter().filter(|round| !round.is_clean()).count();
        let stopped = match self.interrupted {
            true => " Interrupted.",
            false => "",
        };
        let all: Vec<&Round> = self.rounds.iter().collect();
        let [(cut, of), (cut_later, of_later)] = cut_of(&all);
        let [of, of_later] = [of, of_later].map(|number| thousands(number as f64));
        if failed > 0 {
            let [cut, cut_later] = [cut, cut_later].map(|number| thousands(number as f64));
            let are = if failed == 1 { "is" } else { "are" };
            return format!(
                "\nFAILED: {failed} of {rounds} {are} not clean. Of {of} requests under way at the \
                 signal {cut} were cut, of {of_later} later ones {cut_later}.{stopped}"
            );
        }
        format!(
            "\nClean: {rounds}. {of} requests under way at the signal and {of_later} later ones: {} \
             cut. Nothing left behind.{stopped}",
            match cut + cut_later {
                0 => "none".to_owned(),
                some => format!("{some} (allowed)"),
            }
        )
    }
}
