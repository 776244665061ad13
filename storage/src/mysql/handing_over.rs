//! Locks that go to the next in line.
//!
//! Called by `wire.rs` and `author.rs` when a turn's lock cannot just be freed, since another
//! turn waits for it.

use mysql_async::Row;

use super::calls::Calls;
use super::conn::{Columns, Tried};
use super::errors::Failed;
use super::literal::Sql;
use super::writing::FENCES;
use crate::lanes::retry::Retry;
use crate::lanes::wire::{Failure, MAX_BATCH};
use crate::{DialogKey, Fence, unix_ms};

impl Calls {
    /// Gives locks back that somebody waits for: each to the first in its queue. Those
    /// that are not held with their fence (any more) stay as they are.
    pub(super) async fn hand_over(&mut self, ends: &[(&DialogKey, Fence)]) -> Tried<()> {
        for some in ends.chunks(MAX_BATCH) {
            let mut retry = Retry::default();
            while let Err(error) = self.try_hand_over(some).await {
                if !error.is_deadlock() || !retry.again().await {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn try_hand_over(&mut self, ends: &[(&DialogKey, Fence)]) -> Tried<()> {
        // The second statement sees who was queued while the first one waited.
        let mut sql =
            Sql::new("START TRANSACTION; SELECT 1 FROM turnkey_lock FORCE INDEX (PRIMARY) WHERE ");
        let these = |sql: &mut Sql| {
            sql.among(ends.iter().map(|(dialog, _)| *dialog))
                .push(" AND fence IN ")
                .numbers(ends.iter().map(|(_, fence)| fence.0));
        };
        these(&mut sql);
        sql.push(
            " FOR UPDATE; SELECT l.user_id,l.channel,(SELECT CONCAT_WS(' ',w.arrived,w.ticket,w.owner) \
             FROM turnkey_waiter w WHERE w.user_id=l.user_id AND w.channel=l.channel \
             ORDER BY w.arrived,w.ticket,w.owner LIMIT 1) \
             FROM turnkey_lock l FORCE INDEX (PRIMARY) WHERE ",
        );
        these(&mut sql);
        let answers = self.conn.run(&sql).await?;
        let rows = answers
            .into_iter()
            .nth(2)
            .map(|a| a.rows)
            .unwrap_or_default();
        let (mut heirs, mut without) = (Vec::new(), Vec::new());
        for row in rows {
            let heir = self.heir(row);
            match self.conn.note(heir)? {
                (dialog, Some(heir)) => heirs.push((dialog, heir)),
                (dialog, None) => without.push(dialog),
            }
        }
        if heirs.is_empty() && without.is_empty() {
            return self.conn.roll_back().await;
        }
        let mut sql = Sql::default();
        if !without.is_empty() {
            sql.push("DELETE l FROM turnkey_lock l FORCE INDEX (PRIMARY) WHERE ")
                .among(&without)
                .push(";");
        }
        if !heirs.is_empty() {
            let now = unix_ms();
            sql.push(
                "INSERT INTO turnkey_fence VALUES (NULL); INSERT INTO turnkey_lock \
                 (user_id,channel,owner,ticket,fence,since,waiters) VALUES ",
            )
            .list(heirs.iter().enumerate(), |sql, (n, (dialog, heir))| {
                sql.push("(").key(dialog).push(&format!(
                    ",{},{},{n},{now},0)",
                    heir.owner, heir.ticket
                ));
            })
            .push(&format!(
                " ON DUPLICATE KEY UPDATE owner=VALUES(owner),ticket=VALUES(ticket),\
                 fence=LAST_INSERT_ID()*{FENCES}+VALUES(fence),since=VALUES(since),waiters=waiters-1;"
            ));
            sql.push("DELETE w FROM turnkey_waiter w FORCE INDEX (PRIMARY) WHERE (user_id,channel,arrived,ticket,owner) IN (")
                .list(&heirs, |sql, (dialog, heir)| {
                    sql.push("(").key(dialog).push(&format!(
                        ",{},{},{})",
                        heir.arrived, heir.ticket, heir.owner
                    ));
                })
                .push("); SELECT LAST_INSERT_ID();");
        }
        sql.push("COMMIT");
        let answers = self.conn.run(&sql).await?;
        let drawn = answers.iter().find_map(|answer| answer.rows.first());
        let drawn: u64 = drawn.map_or(Ok(0), |row| row.number(0))?;
        if let Some(shared) = self.shared.upgrade() {
            for (n, (_, heir)) in heirs.iter().enumerate() {
                if heir.owner == shared.owner {
                    shared.granted(heir.ticket, (drawn * FENCES) as i64 + n as i64);
                }
            }
        }
        Ok(())
    }

    fn heir(&self, mut row: Row) -> Tried<(DialogKey, Option<Heir>)> {
        let dialog = row.dialog(0)?;
        if row.is_null(2) {
            return Ok((dialog, None));
        }
        let text = row.text(2)?;
        let mut numbers = text.split(' ').map(str::parse::<i64>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(arrived)), Some(Ok(ticket)), Some(Ok(owner))) => {
                let heir = Heir {
                    arrived,
                    ticket,
                    owner,
                };
                Ok((dialog, Some(heir)))
            }
            _ => Err(Failed::Odd("a waiter's row cannot be read")),
        }
    }
}

/// The first in a dialog's queue.
struct Heir {
    arrived: i64,
    ticket: i64,
    owner: i64,
}
