//! Programs that write past us, and files that are not ours to serve.

use std::time::{Duration, Instant};

use rusqlite::Connection;
use turnkey_storage::sqlite::Files;
use turnkey_storage::{Database, Error, Write};

use crate::common::block_on;
use crate::place::{number, opening, place};

#[test]
fn a_program_that_writes_past_us_is_waited_for() {
    let (_dir, path) = place();
    block_on(async {
        let database = opening(&path).await.unwrap();
        let stranger = Connection::open(&path).unwrap();
        stranger
            .execute_batch("BEGIN IMMEDIATE; INSERT INTO entry VALUES ('stranger')")
            .unwrap();
        let begun = Instant::now();
        let waiting = tokio::spawn({
            let database = database.clone();
            let insert = Write::new().run("INSERT INTO entry VALUES ('ours')", ());
            async move { database.write(insert).await }
        });
        // Reads go on meanwhile.
        assert_eq!(number(&database, "SELECT count(*) FROM entry").await, 0);
        tokio::time::sleep(Duration::from_millis(1500)).await; // What is waited for.
        assert!(!waiting.is_finished());
        stranger.execute_batch("COMMIT").unwrap();
        waiting.await.unwrap().unwrap();
        assert!(begun.elapsed() > Duration::from_millis(1400));
        assert_eq!(number(&database, "SELECT count(*) FROM entry").await, 2);
    });
}

/// After ten seconds the caller is told who it is.
#[test]
fn a_program_that_does_not_stop_writing_is_named() {
    let (_dir, path) = place();
    let mut child = crate::processes::start_holding(&path);
    block_on(async {
        let database = opening(&path).await.unwrap();
        let stranger = child.hold();
        let insert = || {
            Write::new()
                .run("INSERT INTO entry VALUES ('ours')", ())
                .key("k")
        };
        let refused = database.write(insert()).await.unwrap_err();
        let told = refused.to_string();
        assert!(matches!(refused, Error::Unavailable(_)), "{told}");
        assert!(told.contains(&format!("process {}", stranger)), "{told}");
        child.end();
        database.write(insert()).await.unwrap();
        assert_eq!(number(&database, "SELECT count(*) FROM entry").await, 1);
    });
}

#[test]
fn who_comes_with_other_migrations_is_told() {
    let (_dir, path) = place();
    block_on(async {
        let first = opening(&path).await.unwrap();
        let more = || opening(&path).migration("CREATE TABLE more (n INTEGER)");
        let refused = more().await.unwrap_err();
        assert!(matches!(refused, Error::Open(_)), "{refused}");
        assert!(
            refused.to_string().contains("fewer migrations"),
            "{refused}"
        );
        first.close().await;
        let second = more().await.unwrap();
        second
            .write(Write::new().run("INSERT INTO more VALUES (1)", ()))
            .await
            .unwrap();
        let refused = opening(&path).await.unwrap_err();
        assert!(refused.to_string().contains("newer version"), "{refused}");
    });
}

#[test]
fn the_file_of_a_running_bot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bot.db");
    block_on(async {
        opening(&path).await.unwrap().close().await;
        let files = Files::of(&path);
        let lock = files.lock().unwrap();
        lock.note("{\"pid\":1}").unwrap();
        let listener = files.bind(&lock).unwrap();
        let refused = opening(&path).await.unwrap_err();
        assert!(matches!(refused, Error::Open(_)), "{refused}");
        assert!(refused.to_string().contains("running bot"), "{refused}");
        drop((listener, lock));
        opening(&path).await.unwrap();
    });
}

#[test]
fn what_cannot_be_opened_is_told() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let nowhere = Database::open(dir.path().join("no/app.db")).await;
        assert!(matches!(nowhere, Err(Error::Open(_))), "{nowhere:?}");
        let text = dir.path().join("text");
        std::fs::write(&text, "this is no database at all, just some text").unwrap();
        let refused = Database::open(&text).await.unwrap_err();
        assert!(
            refused.to_string().contains("not a SQLite database"),
            "{refused}"
        );
        let other = dir.path().join("other.db");
        let conn = Connection::open(&other).unwrap();
        conn.execute_batch("CREATE TABLE theirs (n)").unwrap();
        let refused = Database::open(&other).await.unwrap_err();
        assert!(refused.to_string().contains("another program"), "{refused}");
    });
}
