//! Times as people write them: `8s`, `90d`.
//!
//! Read by clap from flags and variables, by serde from the file.

use std::time::Duration;

use serde::Deserialize;
use turnkey_storage::Address;

/// The longest time that can be set, in seconds: a week.
const LONGEST: f64 = 7.0 * 24.0 * 3600.0;

/// The longest time that something is kept, in days: ten years.
const MAX_DAYS: u32 = 3650;

/// Reads a storage address such as `sqlite:bot.db`.
pub(crate) fn database(url: &str) -> crate::Result<Address> {
    url.parse()
        .map_err(|e: turnkey_storage::Error| crate::Error::start(e))
}

/// Reads `8s`, `500ms`, `2m` or `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, unit) = text.split_at(digits.unwrap_or(text.len()));
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{text:?} is not a time such as 8s, 500ms, 2m or 1h"))?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(format!("{text:?} needs a unit: ms, s, m or h, such as 8s")),
    };
    // Nothing here may take no time at all, and nothing waits for longer than this.
    if !(0.001..=LONGEST).contains(&seconds) {
        return Err(format!("{text:?} is not between 1ms and 168h"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

pub(super) fn optional_duration<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    duration(&text).map(Some).map_err(serde::de::Error::custom)
}

/// Reads `72h` or `90d`: how long something is kept.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let Some(days) = text.strip_suffix('d') else {
        return duration(text);
    };
    match days.parse() {
        Ok(days @ 1..=MAX_DAYS) => Ok(Duration::from_secs(u64::from(days) * 24 * 3600)),
        _ => Err(format!(
            "{text:?} is not a time such as 72h or 90d, up to {MAX_DAYS}d"
        )),
    }
}

pub(super) fn optional_age<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    age(&text).map(Some).map_err(serde::de::Error::custom)
}
