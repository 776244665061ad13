//! Values arrive exactly, or not at all.

use turnkey_storage::copy::Wanted;
use turnkey_storage::{Sync, sqlite};

use crate::common::block_on;
use crate::common::server::{Kind, TestServer};
use crate::copies::{copy, open_source, open_target, sentence, strings};

#[test]
fn values_arrive_in_mariadb_exactly_or_not_at_all() {
    let Some(server) = TestServer::shared(Kind::Mysql) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let kind = Kind::Mysql;
    block_on(async {
        let parents = "CREATE TABLE parents (id INTEGER AUTO_INCREMENT PRIMARY KEY)";
        let rich = "CREATE TABLE `kinds` (n INTEGER, b BOOLEAN, d DECIMAL(30,2), f FLOAT, \
             t DATETIME(3), s TIMESTAMP NULL, j JSON, u BIGINT UNSIGNED, e ENUM('1', 'a'), \
             x BIT(3), me INTEGER UNIQUE, other INTEGER REFERENCES kinds (me), \
             made INTEGER GENERATED ALWAYS AS (n + 1) STORED, \
             FOREIGN KEY (n) REFERENCES parents (id))";
        let plain = "CREATE TABLE parents (id INTEGER PRIMARY KEY);
             CREATE TABLE Kinds (d TEXT, b INTEGER, N INTEGER REFERENCES parents, f REAL, t TEXT, \
             s TEXT, j TEXT, u TEXT, e TEXT, x INTEGER, me INTEGER UNIQUE, \
             other INTEGER REFERENCES Kinds (me))";
        let first = server.prepared(&[parents, rich]).await;
        server
            .sql(
                &first,
                "SET sql_mode = CONCAT(@@sql_mode, ',NO_AUTO_VALUE_ON_ZERO');
                 INSERT INTO parents VALUES (0), (-7), (3000);
                 INSERT INTO kinds (n, b, d, f, t, s, j, u, e, x, me, other) VALUES
                 (0, true, 1.50, 0.1, '2026-01-02 03:04:05.678', '2026-01-02 03:04:05', '{\"a\": [1]}', 18446744073709551615, '1', 5, 1, NULL),
                 (3000, NULL, 12345678901234567890.12, 16777217, '1000-01-01', NULL, 'null', 0, 'a', 0, 2, 1),
                 (NULL, false, 7, -0.0, NULL, NULL, NULL, NULL, NULL, NULL, 3, 3)",
            )
            .await;
        let file = dir.path().join("kinds.db");
        {
            let source = open_source(kind, &server.url(&first)).await.unwrap();
            let target = sqlite::copy_target(&file).unwrap();
            let report = copy(&*source, &target, &[plain], &Wanted::All)
                .await
                .unwrap();
            assert!(report.same(), "{report:?}");
        }
        let conn = rusqlite::Connection::open(&file).unwrap();
        let texts = "SELECT d || ' ' || f || ' ' || t || ' ' || s || ' ' || u || ' ' || x FROM kinds WHERE me = 1";
        let texts: String = conn.query_row(texts, [], |row| row.get(0)).unwrap();
        assert_eq!(
            texts,
            "1.50 0.10000000149011612 2026-01-02 03:04:05.678 2026-01-02 03:04:05 18446744073709551615 5"
        );
        // So that a row comes before the one that it refers to.
        conn.execute_batch("PRAGMA foreign_keys = OFF; UPDATE kinds SET rowid = 100 WHERE me = 1")
            .unwrap();
        drop(conn);
        let second = server.url(&server.create().await);
        {
            let source = sqlite::copy_source(&file).unwrap();
            let target = open_target(kind, &second).await.unwrap();
            let back = copy(&source, &*target, &[parents, rich], &Wanted::All)
                .await
                .unwrap();
            assert!(back.same(), "{back:?}");
        }

        // What the server would write in another way, or not at all.
        for value in [
            ("t", "'2026-01-02 03:04:05'", None),
            ("d", "'1e3'", None),
            ("d", "1.005", None),
            ("f", "0.1234567890123", None),
            ("e", "'2'", None),
            (
                "n",
                "77777",
                Some("refer to rows of parents that are not there"),
            ),
            ("n", "'x'", Some("cannot be kept")),
            ("b", "700", Some("cannot be kept")),
            ("t", "'soon'", Some("cannot be kept")),
            ("j", "'{'", Some("cannot be kept")),
            ("u", "-1", Some("cannot be kept")),
            ("j", "x'00'", Some("holds bytes")),
            ("f", "9e999", Some("infinity")),
        ] {
            check_value(server, kind, plain, &[parents, rich], value).await;
        }
    });
}

