//! What a transaction of a caller's own promises: the writer to itself, in line, not for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use turnkey_storage::{Error, Write};

use crate::common::{block_on, until};
use crate::place::{number, opening, place, two};

#[test]
fn a_transaction_has_the_writer_to_itself() {
    let (_dir, path) = place();
    block_on(async {
        let (first, second) = two(&path).await;
        let mut tasks = JoinSet::new();
        let inside = Arc::new(AtomicU64::new(0));
        for n in 0..40 {
            let database = [&first, &second][n % 2].clone();
            let inside = inside.clone();
            tasks.spawn(async move {
                if n % 4 == 3 {
                    let add = "UPDATE account SET balance = balance + 1 WHERE id = 2";
                    database
                        .write(Write::new().run(add, ()).expect(1))
                        .await
                        .unwrap();
                    return;
                }
                let moved = database
                    .transaction(async |tx| {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        let found = tx
                            .run("SELECT balance FROM account WHERE id = 1", ())
                            .await?;
                        let balance: i64 = found.rows[0].get("balance")?;
                        tokio::task::yield_now().await;
                        let sql = "UPDATE account SET balance = ?1 WHERE id = 1";
                        tx.expect(1, sql, balance - 1).await?;
                        let sql = "UPDATE account SET balance = balance + 1 WHERE id = 2";
                        tx.expect(1, sql, ()).await?;
                        inside.fetch_sub(1, Ordering::SeqCst);
                        Ok(balance)
                    })
                    .await;
                assert!(moved.unwrap() > 0);
            });
        }
        tasks.join_all().await;
        assert_eq!(
            number(&first, "SELECT balance FROM account WHERE id = 1").await,
            70
        );
        assert_eq!(
            number(&first, "SELECT balance FROM account WHERE id = 2").await,
            40
        );
    });
}

#[test]
fn a_transaction_that_fails_or_is_dropped_is_undone() {
    let (_dir, path) = place();
    block_on(async {
        let (first, second) = two(&path).await;
        let insert = "INSERT INTO entry VALUES ('x')";
        let refused = second
            .transaction(async |tx| {
                tx.run(insert, ()).await?;
                // One that fails changes nothing; the transaction goes on.
                let refused = tx.expect(2, insert, ()).await.unwrap_err();
                assert!(matches!(refused, Error::Rows { .. }));
                let found = tx.run("SELECT count(*) AS n FROM entry", ()).await?;
                assert_eq!(found.rows[0].get::<i64>("n")?, 1);
                for forbidden in [
                    "COMMIT",
                    "PRAGMA user_version = 1",
                    "DELETE FROM turnkey_seen",
                ] {
                    let refused = tx.run(forbidden, ()).await.unwrap_err();
                    assert!(matches!(refused, Error::Statement(_)), "{refused}");
                }
                Err::<(), _>(Error::Statement("I think better of it".to_owned()))
            })
            .await;
        assert_eq!(
            refused,
            Err(Error::Statement("I think better of it".to_owned()))
        );
        let held = second.transaction(async |tx| {
            tx.run(insert, ()).await?;
            std::future::pending::<()>().await;
            Ok(())
        });
        let given_up = tokio::time::timeout(Duration::from_millis(50), held).await;
        assert!(given_up.is_err());
        first.write(Write::new().run(insert, ())).await.unwrap();
        assert_eq!(number(&first, "SELECT count(*) FROM entry").await, 1);
        let undone = second
            .transaction(async |tx| {
                tx.run(insert, ()).await?;
                tx.run("INSERT OR ROLLBACK INTO account VALUES (1, 1)", ())
                    .await
            })
            .await;
        assert!(matches!(undone, Err(Error::Statement(_))), "{undone:?}");
        assert_eq!(number(&first, "SELECT count(*) FROM entry").await, 1);
        second
            .transaction(async |tx| tx.run(insert, ()).await)
            .await
            .unwrap();
        assert_eq!(number(&first, "SELECT count(*) FROM entry").await, 2);
    });
}

