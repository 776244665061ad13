//! One phase of many turns, in as few round trips as possible.
//!
//! Used by the lanes (`lanes/lane.rs`), each of which has one, by `author.rs` and by the
//! keeper. The protocol has no pipelining, but one query may hold many statements: each phase
//! is one query with its own transaction; one turn alone has shorter ones (`alone.rs`). If a
//! check in it fails, a statement in the middle raises an error (`guard` in `writing.rs`) and the rest is not executed.
//!
//! Every transaction takes the lock rows first, in the order of their keys; statements
//! that come later in it see all that was committed before. The fence of a grant is
//! drawn after its lock row was taken, so it is larger than any before.

use std::collections::HashMap;

use super::calls::Calls;
use super::conn::{Columns, Tried};
use super::errors::Failed;
use super::known::{Known, look_up};
use super::literal::Sql;
use super::writing::{FENCES, PORTION, all_freed, distinct, ends, free, is_guard, recount, write};
use crate::lanes::retry::Retry;
use crate::lanes::wire::{Ask, Asked, Found, MAX_WAITERS, Reading, Turn, Wire};
use crate::{DialogKey, Error, Fence, LockAfter, Release, ReplyId, Result, unix_ms};

impl Wire for Calls {
    type Failed = Failed;

    async fn begin(&mut self, owner: i64, asks: &[Ask]) -> Tried<Vec<(i64, Asked)>> {
        if let [ask] = asks {
            return Ok(vec![(ask.ticket, self.begin_alone(owner, ask).await?)]);
        }
        let dialogs = distinct(asks.iter().map(|ask| &ask.dialog));
        let now = unix_ms();
        let mut sql = Sql::new(
            "START TRANSACTION; INSERT INTO turnkey_lock \
             (user_id,channel,owner,ticket,fence,since,waiters) VALUES ",
        );
        sql.list(asks.iter().enumerate(), |sql, (n, ask)| {
            sql.push("(")
                .key(&ask.dialog)
                .push(&format!(",{owner},{},{n},{now},0)", ask.ticket));
        });
        // One that is there stays as it is, but for one waiter more. The row is locked
        // either way.
        sql.push(" ON DUPLICATE KEY UPDATE waiters=waiters+1;");
        sql.push("INSERT INTO turnkey_fence VALUES (NULL);");
        sql.push(&format!(
            "UPDATE turnkey_lock FORCE INDEX (PRIMARY) SET fence=LAST_INSERT_ID()*{FENCES}+fence WHERE "
        ))
        .among(dialogs.iter().copied())
        .push(&format!(" AND owner={owner} AND fence<{FENCES};"));
        sql.push(
            "INSERT INTO turnkey_waiter (user_id,channel,arrived,owner,ticket) SELECT a.u,a.c,",
        )
        .arrival("a.at")
        .push(&format!(",{owner},a.t FROM ("));
        for (n, ask) in asks.iter().enumerate() {
            let names = match n {
                0 => ["", " AS u,", " AS c,", " AS at,", " AS t"],
                _ => [" UNION ALL ", ",", ",", ",", ""],
            };
            sql.push(names[0])
                .push("SELECT ")
                .bytes(ask.dialog.user_id.as_bytes())
                .push(names[1])
                .bytes(ask.dialog.channel.as_bytes())
                .push(names[2])
                .number(ask.arrived)
                .push(names[3])
                .number(ask.ticket)
                .push(names[4]);
        }
        sql.push(&format!(
            ") a STRAIGHT_JOIN turnkey_lock l FORCE INDEX (PRIMARY) \
             ON l.user_id=a.u AND l.channel=a.c WHERE l.owner<>{owner} OR l.ticket<>a.t;"
        ));
        sql.push(
            "SELECT user_id,channel,owner,ticket,fence,waiters FROM turnkey_lock \
             FORCE INDEX (PRIMARY) WHERE ",
        )
        .among(dialogs.iter().copied())
        .push(";");
        let updates = asks.iter().map(|ask| (&ask.dialog, ask.update.as_deref()));
        look_up(&mut sql, &dialogs, updates);
        sql.push("COMMIT");

        let mut answers = self.conn.run(&sql).await?.into_iter().skip(5);
        let mut locks = HashMap::new();
        for mut row in answers.next().map(|a| a.rows).unwrap_or_default() {
            let holder: (i64, i64) = (row.number(2)?, row.number(3)?);
            let lock = (holder, Fence(row.number(4)?), row.number::<i32>(5)?);
            locks.insert(row.dialog(0)?, lock);
        }
        let mut known = Known::collect(answers)?;
        let mut queued: HashMap<&DialogKey, i32> = HashMap::new();
        for ask in asks {
            let granted = locks
                .get(&ask.dialog)
                .is_some_and(|lock| lock.0 == (owner, ask.ticket));
            if !granted {
                *queued.entry(&ask.dialog).or_default() += 1;
            }
        }
        let mut asked = Vec::with_capacity(asks.len());
        let mut refused = Vec::new();
        for ask in asks {
            let (holder, fence, waiters) = locks
                .get(&ask.dialog)
                .ok_or(Failed::Odd("a lock row is not there"))?;
            let one = if *holder == (owner, ask.ticket) {
                Asked::Granted(known.take(&ask.dialog, ask.update.as_deref(), *fence))
            } else {
                // Those of this batch are the last in the count, in this order.
                let behind = queued.entry(&ask.dialog).or_default();
                *behind -= 1;
                match waiters - *behind <= MAX_WAITERS {
                    true => Asked::Queued,
                    false => {
                        refused.push((ask.ticket, ask.dialog.clone()));
                        Asked::Refused
                    }
                }
            };
            asked.push((ask.ticket, one));
        }
        if !refused.is_empty() {
            self.cancel(owner, &refused).await?;
        }
        Ok(asked)
    }

