//! What was found, in sentences that are computed, never written by hand: where our engine
//! stands where most is asked, and where it loses.
//!
//! Used by `table.rs` and by the pages of `report/`. "Ours" is the first of Turnkey's
//! engines that was measured, else the fastest of all there.

use super::judge::CEILING;
use super::results::{Knee, Median, Results, Verdict, engine_with};
use turnkey_report::figures::thousands;

/// Turnkey's engines, and what hosts them: what the sentences are about.
const OURS: [&str; 3] = ["sqlite", "postgres", "mysql"];

/// Losses that are named; the others are counted.
const NAMED: usize = 3;

/// In words: what a commit survives.
pub(super) fn durability(sync: &str) -> &'static str {
    match sync {
        "full" => "each commit on the disk before it was acknowledged",
        _ => "each commit safe from the program's death, not from a power cut",
    }
}

/// A number of things.
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A ratio as people say it.
pub(super) fn factor(ratio: f64) -> String {
    match ratio {
        r if r >= 10.0 => format!("{r:.0}"),
        r if r >= 0.995 => format!("{r:.1}"),
        r => format!("{r:.2}"),
    }
}

/// Both, a line each, for the terminal.
pub(super) fn sentences(results: &Results) -> String {
    let mut text = headline(results) + "\n";
    if let Some(losses) = losses(results) {
        text += &losses;
        text += "\n";
    }
    text
}

fn rows(results: &Results) -> impl Iterator<Item = &Median> {
    let measured = |row: &&Median| row.runs > 0 && row.engine != CEILING;
    results.medians.iter().filter(measured)
}

/// The level that the sentences are about.
fn first_sync(results: &Results) -> &str {
    results.settings.sync.first().map_or("", String::as_str)
}

fn who(processes: usize) -> String {
    match processes {
        1 => "one process".to_owned(),
        many => format!("{many} processes"),
    }
}