#[test]
fn whoever_takes_too_long_is_refused_and_the_others_go_on() {
    let (_dir, path) = place();
    block_on(async {
        let first = opening(&path).await.unwrap();
        let short = opening(&path).transaction_limit(Duration::from_millis(200));
        let second = short.await.unwrap();
        let insert = "INSERT INTO entry VALUES ('x')";
        let held = Arc::new(AtomicBool::new(false));
        let (slow, holds) = (second.clone(), held.clone());
        let slow = tokio::spawn(async move {
            slow.transaction(async |tx| {
                tx.run(insert, ()).await?;
                holds.store(true, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(600)).await; // What is tested.
                tx.run(insert, ()).await
            })
            .await
        });
        until("it is under way", async || held.load(Ordering::Relaxed)).await;
        let begun = Instant::now();
        first.write(Write::new().run(insert, ())).await.unwrap();
        assert!(
            begun.elapsed() < Duration::from_millis(450),
            "{:?}",
            begun.elapsed()
        );
        let refused = slow.await.unwrap().unwrap_err();
        assert!(
            refused.to_string().contains("took longer than 200ms"),
            "{refused}"
        );
        assert_eq!(number(&first, "SELECT count(*) FROM entry").await, 1);
        // An endless statement, too.
        let endless =
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n";
        let refused = second
            .transaction(async |tx| tx.run(endless, ()).await)
            .await;
        let refused = refused.unwrap_err();
        assert!(
            refused.to_string().contains("took longer than 200ms"),
            "{refused}"
        );
    });
}

#[test]
fn transactions_are_served_in_the_order_of_their_asking() {
    let (_dir, path) = place();
    block_on(async {
        let (first, second) = two(&path).await;
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let go = Arc::new(tokio::sync::Notify::new());
        let holds = Arc::new(AtomicBool::new(false));
        let (database, wait, held) = (first.clone(), go.clone(), holds.clone());
        let holder = tokio::spawn(async move {
            database
                .transaction(async |tx| {
                    tx.run("SELECT 1", ()).await?;
                    held.store(true, Ordering::Relaxed);
                    wait.notified().await;
                    Ok(())
                })
                .await
        });
        until("one is under way", async || holds.load(Ordering::Relaxed)).await;
        let mut tasks = JoinSet::new();
        for n in 0..20 {
            let database = [&first, &second][n % 2].clone();
            let order = order.clone();
            tasks.spawn(async move {
                database
                    .transaction(async |tx| {
                        tx.run("SELECT 1", ()).await?;
                        order.lock().unwrap().push(n);
                        Ok(())
                    })
                    .await
                    .unwrap();
            });
            // So that they ask one after another.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        go.notify_one();
        holder.await.unwrap().unwrap();
        tasks.join_all().await;
        assert_eq!(*order.lock().unwrap(), Vec::from_iter(0..20));
    });
}

/// Nearly three times as much is written as the log may hold.
#[test]
fn transactions_without_a_pause_leave_a_short_log() {
    const MOST: u64 = 80 << 20;
    let (_dir, path) = place();
    let log = path.with_file_name("app.db-wal");
    block_on(async {
        let opening = opening(&path)
            .migration("CREATE TABLE large (body BLOB); INSERT INTO large VALUES (NULL)");
        let database = opening.await.unwrap();
        let mut tasks = JoinSet::new();
        for _ in 0..2 {
            let (database, log) = (database.clone(), log.clone());
            tasks.spawn(async move {
                let mut longest = 0;
                for _ in 0..55 {
                    database
                        .transaction(async |tx| {
                            let set = "UPDATE large SET body = randomblob(2000000)";
                            tx.expect(1, set, ()).await
                        })
                        .await
                        .unwrap();
                    longest = longest.max(std::fs::metadata(&log).unwrap().len());
                }
                longest
            });
        }
        for longest in tasks.join_all().await {
            assert!(longest < MOST, "{longest} bytes of log");
        }
    });
}
