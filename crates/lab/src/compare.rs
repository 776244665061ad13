//! `turnkey bench compare before.json after.json`: what changed between two laboratories, for
//! a person and for CI.
//!
//! Each case that both have is compared; it is better or worse only if the change is beyond
//! the threshold and the intervals of the two medians do not overlap. Between two
//! laboratories nothing is interleaved: a machine that was busier during one of them looks
//! like a change, and what the machines differ in is said first.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use super::results::{Median, Results, Run, Situation, Verdict, case_name};
use super::stats::{self, Interval};
use super::{Outcome, judge, stored, table};
use crate::error::Error;
use turnkey_report::figures::{thousands, time};
use turnkey_text::output;

/// What is compared, as it comes from the command line.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// The earlier one.
    pub before: PathBuf,
    /// The later one.
    pub after: PathBuf,
    /// Percents that a figure may get worse.
    pub threshold: f64,
    /// Figures to look at, by name.
    pub metrics: Vec<String>,
    /// Print it as JSON.
    pub json: bool,
}

/// A figure of a run.
#[derive(Clone, Copy)]
struct Metric {
    name: &'static str,
    more_is_better: bool,
    of: fn(&Run) -> f64,
    show: fn(f64) -> String,
}

const METRICS: [Metric; 5] = [
    Metric {
        name: "turns",
        more_is_better: true,
        of: |run| run.turns_per_second,
        show: thousands,
    },
    Metric {
        name: "p50",
        more_is_better: false,
        of: |run| run.latency_us.p50,
        show: time,
    },
    Metric {
        name: "p99",
        more_is_better: false,
        of: |run| run.latency_us.p99,
        show: time,
    },
    Metric {
        name: "p99.9",
        more_is_better: false,
        of: |run| run.latency_us.p99_9,
        show: time,
    },
    Metric {
        name: "cpu",
        more_is_better: false,
        of: |run| run.cpu_us_per_turn.total.unwrap_or_default(),
        show: |us| format!("{us:.1} us"),
    },
];

/// One figure of one case, in both.
#[derive(Clone, Debug, Serialize)]
struct Change {
    engine: String,
    #[serde(flatten)]
    situation: Situation,
    metric: &'static str,
    before: f64,
    after: f64,
    runs_before: usize,
    runs_after: usize,
    /// After over before.
    ratio: f64,
    interval: Option<Interval>,
    change: Judged,
    #[serde(skip)]
    shown: (String, String),
}

/// What is to be said of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Judged {
    Better,
    Worse,
    /// Real, but not beyond the threshold.
    WithinThreshold,
    NoDifferenceShown,
    TooFewRuns,
    /// It failed in the later one.
    Failed,
}

impl Judged {
    fn words(self) -> &'static str {
        match self {
            Judged::Better => "better",
            Judged::Worse => "WORSE",
            Judged::WithinThreshold => "within the threshold",
            Judged::NoDifferenceShown => "no difference shown",
            Judged::TooFewRuns => "too few runs to tell",
            Judged::Failed => "FAILED",
        }
    }
}

/// All that is to be said.
#[derive(Clone, Debug, Serialize)]
struct Comparison {
    threshold_percent: f64,
    /// Nothing got worse, and nothing failed.
    ok: bool,
    /// What the two measurements do not have alike.
    differences: Vec<String>,
    changes: Vec<Change>,
    only_before: Vec<String>,
    only_after: Vec<String>,
}

/// Compares two `results.json`.
///
/// # Errors
/// [`Error::Start`] with a sentence: not readable, no case in both, options out of bounds.
pub fn compare(options: &CompareOptions) -> crate::error::Result<Outcome> {
    let threshold = super::options::within("--threshold", options.threshold, 0.0, 1000.0)?;
    let metrics = metrics(&options.metrics)?;
    let (before, after) = (
        stored::read(&options.before)?,
        stored::read(&options.after)?,
    );
    let found = between(&before, &after, &metrics, threshold);
    if found.changes.is_empty() {
        return Err(Error::Start(format!(
            "{} and {} have no case in common: an engine in the same situation, with the same settings",
            options.before.display(),
            options.after.display()
        )));
    }
    let text = match options.json {
        true => serde_json::to_string_pretty(&found)? + "\n",
        false => render(&found),
    };
    output::print(&text)?;
    Ok(if found.ok {
        Outcome::Good
    } else {
        Outcome::Failed
    })
}

fn metrics(names: &[String]) -> crate::error::Result<Vec<Metric>> {
    let mut all: Vec<Metric> = Vec::new();
    for name in names {
        let known = METRICS.iter().find(|metric| metric.name == name.trim());
        let Some(metric) = known else {
            let names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
            return Err(Error::Start(format!(
                "--metrics: {name:?} is none; there are {}",
                names.join(", ")
            )));
        };
        if !all.iter().any(|known| known.name == metric.name) {
            all.push(*metric);
        }
    }
    Ok(all)
}

