//! A writer that is killed neither loses nor doubles what is in the inbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::Connection;
use tokio::task::JoinSet;
use turnkey_storage::inbox::Pending;
use turnkey_storage::sqlite::connect;
use turnkey_storage::{Begin, Commit, Origin, Owner, Storage, dead, inbox};

use crate::common::{Served, asks, dialog, last};
use crate::processes::{TABLES, WriterProcess, kill_often};

#[test]
fn a_killed_writer_neither_loses_nor_doubles_what_is_in_the_inbox() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::at(&dir.path().join("bot.db"), TABLES);
    let owner = Owner(1);
    let runtime = crate::common::runtime();
    let client = runtime.block_on(async { Arc::new(connect(&served.files, owner).unwrap()) });
    let done = Arc::new(AtomicBool::new(false));
    let acked = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for task in 0..20_u64 {
        let (client, done, acked) = (client.clone(), done.clone(), acked.clone());
        let work = async move {
            // What was accepted, was committed from the inbox, and was buried.
            let (mut left, mut ran, mut dead) = (0_u64, 0_u64, 0_u64);
            let key = dialog(format!("user{task}"));
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                let update = format!("{task}.{round}");
                let pending = Pending {
                    dialog: key.clone(),
                    update: update.clone(),
                    arrived: round,
                    body: update.clone().into_bytes(),
                    attempts: 0,
                    due: 0,
                    error: None,
                };
                let bounds = inbox::Bounds {
                    per_dialog: u32::MAX,
                    all: u32::MAX,
                };
                inbox::accept(&*client, &pending, bounds).await.unwrap();
                left += 1;
                if round % 3 == 0 {
                    let begun = client
                        .begin(Begin {
                            update: None,
                            ..asks(&key, "")
                        })
                        .await
                        .map(crate::common::flat)
                        .unwrap();
                    // In the order of arrival, each once.
                    let oldest = begun.earlier.unwrap();
                    assert_eq!(oldest.arrived as u64, ran + dead + 1);
                    let mut grant = begun.grant.unwrap();
                    if round % 2 == 0 {
                        let letter = dead::DeadLetter {
                            dialog: key.clone(),
                            update: oldest.update,
                            arrived: oldest.arrived,
                            digest: Vec::new(),
                            answer: Vec::new(),
                            body: oldest.body,
                            error: "x".to_owned(),
                            attempts: 1,
                            died: 1,
                        };
                        dead::bury(&*client, &letter).await.unwrap();
                        dead += 1;
                    } else {
                        assert_eq!(begun.state.as_deref().unwrap_or("0"), ran.to_string());
                        let commit = Commit {
                            origin: Origin::Inbox,
                            ..last(&oldest.update, &(ran + 1).to_string())
                        };
                        client.commit(&mut grant, commit).await.unwrap();
                        ran += 1;
                    }
                    left -= 1;
                }
                acked.fetch_add(1, Ordering::Relaxed);
            }
            (left, dead, ran)
        };
        tasks.spawn_on(work, runtime.handle());
    }
    let writer = WriterProcess::start(&served, &[owner]);
    let writer = kill_often(writer, &served, owner, &runtime, &acked);
    done.store(true, Ordering::Relaxed);
    let (mut left, mut dead, mut ran) = (0, 0, 0);
    runtime.block_on(async {
        while let Some(task) = tasks.join_next().await {
            let (l, d, r) = task.unwrap();
            left += l;
            dead += d;
            ran += r;
        }
    });
    drop(client);
    drop(runtime);
    writer.stop();
    let conn = Connection::open(&served.files.database).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    assert_eq!(count("SELECT COUNT(*) FROM turnkey_inbox"), left);
    assert_eq!(count("SELECT COUNT(*) FROM turnkey_dead"), dead);
    assert_eq!(count("SELECT COUNT(*) FROM turnkey_seen"), dead + ran);
    drop(conn);
    served.finish_without_writer();
}
