//! One setting: its data, and what the command line, the check, the status page and the docs
//! make of it.
//!
//! Made by the macro `settings!` for each row of `settings.rs`.

use clap::{Arg, ArgMatches};

use super::value::Value;
use crate::config::secrets::variable;
use crate::config::{Config, refuse};

/// What it takes for a new value to be in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// SIGHUP; of course an upgrade and a restart do as well.
    Reload,
    /// An upgrade (SIGUSR2) or a restart.
    Upgrade,
    /// A restart alone.
    Restart,
}

/// What the status page says of a setting.
pub(crate) enum Shown {
    /// Its value, or its default. Of a secret whether it is set.
    Value,
    /// What came of it, together with others.
    As(fn(&Config) -> String),
    /// Nothing: another one says it.
    ByAnother,
}

/// All that is known of a setting. A row of the table gives the name, the type, the help
/// and mostly the default; the rest is as [`Row::new`] has it unless the row says otherwise.
pub(crate) struct Row<T> {
    /// The heading it stands under in docs/SETTINGS.md.
    pub(crate) section: &'static str,
    /// In the file; with `--` the flag: `worker-timeout`.
    pub(crate) name: String,
    /// For --help and docs/SETTINGS.md, without the default.
    pub(crate) help: String,
    /// When nothing is said.
    pub(crate) default: Option<T>,
    /// The default in words, where it is no value, or where it takes more than the value.
    pub(crate) default_text: &'static str,
    /// What stands for the value in `--worker-timeout <TIME>`.
    pub(crate) value_name: &'static str,
    /// Whether this program was built with what it sets.
    pub(crate) is_there: bool,
    /// Whether it can be given on the command line, which every user of a machine can read.
    pub(crate) has_flag: bool,
    /// The value as it is taken, or what is wrong with it: "takes at least 1, not 0".
    pub(crate) check: fn(T) -> Result<T, String>,
    /// When a new value is in force.
    pub(crate) changed_by: Change,
    /// On the status page.
    pub(crate) shown: Shown,
}

/// A row in words, whatever its type.
#[cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "some of it is for docs/SETTINGS.md, which a test writes"
    )
)]
pub(crate) struct Described {
    /// [`Row::section`]
    pub(crate) section: &'static str,
    /// [`Row::name`]
    pub(crate) name: String,
    /// [`Row::help`]
    pub(crate) help: String,
    /// As people write it; empty for none.
    pub(crate) default: String,
    /// As in --help: `--fast [<BOOL>]`; none without a flag.
    pub(crate) flag: Option<String>,
    /// [`Row::changed_by`]
    pub(crate) changed_by: Change,
}

impl<T: Value> Row<T> {
    pub(crate) fn new(
        section: &'static str,
        field: &'static str,
        help: &'static str,
        default: Option<T>,
    ) -> Self {
        Row {
            section,
            name: field.replace('_', "-"),
            // Each line of a comment begins with a blank.
            help: help.trim().to_owned(),
            default,
            default_text: "",
            value_name: T::NAME,
            is_there: true,
            has_flag: !T::IS_SECRET,
            check: T::check,
            changed_by: Change::Reload,
            shown: Shown::Value,
        }
    }

    /// What the command line knows of it: nothing without a flag.
    pub(crate) fn argument(&self) -> Option<Arg> {
        let help = match self.default_text() {
            default if default.is_empty() => self.help.clone(),
            default => format!("{} [default: {default}]", self.help),
        };
        let argument = Arg::new(&self.name)
            .long(&self.name)
            .env(variable(&self.name))
            .hide_env_values(T::IS_SECRET)
            .value_name(self.value_name)
            .help(help);
        (self.has_flag && self.is_there).then(|| T::argument(argument))
    }

    /// What the command line or a variable says of it.
    pub(crate) fn given(&self, matches: &ArgMatches) -> Option<T> {
        let matches = (self.has_flag && self.is_there).then_some(matches)?;
        matches.get_one(&self.name).cloned()
    }

    /// The value as it is taken.
    ///
    /// # Errors
    /// A sentence that names the setting.
    pub(crate) fn checked(&self, given: Option<T>) -> crate::StartResult<Option<T>> {
        if given.is_some() && !self.is_there {
            return refuse(format!(
                "{} is for programs that run handlers in any language",
                self.title()
            ));
        }
        match given.map(self.check).transpose() {
            Ok(taken) => Ok(taken),
            Err(why) => refuse(format!("{} {why}", self.title())),
        }
    }

    /// As messages name it.
    pub(crate) fn title(&self) -> String {
        match self.has_flag {
            true => format!("--{}", self.name),
            false => format!("{} ({})", self.name, variable(&self.name)),
        }
    }

    /// Its line on the status page: the name, and what is in force.
    pub(crate) fn shown(&self, value: Option<&T>, config: &Config) -> Option<(String, String)> {
        let text = match (&self.shown, value) {
            (Shown::ByAnother, _) => return None,
            _ if !self.is_there => return None,
            (Shown::As(text), _) => text(config),
            (Shown::Value, Some(value)) => value.text(),
            (Shown::Value, None) if self.default_text.is_empty() => "not set".to_owned(),
            (Shown::Value, None) => self.default_text.to_owned(),
        };
        Some((self.name.clone(), text))
    }

    fn default_text(&self) -> String {
        match &self.default {
            _ if !self.default_text.is_empty() => self.default_text.to_owned(),
            // That a switch is off goes without saying.
            Some(value) if !T::IS_SWITCH => value.text(),
            _ => String::new(),
        }
    }

    pub(crate) fn described(&self) -> Described {
        let (open, close) = if T::IS_SWITCH { ("[", "]") } else { ("", "") };
        let flag = format!("--{} {open}<{}>{close}", self.name, self.value_name);
        Described {
            section: self.section,
            name: self.name.clone(),
            help: self.help.clone(),
            default: self.default_text(),
            flag: self.has_flag.then_some(flag),
            changed_by: self.changed_by,
        }
    }
}