    async fn read(&mut self, readings: &[Reading]) -> Tried<Vec<(i64, Found)>> {
        let dialogs = distinct(readings.iter().map(|reading| &reading.dialog));
        let mut sql = Sql::default();
        let updates = readings
            .iter()
            .map(|reading| (&reading.dialog, reading.update.as_deref()));
        look_up(&mut sql, &dialogs, updates);
        let answers = self.conn.run(&sql).await?;
        let mut known = Known::collect(answers.into_iter())?;
        Ok(readings
            .iter()
            .map(|reading| {
                let update = reading.update.as_deref();
                let found = known.take(&reading.dialog, update, reading.fence);
                (reading.ticket, found)
            })
            .collect())
    }

    async fn commit_all(&mut self, turns: &[&Turn]) -> Tried<()> {
        self.write(Sql::new("START TRANSACTION;"), turns).await
    }

    async fn commit_one(&mut self, turn: &Turn) -> Tried<Result<()>> {
        if self.commit_alone(turn).await? {
            return Ok(Ok(()));
        }
        let mut retry = Retry::default();
        loop {
            // Looked at only when it fails: that is rare, and a look is a round trip.
            match self.commit_all(&[turn]).await {
                Ok(()) => return Ok(Ok(())),
                Err(error) if error.is_duplicate() || is_guard(&error) => {}
                Err(error) => return Err(error),
            }
            match self.look(turn).await? {
                Look::Free => {} // Something changed since.
                Look::Done => {
                    if turn.commit.lock == LockAfter::GivenBack {
                        self.hand_over(&[(&turn.dialog, turn.fence)]).await?;
                    }
                    return Ok(Ok(()));
                }
                Look::Refused(error) => return Ok(Err(error)),
            }
            if !retry.again().await {
                return Err(Failed::Odd("a commit met what the look after it did not"));
            }
        }
    }

    async fn sent(
        &mut self,
        replies: &[(&DialogKey, ReplyId)],
        ends: &[(&DialogKey, Fence)],
    ) -> Tried<()> {
        let mut sql = Sql::new("START TRANSACTION;");
        for some in replies.chunks(PORTION) {
            sql.push("DELETE o FROM turnkey_outbox o FORCE INDEX (PRIMARY) WHERE (user_id,channel,turn,n) IN (")
                .list(some, |sql, (dialog, id)| {
                    sql.push("(")
                        .key(dialog)
                        .push(&format!(",{},{})", id.turn.0, id.index));
                })
                .push(");");
        }
        if !ends.is_empty() {
            free(&mut sql, ends);
        }
        sql.push("COMMIT");
        let answers = self.conn.run(&sql).await?;
        match all_freed(&answers, ends) {
            true => Ok(()),
            false => self.hand_over(ends).await,
        }
    }

