//! `outbox`: replies that were committed and not yet sent.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use turnkey_storage::admin;

use super::operator::{Operator, one_line, print};
use crate::process::exit;

/// Replies read at a time.
const PORTION: u32 = 500;

#[derive(Args)]
pub(super) struct Outbox {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the replies that wait to be sent, the oldest turns first.
    List(Operator),
}

impl Outbox {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let Action::List(operator) = self.action;
        operator.work(async |storage| {
            let mut after = None;
            loop {
                let found = admin::outbox(storage, after, PORTION).await?;
                for line in &found {
                    let shown = json!({
                        "channel": line.dialog.channel,
                        "user_id": line.dialog.user_id,
                        "turn": line.id.turn.0,
                        "index": line.id.index,
                        "body": line.body,
                        "since": line.since,
                    });
                    print(operator.json, &shown, || {
                        format!(
                            "{}  turn {} reply {}: {}",
                            one_line(&line.dialog.to_string()),
                            line.id.turn.0,
                            line.id.index,
                            one_line(&line.body)
                        )
                    })?;
                }
                after = found.last().map(|line| line.id);
                if found.len() < PORTION as usize {
                    return Ok(());
                }
            }
        })?;
        Ok(ExitCode::from(exit::CLEAN))
    }
}
