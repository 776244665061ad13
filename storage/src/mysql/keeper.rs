//! Shows the other processes that this one is alive, cleans up after dead ones, and finds out
//! which of this one's waiters got their locks from other processes.
//!
//! Started by [`super::connect`], one for each process: a task with its own connection. Its
//! session holds the server's named lock `turnkey_NUMBER`, which the server frees when the
//! process or the connection dies; twice a second it renews the process's lease and frees the
//! locks of dead processes. While it is disconnected the lanes take no new locks.
//!
//! The server has no notifications: to find locks that other processes hand over, the keeper
//! polls the lock rows of all waiting turns, in one query, and only while a turn waits: after
//! [`SOON`] at first, less often later, at the latest after [`SELDOM`]. Locks handed over
//! within this process are known at once.

use std::collections::HashMap;
use std::sync::Weak;
use std::time::{Duration, Instant};

use super::calls::Calls;
use super::conn::{Columns, Conn, Tried};
use super::copy;
use super::errors::Failed;
use super::literal::Sql;
use super::server::Server;
use super::session::Purpose;
use super::writing::recount;
use crate::lanes::shared::Shared;
use crate::lanes::waiting::LOOK_AFTER;
use crate::lanes::wire::{Failure, MAX_BATCH};
use crate::{DialogKey, Fence, Sync};

/// Between two signs of life, and looks for the dead.
const BEAT: Duration = Duration::from_millis(500);

/// How long callers wait for a server that went away.
const GIVE_UP: Duration = Duration::from_secs(2);

/// From a waiter's coming to the first look whether it was served.
const SOON: Duration = Duration::from_millis(5);

/// Between two looks, when nothing happens.
const SELDOM: Duration = Duration::from_millis(50);

/// Beats between two looks for rows of processes that nobody knows: one that was taken
/// for dead may have left some when it came back and died.
const ORPHANS: u32 = 8;

/// Rows of `turnkey_fence`, and so times [`FENCES`](super::writing::FENCES) fences, skipped at each connection.
/// A crash of the server may forget numbers that it gave out in its last moments;
/// whoever comes back skips more than it can have given out.
pub(super) const SKIPPED: u64 = 1024;

/// Old rows of `turnkey_fence` deleted at a beat: more than can come in between.
const PRUNED: u32 = 20_000;

/// The named lock of whoever frees what the dead held.
const REAPING: &str = "LEFT(CONCAT('turnkey_reap_',DATABASE()),64)";

/// Now, by the server's clock, in milliseconds.
const NOW_MS: &str = "CAST(UNIX_TIMESTAMP(NOW(3))*1000 AS SIGNED)";

/// Keeps the process alive in the others' eyes until the storage is dropped.
pub(super) async fn run(server: Server, sync: Sync, shared: Weak<Shared>) {
    let mut away_since = Instant::now();
    let mut told = false;
    loop {
        let ended = session(&server, sync, &shared, &mut told).await;
        let Some(storage) = shared.upgrade() else {
            return;
        };
        storage.is_away(ended.as_ref().err().map(Failure::words));
        if storage.up.send_replace(false) {
            away_since = Instant::now();
        }
        if let Err(error) = ended
            && !told
        {
            told = true;
            match error.is_read_only() {
                true => tracing::warn!("{server} cannot be used: {}", error.words()),
                false => tracing::warn!("{server} cannot be reached: {}", error.words()),
            }
        }
        if away_since.elapsed() >= GIVE_UP {
            storage.give_up();
        }
        drop(storage);
        tokio::time::sleep(BEAT / 2).await;
    }
}

