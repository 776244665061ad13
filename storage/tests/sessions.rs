//! Sessions that are not as they should be: behind a pooler, on a server that became
//! read only, closed while nobody used them, or in each other's way. Addresses are at
//! the end: none shows a part of its password.

#![cfg(all(feature = "mysql", feature = "postgres"))]
#![allow(clippy::unwrap_used)]

#[macro_use]
mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::server::{Kind, TestServer};
use common::{Brings, LONG, asks, begin, block_on, count_to, dialog, last, turn, until};
use tokio::task::JoinSet;
use turnkey_storage::{Commit, Error, Statement, Storage, Value};

async fn ask(storage: &dyn Storage, sql: &str) -> Value {
    let rows = storage.query(None, Statement::new(sql, ())).await.unwrap();
    rows[0].values()[0].clone()
}

/// Forty users on two clients, a quarter of them with statements of their own and a half with
/// updates for others.
async fn load(clients: &[Arc<dyn Storage>; 2], turns: usize) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for user in 0..40 {
        let storage = clients[user % 2].clone();
        tasks.spawn(count_to(storage, user.to_string(), turns, Brings::of(user)));
    }
    tasks
}

const NOTE: &str = "CREATE TABLE note (body VARCHAR(100) PRIMARY KEY)";

async fn assert_all_there(storage: &dyn Storage, turns: i64) {
    let sum = "SELECT sum(CAST(state AS DECIMAL)) FROM turnkey_dialog";
    assert_eq!(ask(storage, sum).await, Value::Integer(40 * turns));
    let notes = ask(storage, "SELECT count(*) FROM note").await;
    assert_eq!(notes, Value::Integer(10 * turns));
    let relayed = ask(storage, "SELECT count(*) FROM turnkey_inbox").await;
    assert_eq!(relayed, Value::Integer(20 * turns));
}

#[test]
fn a_pooler_that_shares_sessions_is_refused_with_the_remedy() {
    let transaction = ["--pooler", "transaction"];
    let Some(server) = TestServer::start_with(Kind::Postgres, &transaction) else {
        return;
    };
    block_on(async {
        let url = server.url(&server.create().await);
        for _ in 0..3 {
            let refused = server.kind.prepare(&url, &[]).await.unwrap_err();
            let Error::Open(why) = refused else {
                panic!("{refused:?}")
            };
            let sentence = why.to_string();
            assert!(sentence.contains("set pool_mode = session"), "{sentence}");
        }
        assert!(matches!(server.kind.check(&url).await, Err(Error::Open(_))));
        // One that goes on without a look at the start takes no turn.
        let storage = server.kind.open(&url);
        let begun = storage.begin(asks(&dialog(1), "u")).await.map(common::flat);
        assert!(matches!(begun, Err(Error::Unavailable(_))), "{begun:?}");
    });
}

