//! What each call promises, from several handles of one process: each has its own connection.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use turnkey_storage::sqlite::{Opening, SharedDatabase, check};
use turnkey_storage::{Database, Error, Statement, Write};

use crate::common::{block_on, until};

pub(crate) const TABLES: &str = "
    CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL) STRICT;
    INSERT INTO account VALUES (1, 100), (2, 0);
    CREATE TABLE entry (what TEXT NOT NULL) STRICT;";

pub(crate) fn opening(path: &Path) -> Opening {
    Database::open(path).migration(TABLES)
}

pub(crate) async fn number(database: &SharedDatabase, sql: &'static str) -> i64 {
    let read = database.read(move |conn| conn.query_row(sql, [], |row| row.get(0)));
    read.await.unwrap()
}

/// Two handles; the first one writes itself.
async fn two(path: &Path) -> (SharedDatabase, SharedDatabase) {
    let first = opening(path).await.unwrap();
    let second = opening(path).await.unwrap();
    assert!(first.writes_itself() && !second.writes_itself());
    (first, second)
}

fn transfer(amount: i64) -> Write {
    Write::new()
        .run(
            "UPDATE account SET balance = balance - ?1 WHERE id = 1 AND balance >= ?1",
            amount,
        )
        .expect(1)
        .run(
            "UPDATE account SET balance = balance + ?1 WHERE id = 2",
            amount,
        )
        .expect(1)
}

#[test]
fn a_write_says_what_each_statement_did() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let (_first, database) = two(&dir.path().join("app.db")).await;
        let write = Write::new()
            .run(
                "INSERT INTO entry VALUES ('a'), ('b') RETURNING rowid, what",
                (),
            )
            .run("UPDATE entry SET what = what || '!'", ())
            .run("SELECT count(*) AS n FROM entry", ())
            .run("CREATE TABLE more (n INTEGER)", ())
            .run("DELETE FROM entry WHERE what = 'none'", ());
        let done = database.write(write).await.unwrap();
        let changed: Vec<u64> = done.iter().map(|outcome| outcome.changed).collect();
        assert_eq!(changed, [2, 2, 0, 0, 0]);
        let rows: Vec<(i64, String)> = done[0].rows.iter().map(|r| r.to().unwrap()).collect();
        assert_eq!(rows, [(1, "a".to_owned()), (2, "b".to_owned())]);
        assert_eq!(done[2].rows[0].get::<i64>("n").unwrap(), 2);
        assert_eq!(number(&database, "SELECT count(*) FROM entry").await, 2);
        let plain = Statement::new("DELETE FROM entry", ());
        assert_eq!(database.write(plain).await.unwrap()[0].changed, 2);
        let huge = Write::new().run("SELECT zeroblob(100000000)", ());
        let refused = database.write(huge).await.unwrap_err();
        assert!(refused.to_string().contains("MiB"), "{refused}");
    });
}

#[test]
fn a_guard_that_fails_undoes_all() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let (_first, database) = two(&dir.path().join("app.db")).await;
        database.write(transfer(60)).await.unwrap();
        let refused = database.write(transfer(60)).await.unwrap_err();
        let expected = Error::Rows {
            statement: 1,
            expected: 1,
            found: 0,
        };
        assert_eq!(refused, expected);
        let both = Write::new()
            .run("INSERT INTO entry VALUES ('x')", ())
            .run("SELECT id FROM account", ())
            .expect(1);
        let refused = database.write(both).await.unwrap_err();
        assert!(matches!(
            refused,
            Error::Rows {
                statement: 2,
                found: 2,
                ..
            }
        ));
        let wrong = Write::new()
            .run("INSERT INTO entry VALUES ('x')", ())
            .run("INSERT INTO nothing VALUES (1)", ());
        let refused = database.write(wrong).await.unwrap_err();
        assert!(matches!(refused, Error::Statement(_)), "{refused}");
        assert_eq!(
            number(&database, "SELECT balance FROM account WHERE id = 1").await,
            40
        );
        assert_eq!(number(&database, "SELECT count(*) FROM entry").await, 0);
    });
}

