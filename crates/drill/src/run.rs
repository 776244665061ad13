//! All rounds of a drill, one after another: scenarios and loads take turns within a
//! repeat, so that a machine that slows down slows down all.
//!
//! Called by `builder.rs`. Bound: the requests of one round for each scenario and load are
//! kept for the timeline, those of the others are not.

use super::allow::AllowCut;
use super::plan::Plan;
use super::progress::Progress;
use super::results::{Report, Round};
use super::round::{self, Case};
use super::table::rows;
use super::verdict::Verdict;
use turnkey_report::stop::Stop;

/// # Errors
/// [`Error::Start`](turnkey_report::Error::Start) when the command cannot be drilled.
pub(super) fn run(plan: &Plan, show_progress: bool, stop: &Stop) -> turnkey_report::Result<Report> {
    plan.check()?;
    let mut report = Report {
        program: concat!("turnkey ", env!("CARGO_PKG_VERSION")).to_owned(),
        command: plan.command_line(),
        seed: plan.seed,
        planned: plan.rounds(),
        notes: plan.notes(),
        rounds: Vec::new(),
        interrupted: false,
        files: Vec::new(),
    };
    let mut progress = Progress::new(plan.rounds(), show_progress);
    for repeat in 1..=plan.repeat {
        for scenario in &plan.scenarios {
            for mode in &plan.modes {
                let case = Case {
                    scenario: scenario.clone(),
                    mode: *mode,
                    repeat,
                    round: report.rounds.len() + 1,
                    seed: plan.seed.wrapping_add(repeat as u64 - 1),
                };
                progress.show(&format!("{scenario}, {}", mode.name()));
                let round = round::run(plan, &case, stop);
                progress.clear();
                match round? {
                    Some(round) => {
                        progress.ended(&round);
                        keep(&mut report.rounds, round);
                    }
                    None => {
                        report.interrupted = true;
                        return Ok(report);
                    }
                }
            }
        }
    }
    if let Some(allowed) = plan.allow_cut {
        allow(&mut report, allowed);
    }
    Ok(report)
}

/// Of each scenario and load, the first faulty round is shown, or else the first.
fn keep(rounds: &mut Vec<Round>, mut round: Round) {
    let shown = rounds.iter_mut().find(|known| {
        known.showing.is_some() && known.scenario == round.scenario && known.load == round.load
    });
    match shown {
        Some(known) if known.is_clean() && !round.is_clean() => {
            known.showing = None;
            known.output.clear();
        }
        Some(_) => {
            round.showing = None;
            round.output.clear();
        }
        None => {}
    }
    rounds.push(round);
}

/// Takes what is allowed out of the problems.
fn allow(report: &mut Report, allowed: AllowCut) {
    let passing: Vec<(String, &'static str)> = rows(report)
        .iter()
        .filter(|row| {
            let began = row.rounds.iter().map(|round| round.requests).sum();
            allowed.takes(row.sum(Verdict::Cut), began)
        })
        .map(|row| (row.scenario.to_owned(), row.load))
        .collect();
    for round in &mut report.rounds {
        let is_it =
            |(scenario, load): &(String, &str)| *scenario == round.scenario && *load == round.load;
        if passing.iter().any(is_it) {
            round.allow_cut();
        }
    }
}
