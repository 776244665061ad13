//! What is written of an update that is done, by its turn or as a dead letter: its id is
//! remembered, it leaves the inbox, and its turn's steps go.
//!
//! Used by `inbox.rs`, `dead.rs` and `steps.rs`. The engines write the same of a turn's own update
//! in words of their own, together with the turn.

use crate::Statement;

/// Remembers an update as handled at this moment (milliseconds since 1970), unless it is
/// remembered already.
pub(crate) fn remember(
    channel: &str,
    update: &str,
    fence: u64,
    at: i64,
    digest: &[u8],
    answer: &[u8],
) -> Statement {
    Statement::new(
        "INSERT INTO turnkey_seen (channel, id, fence, at, digest, answer)
         SELECT ?1, ?2, ?3, ?4, ?5, ?6 FROM (SELECT 1 AS one) t
         WHERE NOT EXISTS (SELECT 1 FROM turnkey_seen s WHERE s.id = ?2 AND s.channel = ?1)",
        (channel, update, fence as i64, at, digest, answer),
    )
}

/// Takes an update out, if it is there.
pub(crate) fn take_out(channel: &str, update: &str) -> Statement {
    Statement::new(
        "DELETE FROM turnkey_inbox WHERE id = ?1 AND channel = ?2",
        (update, channel),
    )
}

/// Takes the steps of its turn away, if there are some.
pub(crate) fn take_steps(channel: &str, update: &str) -> Statement {
    Statement::new(
        "DELETE FROM turnkey_step WHERE id = ?1 AND channel = ?2",
        (update, channel),
    )
}