#[test]
fn values_arrive_in_postgresql_exactly_or_not_at_all() {
    let Some(server) = TestServer::shared(Kind::Postgres) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let rich = "CREATE TABLE kinds (n INTEGER REFERENCES parents, b BOOLEAN, d NUMERIC, f REAL, \
             t TIMESTAMPTZ, j JSONB, u UUID, l INTEGER[], made TEXT GENERATED ALWAYS AS ('x') STORED)";
        let parents = "CREATE TABLE parents (id SERIAL PRIMARY KEY)";
        let plain = "CREATE TABLE parents (id INTEGER PRIMARY KEY);
             CREATE TABLE Kinds (d TEXT, b INTEGER, N INTEGER REFERENCES parents, f REAL, t TEXT, j TEXT, u TEXT, l TEXT)";
        let first = server.prepared(&[parents, rich]).await;
        server
            .sql(
                &first,
                "INSERT INTO parents SELECT generate_series(1, 3000);
                 INSERT INTO kinds VALUES
                 (1, true, 1.50, 0.1, '2026-01-02 03:04:05.678+02', '{\"a\":[1]}', gen_random_uuid(), '{1,NULL}'),
                 (3000, NULL, 12345678901234567890.12, 'Infinity', 'infinity', 'null', NULL, '{}'),
                 (NULL, false, 7, -0.0, NULL, NULL, NULL, NULL)",
            )
            .await;
        let second = server.url(&server.create().await);
        let file = dir.path().join("kinds.db");
        let source = open_source(Kind::Postgres, &server.url(&first))
            .await
            .unwrap();
        let target = sqlite::copy_target(&file).unwrap();
        let report = copy(&*source, &target, &[plain], &Wanted::All)
            .await
            .unwrap();
        assert!(report.same(), "{report:?}");
        drop((source, target));
        let source = sqlite::copy_source(&file).unwrap();
        let target = open_target(Kind::Postgres, &second).await.unwrap();
        let back = copy(&source, &*target, &[parents, rich], &Wanted::All)
            .await
            .unwrap();
        assert!(back.same(), "{back:?}");
        drop(source);

        // What the server would write in another way, or not at all.
        for value in [
            ("t", "'2026-01-02T03:04:05Z'", None),
            ("d", "'1e3'", None),
            ("j", "'{\"a\":1}'", None),
            ("f", "0.1234567890123", None),
            ("n", "1.5", Some("cannot be kept")),
            ("n", "77777", Some("violates foreign key")),
            ("b", "7", Some("cannot be kept")),
            ("t", "'soon'", Some("cannot be kept")),
            ("j", "x'00'", Some("holds bytes")),
            ("u", "'a' || char(0)", Some("NUL")),
        ] {
            check_value(server, Kind::Postgres, plain, &[parents, rich], value).await;
        }
    });
}

/// A row of `kinds` with one value: the column, the value, and why it is refused. Without a
/// reason it is copied, and the copy is seen to differ.
async fn check_value(
    server: &TestServer,
    kind: Kind,
    plain: &str,
    tables: &[&str],
    (column, value, words): (&str, &str, Option<&str>),
) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("value.db");
    sqlite::prepare(&file, Sync::Full, &strings(&[plain])).unwrap();
    let conn = rusqlite::Connection::open(&file).unwrap();
    conn.execute_batch(&format!(
        "PRAGMA foreign_keys = OFF; INSERT INTO kinds ({column}) VALUES ({value})"
    ))
    .unwrap();
    drop(conn);
    let url = server.url(&server.create().await);
    let source = sqlite::copy_source(&file).unwrap();
    let target = open_target(kind, &url).await.unwrap();
    let copied = copy(&source, &*target, tables, &Wanted::All).await;
    match words {
        Some(words) => {
            let refused = sentence(copied);
            assert!(refused.contains(words), "{column} {value}: {refused}");
        }
        None => assert!(!copied.unwrap().same(), "{column} {value}"),
    }
    drop((source, target));
    let refused = sentence(kind.prepare(&url, &[]).await);
    assert!(refused.contains("was not finished"), "{refused}");
}
