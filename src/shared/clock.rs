//! What time it is, in the few forms that the program keeps.
//!
//! The wall clock may be set at any time, so nothing is ordered by it; ordering uses
//! [`turnkey_storage::clock`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Since 1970; zero before.
pub(crate) fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    since_1970().as_millis() as u64
}

/// A clock that is the same in all processes of the box and never set.
pub(crate) fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Into::into)
}

/// The same in milliseconds.
pub(crate) fn monotonic_ms() -> u64 {
    monotonic().as_millis() as u64
}
