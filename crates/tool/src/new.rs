//! `new`: writes a bot's project that builds, is tested and can be installed.
//!
//! Called by `main.rs`. Nothing that is there already is written over.
//!
//! | file | what |
//! | --- | --- |
//! | `new/lang.rs` | the languages, and each one's files |
//! | `new/name.rs` | names that a bot can have |
//! | `new/source.rs` | where Cargo finds the framework |

mod lang;
mod name;
mod source;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use turnkey::tool::exit;
use turnkey_text::output;

use self::lang::Lang;

#[derive(Args)]
#[command(after_help = "\
Examples:
  turnkey new mybot
  cd mybot
  cargo test
  cargo run -- run

  turnkey new mybot --lang python
  cd mybot
  turnkey handler exec -- python3 -m unittest
  turnkey run bot.py

For Rust: a turnkey that was built in a checkout and is run from there makes projects that
are built with that checkout; any other one names its own version in Cargo.toml.")]
pub(crate) struct New {
    /// The bot's name: a to z, digits, - and _; a letter first.
    #[arg(value_name = "NAME")]
    name: String,

    /// What it is written in.
    #[arg(long, value_enum, value_name = "LANG", default_value_t = Lang::Rust)]
    lang: Lang,

    /// Where to write it; new, or an empty directory [default: ./NAME].
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,

    /// For Rust: build it with the Turnkey of this checkout [default: the one that this
    /// program is in, else a released one].
    #[arg(long, value_name = "DIR")]
    turnkey: Option<PathBuf>,
}

impl New {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        name::check(&self.name, self.lang)?;
        let directory = self.path.unwrap_or_else(|| PathBuf::from(&self.name));
        check_free(&directory)?;
        let source = match self.lang {
            Lang::Rust => source::find(self.turnkey)?,
            Lang::Python | Lang::Js if self.turnkey.is_some() => {
                bail!("--turnkey is for --lang rust; other bots are run by a program: leave it out")
            }
            Lang::Python | Lang::Js => String::new(),
        };
        let unit = (
            format!("{}.service", self.name),
            self.lang.unit(&self.name)?,
        );
        let cannot = || format!("cannot write the project to {}", directory.display());
        let files = self.lang.files(&self.name, &source);
        let files = files
            .into_iter()
            .map(|(file, text)| (file.to_owned(), text));
        for (file, text) in files.chain([unit]) {
            let path = directory.join(file);
            let parent = path.parent().unwrap_or(&directory);
            fs::create_dir_all(parent).with_context(cannot)?;
            fs::write(&path, text).with_context(cannot)?;
        }
        let shown = directory.display();
        let (what, steps) = self.lang.told();
        let steps = steps.join("\n  ");
        output::line(format_args!(
            "{shown}: {what}. Next:\n  cd {shown}\n  {steps}"
        ))?;
        Ok(ExitCode::from(exit::CLEAN))
    }
}

/// An empty directory, or none yet.
fn check_free(directory: &Path) -> anyhow::Result<()> {
    let cannot = || format!("cannot look at {}", directory.display());
    let first = match fs::read_dir(directory) {
        Ok(mut entries) => entries.next().transpose().with_context(cannot)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) if e.kind() == std::io::ErrorKind::NotADirectory => {
            bail!(
                "{} is a file; give another place with --path",
                directory.display()
            )
        }
        Err(e) => return Err(e).with_context(cannot),
    };
    match first {
        None => Ok(()),
        Some(entry) => bail!(
            "{} is not empty (it has {}); give another place with --path",
            directory.display(),
            entry.file_name().display()
        ),
    }
}
