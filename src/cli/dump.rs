//! `dump`: every dialog as one JSON object a line.

use std::io::{BufWriter, ErrorKind, Write};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::storage::Database;
use crate::process::exit;
use turnkey_storage::tools;

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
        let mut out = BufWriter::new(std::io::stdout().lock());
        let printed = tools::dump(&address, self.history, |line| -> anyhow::Result<()> {
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
            serde_json::to_writer(&mut out, &line)?;
            Ok(writeln!(out)?)
        });
        let written = printed.and_then(|()| Ok(out.flush()?));
        match written {
            // Whoever reads had enough: `dump | head`.
            Err(error) if is_broken_pipe(&error) => {}
            other => other?,
        }
        Ok(ExitCode::from(exit::CLEAN))
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().map(|e| e.kind());
        let json = cause
            .downcast_ref::<serde_json::Error>()
            .and_then(serde_json::Error::io_error_kind);
        io.or(json) == Some(ErrorKind::BrokenPipe)
    })
}
