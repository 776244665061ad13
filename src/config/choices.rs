//! Settings whose value is one of a few words.
//!
//! The words are the variants' names in lower case, for clap and for serde; their comments are
//! the text of --help.

use serde::Deserialize;

/// How updates arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Updater {
    /// The platform posts them to us.
    Webhooks,
    /// We ask the platform for them.
    Polling,
}

impl Updater {
    /// As it is written on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Updater::Webhooks => "webhooks",
            Updater::Polling => "polling",
        }
    }
}

/// How durable an acknowledged turn is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SyncMode {
    /// It survives a power cut.
    Full,
    /// It survives the death of the program, not of the machine.
    Normal,
}

/// How the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}
