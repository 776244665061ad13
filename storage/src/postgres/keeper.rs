//! Shows the other processes that this one is alive, and cleans up after dead ones.
//!
//! Started by [`super::connect`], one for each process: a task with its own connection. Its
//! session holds an advisory lock on the process's number, which the server frees when the
//! process or the connection dies; twice a second it renews the process's lease and frees the
//! locks of dead processes (`turnkey_beat`). It also hears which waiters got their locks. While
//! it is disconnected the lanes take no new locks.

use std::sync::Weak;
use std::time::Duration;

use tokio_postgres::{AsyncMessage, Client};

use super::copy::{self, COPYING};
use super::errors::{self, Failed};
use super::server::Server;
use super::session;
use super::session::Purpose;
use crate::Sync;
use crate::lanes::shared::Shared;
use crate::lanes::wire::Failure;

/// Between two signs of life, and looks for the dead.
const BEAT: Duration = Duration::from_millis(500);

/// How long callers wait for a server that went away.
const GIVE_UP: Duration = Duration::from_secs(2);

/// Fences skipped at each connection. A crash of the server may forget numbers that
/// it gave out in its last moments (`turnkey_begin` does not wait for the disk);
/// whoever comes back skips more than it can have given out.
pub(super) const SKIPPED: i32 = 65_536;

/// Keeps the process alive in the others' eyes until the storage is dropped.
pub(super) async fn run(server: Server, sync: Sync, shared: Weak<Shared>) {
    let mut away_since = std::time::Instant::now();
    let mut told = false;
    loop {
        let ended = hold(&server, sync, &shared, &mut told).await;
        let Some(storage) = shared.upgrade() else {
            return;
        };
        storage.is_away(ended.as_ref().err().map(Failure::words));
        if storage.up.send_replace(false) {
            away_since = std::time::Instant::now();
        }
        if let Err(error) = ended
            && !told
        {
            told = true;
            match error {
                Failed::Pg(ref e) if errors::is_write_refused(e) => {
                    tracing::warn!("{server} cannot be used: {}", error.words());
                }
                Failed::ReadOnly(_) | Failed::Shared => {
                    tracing::warn!("{server} cannot be used: {}", error.words());
                }
                _ => tracing::warn!("{server} cannot be reached: {}", error.words()),
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
async fn hold(
    server: &Server,
    sync: Sync,
    shared: &Weak<Shared>,
    told: &mut bool,
) -> Result<(), Failed> {
    let (client, mut connection) = server.open(Purpose::Keeper, Sync::Normal).await?;
    let hear = shared.clone();
    let mut listener = tokio::spawn(async move {
        loop {
            let message = std::future::poll_fn(|cx| connection.poll_message(cx)).await;
            match message {
                Some(Ok(AsyncMessage::Notification(word))) => {
                    if let (Some((ticket, fence)), Some(shared)) =
                        (word.payload().split_once(' '), hear.upgrade())
                        && let (Ok(ticket), Ok(fence)) = (ticket.parse(), fence.parse())
                    {
                        shared.granted(ticket, fence);
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            }
        }
    });
    let Some(owner) = shared.upgrade().map(|shared| shared.owner) else {
        return Ok(());
    };
    let process = register(&client, owner, server.lease()).await?;
    // One that was killed, on a database that was empty when this process started.
    if copy::is_unfinished(&client).await? {
        if !std::mem::replace(told, true) {
            tracing::error!("cannot use {server}: {}", crate::copy::UNFINISHED);
        }
        return Ok(());
    }
    let Some(storage) = shared.upgrade() else {
        return Ok(());
    };
    storage.up.send_replace(true);
    drop(storage);
    if std::mem::take(told) {
        tracing::info!("{server} is back");
        // It may be another one by now.
        for weakness in session::weaknesses(&client, sync, server.has_several_hosts()).await? {
            tracing::warn!("{server}: {weakness}");
        }
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(BEAT) => {}
            _ = &mut listener => return Ok(()),
        }
        let Some(storage) = shared.upgrade() else {
            return Ok(());
        };
        // A server that hangs is one that is away.
        let Ok(beaten) =
            tokio::time::timeout(server.lease() / 2, beat(&client, owner, server.lease())).await
        else {
            return Ok(());
        };
        // A pooler was set to share sessions meanwhile: what shows that we live is not ours.
        if beaten?.is_some_and(|answered| answered != process) {
            return Err(Failed::Shared);
        }
        look_for_waiters(&client, &storage).await?;
    }
}

/// The server process that the session is.
async fn register(client: &Client, owner: i64, lease: Duration) -> Result<i32, Failed> {
    loop {
        let locked = client
            .query_one("SELECT pg_try_advisory_lock($1)", &[&owner])
            .await?;
        if locked.get(0) {
            break;
        }
        // Our own session of before, which the server has not missed yet.
        client
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks
                 WHERE locktype = 'advisory' AND objsubid = 1 AND pid <> pg_backend_pid()
                   AND ((classid::bigint << 32) | objid::bigint) = $1
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
                &[&owner],
            )
            .await?;
        tokio::time::sleep(BEAT / 10).await;
    }
    // Waits for the end of a copy that began while this process was away.
    client
        .execute("SELECT pg_advisory_lock_shared($1)", &[&COPYING])
        .await?;
    client
        .batch_execute(&format!("LISTEN turnkey_{owner}"))
        .await?;
    client
        .query(
            "SELECT max(nextval('turnkey_fence')) FROM generate_series(1, $1::integer)",
            &[&SKIPPED],
        )
        .await?;
    loop {
        if let Some(process) = beat(client, owner, lease).await? {
            return Ok(process);
        }
        tokio::time::sleep(BEAT / 10).await;
    }
}

/// The server process that did it; none when it had to give way.
async fn beat(client: &Client, owner: i64, lease: Duration) -> Result<Option<i32>, Failed> {
    let lease = lease.as_millis() as i64;
    let row = match client
        .query_one(
            "SELECT turnkey_beat($1, $2), pg_backend_pid()",
            &[&owner, &lease],
        )
        .await
    {
        Ok(row) => row,
        Err(error) => {
            let failed = Failed::Pg(error);
            // The next beat tries again.
            return match failed.is_deadlock() {
                true => Ok(None),
                false => Err(failed),
            };
        }
    };
    let freed: i32 = row.get(0);
    if freed > 0 {
        tracing::info!("freed the locks of {freed} process(es) that ended");
    }
    Ok(Some(row.get(1)))
}

/// Finds out what became of waiters that heard nothing: a word may have been lost
/// with a connection.
async fn look_for_waiters(client: &Client, shared: &Shared) -> Result<(), Failed> {
    let queued = shared.queued();
    if queued.is_empty() {
        return Ok(());
    }
    let rows = client
        .query(
            "SELECT t.ticket, l.fence, q.ticket IS NOT NULL
             FROM unnest($2::bigint[]) AS t (ticket)
             LEFT JOIN turnkey_lock l ON l.owner = $1 AND l.ticket = t.ticket
             LEFT JOIN turnkey_waiter q ON q.owner = $1 AND q.ticket = t.ticket",
            &[&shared.owner, &queued],
        )
        .await?;
    for row in rows {
        let ticket: i64 = row.get(0);
        match (row.get::<_, Option<i64>>(1), row.get::<_, bool>(2)) {
            (Some(fence), _) => shared.granted(ticket, fence),
            (None, true) => {}
            (None, false) => shared.lost_place(ticket),
        }
    }
    Ok(())
}
