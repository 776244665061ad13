//! A writer that is killed fails no call, and loses nothing.

use std::collections::BTreeMap;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rusqlite::Connection;
use tokio::task::JoinSet;
use turnkey_storage::sqlite::{SqliteStorage, connect};
use turnkey_storage::{Begin, Error, Owner, Statement, Storage};

use crate::common::{LONG, Served, asks, until};
use crate::ledger::{Ledgers, mixed_turn};
use crate::processes::{KILLS, TABLES, WriterProcess};

#[test]
fn a_killed_writer_fails_no_call_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::at(&dir.path().join("bot.db"), TABLES);
    let owners: Vec<Owner> = (1..=3).map(Owner).collect();
    let ledgers = Ledgers::default();
    let (done, acked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let (written, unknown) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let sum = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let runtime = crate::common::runtime();
    let clients: Vec<Arc<SqliteStorage>> = runtime.block_on(async {
        owners
            .iter()
            .map(|owner| Arc::new(connect(&served.files, *owner).unwrap()))
            .collect()
    });
    let mut tasks = JoinSet::new();
    for task in 0..60_u64 {
        let client = clients[task as usize % 3].clone();
        let (ledgers, done, acked) = (ledgers.clone(), done.clone(), acked.clone());
        let turns = async move {
            let mut round = 0;
            while !done.load(Ordering::Relaxed) {
                round += 1;
                let kind = (task * 7919 + round * 104_729) % 1009;
                let user = match kind % 3 {
                    0 => format!("cold{}", kind % 40),
                    _ => format!("hot{}", kind % 3),
                };
                mixed_turn(
                    &client,
                    &ledgers,
                    &user,
                    &format!("{task}.{round}"),
                    kind / 3,
                )
                .await;
                acked.fetch_add(1, Ordering::Relaxed);
            }
        };
        tasks.spawn_on(turns, runtime.handle());
    }
    // Statements outside a turn: at most once, so they alone may fail.
    let (client, stop, ok, lost) = (
        clients[0].clone(),
        done.clone(),
        written.clone(),
        unknown.clone(),
    );
    let writes = async move {
        while !stop.load(Ordering::Relaxed) {
            match client
                .write(vec![Statement::new("UPDATE tally SET n = n + 1", ())])
                .await
            {
                Ok(()) => ok.fetch_add(1, Ordering::Relaxed),
                Err(Error::Unavailable(_)) => lost.fetch_add(1, Ordering::Relaxed),
                Err(other) => panic!("{other}"),
            };
        }
    };
    tasks.spawn_on(writes, runtime.handle());

    let mut writer = WriterProcess::start(&served, &owners);
    for kill in 0..KILLS {
        // At any moment of its life; every fifth one right after it started, so
        // that a take-over is interrupted too.
        let some = if kill % 5 == 4 {
            1
        } else {
            40 + kill * 61 % 170
        };
        let goal = sum(&acked) + some;
        runtime.block_on(until("turns go on", async || {
            sum(&acked) >= goal || tasks.len() < 61
        }));
        writer.kill();
        writer = WriterProcess::start(&served, &owners);
    }
    let goal = sum(&acked) + 100;
    runtime.block_on(until("turns go on", async || {
        sum(&acked) >= goal || tasks.len() < 61
    }));
    done.store(true, Ordering::Relaxed);
    runtime.block_on(async {
        tokio::time::timeout(LONG, tasks.join_all())
            .await
            .expect("a turn hangs");
        // What was left unsent is sent now.
        for user in clients[0].dialogs_with_unsent(1000).await.unwrap() {
            let only_send = Begin {
                update: None,
                ..asks(&user, "")
            };
            let begun = clients[0]
                .begin(only_send)
                .await
                .map(crate::common::flat)
                .unwrap();
            let mut ledgers = ledgers.lock().unwrap();
            let ledger = ledgers.get_mut(&user.user_id).unwrap();
            ledger
                .sent
                .extend(begun.unsent.iter().map(|r| r.body.parse::<u64>().unwrap()));
        }
    });
    drop(clients);
    drop(runtime);
    writer.stop();

    let conn = Connection::open(&served.files.database).unwrap();
    let stored: BTreeMap<String, String> = conn
        .prepare("SELECT user_id, state FROM turnkey_dialog")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let ledgers = ledgers.lock().unwrap();
    let expected: BTreeMap<String, String> = ledgers
        .iter()
        .filter(|(_, ledger)| ledger.acknowledged > 0)
        .map(|(user, ledger)| {
            (
                user.clone(),
                format!("[{},{}]", ledger.acknowledged, ledger.sent.len()),
            )
        })
        .collect();
    assert_eq!(stored, expected);
    for (user, ledger) in ledgers.iter() {
        let in_order = Vec::from_iter(1..=ledger.sent.len() as u64);
        assert_eq!(ledger.sent, in_order, "the replies of {user}");
    }
    let one = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap() as u64;
    let turns: u64 = ledgers.values().map(|ledger| ledger.acknowledged).sum();
    assert_eq!(one("SELECT COUNT(*) FROM turnkey_seen"), turns);
    assert_eq!(
        one("SELECT COUNT(*) FROM ledger WHERE user NOT IN (SELECT user_id FROM turnkey_dialog)"),
        0
    );
    let tally = one("SELECT n FROM tally");
    assert!(
        (sum(&written)..=sum(&written) + sum(&unknown)).contains(&tally),
        "{tally} {written:?} {unknown:?}"
    );
    println!(
        "{turns} turns over {KILLS} kills, {tally} writes of which {unknown:?} were not answered"
    );
    drop(conn);
    served.finish_without_writer();
}
