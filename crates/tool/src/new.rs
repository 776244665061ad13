//! `new`: writes a bot's project that builds, is tested and can be installed.
//!
//! The files are templates in `new/`; what is between `{{` and `}}` in them is replaced.
//! Nothing that is there already is written over.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;

use turnkey::tool::{self, exit};
use turnkey_text::output;

/// What each file is made of.
const FILES: [(&str, &str); 9] = [
    ("Cargo.toml", include_str!("new/Cargo.toml.in")),
    (".cargo/config.toml", include_str!("new/config.toml.in")),
    (".gitignore", include_str!("new/gitignore.in")),
    ("README.md", include_str!("new/README.md.in")),
    ("src/main.rs", include_str!("new/main.rs.in")),
    ("tests/bot.rs", include_str!("new/bot.rs.in")),
    (SETTINGS, include_str!("new/turnkey.toml.in")),
    (".dockerignore", include_str!("new/dockerignore.in")),
    ("Dockerfile", include_str!("new/Dockerfile.in")),
];

const SETTINGS: &str = "turnkey.toml";

/// A program's longest name: the kernel shows 15 bytes of it, systemd's users have 31.
const LONGEST_NAME: usize = 31;

/// Words that cargo refuses as a package's name, and names of crates that the project
/// itself uses.
const TAKEN: &[&str] = &[
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "build",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "if",
    "impl",
    "in",
    "incremental",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "turnkey",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

#[derive(Args)]
#[command(after_help = "\
Example:
  turnkey new mybot
  cd mybot
  cargo test
  cargo run -- run

A turnkey that was built in a checkout and is run from there makes projects that are built
with that checkout; any other one names its own version in Cargo.toml.")]
pub(crate) struct New {
    /// The bot's name: a to z, digits, - and _; a letter first.
    #[arg(value_name = "NAME")]
    name: String,

    /// Where to write it; new, or an empty directory [default: ./NAME].
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,

    /// Build it with the Turnkey of this checkout [default: the one that this program is
    /// in, else a released one].
    #[arg(long, value_name = "DIR")]
    turnkey: Option<PathBuf>,
}

impl New {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        check_name(&self.name)?;
        let directory = self.path.unwrap_or_else(|| PathBuf::from(&self.name));
        check_free(&directory)?;
        let source = match self.turnkey.or_else(own_checkout) {
            Some(checkout) => of_checkout(&checkout)?,
            None => released(),
        };
        let cannot = || format!("cannot write the project to {}", directory.display());
        for (file, template) in FILES {
            let path = directory.join(file);
            let parent = path.parent().unwrap_or(&directory);
            fs::create_dir_all(parent).with_context(cannot)?;
            fs::write(&path, fill(template, &self.name, &source)).with_context(cannot)?;
        }
        let unit = unit(&self.name)?;
        let unit_file = directory.join(format!("{}.service", self.name));
        fs::write(unit_file, unit).with_context(cannot)?;
        output::line(format_args!(
            "{0}: a bot that counts. Next:\n  cd {0}\n  cargo test\n  cargo run -- run",
            directory.display()
        ))?;
        Ok(ExitCode::from(exit::CLEAN))
    }
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.chars().all(is_plain)
        || name.len() > LONGEST_NAME
    {
        bail!(
            "a bot's name has up to {LONGEST_NAME} of a to z, digits, - and _, a letter first, such as my-bot; not {name:?}"
        );
    }
    if TAKEN.contains(&name) {
        bail!(
            "{name:?} means something else to Rust or to the project; take another name, such as {name}-bot"
        );
    }
    Ok(())
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

/// Where Cargo.toml finds the framework.
fn released() -> String {
    format!("version = \"{}\"", env!("CARGO_PKG_VERSION"))
}

/// The same, for a directory that must be a checkout.
fn of_checkout(directory: &Path) -> anyhow::Result<String> {
    let path = directory
        .canonicalize()
        .with_context(|| format!("there is no --turnkey {}", directory.display()))?;
    if !is_checkout(&path) {
        bail!(
            "--turnkey {} is no checkout of Turnkey: its Cargo.toml is not that of the package turnkey",
            directory.display()
        );
    }
    let path = path
        .to_str()
        .context("the path of --turnkey is not UTF-8")?;
    let path = toml::Value::String(path.to_owned());
    Ok(format!("path = {path}"))
}

fn is_checkout(directory: &Path) -> bool {
    let manifest = fs::read_to_string(directory.join("Cargo.toml"));
    manifest.is_ok_and(|text| text.lines().any(|line| line == "name = \"turnkey\""))
}

/// The checkout that this program was built in, if it is still there: above
/// `target/release`.
fn own_checkout() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let mut above = program.ancestors().skip(1);
    above
        .find(|directory| is_checkout(directory))
        .map(Path::to_owned)
}

fn fill(template: &str, name: &str, source: &str) -> String {
    template
        .replace("{{name}}", name)
        .replace("{{source}}", source)
        .replace("{{rust}}", env!("CARGO_PKG_RUST_VERSION"))
}

/// Its unit, as `NAME systemd` prints it where it is installed.
fn unit(name: &str) -> anyhow::Result<String> {
    let arguments = ["--workers".to_owned(), "2".to_owned()];
    let program = Path::new("/usr/local/bin").join(name);
    tool::unit(name, &program, &arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_names_are_refused_with_a_better_one() {
        for good in ["a", "mybot", "my-bot_2"] {
            check_name(good).unwrap();
        }
        for bad in [
            "",
            "Bot",
            "2bot",
            "-bot",
            "my bot",
            "../bot",
            "bót",
            &"a".repeat(32),
        ] {
            let error = check_name(bad).unwrap_err().to_string();
            assert!(error.contains("my-bot"), "{bad}: {error}");
        }
        for taken in ["turnkey", "test", "async", "serde"] {
            let error = check_name(taken).unwrap_err().to_string();
            assert!(error.contains(&format!("{taken}-bot")), "{error}");
        }
    }

    /// Each setting that the file shows is one, with a value that it takes.
    #[test]
    fn the_settings_in_the_file_exist() {
        let (_, text) = FILES.iter().find(|(file, _)| *file == SETTINGS).unwrap();
        let is_setting = |line: &&str| line.starts_with('#') && !line.starts_with("# ");
        let settings: Vec<&str> = text.lines().filter(is_setting).map(|l| &l[1..]).collect();
        assert!(settings.len() > 10, "{settings:?}");
        for line in settings.iter().filter(|line| !line.is_empty()) {
            tool::check_settings(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        tool::check_settings(&settings.join("\n")).unwrap();
        tool::check_settings(text).unwrap();
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        for (file, template) in FILES {
            let text = fill(template, "mybot", "version = \"1\"");
            assert!(!text.contains("{{"), "{file}");
        }
    }
}