    async fn cancel(&mut self, owner: i64, places: &[(i64, DialogKey)]) -> Tried<()> {
        let dialogs = distinct(places.iter().map(|(_, dialog)| dialog));
        let tickets = || places.iter().map(|(ticket, _)| *ticket as u64);
        let mut sql = Sql::new(
            "START TRANSACTION; SELECT user_id,channel,fence,owner,ticket FROM turnkey_lock \
             FORCE INDEX (PRIMARY) WHERE ",
        );
        sql.among(dialogs.iter().copied())
            .push(" FOR UPDATE; DELETE w FROM turnkey_waiter w FORCE INDEX (PRIMARY) WHERE ")
            .among(dialogs.iter().copied())
            .push(&format!(" AND owner={owner} AND ticket IN "))
            .numbers(tickets())
            .push(";");
        recount(&mut sql, &dialogs);
        sql.push("COMMIT");
        let mut held = Vec::new();
        let mut answers = self.conn.run(&sql).await?.into_iter().skip(1);
        for mut row in answers.next().map(|a| a.rows).unwrap_or_default() {
            let ticket: i64 = row.number(4)?;
            if row.number::<i64>(3)? == owner && places.iter().any(|(t, _)| *t == ticket) {
                held.push((row.dialog(0)?, Fence(row.number(2)?)));
            }
        }
        let held: Vec<_> = held
            .iter()
            .map(|(dialog, fence)| (dialog, *fence))
            .collect();
        self.hand_over(&held).await
    }
}

/// What a commit would meet.
pub(super) enum Look {
    Free,
    /// It was committed by this very turn.
    Done,
    Refused(Error),
}

impl Calls {
    /// Looks what a commit would meet, and locks nothing.
    pub(super) async fn look(&mut self, turn: &Turn) -> Tried<Look> {
        let mut sql = Sql::new("SELECT 1 FROM turnkey_lock WHERE ");
        sql.among([&turn.dialog])
            .push(&format!(" AND fence={}", turn.fence.0))
            .push("; SELECT fence FROM turnkey_seen WHERE id=")
            .bytes(turn.commit.update.as_bytes())
            .push(" AND channel=")
            .bytes(turn.dialog.channel.as_bytes())
            .push("; SELECT version FROM turnkey_dialog WHERE ")
            .among([&turn.dialog]);
        let answers = self.conn.run(&sql).await?;
        let row = |n: usize| answers.get(n).and_then(|answer| answer.rows.first());
        let before: Option<u64> = row(1).map(|row| row.number(0)).transpose()?;
        let version: u64 = row(2).map_or(Ok(0), |row| row.number(0))?;
        Ok(match before {
            Some(fence) if fence == turn.fence.0 => Look::Done,
            _ if row(0).is_none() => Look::Refused(Error::Stale),
            Some(_) => Look::Refused(Error::Seen),
            None if version != turn.version => Look::Refused(Error::Stale),
            None => Look::Free,
        })
    }

    /// Ends a transaction, which `sql` begins or which is open, with these turns.
    pub(super) async fn write(&mut self, mut sql: Sql, turns: &[&Turn]) -> Tried<()> {
        write(&mut sql, turns);
        sql.push("COMMIT");
        let answers = self.conn.run(&sql).await?;
        let ends = ends(turns);
        // The commit stands whatever comes of the locks, so a failure is not told: they
        // are given back again.
        if !all_freed(&answers, &ends)
            && self.hand_over(&ends).await.is_err()
            && let Some(shared) = self.shared.upgrade()
        {
            for (dialog, fence) in ends {
                shared.release(dialog.clone(), fence);
            }
        }
        Ok(())
    }
}