#[test]
fn under_a_key_a_write_takes_effect_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    block_on(async {
        let (first, second) = two(&path).await;
        let write = || {
            let sql = "INSERT INTO entry VALUES (?1) RETURNING rowid, what";
            Write::new().run(sql, "once").key("k1")
        };
        let mut answers = JoinSet::new();
        for n in 0..10 {
            let database = if n % 2 == 0 {
                first.clone()
            } else {
                second.clone()
            };
            answers.spawn(async move { database.write(write()).await.unwrap() });
        }
        for answer in answers.join_all().await {
            assert_eq!(answer[0].changed, 1);
            assert_eq!(answer[0].rows[0].get::<i64>("rowid").unwrap(), 1);
            assert_eq!(answer[0].rows[0].get::<String>("what").unwrap(), "once");
        }
        assert_eq!(number(&first, "SELECT count(*) FROM entry").await, 1);
        let other = Write::new().run("DELETE FROM entry", ()).key("k1");
        let refused = second.write(other).await.unwrap_err();
        assert!(
            refused.to_string().contains("other statements"),
            "{refused}"
        );
        // One that was refused has not happened.
        let refused = first.write(transfer(1000).key("k2")).await.unwrap_err();
        assert!(matches!(refused, Error::Rows { .. }));
        first.write(transfer(1).key("k3")).await.unwrap();
        first.close().await;
        until("the other goes on", async || second.writes_itself()).await;
        assert_eq!(second.write(write()).await.unwrap()[0].rows.len(), 1);
        assert_eq!(number(&second, "SELECT count(*) FROM entry").await, 1);
        second.close().await;
        assert_eq!(check(&path).await.unwrap(), []);
    });
}

#[test]
fn a_transaction_has_the_writer_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let (first, second) = two(&dir.path().join("app.db")).await;
        let mut tasks = JoinSet::new();
        let inside = Arc::new(AtomicU64::new(0));
        for n in 0..40_i64 {
            let database = if n % 2 == 0 {
                first.clone()
            } else {
                second.clone()
            };
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
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let (first, second) = two(&dir.path().join("app.db")).await;
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
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
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
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let (first, second) = two(&dir.path().join("app.db")).await;
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
            let database = if n % 2 == 0 {
                first.clone()
            } else {
                second.clone()
            };
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

/// Writes without a key, which nobody may send twice: not one fails.
#[test]
fn a_writer_that_leaves_makes_no_call_fail() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
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
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
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

/// Only the commit looks at it. The writer that finds it goes on.
#[test]
fn a_deferred_foreign_key_without_target_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    const TABLE: &str = "CREATE TABLE part (account INTEGER NOT NULL
        REFERENCES account (id) DEFERRABLE INITIALLY DEFERRED)";
    const PART: &str = "INSERT INTO part VALUES (?1)";
    block_on(async {
        let database = opening(&path).migration(TABLE).await.unwrap();
        let within = database.transaction(async |tx| tx.run(PART, 99).await);
        let keyed = database.write(Write::new().run(PART, 99).key("k"));
        let plain = database.write(Write::new().run(PART, 99));
        let refused = [
            within.await.unwrap_err(),
            keyed.await.unwrap_err(),
            plain.await.unwrap_err(),
        ];
        for refused in refused {
            assert!(matches!(refused, Error::Statement(_)), "{refused}");
            assert!(
                refused.to_string().contains("deferred foreign key"),
                "{refused}"
            );
        }
        // The target may come later in the same transaction; the key was not used up.
        let whole = database.transaction(async |tx| {
            tx.run(PART, 3).await?;
            tx.run("INSERT INTO account VALUES (3, 0)", ()).await
        });
        whole.await.unwrap();
        let keyed = database.write(Write::new().run(PART, 1).key("k"));
        assert_eq!(keyed.await.unwrap()[0].changed, 1);
        assert_eq!(number(&database, "SELECT count(*) FROM part").await, 2);
        let lives = number(&database, "SELECT max(number) FROM turnkey_generation").await;
        assert_eq!(lives, 1, "the first writer");
    });
}

/// Nearly three times as much is written as the log may hold.
#[test]
fn transactions_without_a_pause_leave_a_short_log() {
    const MOST: u64 = 80 << 20;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    let log = dir.path().join("app.db-wal");
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

#[test]
fn old_keys_are_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.db");
    block_on(async {
        let database = opening(&path).await.unwrap();
        let insert = || {
            Write::new()
                .run("INSERT INTO entry VALUES ('x')", ())
                .key("old")
        };
        database.write(insert()).await.unwrap();
        database.close().await;
        // Once it was a bot's: how long the ids of its updates are kept is not said here.
        let update = "INSERT INTO turnkey_seen VALUES ('http', '1', 0, 0, x'', x'')";
        let bot = rusqlite::Connection::open(&path).unwrap();
        bot.execute_batch(update).unwrap();
        drop(bot);
        let database = opening(&path).keep_keys(Duration::ZERO).await.unwrap();
        until("the key is gone", async || {
            let keys = "SELECT count(*) FROM turnkey_seen WHERE id = 'old'";
            number(&database, keys).await == 0
        })
        .await;
        assert_eq!(
            number(&database, "SELECT count(*) FROM turnkey_seen").await,
            1
        );
        database.write(insert()).await.unwrap();
        assert_eq!(number(&database, "SELECT count(*) FROM entry").await, 2);
    });
}
