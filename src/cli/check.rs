//! `check`: verifies a database.

use std::process::ExitCode;

use clap::Args;
use turnkey_storage::sqlite;

use crate::config;
use crate::exit;

#[derive(Args)]
#[command(
    after_help = "Exit code 0: all is well. 1: something is wrong, and is named. 2: cannot be read."
)]
pub(super) struct Check {
    /// The database, such as sqlite:bot.db.
    #[arg(long, env = "TURNKEY_STORAGE", value_name = "URL")]
    storage: String,

    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let path = config::database(&self.storage).map_err(|e| anyhow::anyhow!("{e}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let findings = runtime.block_on(sqlite::check(&path))?;
        if self.json {
            let list: Vec<_> = findings
                .iter()
                .map(|f| serde_json::json!({ "problem": f.problem, "remedy": f.remedy }))
                .collect();
            println!(
                "{}",
                serde_json::json!({ "ok": list.is_empty(), "findings": list })
            );
        } else if findings.is_empty() {
            println!("{}: all is well", path.display());
        } else {
            for finding in &findings {
                println!(
                    "{}: {}; {}",
                    path.display(),
                    finding.problem,
                    finding.remedy
                );
            }
        }
        Ok(ExitCode::from(if findings.is_empty() {
            exit::CLEAN
        } else {
            exit::CUT
        }))
    }
}
