//! `inbox`: updates, timers and what one dialog says to another, whose turns are yet to come, for
//! operators: list.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use turnkey_storage::Storage;
use turnkey_storage::inbox::{self, Waiting};
use turnkey_text::numbers::counted;

use super::operator::{List, one_line, print, roughly};
use crate::process::exit;
use crate::shared::clock::unix_ms;

#[derive(Args)]
pub(super) struct Inbox {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List what waits for its turn, or for another attempt, the oldest first; a turn that runs
    /// just now is among them.
    List(List),
}

impl Inbox {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Action::List(asked) = self.action;
        let dialog = asked.dialog();
        let list = async |storage: &dyn Storage| {
            Ok(inbox::list(storage, dialog.as_ref(), asked.limit).await?)
        };
        let now = unix_ms() as i64;
        for waiting in asked.operator.work(list)? {
            print(asked.operator.json, &shown(&waiting), || {
                text_of(&waiting, now)
            })?;
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

fn shown(waiting: &Waiting) -> Value {
    json!({
        "channel": waiting.dialog.channel,
        "user_id": waiting.dialog.user_id,
        "update": waiting.update,
        "arrived_ms": waiting.arrived,
        "attempts": waiting.attempts,
        "pause_ms": waiting.pause.as_millis() as u64,
        "error": waiting.error,
    })
}

fn text_of(waiting: &Waiting, now: i64) -> String {
    let next = match waiting.pause.as_secs() {
        0 => "due".to_owned(),
        left => format!("due in {}", roughly(left as i64)),
    };
    let failed = match (waiting.attempts, &waiting.error) {
        (0, _) => String::new(),
        (n, error) => {
            let why = error.as_ref().map(|error| format!(": {}", one_line(error)));
            format!(
                "  failed {}{}",
                counted(n.into(), "time"),
                why.unwrap_or_default()
            )
        }
    };
    format!(
        "{} {}  update {}  for {}, {next}{failed}",
        waiting.dialog.channel,
        one_line(&waiting.dialog.user_id),
        one_line(&waiting.update),
        roughly((now - waiting.arrived) / 1000),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use turnkey_storage::DialogKey;

    use super::*;

    #[test]
    fn a_line_says_since_when_until_when_and_why() {
        let mut waiting = Waiting {
            dialog: DialogKey::new("telegram", "7"),
            update: "12".to_owned(),
            arrived: 1_000,
            attempts: 0,
            pause: Duration::ZERO,
            error: None,
        };
        assert_eq!(
            text_of(&waiting, 31_000),
            "telegram 7  update 12  for 30 s, due"
        );
        waiting.attempts = 3;
        waiting.pause = Duration::from_secs(4);
        waiting.error = Some("no answer\nfrom tea".to_owned());
        assert_eq!(
            text_of(&waiting, 31_000),
            "telegram 7  update 12  for 30 s, due in 4 s  failed 3 times: no answer\\nfrom tea"
        );
    }
}
