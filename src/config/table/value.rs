//! The types that a setting can have: how each is read from the command line and from the
//! file, and how it is written.
//!
//! A new type is one `impl Value`. Used by `row.rs` and the macro `settings!`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{BoolishValueParser, StringValueParser, TypedValueParser};
use clap::{Arg, ValueEnum, value_parser};
use serde::{Deserialize, Deserializer};

use crate::config::choices::{LogFormat, SyncMode, Updater};
use crate::config::secrets::Secret;
use crate::config::times::{age, duration, written};

/// A type that a setting can have.
pub(crate) trait Value: Clone + PartialEq + Send + Sync + 'static {
    /// What stands for it in --help.
    const NAME: &'static str;
    /// It is never shown, and has no flag unless its row says so.
    const IS_SECRET: bool = false;
    /// A flag without a value switches it on.
    const IS_SWITCH: bool = false;

    /// The argument, which now reads this type.
    fn argument(argument: Arg) -> Arg;

    /// Reads it from the file.
    ///
    /// # Errors
    /// What is wrong with it.
    fn from_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;

    /// As people write it. Of a secret that it is set.
    fn text(&self) -> String;

    /// The value as it is taken, where its row has nothing to say about that.
    ///
    /// # Errors
    /// What is wrong with it, after the setting's name.
    fn check(self) -> Result<Self, String> {
        Ok(self)
    }

    /// A setting of this type, if it is a secret.
    fn secret(_setting: &mut Option<Self>) -> Option<&mut Option<Secret>> {
        None
    }
}

/// For serde, which asks for every setting.
pub(crate) fn from_file<'de, D: Deserializer<'de>, T: Value>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::from_file(deserializer).map(Some)
}

/// How long something is kept: as any time, and in days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) Duration);

impl Value for Duration {
    const NAME: &'static str = "TIME";

    fn argument(argument: Arg) -> Arg {
        argument.value_parser(duration)
    }

    fn from_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        duration(&text).map_err(serde::de::Error::custom)
    }

    fn text(&self) -> String {
        written(*self)
    }
}

impl Value for Age {
    const NAME: &'static str = "TIME";

    fn argument(argument: Arg) -> Arg {
        argument.value_parser(|text: &str| age(text).map(Age))
    }

    fn from_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        age(&text).map(Age).map_err(serde::de::Error::custom)
    }

    fn text(&self) -> String {
        written(self.0)
    }
}

impl Value for bool {
    const NAME: &'static str = "BOOL";
    const IS_SWITCH: bool = true;

    fn argument(argument: Arg) -> Arg {
        argument
            .num_args(0..=1)
            .default_missing_value("true")
            .value_parser(BoolishValueParser::new())
    }

    fn from_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bool::deserialize(deserializer)
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Value for Secret {
    const NAME: &'static str = "SECRET";
    const IS_SECRET: bool = true;

    fn argument(argument: Arg) -> Arg {
        argument.value_parser(StringValueParser::new().map(Secret::from))
    }

    fn from_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Secret::deserialize(deserializer)
    }

    fn text(&self) -> String {
        "set".to_owned()
    }

    /// An empty secret would let everybody in.
    fn check(self) -> Result<Self, String> {
        match self.is_empty() {
            true => Err("is empty; give it a value, or leave it out".to_owned()),
            false => Ok(self),
        }
    }

    fn secret(setting: &mut Option<Self>) -> Option<&mut Option<Secret>> {
        Some(setting)
    }
}

/// Types that clap and serde know already.
macro_rules! plain {
    ($($type:ty, $name:literal, $text:expr;)+) => {$(
        impl Value for $type {
            const NAME: &'static str = $name;

            fn argument(argument: Arg) -> Arg {
                argument.value_parser(value_parser!($type))
            }

            fn from_file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <$type>::deserialize(deserializer)
            }

            fn text(&self) -> String {
                let text: fn(&$type) -> String = $text;
                text(self)
            }
        }
    )+};
}

plain! {
    u16, "N", u16::to_string;
    u32, "N", u32::to_string;
    u64, "N", u64::to_string;
    usize, "N", usize::to_string;
    String, "TEXT", String::clone;
    PathBuf, "FILE", |path| path.display().to_string();
    Updater, "HOW", chosen;
    SyncMode, "HOW", chosen;
    LogFormat, "FORMAT", chosen;
}

fn chosen<T: ValueEnum>(choice: &T) -> String {
    let value = choice.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}
