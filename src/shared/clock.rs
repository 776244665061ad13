//! What time it is, in the few forms that the program keeps.
//!
//! The wall clock may be set at any time, so nothing is ordered by it; ordering uses
//! [`turnkey_storage::clock`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
