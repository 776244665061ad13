//! What a write promises: all or nothing, guards, keys.

use std::time::Duration;

use tokio::task::JoinSet;
use turnkey_storage::sqlite::check;
use turnkey_storage::{Error, Statement, Write};

use crate::common::{block_on, until};
use crate::place::{number, opening, place, two};

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
    let (_dir, path) = place();
    block_on(async {
        let (_first, database) = two(&path).await;
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
    let (_dir, path) = place();
    block_on(async {
        let (_first, database) = two(&path).await;
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
    let (_dir, path) = place();
    block_on(async {
        let (first, second) = two(&path).await;
        let write = || {
            let sql = "INSERT INTO entry VALUES (?1) RETURNING rowid, what";
            Write::new().run(sql, "once").key("k1")
        };
        let mut answers = JoinSet::new();
        for n in 0..10 {
            let database = [&first, &second][n % 2].clone();
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
fn old_keys_are_forgotten() {
    let (_dir, path) = place();
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

/// Only the commit looks at it. The writer that finds it goes on.
#[test]
fn a_deferred_foreign_key_without_target_is_refused() {
    let (_dir, path) = place();
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
