//! How often the bot tries to get a certificate, over all starts of the program.
//!
//! Kept in `NAME.attempts.json`, read and written by `mod.rs`. An attempt is recorded before it
//! begins, so one that was killed counts. Bounds: after the first, second, third failure in a
//! row [`PAUSES`], then an hour each; never more than [`PER_HOUR`] in an hour, however often
//! the program starts (Let's Encrypt allows five failed checks of a name in an hour); and not
//! before the server's Retry-After has passed, up to [`LONGEST`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use super::store::Store;
use crate::config::AcmeConfig;

const HOUR: Duration = Duration::from_secs(3600);

/// After one, two, three failures in a row; longer ones are an hour.
const PAUSES: [Duration; 3] = [
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
];

/// Attempts in an hour.
const PER_HOUR: usize = 4;

/// The longest that a server may send us away for.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Noted failures that are kept: more change nothing.
const KEPT: usize = 8;

/// Attempts that got no certificate, since the last that did.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Attempts {
    /// Whom was asked for what: another server, or other names, begin anew.
    of: (String, Vec<String>),
    /// When they began, seconds since 1970.
    began: Vec<u64>,
    /// Not before, by the server's wish; seconds since 1970.
    not_before: u64,
}

impl Attempts {
    /// Those that are noted for this server and these names.
    ///
    /// # Errors
    /// The file cannot be read. One that makes no sense counts as none.
    pub(super) fn load(store: &Store, config: &AcmeConfig) -> Result<Self, Failure> {
        let of = (config.url.clone(), config.domains.clone());
        let saved = store.get(&file(&of.1))?.unwrap_or_default();
        let saved = serde_json::from_str::<Attempts>(&saved).ok();
        let none = Attempts {
            of: of.clone(),
            ..Attempts::default()
        };
        Ok(saved.filter(|saved| saved.of == of).unwrap_or(none))
    }

    /// How many have failed.
    pub(super) fn failed(&self) -> usize {
        self.began.len()
    }

    /// How long to wait before the next. A process that has not tried yet need not wait as
    /// an earlier one would have: somebody may have removed the cause.
    pub(super) fn wait(&self, now: SystemTime, has_tried: bool) -> Duration {
        let now = seconds(now);
        // A clock that was put back leaves attempts in the future.
        let past = || self.began.iter().copied().filter(|began| *began <= now);
        let mut at = self.not_before.min(now + LONGEST.as_secs());
        let lately: Vec<u64> = past()
            .filter(|began| began + HOUR.as_secs() > now)
            .collect();
        if let Some(oldest) = lately.len().checked_sub(PER_HOUR) {
            at = at.max(lately[oldest] + HOUR.as_secs());
        }
        if let (true, Some(last)) = (has_tried, past().next_back()) {
            let pause = PAUSES.get(self.began.len() - 1).unwrap_or(&HOUR);
            at = at.max(last + pause.as_secs());
        }
        Duration::from_secs(at.saturating_sub(now))
    }

    /// Notes that one begins.
    ///
    /// # Errors
    /// It cannot be noted: then it must not begin.
    pub(super) async fn begin(&mut self, store: &Store, now: SystemTime) -> Result<(), Failure> {
        self.began.push(seconds(now));
        let extra = self.began.len().saturating_sub(KEPT);
        self.began.drain(..extra);
        self.save(store).await
    }

    /// Notes when the server wants to be asked again.
    ///
    /// # Errors
    /// It cannot be noted.
    pub(super) async fn put_off(
        &mut self,
        store: &Store,
        now: SystemTime,
        by: Duration,
    ) -> Result<(), Failure> {
        self.not_before = seconds(now) + by.min(LONGEST).as_secs();
        self.save(store).await
    }

    /// One has succeeded: nothing is noted.
    ///
    /// # Errors
    /// It cannot be noted.
    pub(super) async fn forget(&mut self, store: &Store) -> Result<(), Failure> {
        self.began.clear();
        self.not_before = 0;
        self.save(store).await
    }

    async fn save(&self, store: &Store) -> Result<(), Failure> {
        let text = serde_json::to_string(self).map_err(|e| Failure::new(e.to_string()))?;
        store.put(&file(&self.of.1), text).await
    }
}

/// As the certificate's, so bots of different names may share the directory.
fn file(domains: &[String]) -> String {
    let name = domains.first().map_or("certificate", String::as_str);
    format!("{name}.attempts.json")
}

fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn after(ago: &[u64], not_before: u64) -> [u64; 2] {
        let attempts = Attempts {
            began: ago.iter().map(|ago| NOW - ago).collect(),
            not_before,
            ..Attempts::default()
        };
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        [false, true].map(|has_tried| attempts.wait(now, has_tried).as_secs())
    }

    #[test]
    fn attempts_become_rare_and_are_few_in_an_hour() {
        assert_eq!(after(&[], 0), [0, 0]);
        assert_eq!(after(&[10], 0), [0, 50]);
        assert_eq!(after(&[100, 10], 0), [0, 290]);
        assert_eq!(after(&[500, 400, 10], 0), [0, 890]);
        // The fifth in an hour waits, also after a restart.
        assert_eq!(after(&[500, 400, 300, 10], 0), [3100, 3590]);
        assert_eq!(after(&[3700, 400, 300, 10], 0), [0, 3590]);
        assert_eq!(after(&[600, 500, 400, 300, 10], 0), [3100, 3590]);
    }

    #[test]
    fn a_server_is_left_alone_as_long_as_it_says_but_for_a_day_at_most() {
        assert_eq!(after(&[10], NOW + 5000), [5000, 5000]);
        assert_eq!(after(&[10], NOW - 5000), [0, 50]);
        assert_eq!(after(&[], u64::MAX), [86_400, 86_400]);
    }
}
