//! `check`: verifies a database.

use std::process::ExitCode;

use clap::Args;
use turnkey_storage::Finding;

use super::storage::Database;
use crate::net::tls;
use crate::process::exit;
use turnkey_storage::tools;
use turnkey_text::output;

#[derive(Args)]
#[command(
    after_help = "Exit code 0: all is well. 1: something is wrong, and is named. 2: cannot be read."
)]
pub(super) struct Check {
    #[command(flatten)]
    database: Database,

    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let address = self.database.address()?;
        let mut findings = tools::check(&address)?;
        // Only a bot with --tls-cert has left word there of where its certificate is.
        let kept = address
            .file()
            .and_then(|path| tls::kept::complaint(&tls::kept::beside(path)));
        findings.extend(kept.map(|problem| Finding {
            problem,
            remedy: "put a good pair there; until then the bot serves the last good one".to_owned(),
        }));
        if self.json {
            let list: Vec<_> = findings
                .iter()
                .map(|f| serde_json::json!({ "problem": f.problem, "remedy": f.remedy }))
                .collect();
            output::line(serde_json::json!({ "ok": list.is_empty(), "findings": list }))?;
        } else if findings.is_empty() {
            output::line(format_args!("{address}: all is well"))?;
        } else {
            for finding in &findings {
                output::line(format_args!(
                    "{}: {}; {}",
                    address, finding.problem, finding.remedy
                ))?;
            }
        }
        Ok(ExitCode::from(if findings.is_empty() {
            exit::CLEAN
        } else {
            exit::CUT
        }))
    }
}
