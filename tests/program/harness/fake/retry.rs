//! When a platform posts again what was not answered 200.

use std::time::{Duration, SystemTime};

use crate::harness::client::Answer;

use super::Kind;

/// The longest pause, of the real times.
const LONGEST: f64 = 60.0;

/// One update's attempts.
pub(crate) struct Retry {
    kind: Kind,
    scale: f64,
    failures: i32,
}

impl Retry {
    pub(crate) fn of(kind: Kind, scale: f64) -> Self {
        Retry {
            kind,
            scale,
            failures: 0,
        }
    }

    /// How long to wait after this answer, or none.
    pub(crate) fn pause(&mut self, answer: Option<&Answer>) -> Duration {
        self.failures += 1;
        let doubled = 2_f64.powi(self.failures.min(10) - 1);
        let seconds = match self.kind {
            // The first time at once.
            Kind::Telegram | Kind::Facebook if self.failures == 1 => 0.0,
            Kind::Telegram | Kind::Facebook => doubled,
            // "Several times": nobody says when.
            Kind::Viber | Kind::Vk => doubled * 2.0,
            // A patient client.
            Kind::Http => 1.0,
        };
        let asked = answer.map(|answer| answer.header("retry-after").to_owned());
        let seconds = asked.and_then(|asked| after(&asked)).unwrap_or(seconds);
        // Never in a circle without a pause, whatever the scale.
        Duration::from_secs_f64(seconds.min(LONGEST) * self.scale).max(Duration::from_millis(1))
    }
}

/// `Retry-After`: seconds, or a date.
fn after(value: &str) -> Option<f64> {
    if let Ok(seconds) = value.parse() {
        return Some(seconds);
    }
    let when = httpdate::parse_http_date(value).ok()?;
    Some(
        when.duration_since(SystemTime::now())
            .map_or(0.0, |d| d.as_secs_f64()),
    )
}

#[test]
fn telegrams_pauses() {
    let mut retry = Retry::of(Kind::Telegram, 1.0);
    let pauses: Vec<_> = (0..9)
        .map(|_| retry.pause(None).as_secs_f64().round())
        .collect();
    assert_eq!(pauses, [0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]);
}
