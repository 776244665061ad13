//! A writer that is killed neither loses nor doubles a relay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::Connection;
use tokio::task::JoinSet;
use turnkey_storage::inbox::Pending;
use turnkey_storage::sqlite::connect;
use turnkey_storage::{Begin, Commit, Origin, Owner, Statement, Storage};

use crate::common::{Served, asks, begin, dialog, last};
use crate::processes::{TABLES, WriterProcess, kill_often};

/// Each turn relays to a dialog of its own, and to one that all share.
#[test]
fn a_killed_writer_neither_loses_nor_doubles_a_relay() {
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
        let turns = async move {
            let (mut relayed, mut ran) = (0, 0);
            for round in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let update = format!("{task}.{round}");
                let mut grant = begin(&*client, &dialog(task), &update).await.grant.unwrap();
                let shared = Pending {
                    dialog: dialog("shared"),
                    update: format!("shared {update}"),
                    ..crate::common::relay(&update, round)
                };
                let commit = Commit {
                    statements: match round % 3 {
                        // Fails when it is run twice.
                        0 => vec![Statement::new(
                            "INSERT INTO ledger VALUES (?1, ?2)",
                            (&update, task.to_string()),
                        )],
                        _ => vec![],
                    },
                    relays: vec![crate::common::relay(&update, round), shared],
                    ..last(&update, "1")
                };
                client.commit(&mut grant, commit).await.unwrap();
                relayed += 2;
                acked.fetch_add(1, Ordering::Relaxed);
                if round % 2 == 0 {
                    continue;
                }
                // What was acknowledged comes back in its order, each once.
                let begin = Begin {
                    update: None,
                    ..asks(&dialog(format!("relayed {task}")), "")
                };
                let begun = client.begin(begin).await.map(crate::common::flat).unwrap();
                let oldest = begun.earlier.unwrap();
                assert_eq!(oldest, crate::common::relay(&format!("{task}.{ran}"), ran));
                let commit = Commit {
                    origin: Origin::Inbox,
                    ..last(&oldest.update, "1")
                };
                let mut grant = begun.grant.unwrap();
                client.commit(&mut grant, commit).await.unwrap();
                ran += 1;
            }
            (relayed, ran as u64)
        };
        tasks.spawn_on(turns, runtime.handle());
    }
    let writer = WriterProcess::start(&served, &[owner]);
    let writer = kill_often(writer, &served, owner, &runtime, &acked);
    done.store(true, Ordering::Relaxed);
    let (mut relayed, mut ran) = (0, 0);
    runtime.block_on(async {
        while let Some(task) = tasks.join_next().await {
            let (of_task, ran_by_task) = task.unwrap();
            relayed += of_task;
            ran += ran_by_task;
        }
    });
    drop(client);
    drop(runtime);
    writer.stop();
    let conn = Connection::open(&served.files.database).unwrap();
    let count = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    assert_eq!(count("SELECT COUNT(*) FROM turnkey_inbox"), relayed - ran);
    assert_eq!(
        count("SELECT COUNT(*) FROM turnkey_seen"),
        relayed / 2 + ran
    );
    drop(conn);
    served.finish_without_writer();
}
