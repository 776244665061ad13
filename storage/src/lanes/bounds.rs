//! The values allowed for our own parameters of a server's address, `?pool=` and `?lease=`, and
//! the time limit of an author's statement.
//!
//! Called by each engine's address, session and author's connections. No message here shows
//! more than the value of the parameter itself.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::{Error, Result};

/// Connections of a process, beside those that show that it lives: two carry turns,
/// six the author's own SQL. Few are faster: turns that wait for one travel together.
pub const DEFAULT_POOL: usize = 8;

/// The most that `?pool=` takes: servers allow 100 to 150 in all at first.
pub const MAX_POOL: usize = 64;

/// How long a process that gives no sign of life is believed alive while its session
/// stands, where `?lease=` does not say: its box may have vanished.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(10);

/// An author's statements and questions are stopped after this time.
pub(crate) const MAX_STATEMENT: Duration = Duration::from_secs(5);

/// What `?lease=` takes. A sign of life comes twice a second, and may be late.
const LEASES: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(300);

/// The value of `?pool=`.
///
/// # Errors
/// [`Error::Open`] when it is out of bounds.
pub(crate) fn pool(text: &str) -> Result<usize> {
    text.parse()
        .ok()
        .filter(|n| (4..=MAX_POOL).contains(n))
        .ok_or_else(|| Error::open(format!("?pool= takes 4 to {MAX_POOL}, not {text:?}")))
}

/// The value of `?lease=`, in whole seconds.
///
/// # Errors
/// [`Error::Open`] when it is out of bounds.
pub(crate) fn lease(text: &str) -> Result<Duration> {
    text.parse()
        .ok()
        .map(Duration::from_secs)
        .filter(|lease| LEASES.contains(lease))
        .ok_or_else(|| {
            Error::open(format!(
                "?lease= takes {} to {} seconds, not {text:?}",
                LEASES.start().as_secs(),
                LEASES.end().as_secs()
            ))
        })
}

/// Connections that carry turns, of so many: an even number. One pair did 1.2 times
/// the turns of two, with two processes on two processors.
pub(crate) fn lanes(pool: usize) -> usize {
    (pool / 8).max(1) * 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        assert_eq!(pool("4").unwrap(), 4);
        for text in ["", "3", "65", "many", "-1", "4 "] {
            assert!(pool(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_lease_out_of_bounds_is_refused() {
        assert_eq!(lease("300").unwrap(), Duration::from_secs(300));
        for text in ["", "1", "301", "10s", "1.5"] {
            assert!(lease(text).is_err(), "{text:?}");
        }
    }
}