fn list(parts: &[String]) -> String {
    match parts.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// What was found where most is asked of the engines: our engine, or the fastest,
/// beside the others.
pub(super) fn headline(results: &Results) -> String {
    if !results.knees.is_empty() {
        return swept(results);
    }
    let first_sync = first_sync(results);
    let rows: Vec<&Median> = rows(results)
        .filter(|row| row.situation.sync == first_sync)
        .collect();
    let most_asked = rows.iter().map(|row| &row.situation).max_by_key(|s| {
        (
            s.processes * s.in_flight,
            s.processes,
            s.rate,
            std::cmp::Reverse(s.state_bytes),
        )
    });
    let Some(asked) = most_asked else {
        return "No run could be measured.".to_owned();
    };
    let here: Vec<&&Median> = rows
        .iter()
        .filter(|row| row.situation.is_alike(asked))
        .collect();
    let fastest = |rows: &mut dyn Iterator<Item = &&&Median>| -> Option<Median> {
        rows.max_by(|a, b| a.turns_per_second.total_cmp(&b.turns_per_second))
            .map(|row| (**row).clone())
    };
    let ours = OURS
        .iter()
        .find_map(|name| fastest(&mut here.iter().filter(|row| row.engine == *name)));
    let Some(row) = ours.or_else(|| fastest(&mut here.iter())) else {
        return "No run could be measured.".to_owned();
    };
    let (mut times, mut starved) = (Vec::new(), Vec::new());
    for other in &row.comparisons {
        match other.verdict {
            Verdict::Starved => starved.push(other.engine.clone()),
            Verdict::NoDifferenceShown => {
                times.push(format!("no difference shown to {}", other.engine));
            }
            _ if other.engine == CEILING => {}
            _ => times.push(format!("{} times {}", factor(other.ratio), other.engine)),
        }
    }
    let comparison = match times.is_empty() {
        true => String::new(),
        false => format!(": {}", list(&times)),
    };
    let who = who(asked.processes);
    let load = match (asked.rate, asked.in_flight) {
        (Some(rate), _) => format!("{} turns due in a second", thousands(rate as f64)),
        (None, 1) => "one turn in flight in each".to_owned(),
        (None, many) => format!("{many} turns in flight in each"),
    };
    let what = match results.settings.workload.as_str() {
        super::workload::TURN => "turns",
        _ => "transactions",
    };
    let mut text = format!(
        "With {who} and {load}, {} completed {} {what} a second, {}{comparison}.",
        engine_with(&row.engine, &row.situation),
        thousands(row.turns_per_second),
        durability(&row.situation.sync)
    );
    if row.is_starved() {
        text += &format!(
            " In {} of {} runs {} let a process starve, so it is not compared.",
            row.starved_runs, row.runs, row.engine
        );
    } else if !starved.is_empty() {
        text += &format!(
            " {} let a process starve there, so {} not compared.",
            list(&starved),
            if starved.len() == 1 {
                "it is"
            } else {
                "they are"
            }
        );
    }
    text
}

/// Of a sweep: with how much each engine kept up, where there are most processes.
fn swept(results: &Results) -> String {
    let first_sync = first_sync(results);
    let knees = || {
        results
            .knees
            .iter()
            .filter(|knee| knee.situation.sync == first_sync)
    };
    let place = |knee: &Knee| (knee.situation.processes, knee.situation.in_flight);
    let Some(most) = knees().map(place).max() else {
        return "No run could be measured.".to_owned();
    };
    let each: Vec<String> = knees()
        .filter(|knee| place(knee) == most)
        .map(|knee| {
            let name = engine_with(&knee.engine, &knee.situation);
            match (knee.kept_up, knee.fell_behind) {
                (Some(kept), None) => {
                    format!("{name} with all, {} turns a second", thousands(kept as f64))
                }
                (Some(kept), Some(_)) => {
                    format!("{name} with {} turns a second", thousands(kept as f64))
                }
                (None, _) => format!("{name} with none of the rates"),
            }
        })
        .collect();
    let who = who(most.0);
    format!(
        "With {who}, these kept up with what was due, {}: {}.",
        durability(first_sync),
        list(&each)
    )
}

/// Where one of our engines keeps up with less than another one.
fn swept_losses(results: &Results) -> Option<String> {
    let (mut compared, mut lost) = (0, Vec::new());
    let is_ours = |knee: &&Knee| OURS.contains(&knee.engine.as_str());
    for knee in results.knees.iter().filter(is_ours) {
        let others = results.knees.iter().filter(|other| !is_ours(other));
        for other in others.filter(|other| knee.situation.is_beside(&other.situation)) {
            compared += 1;
            if knee.kept_up < other.kept_up {
                lost.push(format!(
                    "{} with less than {} ({})",
                    engine_with(&knee.engine, &knee.situation),
                    engine_with(&other.engine, &other.situation),
                    count(knee.situation.processes, "process", "processes")
                ));
            }
        }
    }
    let of = comparisons(compared)?;
    Some(match lost.is_empty() {
        true => format!("Turnkey's engine kept up with less in none of {of}."),
        false => format!(
            "Where it loses: in {} of {of}: {}.",
            lost.len(),
            list(&lost)
        ),
    })
}

/// So many, in words; none for none.
fn comparisons(count: usize) -> Option<String> {
    match count {
        0 => None,
        1 => Some("1 comparison".to_owned()),
        many => Some(format!("{many} comparisons")),
    }
}

/// Where one of our engines is slower than another one that can be compared, the worst
/// first. None when none of ours was measured beside another.
pub(super) fn losses(results: &Results) -> Option<String> {
    if !results.knees.is_empty() {
        return swept_losses(results);
    }
    let mut compared = 0;
    let mut lost: Vec<(f64, String)> = Vec::new();
    for row in rows(results).filter(|row| OURS.contains(&row.engine.as_str())) {
        let others = row.comparisons.iter().filter(|other| {
            // Our engines are made for different databases.
            !OURS.contains(&other.engine.as_str()) && other.engine != CEILING
        });
        for other in others.filter(|other| other.verdict != Verdict::Starved) {
            compared += 1;
            let is_behind = match other.verdict {
                Verdict::Slower => true,
                Verdict::TooFewRuns => other.ratio < 1.0,
                _ => false,
            };
            if is_behind {
                let mut where_ = row.situation.short();
                if results.settings.sync.len() > 1 {
                    where_ += &format!(", sync {}", row.situation.sync);
                }
                let name = engine_with(&row.engine, &row.situation);
                lost.push((
                    other.ratio,
                    format!(
                        "{name} {:.2} times {} ({where_})",
                        other.ratio, other.engine
                    ),
                ));
            }
        }
    }
    let of = comparisons(compared)?;
    lost.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let doubt = match results.settings.repeat < super::judge::ENOUGH {
        true => " (too few runs to be sure)",
        false => "",
    };
    if lost.is_empty() {
        return Some(match compared {
            1 => format!(
                "Turnkey's engine is not the slower one in the one comparison there is{doubt}."
            ),
            _ => format!("Turnkey's engine is the slower one in none of {of}{doubt}."),
        });
    }
    let named: Vec<String> = lost
        .iter()
        .take(NAMED)
        .map(|(_, text)| text.clone())
        .collect();
    let more = match lost.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    Some(format!(
        "Where it loses{doubt}: in {} of {of}: {}{more}.",
        lost.len(),
        named.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::super::results::{Run, Settings};
    use super::super::summary::{self, tests::run};
    use super::*;

    fn results(runs: Vec<Run>) -> Results {
        let mut results = super::super::report::tests::sample();
        results.runs = runs;
        results.settings = Settings {
            sync: vec!["full".to_owned()],
            engines: vec!["sqlite".to_owned(), "sqlite-direct".to_owned()],
            repeat: 5,
            workload: "turn".to_owned(),
            ..Settings::default()
        };
        summary::conclude(&mut results);
        results
    }

    /// Five runs of both engines, with the given speeds.
    fn runs(processes: usize, ours: f64, direct: f64, shares: &[u64]) -> Vec<Run> {
        let mut all = Vec::new();
        for repeat in 1..=5 {
            let wobble = 1.0 + repeat as f64 / 1000.0;
            for (engine, speed) in [("sqlite", ours), ("sqlite-direct", direct)] {
                all.push(Run {
                    repeat,
                    turns_of_processes: match engine {
                        "sqlite" => vec![100; processes],
                        _ => shares.to_vec(),
                    },
                    ..run(engine, processes, speed * wobble)
                });
            }
        }
        all
    }

    #[test]
    fn the_headline_also_says_where_it_loses() {
        let mut all = runs(1, 560.0, 1000.0, &[100]);
        all.extend(runs(4, 9000.0, 3000.0, &[90, 110, 95, 105]));
        let results = results(all);
        let said = headline(&results);
        assert!(
            said.contains("4 processes and one turn in flight"),
            "{said}"
        );
        assert!(said.contains("3.0 times sqlite-direct"), "{said}");
        let losses = losses(&results).unwrap();
        assert!(losses.contains("in 1 of 2 comparisons"), "{losses}");
        assert!(
            losses.contains("0.56 times sqlite-direct (1 x 1)"),
            "{losses}"
        );
    }

    #[test]
    fn a_sweep_is_about_what_was_kept_up_with() {
        let mut results = results(runs(1, 1000.0, 1000.0, &[100]));
        let knee = |engine: &str, kept: Option<u64>| Knee {
            engine: engine.to_owned(),
            situation: results.medians[0].situation.clone(),
            kept_up: kept,
            fell_behind: Some(9000),
            p99_us: None,
        };
        results.knees = vec![
            knee("sqlite", Some(2000)),
            knee("sqlite-direct", Some(5000)),
        ];
        let said = headline(&results);
        assert!(said.contains("sqlite with 2,000 turns a second"), "{said}");
        let losses = losses(&results).unwrap();
        assert!(
            losses.contains("in 1 of 1 comparison: sqlite with less"),
            "{losses}"
        );
    }

    #[test]
    fn a_starved_process_is_no_comparison() {
        let results = results(runs(2, 1060.0, 1000.0, &[200, 0]));
        let said = headline(&results);
        assert!(!said.contains("1.1 times"), "{said}");
        assert!(
            said.contains("sqlite-direct let a process starve there"),
            "{said}"
        );
        assert_eq!(losses(&results), None);
    }

    #[test]
    fn what_overlaps_is_no_difference() {
        let mut all = runs(1, 1000.0, 1000.0, &[100]);
        all[1].turns_per_second = 1010.0;
        let said = headline(&results(all));
        assert!(
            said.contains("no difference shown to sqlite-direct"),
            "{said}"
        );
    }
}
