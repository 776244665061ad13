//! Checks of single values, for the column `check` of `settings.rs`.
//!
//! Each returns the value to use, or the rest of the error sentence that begins with the
//! setting's name.

use std::fmt::Display;
use std::time::Duration;

use super::times::written;

/// Not less than `least`.
pub(super) fn at_least<T: PartialOrd + Display>(least: T, value: T) -> Result<T, String> {
    match value < least {
        true => Err(format!("takes at least {least}, not {value}")),
        false => Ok(value),
    }
}

/// At least 1. More than `most` counts as `most`: nothing has so many.
pub(super) fn up_to<T: Ord + Display + From<u8>>(most: T, value: T) -> Result<T, String> {
    at_least(T::from(1), value).map(|value| value.min(most))
}

/// Neither less nor more.
pub(super) fn between<T: PartialOrd + Display>(least: T, most: T, value: T) -> Result<T, String> {
    match value < least || value > most {
        true => Err(format!("takes {least} to {most}, not {value}")),
        false => Ok(value),
    }
}

/// Not shorter than `least`; `why` is the rest of the sentence.
pub(super) fn lasting(least: Duration, why: &str, value: Duration) -> Result<Duration, String> {
    match value < least {
        true => Err(format!("takes at least {}{why}", written(least))),
        false => Ok(value),
    }
}

/// An address in the web, such as `example`.
pub(super) fn web_address(example: &str, value: String) -> Result<String, String> {
    match value.starts_with("https://") || value.starts_with("http://") {
        true => Ok(value),
        false => Err(format!("takes an address such as {example}, not {value:?}")),
    }
}

/// An id that platforms write in digits.
pub(super) fn digits(value: String) -> Result<String, String> {
    match !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(value),
        false => Err(format!("takes an id in digits, not {value:?}")),
    }
}
