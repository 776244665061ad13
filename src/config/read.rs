//! Reads settings. The first of these that is set wins: the flag, the variable (a secret's may
//! name a file), the `--config` file, the default.
//!
//! Called by `cli/run.rs` at the start and at each reload. No error shows a line of the file,
//! since it may contain a secret.

use std::fs;
use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::secrets::{Environment, environment, find};
use super::settings::{Settings, described};
use super::{Config, refuse};
use crate::shared::scrub;

impl Settings {
    /// Merges these flags and variables with the file, if one was named, and
    /// checks the whole. `has_channels`: the author brings some, which are posted to.
    ///
    /// # Errors
    /// [`crate::StartError::Refused`] with a sentence that names the setting.
    pub(crate) fn into_config(
        mut self,
        file: Option<&Path>,
        has_channels: bool,
    ) -> crate::StartResult<Config> {
        let remarks = self.read_secrets(&environment)?;
        let mut merged = match file {
            Some(path) => self.over(read_file(path)?),
            None => self,
        };
        // Before anything is said of them.
        merged.learn_secrets();
        let mut config = merged.validate(has_channels)?;
        config.remarks = remarks;
        Ok(config)
    }

    /// Fills in the secrets that are in the environment; sentences for the log.
    ///
    /// # Errors
    /// A file that cannot be read, or two places for one secret.
    pub(super) fn read_secrets(&mut self, get: Environment<'_>) -> crate::StartResult<Vec<String>> {
        let mut remarks = Vec::new();
        for (row, setting) in self.secrets() {
            if let Some(found) = find(&row.name, get)? {
                // One that has a flag may be here already; a flag wins.
                setting.get_or_insert(found.secret);
                remarks.extend(found.remark);
            }
        }
        Ok(remarks)
    }

    /// Tells what must never be shown from now on.
    fn learn_secrets(&mut self) {
        for (row, secret) in self.secrets() {
            let Some(secret) = secret.as_deref() else {
                continue;
            };
            match row.name.as_str() {
                // VK asks for it, and so does whoever knows the address.
                "vk-confirmation" => {}
                // Addresses, of which only the password is one; `proxies.rs` tells its own.
                "storage" => scrub::learn_address(secret),
                "platform-proxy" => {}
                "telegram-token" => {
                    // The part that nobody can guess: it may be shown without the bot's number.
                    let part = secret.split_once(':').map(|(_, part)| part);
                    scrub::learn([secret].into_iter().chain(part));
                }
                _ => scrub::learn([secret]),
            }
        }
    }

    /// `--workers`, `--fast` and `--single-process` are one choice between three:
    /// made by a flag, it silences the variables.
    pub(crate) fn prefer_flags(&mut self, matches: &ArgMatches) {
        let flag = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let chosen = flag("workers")
            || flag("fast") && self.fast == Some(true)
            || flag("single-process") && self.single_process == Some(true);
        if chosen {
            self.workers = self.workers.filter(|_| flag("workers"));
            self.fast = self.fast.filter(|_| flag("fast"));
            self.single_process = self.single_process.filter(|_| flag("single-process"));
        }
    }

    /// These settings, and the file's where these are silent.
    pub(super) fn over(self, mut file: Settings) -> Settings {
        // One choice between three: naming one silences the file's.
        if self.workers.is_some() || self.fast == Some(true) || self.single_process == Some(true) {
            file.workers = None;
            file.fast = None;
            file.single_process = None;
        }
        self.or(file)
    }
}

/// Reads the file of `--config`.
///
/// # Errors
/// It cannot be read, or a line of it is wrong: which one.
pub(super) fn read_file(path: &Path) -> crate::StartResult<Settings> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) => return refuse(format!("cannot read --config {}: {e}", path.display())),
    };
    match parse(&text) {
        Ok(settings) => Ok(settings),
        Err(why) => refuse(format!("{} is wrong: {why}", path.display())),
    }
}

/// Reads the text of such a file.
///
/// # Errors
/// "line 2, workers: …"
pub(crate) fn parse(text: &str) -> Result<Settings, String> {
    toml::from_str(text).map_err(|e| {
        // Not the line itself, as the error would show it: a secret may stand there.
        let before = e.span().and_then(|span| text.get(..span.start));
        let index = before.map_or(0, |before| before.matches('\n').count());
        let line = text.lines().nth(index);
        let name = line.and_then(|line| line.split_once('='));
        let name = name.map(|(name, _)| name.trim()).filter(|name| {
            let mut bytes = name.bytes();
            bytes.all(|b| b.is_ascii_alphabetic() || b == b'-' || b == b'_')
        });
        let why = match (e.message(), name) {
            (why, name) if why.starts_with("unknown field") => unknown(name.unwrap_or_default()),
            (why, _) => why.to_owned(),
        };
        let place = name.map_or(String::new(), |name| format!(", {name}"));
        format!("line {}{place}: {why}", index + 1)
    })
}

/// A sentence for a name that no setting has.
fn unknown(name: &str) -> String {
    let name = name.to_lowercase().replace('_', "-");
    let name = name.trim_start_matches("turnkey-");
    let rows = described();
    let nearest = rows
        .iter()
        .map(|row| (strsim::jaro_winkler(&row.name, name), &row.name))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((alike, nearest)) if alike > ALIKE => {
            format!("there is no such setting; did you mean {nearest}?")
        }
        _ => "there is no such setting; run --help lists them".to_owned(),
    }
}

/// Names that are as near to each other are one with a slip of the finger, from 0 to 1.
const ALIKE: f64 = 0.85;