fn between(before: &Results, after: &Results, metrics: &[Metric], threshold: f64) -> Comparison {
    let mut found = Comparison {
        threshold_percent: threshold,
        ok: true,
        differences: differences(before, after),
        changes: Vec::new(),
        only_before: Vec::new(),
        only_after: Vec::new(),
    };
    for row in &before.medians {
        let is_same = |run: &&Run| run.engine == row.engine && run.situation == row.situation;
        let old: Vec<&Run> = before.runs.iter().filter(is_same).collect();
        let new: Vec<&Run> = after.runs.iter().filter(is_same).collect();
        if new.is_empty() {
            found
                .only_before
                .push(case_name(&row.engine, &row.situation));
            continue;
        }
        let changes = metrics.iter();
        let changes = changes.filter_map(|metric| change(metric, &old, &new, threshold));
        found.changes.extend(changes);
    }
    for row in &after.medians {
        let is_same =
            |other: &Median| other.engine == row.engine && other.situation == row.situation;
        if !before.medians.iter().any(is_same) {
            found
                .only_after
                .push(case_name(&row.engine, &row.situation));
        }
    }
    let is_bad = |change: &Change| matches!(change.change, Judged::Worse | Judged::Failed);
    found.ok = !found.changes.iter().any(is_bad);
    found
}

fn change(metric: &Metric, old: &[&Run], new: &[&Run], threshold: f64) -> Option<Change> {
    let figures = |runs: &[&Run]| -> Vec<f64> {
        let good = runs.iter().filter(|run| run.is_good());
        let good = good.map(|run| (metric.of)(run));
        good.filter(|figure| *figure > 0.0).collect()
    };
    let (before, after) = (figures(old), figures(new));
    let first = old.first()?;
    let (old_median, new_median) = (stats::median(&before), stats::median(&after));
    let failed_before = old.iter().any(|run| !run.is_good());
    let failed_after = new.iter().any(|run| !run.is_good());
    let judged = match (failed_after && !failed_before, old_median.zip(new_median)) {
        (true, _) => Judged::Failed,
        (false, None) => return None,
        (false, Some((old, new))) => {
            let verdict = judge::verdict(&after, &before);
            let is_up = verdict == Verdict::Faster;
            let moved = (new / old - 1.0).abs() * 100.0;
            match verdict {
                Verdict::TooFewRuns => Judged::TooFewRuns,
                Verdict::Faster | Verdict::Slower if moved <= threshold => Judged::WithinThreshold,
                Verdict::Faster | Verdict::Slower if is_up == metric.more_is_better => {
                    Judged::Better
                }
                Verdict::Faster | Verdict::Slower => Judged::Worse,
                _ => Judged::NoDifferenceShown,
            }
        }
    };
    let (old_median, new_median) = (old_median.unwrap_or(0.0), new_median.unwrap_or(0.0));
    Some(Change {
        engine: first.engine.clone(),
        situation: first.situation.clone(),
        metric: metric.name,
        before: old_median,
        after: new_median,
        runs_before: before.len(),
        runs_after: after.len(),
        ratio: if old_median > 0.0 {
            new_median / old_median
        } else {
            0.0
        },
        interval: stats::ratio_interval(&after, &before),
        change: judged,
        shown: ((metric.show)(old_median), (metric.show)(new_median)),
    })
}