/// One connection, from its start to its end.
async fn session(server: &Server, sync: Sync, shared: &Weak<Shared>, told: &mut bool) -> Tried<()> {
    let Some(owner) = shared.upgrade().map(|shared| shared.owner) else {
        return Ok(());
    };
    let mut keeper = Keeper {
        calls: Calls {
            conn: server.open(Purpose::Ours).await?,
            shared: shared.clone(),
        },
        owner,
        lease: server.lease(),
        beats: 0,
    };
    // One that was killed, on a database that was empty when this process started; or
    // one that began while this process was away.
    if let Some(obstacle) = copy::obstacle(keeper.conn()).await? {
        if !std::mem::replace(told, true) {
            tracing::error!("cannot use {server}: {obstacle}");
        }
        return Ok(());
    }
    keeper.register().await?;
    // Asked by whoever is registered, which is what a copy looks at.
    if copy::is_copying(keeper.conn()).await? {
        return Ok(());
    }
    if let Some(problem) = super::schema::durability(&mut keeper.calls.conn, sync).await? {
        tracing::warn!("{server}: {problem}");
    }
    let Some(storage) = shared.upgrade() else {
        return Ok(());
    };
    storage.up.send_replace(true);
    drop(storage);
    if std::mem::take(told) {
        tracing::info!("{server} is back");
    }
    let mut next_beat = Instant::now() + BEAT;
    let mut pause = SOON;
    loop {
        let Some(storage) = shared.upgrade() else {
            return Ok(());
        };
        let waiting = storage.queued_for(Duration::ZERO);
        let queued = async {
            // Not longer than a beat, so that a dropped storage is noticed.
            storage.queued.notified().await;
        };
        let until_beat = next_beat.saturating_duration_since(Instant::now());
        tokio::select! {
            () = queued => pause = SOON,
            () = tokio::time::sleep(until_beat) => {}
            () = tokio::time::sleep(pause), if !waiting.is_empty() => {}
        }
        // A server that hangs is one that is away.
        let patience = server.lease() / 2;
        let work = async {
            if Instant::now() >= next_beat {
                next_beat = Instant::now() + BEAT;
                keeper.beat().await?;
                keeper.look_for_lost(&storage).await?;
            }
            match keeper.look_for_served(&storage, &waiting).await? {
                0 => pause = (pause * 2).min(SELDOM),
                _ => pause = SOON,
            }
            Ok::<(), Failed>(())
        };
        match tokio::time::timeout(patience, work).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.is_deadlock() => {} // The next beat tries again.
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(Failed::Slow),
        }
    }
}

struct Keeper {
    calls: Calls,
    owner: i64,
    lease: Duration,
    beats: u32,
}

impl Keeper {
    fn conn(&mut self) -> &mut Conn {
        &mut self.calls.conn
    }

    async fn register(&mut self) -> Tried<()> {
        let owner = self.owner;
        let lock = Sql::new(&format!(
            "SELECT GET_LOCK('turnkey_{owner}',0),IS_USED_LOCK('turnkey_{owner}')"
        ));
        loop {
            let answers = self.conn().run(&lock).await?;
            let row = answers.first().and_then(|answer| answer.rows.first());
            let row = row.ok_or(Failed::Odd("GET_LOCK answered nothing"))?;
            if !row.is_null(0) && row.number::<i64>(0)? == 1 {
                break;
            }
            // Our own session of before, which the server has not missed yet.
            if !row.is_null(1) {
                let session: u64 = row.number(1)?;
                let killed = self.conn().run(&Sql::new(&format!("KILL {session}"))).await;
                // It may have ended meanwhile.
                if let Err(error) = killed
                    && error.is_lost()
                {
                    return Err(error);
                }
            }
            tokio::time::sleep(BEAT / 10).await;
        }
        self.conn()
            .run(&Sql::new(&format!(
                "START TRANSACTION; INSERT INTO turnkey_fence VALUES (NULL);
                 SET @n=LAST_INSERT_ID(); INSERT INTO turnkey_fence VALUES (@n+{SKIPPED}); COMMIT"
            )))
            .await?;
        self.beat().await
    }

