//! A writer leaves, and another goes on: no call fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use turnkey_storage::Write;

use crate::common::{block_on, until};
use crate::place::{number, opening, place};

/// Writes without a key, which nobody may send twice: not one fails.
#[test]
fn a_writer_that_leaves_makes_no_call_fail() {
    let (_dir, path) = place();
    block_on(async {
        let last = opening(&path).await.unwrap();
        let mut leader = last;
        let mut written = 0;
        for _ in 0..10 {
            let next = opening(&path).await.unwrap();
            let done = Arc::new(AtomicBool::new(false));
            let mut tasks = JoinSet::new();
            for n in 0..8 {
                let (database, done) = (next.clone(), done.clone());
                tasks.spawn(async move {
                    let mut count = 0;
                    while !done.load(Ordering::Relaxed) {
                        if n % 4 == 0 {
                            let insert = "INSERT INTO entry VALUES ('t')";
                            database
                                .transaction(async |tx| tx.run(insert, ()).await)
                                .await
                                .unwrap();
                        } else {
                            let insert = Write::new().run("INSERT INTO entry VALUES ('w')", ());
                            database.write(insert).await.unwrap();
                        }
                        count += 1;
                    }
                    count
                });
            }
            let some = async || number(&next, "SELECT count(*) FROM entry").await;
            let before = some().await;
            until("some are written", async || some().await > before + 20).await;
            leader.close().await;
            until("the next goes on", async || next.writes_itself()).await;
            let before = some().await;
            until("some are written", async || some().await > before + 20).await;
            done.store(true, Ordering::Relaxed);
            written += tasks.join_all().await.into_iter().sum::<i64>();
            leader = next;
        }
        assert_eq!(number(&leader, "SELECT count(*) FROM entry").await, written);
    });
}

/// What a transaction has spent inside is no wait in line: longer than one waits there.
#[test]
fn a_long_transaction_whose_writer_leaves_runs_again() {
    let (_dir, path) = place();
    block_on(async {
        let first = opening(&path).await.unwrap();
        let long = Duration::from_secs(30);
        let second = opening(&path).transaction_limit(long).await.unwrap();
        assert!(first.writes_itself());
        let first = std::sync::Mutex::new(Some(first));
        let holds = Arc::new(AtomicBool::new(false));
        let rounds = AtomicU64::new(0);
        let done = second.transaction(async |tx| {
            rounds.fetch_add(1, Ordering::Relaxed);
            let leaves = first.lock().unwrap().take();
            if let Some(first) = leaves {
                tokio::time::sleep(Duration::from_millis(10_200)).await; // What is told of.
                first.close().await;
                // It has to wait in line again: the first one keeps it from being told that its
                // transaction is gone, the second one is before it then.
                for _ in 0..2 {
                    let (other, held) = (second.clone(), holds.clone());
                    tokio::spawn(async move {
                        let short = other.transaction(async |tx| {
                            tx.run("SELECT 1", ()).await?;
                            held.store(true, Ordering::Relaxed);
                            tokio::time::sleep(Duration::from_millis(100)).await;
                            Ok(())
                        });
                        short.await.unwrap();
                    });
                }
                until("another is first", async || holds.load(Ordering::Relaxed)).await;
            }
            tx.run("INSERT INTO entry VALUES ('x')", ()).await
        });
        assert_eq!(done.await.unwrap().changed, 1);
        assert_eq!(rounds.load(Ordering::Relaxed), 2);
        assert_eq!(number(&second, "SELECT count(*) FROM entry").await, 1);
    });
}
