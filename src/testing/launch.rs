//! [`Launch`]: what a bot's program is started with in a test.
//!
//! Made by `Program::of`. Invariant: the program sees no `TURNKEY_` variable and no proxy of
//! whoever runs the tests, only what stands here.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::telegram::Telegram;

pub(super) const HTTP_TOKEN: &str = "TURNKEY_HTTP_TOKEN";
pub(super) const RPC_TOKEN: &str = "TURNKEY_RPC_TOKEN";

/// A program that is to be started for a test: see [`Program::of`](super::Program::of).
///
/// ```no_run
/// # fn main() -> turnkey::Result<()> {
/// # let program = "target/debug/bot"; // In a test: env!("CARGO_BIN_EXE_bot").
/// let bot = turnkey::testing::Program::of(program)
///     .args(&["--workers", "2"])
///     .variable("BOT_NAME", "Robin")
///     .start()?;
/// # bot.stop()
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    variables: Vec<(String, String)>,
}

impl Launch {
    pub(super) fn new(program: &Path) -> Self {
        Launch {
            program: program.to_owned(),
            arguments: Vec::new(),
            // Such that `/rpc` is there.
            variables: vec![(RPC_TOKEN.to_owned(), "testing".to_owned())],
        }
    }

    /// More arguments of `run`.
    pub fn args(mut self, arguments: &[&str]) -> Self {
        let words = arguments.iter().map(|word| (*word).to_owned());
        self.arguments.extend(words);
        self
    }

    /// A variable of its environment: the bot's own, or a setting, such as
    /// `TURNKEY_HTTP_TOKEN`. A later one of the same name wins.
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        self.variables.retain(|(before, _)| *before != name);
        self.variables.push((name, value.into()));
        self
    }

    /// It polls this Telegram, in one worker: without `--workers` and `--public-url`. `/http` and
    /// `/rpc` are served beside it.
    pub fn telegram(self, telegram: &Telegram) -> Self {
        self.variable("TURNKEY_TELEGRAM_TOKEN", Telegram::TOKEN)
            .variable("TURNKEY_TELEGRAM_API_URL", telegram.url())
            .variable("TURNKEY_UPDATER", "polling")
            .variable(HTTP_TOKEN, "testing")
    }

    /// The program in these circumstances, without arguments.
    pub(super) fn command(&self, directory: &Path) -> Command {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().to_uppercase();
            if text.starts_with("TURNKEY_") || text.ends_with("_PROXY") {
                command.env_remove(name);
            }
        }
        let storage = directory.join("bot.db");
        command.env("TURNKEY_STORAGE", format!("sqlite:{}", storage.display()));
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The header that shows one of the tokens.
    pub(super) fn token(&self, name: &str) -> String {
        let set = self.variables.iter().find(|(is, _)| is == name);
        format!("Bearer {}", set.map_or("", |(_, token)| token))
    }
}
