//! `dump`: every dialog as one JSON object a line.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::storage::Database;
use crate::process::exit;
use turnkey_storage::tools;
use turnkey_text::output::Stream;

#[derive(Args)]
#[command(after_help = "Example:\n  turnkey dump --storage sqlite:bot.db | jq .state")]
pub(super) struct Dump {
    #[command(flatten)]
    database: Database,

    /// Also print the turns that `run --history` kept.
    #[arg(long)]
    history: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    channel: &'a str,
    user_id: &'a str,
    state: &'a RawValue,
    /// Milliseconds since 1970.
    updated_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<Box<RawValue>>>,
}

impl Dump {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let address = self.database.address()?;
        let mut out = Stream::new();
        tools::dump(&address, self.history, |line| -> anyhow::Result<()> {
            let state: &RawValue = serde_json::from_str(&line.state)
                .with_context(|| format!("the state of {} is not JSON", line.dialog))?;
            let history = line.history.into_iter().map(RawValue::from_string);
            let line = Line {
                channel: &line.dialog.channel,
                user_id: &line.dialog.user_id,
                state,
                updated_at: line.updated_at,
                history: self.history.then(|| history.collect()).transpose()?,
            };
            let mut line = serde_json::to_vec(&line)?;
            line.push(b'\n');
            Ok(out.write(&line)?)
        })?;
        out.end()?;
        Ok(ExitCode::from(exit::CLEAN))
    }
}
