//! `--baseline`: a drill compared with an earlier one, so that a server that was never
//! perfect can still be kept from getting worse.
//!
//! Used by the command line. What is chance in one drill is chance in the other: the worst
//! round now is compared with the worst round then.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::results::{Report, failures};
use super::table::rows;
use super::verdict::Verdict;
use turnkey_report::{Error, files};

/// The results of an earlier drill, as far as they are compared.
#[derive(Debug, Deserialize)]
pub struct Baseline {
    rounds: Vec<Then>,
}

#[derive(Debug, Deserialize)]
struct Then {
    scenario: String,
    load: String,
    counts: BTreeMap<Verdict, u64>,
    left_behind: Vec<serde::de::IgnoredAny>,
    traces: Traces,
    killed_at_limit: bool,
    problems: Vec<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct Traces {
    count: u64,
}

/// The worst of some rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Worst {
    failed: u64,
    left_behind: u64,
    traces: u64,
    stayed: u64,
    unclean: u64,
}

impl Worst {
    fn max(self, other: Worst) -> Self {
        Worst {
            failed: self.failed.max(other.failed),
            left_behind: self.left_behind.max(other.left_behind),
            traces: self.traces.max(other.traces),
            stayed: self.stayed.max(other.stayed),
            unclean: self.unclean.max(other.unclean),
        }
    }
}

impl Then {
    fn worst(&self) -> Worst {
        Worst {
            failed: failures(&self.counts),
            left_behind: self.left_behind.len() as u64,
            traces: self.traces.count,
            stayed: u64::from(self.killed_at_limit),
            unclean: u64::from(!self.problems.is_empty()),
        }
    }
}

impl Baseline {
    /// # Errors
    /// [`Error::Start`] when the file cannot be read or is none of a drill.
    pub fn read(file: &Path) -> turnkey_report::Result<Self> {
        let name = file.display();
        let text = fs::read_to_string(file)
            .map_err(|e| Error::Start(format!("--baseline {name}: {}", files::reason(&e))))?;
        serde_json::from_str(&text).map_err(|e| {
            Error::Start(format!(
                "--baseline {name}: {e}; it takes the results of a drill, as --out or --json write them"
            ))
        })
    }

    /// What is worse now, in sentences. What was not drilled then must be clean now.
    #[must_use]
    pub fn worse(&self, report: &Report) -> Vec<String> {
        let mut worse = Vec::new();
        for row in rows(report) {
            let name = format!("{}, {}", row.scenario, row.load);
            let then = self
                .rounds
                .iter()
                .filter(|then| then.scenario == row.scenario && then.load == row.load)
                .map(Then::worst)
                .reduce(Worst::max);
            let Some(then) = then else {
                if !row.is_clean() {
                    worse.push(format!("{name}: not clean, and not drilled then"));
                }
                continue;
            };
            let now = row.rounds.iter().map(|round| Worst {
                failed: round.failures(),
                left_behind: round.left_behind.len() as u64,
                traces: round.traces.count as u64,
                stayed: u64::from(round.killed_at_limit),
                unclean: u64::from(!round.is_clean()),
            });
            let now = now.reduce(Worst::max).unwrap_or_default();
            let before = worse.len();
            for (what, now, then) in [
                ("requests failed", now.failed, then.failed),
                (
                    "processes were left behind",
                    now.left_behind,
                    then.left_behind,
                ),
                ("tracebacks or panics", now.traces, then.traces),
                ("rounds in which it did not leave", now.stayed, then.stayed),
            ] {
                // Where all that failed is within --allow-cut, it is no worse.
                let counts = now > then && !row.is_clean();
                if counts {
                    worse.push(format!(
                        "{name}: {now} {what} in the worst round, {then} then"
                    ));
                }
            }
            if worse.len() == before && now.unclean > then.unclean {
                worse.push(format!("{name}: not clean, and it was then"));
            }
        }
        worse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_then_is_read_from_the_names_of_verdicts() {
        let text = r#"{"rounds":[{"scenario":"term","load":"new",
            "counts":{"answered":90,"declined":5,"cut":3,"timed-out":2,"unreachable":1},
            "left_behind":[{"pid":7}],"traces":{"count":4},
            "killed_at_limit":true,"problems":["3 were cut"]}]}"#;
        let baseline: Baseline = serde_json::from_str(text).unwrap();
        let worst = Worst {
            failed: 6,
            left_behind: 1,
            traces: 4,
            stayed: 1,
            unclean: 1,
        };
        assert_eq!(baseline.rounds[0].worst(), worst);
    }
}
