//! SQL of the author's: statements that commit with the turn, and queries, which only read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;
use turnkey_storage::{Commit, Error, Statement, Value};

use crate::common::{begin, dialog, last, turn};
use crate::engine::Engine;
use crate::steps::{book, count, keep};

async fn statements_commit_with_the_turn(engine: &dyn Engine) {
    let client = engine.open();
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    let commit = Commit {
        statements: vec![
            book("ann", 2),
            Statement::new("UPDATE booking SET seats = seats + ?1", (3,)),
            Statement::new("INSERT INTO note VALUES (?1)", (None::<String>,)),
        ],
        ..keep("u1", "1")
    };
    client.commit(&mut grant, commit.clone()).await.unwrap();
    // Sent again: the primary key must not turn it into a failure.
    client.commit(&mut grant, commit).await.unwrap();
    let rows = client
        .query(
            Some(&grant),
            Statement::new("SELECT name, seats FROM booking WHERE seats > ?1", (1,)),
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].get::<String>("name").unwrap(), "ann");
    assert_eq!(rows[0].get::<i64>("seats").unwrap(), 5);
    assert_eq!(count(&client, "note").await, 1);
}

async fn statements_that_fail_undo_the_turn(engine: &dyn Engine) {
    let client = engine.open();
    turn(&*client, &dialog(1), "u0", "0").await;
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    let bad = [
        vec![book("ann", 1), book("ann", 2)],
        vec![book("ann", 1), Statement::new("nonsense", ())],
        vec![
            book("ann", 1),
            Statement::new("INSERT INTO no_table VALUES (1)", ()),
        ],
        vec![
            book("ann", 1),
            Statement::new("INSERT INTO note VALUES (?1)", ()),
        ],
        vec![
            book("ann", 1),
            Statement::new("INSERT INTO note VALUES (1)", (1,)),
        ],
        vec![book("ann", 1), Statement::new("", ())],
        vec![Statement::new(
            "INSERT INTO note VALUES ('a'); INSERT INTO note VALUES ('b')",
            (),
        )],
    ];
    for statements in bad {
        let what = format!("{statements:?}");
        // Others commit in the same moment: they are not concerned.
        let other = tokio::spawn({
            let (client, user) = (client.clone(), what.clone());
            async move { turn(&*client, &dialog(&user), &user, "1").await }
        });
        let commit = Commit {
            statements,
            replies: vec!["never".into()],
            ..last("u1", "1")
        };
        let failed = client.commit(&mut grant, commit).await;
        assert!(
            matches!(failed, Err(Error::Statement(_))),
            "{what}: {failed:?}"
        );
        assert_eq!(other.await.unwrap(), None);
        assert_eq!(count(&client, "booking").await, 0, "{what}");
        assert_eq!(count(&client, "note").await, 0, "{what}");
    }
    client.commit(&mut grant, last("u1", "1")).await.unwrap();
    let begun = begin(&*client, &dialog(1), "u2").await;
    assert_eq!(begun.state.as_deref(), Some("1"));
    assert_eq!(begun.unsent, []);
}

async fn statements_stay_off_our_tables(engine: &dyn Engine) {
    let client = engine.open();
    turn(&*client, &dialog(1), "u0", "0").await;
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    for sql in [
        "DELETE FROM turnkey_lock",
        "DELETE FROM TURNKEY_SEEN",
        "UPDATE turnkey_dialog SET state = '9'",
        "INSERT INTO turnkey_history VALUES (1, 1, 1, '')",
        "REPLACE INTO main.turnkey_history VALUES (1, 1, 1, '')",
        "WITH x AS (SELECT 1) DELETE FROM turnkey_outbox",
        "DROP TABLE turnkey_outbox",
        "ALTER TABLE turnkey_outbox RENAME TO mine",
        "CREATE TABLE turnkey_mine (a TEXT)",
        "CREATE TABLE Turnkey_mine (a TEXT)",
        "CREATE INDEX mine ON turnkey_dialog (state)",
        "CREATE TRIGGER mine AFTER UPDATE ON turnkey_dialog BEGIN DELETE FROM note; END",
        "CREATE TEMP TRIGGER mine AFTER UPDATE ON turnkey_dialog BEGIN DELETE FROM note; END",
        "CREATE TEMP TABLE turnkey_dialog (a TEXT)",
        "CREATE TEMP VIEW mine AS SELECT 1",
        "DROP INDEX sqlite_autoindex_turnkey_dialog_1",
        "PRAGMA synchronous = OFF",
        "PRAGMA user_version",
        "ATTACH DATABASE ':memory:' AS other",
        "DETACH DATABASE main",
        "COMMIT",
        "ROLLBACK",
        "BEGIN",
        "END",
        "SAVEPOINT mine",
        "RELEASE turn",
        "ROLLBACK TO turn",
        "VACUUM",
    ] {
        let commit = Commit {
            statements: vec![Statement::new(sql, ())],
            ..last("u1", "1")
        };
        let refused = client.commit(&mut grant, commit).await;
        assert!(
            matches!(refused, Err(Error::Statement(_))),
            "{sql}: {refused:?}"
        );
    }
    // A trigger of the author's on the author's table does not get there either.
    let commit = Commit {
        statements: vec![
            Statement::new(
                "CREATE TRIGGER mine AFTER INSERT ON note BEGIN DELETE FROM turnkey_dialog; END",
                (),
            ),
            Statement::new("INSERT INTO note VALUES ('x')", ()),
        ],
        ..last("u1", "1")
    };
    let refused = client.commit(&mut grant, commit).await;
    assert!(matches!(refused, Err(Error::Statement(_))), "{refused:?}");
    client.commit(&mut grant, last("u1", "1")).await.unwrap();
    assert_eq!(
        turn(&*client, &dialog(1), "u2", "2").await.as_deref(),
        Some("1")
    );
}

