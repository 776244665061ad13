//! `run`: the bot itself.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{ArgMatches, Args, FromArgMatches};

#[cfg(feature = "any-language")]
use super::handler;
use super::log;
use crate::config::{self, Config, Outline, Processes, Settings};
use crate::handlers::Author;
use crate::process::master;
use crate::process::single;

/// The settings can also stand in the file (a line `workers = 2`) or in the
/// environment (`TURNKEY_WORKERS=2`). Secrets have no flag: see the end of `--help`.
#[derive(Args)]
#[command(after_help = after_help())]
pub(super) struct Run {
    #[command(flatten)]
    settings: Settings,

    #[cfg(feature = "any-language")]
    #[command(flatten)]
    bot: handler::Bot,

    /// Read settings from this file.
    #[arg(long, env = "TURNKEY_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,

    /// Log more; -vv for all.
    #[arg(short, long, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,

    /// Log only errors.
    #[arg(short, long)]
    quiet: bool,
}

/// What comes after the flags in --help and in the manual page.
fn after_help() -> String {
    [ABOVE_SECRETS, &config::secrets_help(), BELOW_SECRETS].concat()
}

const ABOVE_SECRETS: &str = "\
All settings but --config, -v and -q can also stand in the file (workers = 2) or
in the environment. Secrets have no flag, only a variable or a line in the file:
";

const BELOW_SECRETS: &str = "\
Each can stand in a file of its own, too: TURNKEY_TELEGRAM_TOKEN_FILE=/run/secrets/token
names it, or systemd's LoadCredential=telegram-token:FILE hands it over. So can the
database's address: TURNKEY_STORAGE_FILE, LoadCredential=storage:FILE. SIGHUP reads them
again.
/viber, /facebook, /vk and /whatsapp are served once their secrets are there; docs/CHANNELS.md
says where to find them.

Signals: Ctrl-C stops gracefully, a second one at once; SIGHUP reads the settings
again and replaces the workers; SIGUSR2 starts the program file anew, which takes
over; SIGTTIN, SIGTTOU: a worker more, less. docs/OPERATING.md has them all.

Exit codes: 0 stopped, nothing cut off; 1 turns were cut off after --grace;
2 bad settings, a token that is not known, no right: what only a person can mend;
3 a worker could not start; 4 workers died again and again; 75 a port, a file or a database
server is not there yet, or is taken: worth another try; 130 forced by a second Ctrl-C, 131 by SIGQUIT.

Try it:
  turnkey run --workers 2 --storage sqlite:bot.db
  curl -d '{\"user_id\":\"ann\",\"text\":\"hi\"}' -H 'Content-Type: application/json' http://localhost:8080/http";

impl Run {
    /// `matches` tell flags from variables.
    pub(super) fn run(
        mut self,
        author: Author,
        matches: Option<&ArgMatches>,
    ) -> anyhow::Result<ExitCode> {
        if let Some(matches) = matches {
            self.settings.prefer_flags(matches);
        }
        #[cfg(feature = "any-language")]
        let named = self.bot.named()?;
        let (settings, file) = (self.settings, self.config);
        let has_channels = !author.channels.is_empty();
        let read = move || {
            let config = settings
                .clone()
                .into_config(file.as_deref(), has_channels)?;
            // The first time there is no log yet.
            remark(&config);
            Ok(config)
        };
        let config = read()?;
        log::start(&config, self.verbose, self.quiet)?;
        remark(&config);
        #[cfg(feature = "any-language")]
        let author = handler::bring(named, &config, author)?;
        Ok(match config.processes {
            Processes::Workers(workers) => master::run(config, Box::new(read), author, workers)?,
            Processes::Single => single::run(&config, author)?,
        })
    }
}

fn remark(config: &Config) {
    for remark in &config.remarks {
        tracing::warn!("{remark}");
    }
}

/// What a unit of an init system has to know of these arguments. Variables are left out:
/// those of this shell are not the unit's.
pub(super) fn outline(arguments: &[String]) -> anyhow::Result<Outline> {
    let command = Run::augment_args(clap::Command::new("run"))
        .no_binary_name(true)
        .mut_args(|argument| argument.env(None::<&str>));
    let matches = command.try_get_matches_from(arguments);
    let matches = matches.unwrap_or_else(|error| error.exit());
    let run = Run::from_arg_matches(&matches)?;
    let outline = run.settings.outline(run.config.as_deref())?;
    #[cfg(feature = "any-language")]
    let outline = Outline {
        compiles: run.bot.compiles(),
        ..outline
    };
    Ok(outline)
}