    /// Renews the lease and frees what dead processes held: those whose session is gone
    /// or whose lease ran out.
    async fn beat(&mut self) -> Tried<()> {
        let owner = self.owner;
        let mut sql = Sql::new(&format!(
            "INSERT INTO turnkey_owner VALUES ({owner},{NOW_MS})
             ON DUPLICATE KEY UPDATE renewed_at=VALUES(renewed_at);
             SELECT MAX(n) INTO @n FROM turnkey_fence;
             DELETE FROM turnkey_fence WHERE n<CAST(@n AS SIGNED)-{SKIPPED} LIMIT {PRUNED};
             SELECT owner,IS_FREE_LOCK(CONCAT('turnkey_',owner)) OR renewed_at<{NOW_MS}-{}
             FROM turnkey_owner WHERE owner<>{owner};",
            self.lease.as_millis()
        ));
        if self.beats.is_multiple_of(ORPHANS) {
            sql.push(&format!(
                "SELECT owner,IS_FREE_LOCK(CONCAT('turnkey_',owner)) FROM (
                     SELECT owner FROM turnkey_lock UNION SELECT owner FROM turnkey_waiter) a
                 WHERE owner<>{owner}"
            ));
        }
        self.beats += 1;
        let answers = self.conn().run(&sql).await?;
        // Added, and not renewed: meanwhile others took it for dead, and so did a copy.
        let added = answers.first().is_some_and(|answer| answer.affected == 1);
        if added && copy::is_copying(self.conn()).await? {
            return Err(Failed::Odd(crate::copy::UNDER_WAY));
        }
        let mut dead = Vec::new();
        for answer in answers {
            for row in answer.rows {
                if row.number::<i64>(1)? != 0 {
                    dead.push(row.number::<i64>(0)?);
                }
            }
        }
        dead.sort_unstable();
        dead.dedup();
        if dead.is_empty() {
            return Ok(());
        }
        // One who looks after the dead is enough, and the others need not wait.
        let mine = self
            .conn()
            .run(&Sql::new(&format!("SELECT GET_LOCK({REAPING},0)")))
            .await?;
        let mine = mine.first().and_then(|answer| answer.rows.first());
        if mine.is_none_or(|row| row.is_null(0) || !matches!(row.number::<u8>(0), Ok(1))) {
            return Ok(());
        }
        let mut freed = Ok(());
        for owner in &dead {
            freed = self.free(*owner).await;
            if freed.is_err() {
                break;
            }
        }
        self.conn()
            .run(&Sql::new(&format!("DO RELEASE_LOCK({REAPING})")))
            .await?;
        if freed.is_ok() {
            let count = dead.len();
            tracing::info!("freed the locks of {count} process(es) that ended");
        }
        freed
    }

    /// Frees what a process held.
    async fn free(&mut self, dead: i64) -> Tried<()> {
        let rows = Sql::new(&format!(
            "SELECT user_id,channel FROM turnkey_lock WHERE owner={dead} UNION
             SELECT user_id,channel FROM turnkey_waiter WHERE owner={dead} ORDER BY 1,2"
        ));
        let mut dialogs = Vec::new();
        for answer in self.conn().run(&rows).await? {
            for mut row in answer.rows {
                dialogs.push(row.dialog(0)?);
            }
        }
        for some in dialogs.chunks(MAX_BATCH) {
            let some: Vec<&DialogKey> = some.iter().collect();
            let mut sql = Sql::new(
                "START TRANSACTION; SELECT user_id,channel,owner,fence FROM turnkey_lock \
                 FORCE INDEX (PRIMARY) WHERE ",
            );
            sql.among(some.iter().copied())
                .push(" FOR UPDATE; DELETE w FROM turnkey_waiter w FORCE INDEX (PRIMARY) WHERE ")
                .among(some.iter().copied())
                .push(&format!(" AND owner={dead};"));
            recount(&mut sql, &some);
            sql.push("COMMIT");
            let mut held = Vec::new();
            for answer in self.conn().run(&sql).await? {
                for mut row in answer.rows {
                    if row.number::<i64>(2)? == dead {
                        held.push((row.dialog(0)?, Fence(row.number(3)?)));
                    }
                }
            }
            let held: Vec<_> = held.iter().map(|(d, fence)| (d, *fence)).collect();
            self.calls.hand_over(&held).await?;
        }
        self.conn()
            .run(&Sql::new(&format!(
                "DELETE FROM turnkey_owner WHERE owner={dead}"
            )))
            .await
            .map(drop)
    }

    /// Finds those that other processes handed a lock; how many.
    async fn look_for_served(
        &mut self,
        shared: &Shared,
        waiting: &[(i64, DialogKey)],
    ) -> Tried<usize> {
        let mut by_dialog: HashMap<&DialogKey, Vec<i64>> = HashMap::new();
        for (ticket, dialog) in waiting {
            by_dialog.entry(dialog).or_default().push(*ticket);
        }
        let mut dialogs: Vec<&DialogKey> = by_dialog.keys().copied().collect();
        dialogs.sort_unstable();
        let mut served = 0;
        for some in dialogs.chunks(MAX_BATCH) {
            let mut sql =
                Sql::new("SELECT ticket,fence FROM turnkey_lock FORCE INDEX (PRIMARY) WHERE ");
            sql.among(some.iter().copied())
                .push(&format!(" AND owner={}", self.owner));
            for answer in self.conn().run(&sql).await? {
                for row in answer.rows {
                    let ticket: i64 = row.number(0)?;
                    if waiting.iter().any(|(waits, _)| *waits == ticket) {
                        shared.granted(ticket, row.number(1)?);
                        served += 1;
                    }
                }
            }
        }
        Ok(served)
    }

    /// Finds those whose rows are gone: this process was taken for dead.
    async fn look_for_lost(&mut self, shared: &Shared) -> Tried<()> {
        let waiting = shared.queued_for(LOOK_AFTER);
        if waiting.is_empty() {
            return Ok(());
        }
        // In one statement, and so as of one moment.
        let owner = self.owner;
        let answers = self
            .conn()
            .run(&Sql::new(&format!(
                "SELECT ticket FROM turnkey_waiter WHERE owner={owner} UNION ALL
                 SELECT ticket FROM turnkey_lock WHERE owner={owner}"
            )))
            .await?;
        let mut there = std::collections::HashSet::new();
        for row in answers.iter().flat_map(|answer| &answer.rows) {
            there.insert(row.number::<i64>(0)?);
        }
        for (ticket, _) in waiting {
            if !there.contains(&ticket) {
                shared.lost_place(ticket);
            }
        }
        Ok(())
    }
}