async fn a_query_sees_the_turn_before(engine: &dyn Engine) {
    let clients = [engine.open(), engine.open()];
    let looked = Arc::new(AtomicU64::new(0));
    let upsert = engine.upsert();
    let mut tasks = JoinSet::new();
    for task in 0..24_usize {
        let (client, looked) = (clients[task % 2].clone(), looked.clone());
        tasks.spawn(async move {
            let user = task % 4;
            for round in 0..20 {
                let update = format!("{task}.{round}");
                let begun = begin(&*client, &dialog(user), &update).await;
                let mut grant = begun.grant.unwrap();
                let turns: i64 = begun.state.as_deref().unwrap_or("0").parse().unwrap();
                let seats = Statement::new(
                    "SELECT seats FROM booking WHERE name = ?1",
                    (user.to_string(),),
                );
                let found = client.query(Some(&grant), seats).await.unwrap();
                let seats = found.first().map_or(0, |row| row.get("seats").unwrap());
                assert_eq!(seats, turns, "what the state says was committed");
                looked.fetch_add(1, Ordering::Relaxed);
                let commit = Commit {
                    statements: vec![Statement::new(
                        format!(
                            "INSERT INTO booking VALUES (?1, 1) {upsert} seats = booking.seats + 1"
                        ),
                        (user.to_string(),),
                    )],
                    ..last(&update, &(turns + 1).to_string())
                };
                client.commit(&mut grant, commit).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    assert_eq!(looked.load(Ordering::Relaxed), 24 * 20);
}

async fn a_query_only_reads(engine: &dyn Engine) {
    let client = engine.open();
    for sql in [
        "INSERT INTO note VALUES ('x')",
        "DELETE FROM turnkey_dialog",
        "CREATE TABLE mine (a TEXT)",
        "PRAGMA user_version = 9",
        "SELECT * FROM no_table",
        "nonsense",
        "SELECT 1 WHERE 1 = ?1",
    ] {
        let refused = client.query(None, Statement::new(sql, ())).await;
        assert!(
            matches!(refused, Err(Error::Statement(_))),
            "{sql}: {refused:?}"
        );
    }
    assert_eq!(count(&client, "note").await, 0);
    let values = [
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Real(1.5),
        Value::Text("a\0é".into()),
        Value::Blob(vec![0, 255]),
    ];
    for value in values {
        let row = Statement::new("SELECT ?1 AS it", [value.clone()]);
        if !engine.text_holds_nul() && value == Value::Text("a\0é".into()) {
            let refused = client.query(None, row).await;
            assert!(matches!(refused, Err(Error::Statement(why)) if why.contains("NUL")));
            continue;
        }
        let rows = client.query(None, row).await.unwrap();
        assert_eq!(rows[0].get::<Value>("it").unwrap(), value);
        assert_eq!(rows[0].columns(), ["it"]);
    }
    // A transaction that a query leaves open would show an old state for ever.
    let _ = client.query(None, Statement::new("BEGIN", ())).await;
    count(&client, "note").await;
    let mut grant = begin(&*client, &dialog(1), "u1").await.grant.unwrap();
    let commit = Commit {
        statements: vec![Statement::new("INSERT INTO note VALUES ('x')", ())],
        ..last("u1", "1")
    };
    client.commit(&mut grant, commit).await.unwrap();
    assert_eq!(count(&client, "note").await, 1);
}

on_every_engine! {
    statements_commit_with_the_turn
    statements_that_fail_undo_the_turn
    statements_stay_off_our_tables
    a_query_sees_the_turn_before
    a_query_only_reads
}
