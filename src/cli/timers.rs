//! `timers`: what is due later, once or again and again, for operators: list, have one fire now,
//! take one away.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use turnkey_storage::timers::{self, Timer};
use turnkey_storage::{DialogKey, Storage};

use super::operator::{List, Operator, one_line, print, roughly};
use crate::process::exit;
use crate::shared::clock::unix_ms;
use crate::turn::ticking;

#[derive(Args)]
pub(super) struct Timers {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the timers and schedules that wait, those due first at the top.
    List(List),
    /// Have one fire now; a running bot runs its turn next. A schedule goes on as before.
    Fire(One),
    /// Take one away. What the bot itself declares is there again at its next start.
    Drop(One),
}

#[derive(Args)]
struct One {
    /// The channel, such as telegram.
    channel: String,
    /// The user, or in a group the dialog, as `dialogs list` shows it.
    user: String,
    /// The timer's name, as `timers list` shows it.
    name: String,
    #[command(flatten)]
    operator: Operator,
}

impl Timers {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::List(asked) => list(&asked)?,
            Action::Fire(one) => one.fire()?,
            Action::Drop(one) => one.discard()?,
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

fn list(asked: &List) -> anyhow::Result<()> {
    let dialog = asked.dialog();
    let list = async |storage: &dyn Storage| {
        Ok(timers::list(storage, dialog.as_ref(), asked.limit).await?)
    };
    let now = unix_ms() as i64;
    for timer in asked.operator.work(list)? {
        print(asked.operator.json, &shown(&timer), || text_of(&timer, now))?;
    }
    Ok(())
}

impl One {
    fn dialog(&self) -> DialogKey {
        DialogKey::new(&self.channel, &self.user)
    }

    fn unknown(&self) -> anyhow::Error {
        anyhow::anyhow!(
            "{} has no timer {:?}; `timers list` shows them",
            self.dialog(),
            self.name
        )
    }

    fn fire(&self) -> anyhow::Result<()> {
        let fired = self.operator.work(async |storage: &dyn Storage| {
            let mut of_dialog =
                timers::list(storage, Some(&self.dialog()), timers::PER_DIALOG as u32).await?;
            of_dialog.retain(|timer| timer.name == self.name);
            Ok(match of_dialog.first() {
                Some(timer) if timer.schedule.is_some() => {
                    u64::from(ticking::fire_now(storage, timer).await?)
                }
                _ => timers::fire(storage, &of_dialog).await?,
            })
        })?;
        match fired {
            0 => Err(self.unknown()),
            _ => self.done("fired", "fires; a running bot runs its turn next"),
        }
    }

    fn discard(&self) -> anyhow::Result<()> {
        let drop = async |storage: &dyn Storage| {
            Ok(timers::drop_timer(storage, &self.dialog(), &self.name).await?)
        };
        match self.operator.work(drop)? {
            true => self.done("dropped", "is taken away"),
            false => Err(self.unknown()),
        }
    }

    fn done(&self, what: &str, sentence: &str) -> anyhow::Result<()> {
        let shown = json!({
            "channel": self.channel, "user_id": self.user, "name": self.name, what: true
        });
        print(self.operator.json, &shown, || {
            format!("{} of {} {sentence}", one_line(&self.name), self.dialog())
        })
    }
}

fn shown(timer: &Timer) -> Value {
    json!({
        "channel": timer.dialog.channel,
        "user_id": timer.dialog.user_id,
        "name": timer.name,
        "due_ms": timer.due,
        "update": timer.update,
        "schedule": timer.schedule,
    })
}

fn text_of(timer: &Timer, now: i64) -> String {
    let seconds = (timer.due - now) / 1000;
    let when = match seconds {
        ..0 => "overdue".to_owned(),
        _ => format!("in {}", roughly(seconds)),
    };
    let schedule = match &timer.schedule {
        Some(schedule) => format!("  ({schedule})"),
        None => String::new(),
    };
    format!(
        "{} {}  {} {when}{schedule}",
        timer.dialog.channel,
        one_line(&timer.dialog.user_id),
        one_line(&timer.name)
    )
}
