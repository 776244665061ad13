//! How often, and after which pauses, a call is retried after a conflict: two transactions
//! deadlocked, or inserted the same row at the same moment.
//!
//! Used by the lanes and by every engine's `author.rs` and `wire.rs`: there is no other loop
//! around such a call. Bounds: [`ATTEMPTS`], and between two of them a pause that doubles from
//! [`FIRST_PAUSE`], with jitter, so that two calls that collided do not collide again.

use std::time::Duration;

/// Attempts at a call that was chosen to give way.
pub(crate) const ATTEMPTS: u32 = 5;

const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// Counts the attempts at one call.
#[derive(Debug, Default)]
pub(crate) struct Retry {
    failed: u32,
}

impl Retry {
    /// To be called after an attempt that had to give way: whether there is to be
    /// another one, once the pause is over.
    pub(crate) async fn again(&mut self) -> bool {
        let Some(pause) = self.pause() else {
            return false;
        };
        tokio::time::sleep(pause).await;
        true
    }

    fn pause(&mut self) -> Option<Duration> {
        self.failed += 1;
        if self.failed >= ATTEMPTS {
            return None;
        }
        let least = FIRST_PAUSE * (1 << self.failed.min(10));
        // Without chance it is as long as it can be.
        let chance = getrandom::u32().map_or(1.0, |n| f64::from(n) / f64::from(u32::MAX));
        Some(least.mul_f64(0.5 + chance / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_bounded_and_pauses_grow() {
        let mut retry = Retry::default();
        let mut last = Duration::ZERO;
        for _ in 1..ATTEMPTS {
            let pause = retry.pause().unwrap();
            assert!(pause >= last, "{pause:?} after {last:?}");
            assert!(pause >= FIRST_PAUSE && pause < Duration::from_millis(100));
            last = pause;
        }
        assert_eq!(retry.pause(), None);
        assert_eq!(retry.pause(), None);
    }
}
