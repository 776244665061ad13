//! What is MySQL's own: its addresses, its types, migrations that are cut off, servers that do
//! not sync.

use turnkey_storage::{Commit, Error, Statement, Sync, Value, mysql};

use crate::common::server::{Kind, TestServer};
use crate::common::{LONG, begin, block_on, dialog, last};
use crate::processes::{assert_refused, assert_unprepared, open};

#[test]
fn what_is_wrong_with_a_mysql_address_is_said_with_the_remedy() {
    let kind = Kind::Mysql;
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let name = server.create().await;
        let users = format!(
            "CREATE USER locked@localhost IDENTIFIED BY 'right'; CREATE USER poor@localhost;
             GRANT SELECT ON {name}.* TO poor@localhost; CREATE USER nobody_here@localhost;
             CREATE DATABASE narrow CHARACTER SET latin1"
        );
        server.sql("turnkey", &users).await;
        for (url, words) in [
            (
                server.url_as("locked:wrong", &name),
                "check the user and the password",
            ),
            (server.url_as("locked", &name), "add the password"),
            (server.url("nowhere"), "create the database"),
            (
                server.url_as("nobody_here", &name),
                "let this user use the database",
            ),
            (server.url_as("poor", &name), "let this user create tables"),
            (server.url("narrow"), "ALTER DATABASE"),
            (
                "mysql://ann:wrong@127.0.0.1:1/bot".to_owned(),
                "start the server",
            ),
            (
                "mysql://ann:wrong@no.such.host.invalid/bot".to_owned(),
                "correct host, port or socket",
            ),
            (
                "mysql://ann:wrong@localhost/bot?socket=/no/such/socket".to_owned(),
                "correct host, port or socket",
            ),
        ] {
            assert_refused(kind, &url, words).await;
        }
        assert_unprepared(kind, &server.url(&name)).await;
    });
}

#[test]
fn a_mysql_migration_that_was_cut_off_is_refused_until_somebody_looked() {
    let Some(server) = TestServer::shared(Kind::Mysql) else {
        return;
    };
    block_on(async {
        let name = server.create().await;
        let url = server.url(&name);
        let half = "CREATE TABLE a (b INT); CREATE TABLE c (d NONSENSE)";
        for words in ["in its statement 2", "did not end"] {
            let refused = Kind::Mysql.prepare(&url, &[half]).await.unwrap_err();
            assert!(refused.to_string().contains(words), "{refused}");
        }
        let undo = "DROP TABLE a; DELETE FROM turnkey_migration WHERE owner = 'bot'";
        server.sql(&name, undo).await;
        // Our own can be done again.
        let cut = "UPDATE turnkey_migration SET ended_at = NULL WHERE owner = 'turnkey'";
        server.sql(&name, cut).await;
        Kind::Mysql
            .prepare(&url, &["CREATE TABLE a (b INT); CREATE TABLE c (d INT)"])
            .await
            .unwrap();
        // Nothing of this one took effect: it may be corrected.
        let list = ["CREATE TABLE a (b INT); CREATE TABLE c (d INT)", "nonsense"];
        let refused = Kind::Mysql.prepare(&url, &list).await.unwrap_err();
        assert!(refused.to_string().contains("MySQL's SQL"), "{refused}");
        let list = [list[0], "INSERT INTO a VALUES (1)"];
        Kind::Mysql.prepare(&url, &list).await.unwrap();
    });
}

#[test]
fn a_mysql_server_that_does_not_sync_is_refused_for_full_sync() {
    let unsafe_server = ["-c", "innodb-flush-log-at-trx-commit=2", "--port"];
    let Some(server) = TestServer::start_with(Kind::Mysql, &unsafe_server) else {
        return;
    };
    block_on(async {
        let url = server.url(&server.create().await);
        assert!(url.contains("@127.0.0.1:"), "{url}");
        let remedy = "set innodb_flush_log_at_trx_commit=1 on the server";
        assert_refused(Kind::Mysql, &url, remedy).await;
        let server = mysql::Server::parse(&url).unwrap();
        mysql::prepare(&server, Sync::Normal, &[]).await.unwrap();
    });
}

#[test]
fn values_of_mysql_types_travel() {
    let Some(server) = TestServer::shared(Kind::Mysql) else {
        return;
    };
    block_on(async {
        let table = "CREATE TABLE t (i SMALLINT, b BOOLEAN, n DECIMAL(9,0), r FLOAT, s VARCHAR(9), \
                     x BLOB, j JSON, f BIT(9), u BIGINT UNSIGNED, at DATETIME)";
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
            257.into(),
            8.into(),
            "2026-01-02 03:04:05".into(),
        ];
        let insert = "INSERT INTO t VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?)";
        let commit = Commit {
            statements: vec![Statement::new(insert, values.clone())],
            ..last("u", "1")
        };
        storage.commit(&mut grant, commit).await.unwrap();
        let ask = |sql: &str| storage.query(None, Statement::new(sql, ()));
        let rows = ask("SELECT i, b, n, r, s, x, j, f, u FROM t")
            .await
            .unwrap();
        assert_eq!(rows[0].values(), &values[..9]);
        let rows = ask("SELECT sum(i) AS s, avg(r) AS a, count(*) AS c FROM t")
            .await
            .unwrap();
        assert_eq!(rows[0].values(), [7.into(), Value::Real(0.5), 1.into()]);
        let refused = ask("SELECT at FROM t").await;
        assert!(matches!(refused, Err(Error::Statement(why)) if why.contains("CAST(at AS CHAR)")));
        let slow = tokio::time::timeout(LONG, ask("SELECT SLEEP(9) FROM t"))
            .await
            .unwrap();
        assert!(matches!(slow, Err(Error::Statement(why)) if why.contains("took longer")));
    });
}