/// What two measurements should have alike.
fn facts(results: &Results) -> [(&'static str, String); 9] {
    let (machine, settings) = (&results.machine, &results.settings);
    let versions = results.versions.iter();
    let versions = versions.map(|(name, version)| format!(", {name} {version}"));
    [
        ("processor", machine.processor.clone()),
        ("processors", machine.processors.to_string()),
        ("kernel", machine.kernel.clone()),
        ("file system", results.file_system.kind.clone()),
        ("workload", settings.workload.clone()),
        ("users", settings.users.to_string()),
        ("seconds", settings.seconds.to_string()),
        ("commit", results.commit.clone().unwrap_or_default()),
        (
            "versions",
            results.program.clone() + &versions.collect::<String>(),
        ),
    ]
}

/// What makes two measurements doubtful to compare.
fn differences(before: &Results, after: &Results) -> Vec<String> {
    let mut all: Vec<String> = facts(before)
        .iter()
        .zip(facts(after))
        .filter(|((_, before), (_, after))| before != after)
        .map(|((name, before), (_, after))| format!("{name}: {before:?}, then {after:?}"))
        .collect();
    let (old, new) = (before.disk_sync.append_us, after.disk_sync.append_us);
    if old > 0.0 && !(0.8..1.25).contains(&(new / old)) {
        all.push(format!("a sync of 4 KiB: {old:.0} us, then {new:.0} us"));
    }
    all
}

fn render(found: &Comparison) -> String {
    let mut text = String::new();
    if !found.differences.is_empty() {
        let _ = writeln!(text, "The two differ in more than time:");
        for line in &found.differences {
            let _ = writeln!(text, "  {line}");
        }
    }
    let head = ["case", "figure", "before", "after", "ratio (95 %)", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for change in &found.changes {
        rows.push(vec![
            case_name(&change.engine, &change.situation),
            change.metric.to_owned(),
            change.shown.0.clone(),
            change.shown.1.clone(),
            table::ratio(change.ratio, change.interval),
            change.change.words().to_owned(),
        ]);
    }
    for line in table::columns(&rows) {
        let _ = writeln!(text, "{line}");
    }
    for (which, names) in [("before", &found.only_before), ("after", &found.only_after)] {
        for name in names {
            let _ = writeln!(text, "  only {which}: {name}");
        }
    }
    let count = |judged| found.changes.iter().filter(|c| c.change == judged).count();
    let _ = writeln!(
        text,
        "{} worse by more than {} % and beyond the noise, {} better, {} failed, of {} figures.",
        count(Judged::Worse),
        found.threshold_percent,
        count(Judged::Better),
        count(Judged::Failed),
        found.changes.len()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::super::summary::tests::run;
    use super::*;

    fn runs(speed: f64, count: usize) -> Vec<Run> {
        (0..count)
            .map(|n| run("sqlite", 2, speed * (1.0 + n as f64 / 200.0)))
            .collect()
    }

    fn judged(old: &[Run], new: &[Run], metric: &str, threshold: f64) -> Judged {
        let metric = metrics(&[metric.to_owned()]).unwrap()[0];
        let (old, new): (Vec<&Run>, Vec<&Run>) = (old.iter().collect(), new.iter().collect());
        change(&metric, &old, &new, threshold).unwrap().change
    }

    #[test]
    fn worse_is_beyond_the_threshold_and_beyond_the_noise() {
        let (old, same, slow) = (runs(1000.0, 5), runs(1001.0, 5), runs(850.0, 5));
        assert_eq!(
            judged(&old, &same, "turns", 10.0),
            Judged::NoDifferenceShown
        );
        assert_eq!(judged(&old, &slow, "turns", 10.0), Judged::Worse);
        assert_eq!(judged(&old, &slow, "turns", 20.0), Judged::WithinThreshold);
        assert_eq!(judged(&slow, &old, "turns", 10.0), Judged::Better);
        assert_eq!(judged(&old, &slow[..3], "turns", 10.0), Judged::TooFewRuns);
        // A fifth less in the middle, and runs all over the place: noise.
        let noisy: Vec<Run> = [500.0, 800.0, 810.0, 1400.0, 700.0]
            .map(|speed| run("sqlite", 2, speed))
            .to_vec();
        assert_eq!(
            judged(&old, &noisy, "turns", 10.0),
            Judged::NoDifferenceShown
        );
        let mut failed = old.clone();
        failed[0].failed = Some("lost".to_owned());
        assert_eq!(judged(&old, &failed, "turns", 10.0), Judged::Failed);
        assert_eq!(
            judged(&failed, &failed, "turns", 10.0),
            Judged::NoDifferenceShown
        );
    }

    #[test]
    fn a_longer_latency_is_worse() {
        let with = |p99: f64| {
            let mut all = runs(1000.0, 5);
            for (n, run) in all.iter_mut().enumerate() {
                run.latency_us.p99 = p99 + n as f64;
            }
            all
        };
        let (old, new) = (with(1000.0), with(2000.0));
        assert_eq!(judged(&old, &new, "p99", 10.0), Judged::Worse);
        assert_eq!(judged(&new, &old, "p99", 10.0), Judged::Better);
        assert!(metrics(&["p75".to_owned()]).is_err());
    }

    #[test]
    fn what_the_machines_differ_in_is_said() {
        let before = super::super::report::tests::sample();
        let mut after = before.clone();
        assert_eq!(differences(&before, &after), [""; 0]);
        after.machine.processors += 2;
        after.disk_sync.append_us *= 3.0;
        assert_eq!(differences(&before, &after).len(), 2);
        let all = between(&before, &after, &METRICS[..1], 5.0);
        assert!(all.ok && !all.changes.is_empty());
        assert!(render(&all).contains("too few runs to tell"));
    }
}