#[test]
fn behind_a_pooler_that_gives_sessions_away_all_works_and_commits_are_durable() {
    let session = ["--pooler", "session"];
    let Some(server) = TestServer::start_with(Kind::Postgres, &session) else {
        return;
    };
    block_on(async {
        let name = server.create().await;
        let off = format!("ALTER DATABASE {name} SET synchronous_commit = off");
        server.sql("postgres", &off).await;
        let url = server.url(&name);
        server.kind.prepare(&url, &[NOTE]).await.unwrap();
        let clients = [server.kind.open(&url), server.kind.open(&url)];
        load(&clients, 10).await.join_all().await;
        assert_all_there(&*clients[0], 10).await;
        let commit = "SELECT current_setting('synchronous_commit')";
        assert_eq!(ask(&*clients[0], commit).await, Value::from("on"));
        // Each of the author's sessions, and so each of all that are set up alike.
        let mut questions = JoinSet::new();
        for n in 0..12 {
            let storage = clients[n % 2].clone();
            let sql = "SELECT current_setting('synchronous_commit') FROM pg_sleep(0.2)";
            questions.spawn(async move { ask(&*storage, sql).await });
        }
        let answers = questions.join_all().await;
        assert!(answers.iter().all(|answer| *answer == Value::from("on")));
        // A lock that one client hands to the other: its word must come through.
        let held = begin(&*clients[0], &dialog("line"), "a").await;
        let waits = clients[1].clone();
        let waits = tokio::spawn(async move { turn(&*waits, &dialog("line"), "b", "1").await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(held);
        waits.await.unwrap();
        assert_eq!(server.kind.check(&url).await.unwrap(), []);
    });
}

#[test]
fn a_standby_takes_over_under_load_and_nothing_acknowledged_is_lost() {
    fail_over(TestServer::stop);
}

/// Its connections stand, and nothing answers on them.
#[test]
fn a_standby_takes_over_from_a_primary_that_hangs() {
    fail_over(TestServer::freeze);
}

fn fail_over(end: fn(&TestServer)) {
    let Some(server) = TestServer::start_with(Kind::Postgres, &["--standby", "sync"]) else {
        return;
    };
    const TURNS: usize = 150;
    block_on(async {
        let url = server.url(&server.prepared(&[NOTE]).await);
        // So that a server that hangs is given up soon.
        let url = format!("{url}&lease=2");
        let clients = [server.kind.open(&url), server.kind.open(&url)];
        let mut tasks = load(&clients, TURNS).await;
        let count = "SELECT count(*) FROM turnkey_seen";
        until(
            "some turns are done",
            async || matches!(ask(&*clients[0], count).await, Value::Integer(n) if n > 400),
        )
        .await;
        assert!(!tasks.is_empty());
        tokio::task::block_in_place(|| {
            end(&server);
            server.promote();
        });
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert_all_there(&*clients[1], TURNS as i64).await;
        until("no lock is left", async || {
            let locks = "SELECT count(*) FROM turnkey_lock";
            ask(&*clients[1], locks).await == Value::Integer(0)
        })
        .await;
    });
}

/// What makes a server read only while it runs, and ends that.
fn read_only(kind: Kind, on: bool) -> String {
    match (kind, on) {
        (Kind::Postgres, true) => "ALTER SYSTEM SET default_transaction_read_only = on".to_owned(),
        (Kind::Postgres, false) => "ALTER SYSTEM RESET default_transaction_read_only".to_owned(),
        (Kind::Mysql, on) => format!("SET GLOBAL read_only = {on}"),
    }
}

fn a_server_that_becomes_read_only_is_away_until_it_takes_writes(kind: Kind) {
    let Some(server) = TestServer::start(kind) else {
        return;
    };
    block_on(async {
        let name = server.prepared(&[NOTE]).await;
        if kind == Kind::Mysql {
            // Whoever may do everything may write all the same.
            let user = format!(
                "CREATE USER bot@localhost; GRANT ALL ON {name}.* TO bot@localhost;
                 GRANT CONNECTION ADMIN ON *.* TO bot@localhost"
            );
            server.sql("turnkey", &user).await;
        }
        let url = match kind {
            Kind::Postgres => server.url(&name),
            Kind::Mysql => server.url_as("bot", &name),
        };
        let clients = [kind.open(&url), kind.open(&url)];
        let mut tasks = load(&clients, 40).await;
        turn(&*clients[0], &dialog("before"), "u", "1").await;
        let set = async |on| {
            server.sql(&name, &read_only(kind, on)).await;
            if kind == Kind::Postgres {
                server.sql(&name, "SELECT pg_reload_conf()").await;
            }
        };
        set(true).await;
        until("callers are told", async || {
            let asked = Instant::now();
            let begun = clients[0]
                .begin(asks(&dialog("during"), "u"))
                .await
                .map(common::flat);
            assert!(asked.elapsed() < Duration::from_secs(4));
            matches!(begun, Err(Error::Unavailable(_)))
        })
        .await;
        let asked = Instant::now();
        let ready = clients[1].write_ready().await.unwrap_err().to_string();
        assert!(ready.contains("read") && ready.contains("only"), "{ready}");
        assert!(asked.elapsed() < Duration::from_secs(2));
        set(false).await;
        until("turns are taken again", async || {
            clients[1].write_ready().await.is_ok()
        })
        .await;
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert_all_there_but(&*clients[1], 40, 2).await;
    });
}

/// With so many more dialogs of one turn at most.
async fn assert_all_there_but(storage: &dyn Storage, turns: i64, others: i64) {
    let sum = "SELECT sum(CAST(state AS DECIMAL)) FROM turnkey_dialog WHERE state = '40'";
    assert_eq!(ask(storage, sum).await, Value::Integer(40 * turns));
    let all = ask(storage, "SELECT count(*) FROM turnkey_dialog").await;
    assert!(
        matches!(all, Value::Integer(n) if n <= 40 + others),
        "{all:?}"
    );
}

#[test]
fn a_question_that_writes_is_refused_and_the_session_kept() {
    let Some(server) = TestServer::shared(Kind::Postgres) else {
        return;
    };
    block_on(async {
        let storage = server.kind.open(&server.url(&server.prepared(&[]).await));
        let session = ask(&*storage, "SELECT pg_backend_pid()").await;
        let asked = Instant::now();
        let sql = Statement::new("SELECT nextval('turnkey_fence')", ());
        let refused = storage.query(None, sql).await;
        assert!(matches!(&refused, Err(Error::Statement(why)) if why.contains("read-only")));
        assert!(asked.elapsed() < Duration::from_secs(3));
        assert_eq!(ask(&*storage, "SELECT pg_backend_pid()").await, session);
    });
}

/// Whatever ends a session, or shows that it is of no more use, the next one is tried.
#[test]
fn a_session_that_is_of_no_more_use_is_replaced() {
    let Some(server) = TestServer::shared(Kind::Postgres) else {
        return;
    };
    let tables = [
        NOTE,
        "CREATE TABLE bad (pid INTEGER)",
        "CREATE FUNCTION fails(code TEXT) RETURNS INTEGER LANGUAGE plpgsql AS $$ BEGIN
            IF EXISTS (SELECT 1 FROM bad WHERE pid = pg_backend_pid()) THEN
                RAISE 'no more' USING ERRCODE = code;
            END IF;
            RETURN pg_backend_pid();
         END $$",
    ];
    block_on(async {
        let name = server.prepared(&tables).await;
        let storage = server.kind.open(&server.url(&name));
        for code in [
            "25006", "25P03", "25P04", "57P01", "57P02", "57P03", "57P05", "08006",
        ] {
            let Value::Integer(pid) = ask(&*storage, "SELECT pg_backend_pid()").await else {
                panic!("no number");
            };
            let bad = format!("INSERT INTO bad VALUES ({pid})");
            server.sql(&name, &bad).await;
            let mut grant = begin(&*storage, &dialog(1), code).await.grant.unwrap();
            let call = Statement::new("SELECT fails(?1)", (code,));
            let commit = Commit {
                statements: vec![call],
                ..last(code, "1")
            };
            storage.commit(&mut grant, commit).await.unwrap();
            let other = ask(&*storage, "SELECT pg_backend_pid()").await;
            assert_ne!(other, Value::Integer(pid), "{code}");
        }
    });
}

/// As a server does after `wait_timeout`, and a proxy or a firewall on the way at any time.
fn a_session_that_was_closed_while_idle_costs_no_request(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let name = server.prepared(&[NOTE]).await;
        let url = server.url(&name);
        let storage = kind.open(&url);
        let note = |update: &str| Commit {
            statements: vec![Statement::new("INSERT INTO note VALUES (?1)", (update,))],
            ..last(update, "1")
        };
        for round in 0..3 {
            for user in 0..12 {
                turn(&*storage, &dialog(user), &format!("{round}.{user}"), "1").await;
            }
            let warm = format!("{round}.warm");
            let mut grant = begin(&*storage, &dialog("sql"), &warm).await.grant.unwrap();
            storage.commit(&mut grant, note(&warm)).await.unwrap();
            // Longer than what needs no look.
            tokio::time::sleep(Duration::from_millis(1100)).await;
            close_idle(server, &name).await;
            let mut tasks = JoinSet::new();
            for user in 0..12 {
                let storage = storage.clone();
                let update = format!("{round}.{user}.after");
                tasks.spawn(async move { turn(&*storage, &dialog(user), &update, "1").await });
            }
            tasks.join_all().await;
            let after = format!("{round}.after");
            let mut grant = begin(&*storage, &dialog("sql"), &after)
                .await
                .grant
                .unwrap();
            storage.commit(&mut grant, note(&after)).await.unwrap();
            ask(&*storage, "SELECT count(*) FROM note").await;
        }
    });
}

