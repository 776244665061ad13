//! One phase of many turns, as few round trips as it takes.
//!
//! Used by the lanes (`lanes/lane.rs`), each of which has one, by `author.rs` and by
//! the keeper. The protocol has no pipeline, but a text may hold many statements: each
//! phase is one text with its own transaction, and where something may not be as it
//! should be, a statement in the middle fails ([`guard`]) and the rest is not executed.
//!
//! Every transaction takes the lock rows first, in the order of their keys; statements
//! that come later in it see all that was committed before. The fence of a grant is
//! drawn after its lock row was taken, so it is larger than any before.

use std::collections::HashMap;
use std::sync::Weak;

use mysql_async::Row;

use super::Server;
use super::conn::{Answer, Columns, Conn, Tried};
use super::errors::Failed;
use super::literal::Sql;
use super::session::Purpose;
use crate::lanes::idle::Kept;
use crate::lanes::retry::Retry;
use crate::lanes::shared::Shared;
use crate::lanes::wire::{
    Ask, Asked, Connect, Failure, Found, MAX_BATCH, MAX_WAITERS, Reading, Turn, Wire,
};
use crate::{
    DialogKey, Error, Fence, LockAfter, Origin, Pending, Release, ReplyId, Result, Seen, Unsent,
    unix_ms,
};

/// Fences that a row of `turnkey_fence` stands for: one for each lock of a batch.
pub(super) const FENCES: u64 = 1024;
const _: () = assert!(MAX_BATCH < FENCES as usize);

/// Rows that one statement names: more than so many are given up as a list by MariaDB
/// (`in_predicate_conversion_threshold`).
const PORTION: usize = 500;

/// How the lanes of a process connect.
pub(super) struct Lanes {
    pub(super) server: Server,
    pub(super) shared: Weak<Shared>,
}

impl Connect for Lanes {
    type Wire = Calls;

    async fn connect(&self) -> Tried<Calls> {
        Ok(Calls {
            conn: self.server.open(Purpose::Ours).await?,
            shared: self.shared.clone(),
        })
    }
}

/// A connection and those who are to be told of locks that are handed over on it.
pub(super) struct Calls {
    pub(super) conn: Conn,
    pub(super) shared: Weak<Shared>,
}

impl Kept for Calls {
    fn is_lost(&self) -> bool {
        self.conn.is_lost()
    }

    async fn answers(&mut self) -> bool {
        self.conn.is_there().await
    }
}

impl Wire for Calls {
    type Failed = Failed;

