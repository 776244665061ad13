//! `handler check`: whether a handler in any language keeps to the protocol.
//!
//! The cases are in `handlers/command/conformance/`; here they are printed. One line for each
//! as soon as it is over, and what is wrong below it.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};
use turnkey_text::numbers::counted;

use super::handler::Bot;
use super::operator::print;
use crate::config;
use crate::handlers::command::{Conformance, Introduced, Outcome, Patience, Verdict};
use crate::process::exit;
use crate::shared::lines::say;

#[derive(Args)]
#[command(after_help = "\
Starts the handler once for each case of the protocol's list, speaks to it as a worker does,
and says in plain words what is wrong. What the handler does with a turn does not matter: it
may reply anything, or fail. Nothing is stored or sent, and its SQL runs nowhere: questions
are answered with no rows. What the handler itself calls, it calls really.

A case is ok, a warning (nothing that breaks the protocol, and worth a look), WRONG, or not
tried, since it does not apply.

Exit code 0: all is well, but perhaps for warnings. 1: something is wrong, and is named.
2: the handler cannot be started.

Examples:
  turnkey handler check bot.py
  turnkey handler check -- ruby counter.rb
  turnkey handler check --case ping --case cancel bot.mjs
  turnkey handler check --json -- ./bot --some-flag")]
pub(super) struct Check {
    #[command(flatten)]
    bot: Bot,

    /// Try only this case; may be given several times.
    #[arg(long = "case", value_name = "NAME",
        value_parser = PossibleValuesParser::new(Conformance::names()))]
    cases: Vec<String>,

    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,

    /// How long the handler has until it says hello.
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = config::duration)]
    handler_start: Duration,

    /// How long it has for a turn.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = config::duration)]
    turn_timeout: Duration,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Some(named) = self.bot.named()? else {
            anyhow::bail!(
                "no handler is named; give its file (turnkey handler check bot.py) or its command (turnkey handler check -- ruby bot.rb)"
            );
        };
        let patience = Patience {
            hello: self.handler_start,
            turn: self.turn_timeout,
        };
        let mut cases = Conformance::new(named.plan(), patience, &self.cases)?;
        let mut outcomes = Vec::new();
        for outcome in &mut cases {
            let outcome = outcome?;
            match self.json {
                true => say!("{} {}", word(outcome.verdict), outcome.name),
                false => print(false, &(), || line(&outcome))?,
            }
            outcomes.push(outcome);
        }
        let remark = cases.remark();
        let introduced = cases.introduced();
        let is_well = count(&outcomes, Verdict::Wrong) == 0;
        let whole = json!({
            "ok": is_well,
            "handler": introduced.as_ref().map(handler_as_json),
            "remark": remark,
            "cases": outcomes.iter().map(as_json).collect::<Vec<_>>(),
        });
        print(self.json, &whole, || {
            let name = introduced.map_or("the handler".to_owned(), |it| it.name);
            let summary = format!("{name}: {}", summary(&outcomes));
            match remark {
                Some(remark) => format!("\n{summary}\nRemark: {remark}"),
                None => format!("\n{summary}"),
            }
        })?;
        Ok(ExitCode::from(match is_well {
            true => exit::CLEAN,
            false => exit::CUT,
        }))
    }
}

fn count(outcomes: &[Outcome], verdict: Verdict) -> usize {
    outcomes.iter().filter(|o| o.verdict == verdict).count()
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Well => "ok",
        Verdict::Warning => "warning",
        Verdict::Wrong => "WRONG",
        Verdict::NotTried => "not tried",
    }
}

/// A case for people: what was tried and, if need be, expected and found.
fn line(outcome: &Outcome) -> String {
    if let (Verdict::NotTried, [reason]) = (outcome.verdict, &outcome.findings[..]) {
        return format!("not tried  {:13}  {reason}", outcome.name);
    }
    let mut text = format!(
        "{:9}  {:13}  {}",
        word(outcome.verdict),
        outcome.name,
        outcome.tried
    );
    if outcome.verdict == Verdict::Wrong {
        text += &format!("\n    expected: {}", outcome.expected);
    }
    for finding in &outcome.findings {
        text += &format!(
            "\n    {}",
            finding.replace('\t', "    ").replace('\n', "\n    ")
        );
    }
    text
}

fn summary(outcomes: &[Outcome]) -> String {
    let wrong: Vec<_> = outcomes
        .iter()
        .filter(|outcome| outcome.verdict == Verdict::Wrong)
        .map(|outcome| outcome.name)
        .collect();
    let cases = counted(outcomes.len() as u64, "case");
    let mut text = match &wrong[..] {
        [] => format!("all is well; {cases}"),
        names => format!(
            "{} of {cases} went wrong: {}",
            names.len(),
            names.join(", ")
        ),
    };
    let warnings = count(outcomes, Verdict::Warning);
    if warnings > 0 {
        text += &format!("; {}", counted(warnings as u64, "warning"));
    }
    let not_tried = count(outcomes, Verdict::NotTried);
    if not_tried > 0 {
        text += &format!("; {not_tried} not tried");
    }
    if !wrong.is_empty() {
        text += ". docs/HANDLERS.md has the protocol";
    }
    text + "."
}

fn as_json(outcome: &Outcome) -> Value {
    json!({
        "name": outcome.name,
        "verdict": match outcome.verdict {
            Verdict::Well => "ok",
            Verdict::Warning => "warning",
            Verdict::Wrong => "wrong",
            Verdict::NotTried => "not_tried",
        },
        "tried": outcome.tried,
        "expected": outcome.expected,
        "findings": outcome.findings,
    })
}

fn handler_as_json(handler: &Introduced) -> Value {
    json!({
        "name": handler.name,
        "protocol": handler.protocol,
        "concurrency": handler.concurrency,
        "raw": handler.raw,
        "hears": handler.hears,
    })
}