/// Ends every session but those that show that a process lives.
async fn close_idle(server: &TestServer, name: &str) {
    match server.kind {
        Kind::Postgres => {
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity a
                 WHERE datname = current_database() AND pid <> pg_backend_pid()
                     AND NOT EXISTS (SELECT 1 FROM pg_locks l
                         WHERE l.pid = a.pid AND l.locktype = 'advisory')";
            server.sql(name, sql).await;
        }
        Kind::Mysql => {
            let sql = format!(
                "CREATE OR REPLACE PROCEDURE close_idle() BEGIN
                    FOR p IN (SELECT id FROM information_schema.processlist
                        WHERE db = '{name}' AND id <> connection_id()
                            AND id NOT IN (SELECT COALESCE(IS_USED_LOCK(CONCAT('turnkey_', owner)), 0)
                                FROM {name}.turnkey_owner))
                    DO EXECUTE IMMEDIATE CONCAT('KILL ', p.id); END FOR;
                 END"
            );
            server.sql(name, &sql).await;
            server.sql(name, "CALL close_idle()").await;
        }
    }
}

/// A call that always has to give way ends, and not at once.
fn attempts_are_bounded(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    let function = match kind {
        Kind::Postgres => {
            "CREATE FUNCTION in_the_way() RETURNS INTEGER LANGUAGE plpgsql AS
             $$ BEGIN RAISE 'in the way' USING ERRCODE = '40P01'; END $$"
        }
        Kind::Mysql => {
            "CREATE FUNCTION in_the_way() RETURNS INTEGER DETERMINISTIC
             BEGIN SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213; RETURN 1; END"
        }
    };
    block_on(async {
        let storage = kind.open(&server.url(&server.prepared(&[function]).await));
        turn(&*storage, &dialog(0), "first", "1").await;
        let call = || Statement::new("SELECT in_the_way()", ());
        let circle = |answer: &Result<(), Error>| {
            assert!(
                matches!(answer, Err(Error::Statement(why)) if why.contains("in a circle")),
                "{answer:?}"
            );
        };
        let asked = Instant::now();
        circle(&storage.query(None, call()).await.map(drop));
        circle(&storage.own(vec![call()]).await.map(drop));
        let mut grant = begin(&*storage, &dialog(0), "second").await.grant.unwrap();
        let commit = Commit {
            statements: vec![call()],
            ..last("second", "2")
        };
        circle(&storage.commit(&mut grant, commit).await);
        let took = asked.elapsed();
        assert!(
            took > Duration::from_millis(45),
            "without a pause: {took:?}"
        );
        assert!(took < LONG / 3, "{took:?}");
    });
}

on_every_server! {
    a_server_that_becomes_read_only_is_away_until_it_takes_writes
    a_session_that_was_closed_while_idle_costs_no_request
    attempts_are_bounded
}
