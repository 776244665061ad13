//! A writer that has nothing to do sleeps, and the write-ahead log does not grow without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::task::JoinSet;
use turnkey_storage::{Statement, Storage};

use crate::common::{Served, begin, block_on, dialog, turn, until};

#[test]
fn an_idle_writer_sleeps() {
    let served = Served::start(&[]);
    block_on(async {
        let client = served.open();
        // What may keep it awake: a lock that is held, one that is waited for,
        // one that was given back.
        let _held = begin(&client, &dialog(1), "u1").await;
        drop(begin(&client, &dialog(2), "u2").await);
        turn(&client, &dialog(3), "u3", "1").await;
        until("the locks are in the file", async || {
            let sql = Statement::new("SELECT 1 FROM turnkey_lock", ());
            client.query(None, sql).await.unwrap().len() == 1
        })
        .await;
        let rounds = || served.seen.lock().unwrap().1;
        let (before, since) = (rounds(), Instant::now());
        tokio::time::sleep(Duration::from_millis(1500)).await; // What is measured.
        let allowed = since.elapsed().as_millis() as u64 / 500 + 2;
        assert!(
            rounds() - before <= allowed,
            "it woke up {} times",
            rounds() - before
        );
    });
    served.finish();
}

#[test]
fn a_log_that_cannot_begin_anew_is_not_copied_at_every_commit() {
    let served = Served::start(&["CREATE TABLE bulk (body BLOB)"]);
    block_on(async {
        let client = served.open();
        let reader = Connection::open(&served.files.database).unwrap();
        reader
            .execute_batch("BEGIN; SELECT COUNT(*) FROM turnkey_dialog")
            .unwrap();
        let bulk = || Statement::new("INSERT INTO bulk VALUES (zeroblob(?1))", (6 << 20,));
        for _ in 0..7 {
            client.write(vec![bulk()]).await.unwrap();
        }
        // At 16 MiB and at 32 MiB.
        for n in 0..20 {
            turn(&client, &dialog(n), &format!("u{n}"), "1").await;
        }
        let held = served.stats();
        assert!((1..=3).contains(&held.checkpoints), "{held:?}");
        assert!(held.log_bytes > 40 << 20, "{held:?}");
        reader.execute_batch("COMMIT").unwrap();
        for _ in 0..6 {
            client.write(vec![bulk()]).await.unwrap();
        }
        let mut n = 0..;
        until("the log begins anew", async || {
            turn(&client, &dialog(0), &format!("v{}", n.next().unwrap()), "1").await;
            served.stats().log_bytes < held.log_bytes
        })
        .await;
    });
    served.finish();
}

#[test]
fn readers_who_are_always_there_do_not_make_the_log_grow_without_end() {
    const MIB: u64 = 1 << 20;
    // Some milliseconds each, from three places at any time.
    const READ: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 20000)
        SELECT COUNT(*) FROM n, (SELECT 1 FROM bulk LIMIT 1)";
    let served = Served::start(&["CREATE TABLE bulk (body BLOB)"]);
    block_on(async {
        let client = Arc::new(served.open());
        let write = vec![Statement::new(
            "INSERT INTO bulk VALUES (zeroblob(?1))",
            (MIB as i64,),
        )];
        client.write(write.clone()).await.unwrap();
        let (done, mut readers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for _ in 0..3 {
            let (client, done) = (client.clone(), done.clone());
            readers.spawn(async move {
                let mut reads = 0_u32;
                while !done.load(Ordering::Relaxed) {
                    client.query(None, Statement::new(READ, ())).await.unwrap();
                    reads += 1;
                }
                reads
            });
        }
        let mut largest = 0;
        for _ in 0..200 {
            client.write(write.clone()).await.unwrap();
            largest = largest.max(served.stats().log_bytes);
        }
        done.store(true, Ordering::Relaxed);
        let reads = readers.join_all().await;
        assert!(reads.iter().all(|&n| n > 3), "{reads:?}");
        // While the last reads end, some more is written.
        assert!(largest < 120 * MIB, "{} MiB", largest / MIB);
    });
    served.finish();
}

/// Writers that are killed before they can copy the log leave it to the next.
#[test]
fn a_log_that_is_too_long_is_emptied_before_a_writer_serves() {
    const MIB: u64 = 1 << 20;
    let mut served = Served::start(&["CREATE TABLE bulk (body BLOB)"]);
    let log = served.files.database.with_file_name("bot.db-wal");
    let length = || std::fs::metadata(&log).map_or(0, |log| log.len());
    served.stop_writer().unwrap();
    let conn = Connection::open(&served.files.database).unwrap();
    conn.execute_batch("PRAGMA wal_autocheckpoint = 0").unwrap();
    for _ in 0..7 {
        conn.execute("INSERT INTO bulk VALUES (zeroblob(?1))", [12 << 20])
            .unwrap();
    }
    assert!(length() > 80 * MIB, "{}", length());
    *served.seen.lock().unwrap() = Default::default();
    served.start_writer(Vec::new());
    block_on(until("it serves", async || served.stats().serving));
    assert!(length() < MIB, "{}", length());
    block_on(async {
        turn(&served.open(), &dialog(1), "u1", "1").await;
    });
    let sum = "SELECT sum(length(body)) FROM bulk";
    let sum: i64 = conn.query_row(sum, [], |row| row.get(0)).unwrap();
    assert_eq!(sum as u64, 84 * MIB);
    drop(conn);
    served.finish();
}
