//! The statements that write many turns at once.
//!
//! Called by `wire.rs`, `handing_over.rs` and `keeper.rs`. Bounds: [`PORTION`] rows in one
//! statement.

use super::conn::StatementResult;
use super::errors::Failed;
use super::literal::Sql;
use crate::lanes::wire::{MAX_BATCH, Turn};
use crate::{DialogKey, Fence, LockAfter, Origin, Pending, inbox, unix_ms};

/// Fences that a row of `turnkey_fence` stands for: one for each lock of a batch.
pub(super) const FENCES: u64 = 1024;
const _: () = assert!(MAX_BATCH < FENCES as usize);

/// Rows that one statement names: more than so many are given up as a list by MariaDB
/// (`in_predicate_conversion_threshold`).
pub(super) const PORTION: usize = 500;

/// Writes turns with one statement for each table, or fails when anything is not as it
/// should be: a lock that is not held, an update or a version that somebody else wrote.
/// To be sent inside a transaction.
pub(super) fn write(sql: &mut Sql, turns: &[&Turn]) {
    let now = unix_ms();
    sql.push("SELECT COUNT(*) INTO @n FROM turnkey_lock FORCE INDEX (PRIMARY) WHERE ")
        .among(turns.iter().map(|turn| &turn.dialog))
        .push(" AND fence IN ")
        .numbers(turns.iter().map(|turn| turn.fence.0))
        .push(" FOR UPDATE;");
    guard(sql, turns.len());
    sql.push("INSERT INTO turnkey_seen (id,channel,fence,at,digest,answer) VALUES ")
        .list(turns, |sql, turn| {
            sql.push("(")
                .bytes(turn.commit.update.as_bytes())
                .push(",")
                .bytes(turn.dialog.channel.as_bytes())
                .push(&format!(",{},{now},", turn.fence.0))
                .bytes(&turn.commit.digest)
                .push(",")
                .bytes(&turn.commit.answer)
                .push(")");
        })
        .push(";");
    let (new, known): (Vec<&Turn>, Vec<&Turn>) =
        turns.iter().copied().partition(|turn| turn.version == 0);
    if !known.is_empty() {
        sql.push("SELECT COUNT(*) INTO @n FROM turnkey_dialog FORCE INDEX (PRIMARY) WHERE ")
            .among(known.iter().map(|turn| &turn.dialog))
            .push(" AND version IN ")
            .numbers(known.iter().map(|turn| turn.version))
            .push(";");
        guard(sql, known.len());
        states(sql, &known, now);
        sql.push(
            " ON DUPLICATE KEY UPDATE version=VALUES(version),state=VALUES(state),\
             updated_at=VALUES(updated_at);",
        );
    }
    if !new.is_empty() {
        states(sql, &new, now);
        sql.push(";");
    }
    kept_beside(sql, turns, now);
    for turn in turns {
        relay(sql, &turn.commit.relays);
    }
    let ends = ends(turns);
    if !ends.is_empty() {
        free(sql, &ends);
    }
}

/// Writes what is kept beside states: replies, history, and what leaves the inbox.
pub(super) fn kept_beside(sql: &mut Sql, turns: &[&Turn], now: i64) {
    let replies = || {
        turns.iter().flat_map(|turn| {
            turn.commit
                .replies
                .iter()
                .enumerate()
                .map(move |r| (turn, r))
        })
    };
    if replies().next().is_some() {
        sql.push("INSERT INTO turnkey_outbox (user_id,channel,turn,n,body) VALUES ")
            .list(replies(), |sql, (turn, (n, body))| {
                sql.push("(")
                    .key(&turn.dialog)
                    .push(&format!(",{},{n},", turn.fence.0))
                    .text(body)
                    .push(")");
            })
            .push(";");
    }
    let kept: Vec<(&DialogKey, &str)> = turns
        .iter()
        .filter_map(|turn| Some((&turn.dialog, turn.commit.history.as_deref()?)))
        .collect();
    if !kept.is_empty() {
        sql.push("INSERT INTO turnkey_history (user_id,channel,at,turn) VALUES ")
            .list(kept, |sql, (dialog, turn)| {
                sql.push("(")
                    .key(dialog)
                    .push(&format!(",{now},"))
                    .text(turn)
                    .push(")");
            })
            .push(";");
    }
    let pending: Vec<&&Turn> = turns
        .iter()
        .filter(|turn| turn.commit.origin == Origin::Inbox)
        .collect();
    if !pending.is_empty() {
        sql.push("DELETE i FROM turnkey_inbox i FORCE INDEX (PRIMARY) WHERE (id,channel) IN (")
            .list(pending, |sql, turn| {
                sql.push("(")
                    .bytes(turn.commit.update.as_bytes())
                    .push(",")
                    .bytes(turn.dialog.channel.as_bytes())
                    .push(")");
            })
            .push(");");
    }
}

