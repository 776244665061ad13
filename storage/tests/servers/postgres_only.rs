//! What is PostgreSQL's own: its addresses, its types.

use turnkey_storage::{Commit, Error, Statement, Value};

use crate::common::server::{Kind, TestServer};
use crate::common::{LONG, begin, block_on, dialog, last};
use crate::processes::{assert_refused, assert_unprepared, open};

#[test]
fn what_is_wrong_with_postgres_address_is_said_with_the_remedy() {
    let kind = Kind::Postgres;
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let name = server.create().await;
        server
            .sql(
                "postgres",
                "CREATE USER locked PASSWORD 'right'; CREATE USER poor",
            )
            .await;
        for (url, words) in [
            (
                server.url_as("locked:wrong", &name),
                "check the user and the password",
            ),
            (server.url_as("locked", &name), "add the password"),
            (server.url("nowhere"), "create the database"),
            (server.url_as("poor", &name), "let this user create tables"),
            (
                "postgres://ann:wrong@127.0.0.1:1/bot".to_owned(),
                "start the server",
            ),
            (
                "postgres://ann:wrong@no.such.host.invalid/bot".to_owned(),
                "correct host and port",
            ),
        ] {
            assert_refused(kind, &url, words).await;
        }
        assert_unprepared(kind, &server.url(&name)).await;
    });
}

#[test]
fn values_of_postgres_types_travel() {
    let Some(server) = TestServer::shared(Kind::Postgres) else {
        return;
    };
    block_on(async {
        let table = "CREATE TABLE t (i SMALLINT, b BOOLEAN, n NUMERIC, r REAL, s VARCHAR(9), \
                     x BYTEA, j JSONB, at TIMESTAMPTZ, u UUID)";
        let storage = open(&server.url(&server.prepared(&[table]).await));
        let mut grant = begin(&*storage, &dialog(1), "u").await.grant.unwrap();
        let values: Vec<Value> = vec![
            7.into(),
            true.into(),
            12.into(),
            0.5.into(),
            "it's".into(),
            vec![0_u8, 255].into(),
            r#"{"a": 1}"#.into(),
            "2026-01-02 03:04:05+00".into(),
            "00000000-0000-0000-0000-000000000001".into(),
        ];
        let insert = "INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, $9)";
        let commit = Commit {
            statements: vec![Statement::new(insert, values.clone())],
            ..last("u", "1")
        };
        storage.commit(&mut grant, commit).await.unwrap();
        let ask = |sql: &str| storage.query(None, Statement::new(sql, ()));
        let rows = ask("SELECT i, b, n, r, s, x, j, u::text FROM t")
            .await
            .unwrap();
        assert_eq!(rows[0].values()[..7], values[..7]);
        let rows = ask("SELECT sum(i) AS s, avg(r) AS a, count(*) AS c FROM t")
            .await
            .unwrap();
        assert_eq!(rows[0].values(), [7.into(), Value::Real(0.5), 1.into()]);
        let refused = ask("SELECT at FROM t").await;
        assert!(matches!(refused, Err(Error::Statement(why)) if why.contains("cast it")));
        let slow = tokio::time::timeout(LONG, ask("SELECT pg_sleep(9)"))
            .await
            .unwrap();
        assert!(matches!(slow, Err(Error::Statement(why)) if why.contains("took longer")));
    });
}