    async fn begin(&mut self, owner: i64, asks: &[Ask]) -> Tried<Vec<(i64, Asked)>> {
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
        // The order of arrival, as far as clocks can be believed: a box whose clock is
        // wrong gains or loses a second at most.
        let server_us = "CAST(UNIX_TIMESTAMP(NOW(6))*1000000 AS SIGNED)";
        sql.push(&format!(
            "INSERT INTO turnkey_waiter (user_id,channel,arrived,owner,ticket) \
             SELECT a.u,a.c,LEAST(GREATEST(a.at,{server_us}-1000000),{server_us}),{owner},a.t FROM ("
        ));
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
        let mut retry = Retry::default();
        loop {
            match self.look(turn).await? {
                Look::Free => {}
                Look::Done => {
                    if turn.commit.lock == LockAfter::GivenBack {
                        self.hand_over(&[(&turn.dialog, turn.fence)]).await?;
                    }
                    return Ok(Ok(()));
                }
                Look::Refused(error) => return Ok(Err(error)),
            }
            match self.commit_all(&[turn]).await {
                Ok(()) => return Ok(Ok(())),
                // Something changed since the look.
                Err(error) if error.is_duplicate() || is_guard(&error) => {}
                Err(error) => return Err(error),
            }
            if !retry.again().await {
                return Err(Failed::Odd("a commit met what the look before it did not"));
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

/// Writes turns with one statement for each table, or fails when anything is not as it
/// should be: a lock that is not held, an update or a version that somebody else wrote.
/// To be sent inside a transaction.
fn write(sql: &mut Sql, turns: &[&Turn]) {
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
    let ends = ends(turns);
    if !ends.is_empty() {
        free(sql, &ends);
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

fn ends<'a>(turns: &[&'a Turn]) -> Vec<(&'a DialogKey, Fence)> {
    turns
        .iter()
        .filter(|turn| turn.commit.lock == LockAfter::GivenBack)
        .map(|turn| (&turn.dialog, turn.fence))
        .collect()
}

/// Gives back the locks that nobody waits for.
fn free(sql: &mut Sql, ends: &[(&DialogKey, Fence)]) {
    sql.push("DELETE l FROM turnkey_lock l FORCE INDEX (PRIMARY) WHERE ")
        .among(ends.iter().map(|(dialog, _)| *dialog))
        .push(" AND fence IN ")
        .numbers(ends.iter().map(|(_, fence)| fence.0))
        .push(" AND waiters=0;");
}

/// Whether [`free`], the last statement but the COMMIT, found all of them. If not,
/// somebody waits for the others, or they were another's.
fn all_freed(answers: &[Answer], ends: &[(&DialogKey, Fence)]) -> bool {
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
fn distinct<'a>(dialogs: impl Iterator<Item = &'a DialogKey>) -> Vec<&'a DialogKey> {
    let mut dialogs: Vec<_> = dialogs.collect();
    dialogs.dedup();
    dialogs
}

/// Asks what turns need to know; [`Known::collect`] takes the answers.
fn look_up<'a>(
    sql: &mut Sql,
    dialogs: &[&DialogKey],
    updates: impl Iterator<Item = (&'a DialogKey, Option<&'a str>)>,
) {
    sql.push(
        "SELECT user_id,channel,version,state FROM turnkey_dialog FORCE INDEX (PRIMARY) WHERE ",
    )
    .among(dialogs.iter().copied())
    .push("; SELECT user_id,channel,turn,n,body FROM turnkey_outbox FORCE INDEX (PRIMARY) WHERE ")
    .among(dialogs.iter().copied())
    .push(" ORDER BY user_id,channel,turn,n;");
    // The oldest of each dialog in the inbox, but for those that were committed while they
    // came in.
    let open = |row: &str| {
        format!(
            "NOT EXISTS (SELECT 1 FROM turnkey_seen s WHERE s.id={row}.id AND s.channel={row}.channel)"
        )
    };
    sql.push(
        "SELECT user_id,channel,id,arrived,body,attempts,due,error FROM turnkey_inbox i \
         FORCE INDEX (turnkey_inbox_order) WHERE ",
    )
    .among(dialogs.iter().copied())
    .push(&format!(
        " AND {} AND NOT EXISTS (SELECT 1 FROM turnkey_inbox b WHERE b.user_id=i.user_id \
         AND b.channel=i.channel AND (b.arrived<i.arrived OR (b.arrived=i.arrived AND b.id<i.id)) \
         AND {});",
        open("i"),
        open("b")
    ));
    let updates: Vec<_> = updates
        .filter_map(|(dialog, id)| Some((dialog, id?)))
        .collect();
    if !updates.is_empty() {
        sql.push(
            "SELECT id,channel,digest,answer FROM turnkey_seen FORCE INDEX (PRIMARY) \
             WHERE (id,channel) IN (",
        )
        .list(updates, |sql, (dialog, id)| {
            sql.push("(")
                .bytes(id.as_bytes())
                .push(",")
                .bytes(dialog.channel.as_bytes())
                .push(")");
        })
        .push(");");
    }
}

/// What was found for the dialogs of a batch.
#[derive(Default)]
struct Known {
    states: HashMap<DialogKey, (u64, String)>,
    unsent: HashMap<DialogKey, Vec<Unsent>>,
    pending: HashMap<DialogKey, Pending>,
    /// By channel and update.
    seen: HashMap<(String, String), Seen>,
}

impl Known {
    fn collect(mut answers: impl Iterator<Item = Answer>) -> Tried<Self> {
        let mut known = Known::default();
        let mut rows = || answers.next().map(|a| a.rows).unwrap_or_default();
        for mut row in rows() {
            let state = (row.number(2)?, row.text(3)?);
            known.states.insert(row.dialog(0)?, state);
        }
        for mut row in rows() {
            let unsent = Unsent {
                id: ReplyId {
                    turn: Fence(row.number(2)?),
                    index: row.number(3)?,
                },
                body: row.text(4)?,
            };
            known.unsent.entry(row.dialog(0)?).or_default().push(unsent);
        }
        for mut row in rows() {
            let dialog = row.dialog(0)?;
            let pending = Pending {
                dialog: dialog.clone(),
                update: row.text(2)?,
                arrived: row.number(3)?,
                body: row.bytes(4)?,
                attempts: row.number(5)?,
                due: row.number(6)?,
                error: match row.is_null(7) {
                    true => None,
                    false => Some(row.text(7)?),
                },
            };
            known.pending.insert(dialog, pending);
        }
        for mut row in rows() {
            let seen = Seen {
                digest: row.bytes(2)?,
                answer: row.bytes(3)?,
            };
            known.seen.insert((row.text(1)?, row.text(0)?), seen);
        }
        Ok(known)
    }

    fn take(&mut self, dialog: &DialogKey, update: Option<&str>, fence: Fence) -> Found {
        let state = self.states.remove(dialog);
        let seen = update.and_then(|id| {
            let key = (dialog.channel.clone(), id.to_owned());
            // Two dialogs of a batch may have the same update.
            self.seen.get(&key).cloned()
        });
        Found {
            fence,
            version: state.as_ref().map_or(0, |(version, _)| *version),
            state: state.map(|(_, state)| state),
            seen,
            unsent: self.unsent.remove(dialog).unwrap_or_default(),
            oldest: self.pending.remove(dialog),
        }
    }
}