/// Takes updates into the inbox; after the turns' own are known to be handled. One that is
/// there stays as it is.
fn relay(sql: &mut Sql, relays: &[Pending]) {
    for relay in inbox::in_order(relays) {
        sql.push(
            "INSERT INTO turnkey_inbox (id,channel,user_id,arrived,body,attempts,due,error) SELECT ",
        )
        .bytes(relay.update.as_bytes())
        .push(",")
        .bytes(relay.dialog.channel.as_bytes())
        .push(",")
        .bytes(relay.dialog.user_id.as_bytes())
        .push(&format!(",{},", relay.arrived))
        .bytes(&relay.body)
        .push(&format!(",{},{},", relay.attempts, relay.due));
        match &relay.error {
            Some(error) => sql.text(error),
            None => sql.push("NULL"),
        };
        sql.push(
            " FROM (SELECT 1 AS one) t WHERE NOT EXISTS (SELECT 1 FROM turnkey_seen s WHERE s.id=",
        )
        .bytes(relay.update.as_bytes())
        .push(" AND s.channel=")
        .bytes(relay.dialog.channel.as_bytes())
        .push(") ON DUPLICATE KEY UPDATE turnkey_inbox.attempts=turnkey_inbox.attempts;");
    }
}

fn states(sql: &mut Sql, turns: &[&Turn], now: i64) {
    sql.push("INSERT INTO turnkey_dialog (user_id,channel,version,state,updated_at) VALUES ")
        .list(turns, |sql, turn| {
            sql.push("(")
                .key(&turn.dialog)
                .push(&format!(",{},", turn.fence.0))
                .text(&turn.commit.state)
                .push(&format!(",{now})"));
        });
}

pub(super) fn ends<'a>(turns: &[&'a Turn]) -> Vec<(&'a DialogKey, Fence)> {
    turns
        .iter()
        .filter(|turn| turn.commit.lock == LockAfter::GivenBack)
        .map(|turn| (&turn.dialog, turn.fence))
        .collect()
}

/// Gives back the locks that nobody waits for.
pub(super) fn free(sql: &mut Sql, ends: &[(&DialogKey, Fence)]) {
    sql.push("DELETE l FROM turnkey_lock l FORCE INDEX (PRIMARY) WHERE ")
        .among(ends.iter().map(|(dialog, _)| *dialog))
        .push(" AND fence IN ")
        .numbers(ends.iter().map(|(_, fence)| fence.0))
        .push(" AND waiters=0;");
}

/// Whether [`free`], the last statement but the COMMIT, found all of them. If not,
/// somebody waits for the others, or they were another's.
pub(super) fn all_freed(answers: &[StatementResult], ends: &[(&DialogKey, Fence)]) -> bool {
    let freed = answers.last().map_or(0, |answer| answer.affected);
    ends.is_empty() || freed == ends.len() as u64
}

/// Counts again who waits. To be sent under the locks' rows.
pub(super) fn recount(sql: &mut Sql, dialogs: &[&DialogKey]) {
    sql.push(
        "UPDATE turnkey_lock FORCE INDEX (PRIMARY) SET waiters=(SELECT COUNT(*) FROM turnkey_waiter w \
         WHERE w.user_id=turnkey_lock.user_id AND w.channel=turnkey_lock.channel) WHERE ",
    )
    .among(dialogs.iter().copied())
    .push(";");
}

/// Fails, with [`GUARD`], unless `@n` is `wanted`.
fn guard(sql: &mut Sql, wanted: usize) {
    sql.push("SET @n=(SELECT 1 FROM (SELECT 1 UNION ALL SELECT 2) t WHERE @n<>")
        .number(wanted)
        .push(");");
}

/// "Subquery returns more than 1 row"
const GUARD: u16 = 1242;

pub(super) fn is_guard(error: &Failed) -> bool {
    error.code() == Some(GUARD)
}

/// Sorted lists come in, so the same dialogs stand beside each other.
pub(super) fn distinct<'a>(dialogs: impl Iterator<Item = &'a DialogKey>) -> Vec<&'a DialogKey> {
    let mut dialogs: Vec<_> = dialogs.collect();
    dialogs.dedup();
    dialogs
}
