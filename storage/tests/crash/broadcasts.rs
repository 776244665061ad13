//! A writer that is killed neither loses nor doubles what a broadcast says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::Connection;
use turnkey_storage::broadcasts::{self, Audience, New};
use turnkey_storage::inbox::Pending;
use turnkey_storage::sqlite::{SqliteStorage, connect};
use turnkey_storage::{Commit, DialogKey, Origin, Owner, ReplyId, Storage};

use crate::common::{Served, asks, last, turn};
use crate::processes::{TABLES, WriterProcess, kill_often};

/// One broadcast after the other; each goes to all, and counts each once.
#[test]
fn a_killed_writer_neither_loses_nor_doubles_a_broadcast() {
    const DIALOGS: u64 = 60;
    let dir = tempfile::tempdir().unwrap();
    let served = Served::at(&dir.path().join("bot.db"), TABLES);
    let owner = Owner(1);
    let runtime = crate::common::runtime();
    let client = runtime.block_on(async { Arc::new(connect(&served.files, owner).unwrap()) });
    let writer = WriterProcess::start(&served, &[owner]);
    let to = |n: u64| DialogKey::new("telegram", format!("{n:03}"));
    runtime.block_on(async {
        for n in 0..DIALOGS {
            turn(&*client, &to(n), &format!("first {n}"), "1").await;
        }
    });
    let done = Arc::new(AtomicBool::new(false));
    let acked = Arc::new(AtomicU64::new(0));
    let work = {
        let (client, done, acked) = (client.clone(), done.clone(), acked.clone());
        async move {
            let mut made = 0;
            while !done.load(Ordering::Relaxed) {
                let new = New {
                    audience: Audience::default(),
                    body: "{}".to_owned(),
                    rate: None,
                };
                let id = broadcasts::create(&*client, &new).await.unwrap();
                made += 1;
                assert_eq!(id, made);
                say_to_all(&client, id, &acked).await;
            }
            made
        }
    };
    let work = runtime.spawn(work);
    let writer = kill_often(writer, &served, owner, &runtime, &acked);
    done.store(true, Ordering::Relaxed);
    let made = runtime.block_on(work).unwrap();
    drop(client);
    drop(runtime);
    writer.stop();
    let conn = Connection::open(&served.files.database).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    let whole = format!(
        "SELECT COUNT(*) FROM turnkey_broadcast WHERE queued = {DIALOGS}
             AND sent = {DIALOGS} / 3 * 2 AND failed = {DIALOGS} / 3"
    );
    assert_eq!(count(&whole), made);
    let failed = "SELECT COUNT(*) FROM turnkey_broadcast_failed";
    assert_eq!(count(failed), made * DIALOGS / 3);
    for empty in ["turnkey_inbox", "turnkey_outbox"] {
        assert_eq!(
            count(&format!("SELECT COUNT(*) FROM {empty}")),
            0,
            "{empty}"
        );
    }
    assert_eq!(
        count("SELECT COUNT(*) FROM turnkey_seen"),
        (made + 1) * DIALOGS
    );
    drop(conn);
    served.finish_without_writer();
}

/// Takes all steps of a broadcast, and the turns of its updates; every third dialog refuses it.
async fn say_to_all(client: &Arc<SqliteStorage>, id: u64, acked: &AtomicU64) {
    let storage = &**client;
    let mut dialogs = 0_u64;
    loop {
        let broadcast = broadcasts::get(storage, id).await.unwrap().unwrap();
        let next = broadcasts::next(storage, &broadcast, &["telegram"], 7).await;
        let next = next.unwrap();
        if next.is_empty() {
            return;
        }
        let update = |to: &DialogKey| Pending {
            dialog: to.clone(),
            update: format!("broadcast:{id}:{}", to.user_id),
            arrived: 1000,
            body: b"{}".to_vec(),
            attempts: 0,
            due: 0,
            error: None,
        };
        let rows: Vec<_> = next.iter().map(update).collect();
        broadcasts::step(storage, &broadcast, &rows).await.unwrap();
        for row in rows {
            let asks = asks(&row.dialog, &row.update);
            let begun = client.begin(asks).await.map(crate::common::flat).unwrap();
            let mut grant = begun.grant.unwrap();
            let reply = ReplyId {
                turn: grant.fence(),
                index: 0,
            };
            let commit = Commit {
                replies: vec!["{}".to_owned()],
                origin: Origin::Inbox,
                ..last(&row.update, "1")
            };
            client.commit(&mut grant, commit).await.unwrap();
            match dialogs % 3 {
                0 => broadcasts::refused(storage, id, &row.dialog, reply, "blocked").await,
                _ => broadcasts::sent(storage, id, &row.dialog, reply).await,
            }
            .unwrap();
            dialogs += 1;
            acked.fetch_add(1, Ordering::Relaxed);
        }
    }
}
