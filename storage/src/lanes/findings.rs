//! What a check may find in the lock tables of a database server.
//!
//! Called by each engine's `inspect.rs`, which counts.

use std::time::Duration;

use crate::Finding;

/// By then a running bot has freed what a process that just died held.
pub(crate) const FREED: Duration = Duration::from_secs(2);

/// Locks whose number of waiters is not that of their queue.
pub(crate) fn miscounted(count: u64) -> Option<Finding> {
    Finding::of(
        count,
        "locks count their waiters wrongly",
        "some other program changed them; stop all bots and delete the rows of turnkey_lock and turnkey_waiter",
    )
}

/// Locks that are still held by nobody after [`FREED`].
pub(crate) fn dead(count: u64) -> Option<Finding> {
    Finding::of(
        count,
        "lock rows belong to processes that are gone",
        "nothing to do: a bot frees them within a second of its start",
    )
}
