//! `dialogs`: users and what their bot remembers of them.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use serde_json::value::RawValue;
use turnkey_storage::person::Person;
use turnkey_storage::{DialogKey, Storage, admin};

use super::operator::{Operator, one_line, print};
use crate::process::exit;

/// Dialogs read at a time.
const PORTION: u32 = 500;

#[derive(Args)]
pub(super) struct Dialogs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List dialogs in the order of their user ids.
    List(List),
    /// Show a dialog's state and its last turns.
    Show(One),
    /// Forget a dialog's state: its next turn starts anew.
    Reset(One),
}

#[derive(Args)]
struct List {
    /// Only those whose user's name or id contains this.
    #[arg(long, value_name = "TEXT")]
    user: Option<String>,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Args)]
struct One {
    /// The channel, such as telegram.
    channel: String,
    /// The user's id, as `dialogs list` shows it.
    user_id: String,
    #[command(flatten)]
    operator: Operator,
}

impl Dialogs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::List(list) => list.run()?,
            Action::Show(one) => one.show()?,
            Action::Reset(one) => one.reset()?,
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

impl List {
    fn run(&self) -> anyhow::Result<()> {
        self.operator.work(async |storage| {
            let mut after: Option<DialogKey> = None;
            loop {
                let user = self.user.as_deref();
                let found = admin::dialogs(storage, user, after.as_ref(), PORTION).await?;
                for line in &found {
                    let shown = json!({
                        "channel": line.dialog.channel,
                        "user_id": line.dialog.user_id,
                        "state_bytes": line.state_bytes,
                        "updated_at": line.updated_at,
                        "person": line.person.as_ref().map(person),
                    });
                    print(self.operator.json, &shown, || {
                        let state = match line.state_bytes {
                            Some(bytes) => format!("{bytes} bytes of state"),
                            None => "forgotten".to_owned(),
                        };
                        let who = line.person.as_ref().map(in_words).unwrap_or_default();
                        format!("{}  {state}{who}", name(&line.dialog))
                    })?;
                }
                after = found.last().map(|line| line.dialog.clone());
                if found.len() < PORTION as usize {
                    return Ok(());
                }
            }
        })
    }
}

fn name(dialog: &DialogKey) -> String {
    one_line(&dialog.to_string())
}

/// As JSON: what the platform tells.
fn person(person: &Person) -> serde_json::Value {
    json!({
        "name": person.name(),
        "username": person.username(),
        "language": person.language(),
    })
}

/// The same behind a line for people.
fn in_words(person: &Person) -> String {
    let username = match person.username() {
        "" => String::new(),
        username => format!("@{username}"),
    };
    let parts = [person.name(), &username, person.language()];
    let told: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("  {}", one_line(&told.join(", ")))
}

/// Turns of the history that are shown.
const TURNS: u32 = 20;

impl One {
    fn key(&self) -> DialogKey {
        DialogKey::new(&self.channel, &self.user_id)
    }

    fn unknown(&self) -> anyhow::Error {
        anyhow::anyhow!(
            "there is no state of {}; `dialogs list` shows the dialogs",
            self.key()
        )
    }

    fn show(&self) -> anyhow::Result<()> {
        let found =
            async |storage: &dyn Storage| Ok(admin::dialog(storage, &self.key(), TURNS).await?);
        let detail = self.operator.work(found)?.ok_or_else(|| self.unknown())?;
        let raw = |text: &String| serde_json::from_str::<Box<RawValue>>(text);
        let history: Vec<_> = detail.history.iter().map(raw).collect::<Result<_, _>>()?;
        let shown = json!({
            "channel": self.channel,
            "user_id": self.user_id,
            "state": detail.state.as_ref().map(raw).transpose()?,
            "updated_at": detail.updated_at,
            "person": detail.person.as_ref().map(person),
            "history": history,
            "unsent": detail.unsent,
            "pending": detail.pending,
        });
        print(self.operator.json, &shown, || {
            let mut text = format!(
                "{}  {} replies to be sent, {} updates in the inbox{}\nstate: {}",
                name(&self.key()),
                detail.unsent,
                detail.pending,
                detail.person.as_ref().map(in_words).unwrap_or_default(),
                detail.state.as_deref().unwrap_or("forgotten")
            );
            for turn in &detail.history {
                text.push_str("\nturn: ");
                text.push_str(turn);
            }
            text
        })
    }

    fn reset(&self) -> anyhow::Result<()> {
        let reset = async |storage: &dyn Storage| Ok(admin::reset(storage, &self.key()).await?);
        if !self.operator.work(reset)? {
            return Err(self.unknown());
        }
        let shown = json!({
            "channel": self.channel,
            "user_id": self.user_id,
            "reset": true,
        });
        print(self.operator.json, &shown, || {
            format!("the state of {} is forgotten", self.key())
        })
    }
}
