//! [`Timer`]: what a turn of [`Kind::Timer`](super::Kind::Timer) is about; [`Delay`]: how far
//! off it is set; [`TimerChange`]: what a turn wants done about timers.
//!
//! `turn/timing.rs` does it with the turn's commit; [`SetTimer`] is what it keeps.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::author::error::Error;

/// How far off a timer may be: ten years, and the days of the leap years.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_secs(3653 * 24 * 3600);

/// A timer that is due: see [`Turn::after`](crate::Turn::after).
///
/// ```
/// use std::time::Duration;
/// use turnkey::Turn;
///
/// async fn remind(turn: &mut Turn<()>) -> turnkey::Result<()> {
///     if let Some(timer) = turn.timer() {
///         // Nothing ran meanwhile: it is too late for that.
///         if timer.late < Duration::from_secs(3600) {
///             turn.reply(format!("Now: {}.", timer.name));
///         }
///     }
///     Ok(())
/// }
/// # turnkey::App::new(remind);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Timer {
    /// The name that it was set under.
    pub name: String,
    /// When it was to be due: milliseconds since 1970.
    pub due: i64,
    /// How long after that it fired: milliseconds in most cases, hours if nothing ran. As JSON a
    /// number of milliseconds.
    #[serde(default, with = "milliseconds")]
    pub late: Duration,
    /// What it was set with.
    #[serde(default)]
    pub data: serde_json::Value,
}

mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}

/// A timer as it is kept until it is due. One that has a schedule is due again and again: which
/// time this is, the id of its update says.
#[derive(Serialize, Deserialize)]
pub(crate) struct SetTimer {
    pub(crate) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<i64>,
    #[serde(default)]
    pub(crate) data: serde_json::Value,
}

/// How far off a timer is: a [`Duration`], or a text such as `10m`, with the units `ms`, `s`,
/// `m`, `h` and `d`. A text of the program's own that is none fails the turn; one that a user
/// wrote is parsed, and what is wrong with it can be answered:
///
/// ```
/// use std::time::Duration;
/// use turnkey::Delay;
///
/// # fn main() -> turnkey::Result<()> {
/// assert_eq!(Delay::from("10m"), Delay::from(Duration::from_secs(600)));
///
/// let delay: Delay = "10m".parse()?;
/// assert_eq!(delay, Delay::from("10m"));
/// let error = "soon".parse::<Delay>().unwrap_err();
/// assert_eq!(error.to_string(), "\"soon\" is no time such as 500ms, 10s, 10m, 2h or 3d");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delay(pub(crate) Result<Duration, String>);

impl From<Duration> for Delay {
    fn from(delay: Duration) -> Self {
        Delay(Ok(delay))
    }
}

impl From<&str> for Delay {
    fn from(text: &str) -> Self {
        let read = || {
            let digits = text.find(|c: char| !c.is_ascii_digit())?;
            let (number, unit) = text.split_at(digits);
            let milliseconds = match unit {
                "ms" => 1,
                "s" => 1000,
                "m" => 60 * 1000,
                "h" => 3600 * 1000,
                "d" => 24 * 3600 * 1000,
                _ => return None,
            };
            number.parse::<u64>().ok()?.checked_mul(milliseconds)
        };
        Delay(read().map(Duration::from_millis).ok_or_else(|| {
            let text = short(text);
            format!("{text:?} is no time such as 500ms, 10s, 10m, 2h or 3d")
        }))
    }
}

/// As much of it as is said again.
fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

impl FromStr for Delay {
    type Err = Error;

    /// A text that somebody wrote.
    ///
    /// # Errors
    /// It is no time, and what times look like; or it is more than the ten years that a timer
    /// has at most.
    fn from_str(text: &str) -> Result<Self, Error> {
        let delay = Delay::from(text).0.map_err(Error::msg)?;
        match delay > LONGEST_DELAY {
            true => Err(Error::msg(format!(
                "{:?} is more than ten years",
                short(text)
            ))),
            false => Ok(Delay(Ok(delay))),
        }
    }
}

impl Serialize for Delay {
    /// As milliseconds.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok(delay) => to.serialize_u64(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX)),
            Err(reason) => Err(serde::ser::Error::custom(reason)),
        }
    }
}

impl<'de> Deserialize<'de> for Delay {
    /// Milliseconds, or a text.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "a number of milliseconds, or a text such as \"10m\""
        )]
        enum Written {
            Milliseconds(u64),
            Text(String),
        }
        Ok(match Written::deserialize(from)? {
            Written::Milliseconds(number) => Duration::from_millis(number).into(),
            Written::Text(text) => text.as_str().into(),
        })
    }
}

/// When a timer is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// So long after the turn.
    After(Delay),
    /// At this moment: milliseconds since 1970.
    At(i64),
    /// Again and again: a cron expression, and the zone in which it holds.
    Every { cron: String, zone: String },
}

/// What a turn wants done about a timer of its dialog.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TimerChange {
    /// Set, in place of one that has this name.
    Set {
        name: String,
        when: When,
        data: serde_json::Value,
    },
    /// Taken away, if it is there.
    Cancel { name: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_a_user_wrote_is_parsed_or_refused_in_words() {
        assert_eq!("10m".parse::<Delay>().unwrap(), Delay::from("10m"));
        let refused = |text: &str| text.parse::<Delay>().unwrap_err().to_string();
        assert!(refused("soon").contains("no time such as 500ms, 10s, 10m, 2h or 3d"));
        // It would fail the turn that sets it.
        assert_eq!(refused("3654d"), "\"3654d\" is more than ten years");
        assert!("3653d".parse::<Delay>().is_ok());
    }

    #[test]
    fn delays_are_read() {
        for (text, milliseconds) in [
            ("500ms", Some(500)),
            ("10s", Some(10_000)),
            ("10m", Some(600_000)),
            ("2h", Some(7_200_000)),
            ("3d", Some(259_200_000)),
            ("0s", Some(0)),
            ("10", None),
            ("", None),
            ("m", None),
            ("-1s", None),
            ("1.5h", None),
            ("99999999999999999999s", None),
            ("9999999999999999d", None),
        ] {
            let read = Delay::from(text).0.ok();
            assert_eq!(read, milliseconds.map(Duration::from_millis), "{text}");
        }
        let number: Delay = serde_json::from_str("1500").unwrap();
        assert_eq!(number, Duration::from_millis(1500).into());
        let error = serde_json::from_str::<Delay>("-1").unwrap_err().to_string();
        assert!(error.contains("a number of milliseconds"), "{error}");
    }
}
