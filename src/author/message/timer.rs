//! [`Timer`]: what a turn of [`Kind::Timer`](super::Kind::Timer) is about; [`Delay`]: how far
//! off it is set; [`TimerChange`]: what a turn wants done about timers.
//!
//! `turn/timing.rs` does it with the turn's commit; [`SetTimer`] is what it keeps.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
/// `m`, `h` and `d`. What is none fails the turn.
///
/// ```
/// use std::time::Duration;
/// use turnkey::Delay;
///
/// assert_eq!(Delay::from("10m"), Delay::from(Duration::from_secs(600)));
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
            let text: String = text.chars().take(40).collect();
            format!("{text:?} is no time such as 500ms, 10s, 10m, 2h or 3d")
        }))
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
