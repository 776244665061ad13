//! `dead`: the dead letters, updates whose turns failed too often.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use turnkey_storage::Storage;
use turnkey_storage::dead::{self, DeadLetter};

use super::operator::{Operator, one_line, print, text};
use crate::process::exit;
use turnkey_text::numbers::counted;

/// Letters read at a time.
const PORTION: u32 = 200;

#[derive(Args)]
pub(super) struct Dead {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the dead letters, the oldest first.
    List(Operator),
    /// Show one with its body and the reason.
    Show(One),
    /// Let it be tried again: it goes back into the inbox.
    Retry(One),
    /// Throw it away; the platform's copies of it stay answered.
    Drop(One),
}

#[derive(Args)]
struct One {
    /// The channel, such as telegram.
    channel: String,
    /// The update's id, as `dead list` shows it.
    update: String,
    #[command(flatten)]
    operator: Operator,
}

impl Dead {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::List(operator) => list(&operator),
            Action::Show(one) => one.show(),
            Action::Retry(one) => one.retry(),
            Action::Drop(one) => one.discard(),
        }
    }
}

fn list(operator: &Operator) -> anyhow::Result<ExitCode> {
    operator.work(async |storage| {
        let mut after = None;
        loop {
            let letters = dead::list(storage, after.as_ref(), PORTION).await?;
            for letter in &letters {
                print(operator.json, &shown(letter, false), || {
                    format!(
                        "{} {}  user {}, {}: {}",
                        letter.dialog.channel,
                        one_line(&letter.update),
                        one_line(&letter.dialog.user_id),
                        counted(letter.attempts.into(), "attempt"),
                        one_line(told(&letter.error).0)
                    )
                })?;
            }
            after = letters.last().map(DeadLetter::place);
            if letters.len() < PORTION as usize {
                return Ok(());
            }
        }
    })?;
    Ok(ExitCode::from(exit::CLEAN))
}

impl One {
    fn unknown(&self) -> anyhow::Error {
        anyhow::anyhow!(
            "there is no dead letter {} of {}; `dead list` shows them",
            self.update,
            self.channel
        )
    }

    fn show(&self) -> anyhow::Result<ExitCode> {
        let found = async |storage: &dyn Storage| {
            Ok(dead::get(storage, &self.channel, &self.update).await?)
        };
        let letter = self.operator.work(found)?.ok_or_else(|| self.unknown())?;
        print(self.operator.json, &shown(&letter, true), || {
            let (error, trace) = told(&letter.error);
            format!(
                "{} {}  user {}, {}: {}\n{}{}",
                letter.dialog.channel,
                one_line(&letter.update),
                one_line(&letter.dialog.user_id),
                counted(letter.attempts.into(), "attempt"),
                one_line(error),
                text(trace.as_bytes()),
                text(&letter.body)
            )
        })?;
        Ok(ExitCode::from(exit::CLEAN))
    }

    fn retry(&self) -> anyhow::Result<ExitCode> {
        let retry = async |storage: &dyn Storage| {
            Ok(dead::retry(storage, &self.channel, &self.update).await?)
        };
        match self.operator.work(retry)? {
            true => self.done(
                "retried",
                "goes back into the inbox; a running bot tries it next",
            ),
            false => Err(self.unknown()),
        }
    }

    fn discard(&self) -> anyhow::Result<ExitCode> {
        let drop = async |storage: &dyn Storage| {
            Ok(dead::drop_letter(storage, &self.channel, &self.update).await?)
        };
        match self.operator.work(drop)? {
            true => self.done("dropped", "is thrown away"),
            false => Err(self.unknown()),
        }
    }

    fn done(&self, what: &str, sentence: &str) -> anyhow::Result<ExitCode> {
        let shown = json!({ "channel": self.channel, "update": self.update, what: true });
        print(self.operator.json, &shown, || {
            format!("{} {} {sentence}", self.channel, self.update)
        })?;
        Ok(ExitCode::from(exit::CLEAN))
    }
}

/// An error, and where it happened, with a line feed at its end; nothing where that is not
/// known.
fn told(error: &str) -> (&str, String) {
    match error.split_once('\n') {
        Some((first, trace)) => (first, format!("{}\n", trace.trim_end())),
        None => (error, String::new()),
    }
}

fn shown(letter: &DeadLetter, with_body: bool) -> Value {
    let mut shown = json!({
        "channel": letter.dialog.channel,
        "user_id": letter.dialog.user_id,
        "update": letter.update,
        "attempts": letter.attempts,
        "error": letter.error,
        "arrived_us": letter.arrived,
        "died_ms": letter.died,
    });
    if with_body {
        shown["body"] = Value::from(text(&letter.body));
    }
    shown
}
