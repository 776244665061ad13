//! What the engines for database servers have to show: they outlive their server,
//! notice processes that die or freeze, and say what is wrong with an address. One list
//! of cases, each on both; then what is one engine's own.
//!
//! The processes are this test binary, started again with [`CHILD`] set.

#![cfg(all(feature = "mysql", feature = "postgres"))]
#![allow(clippy::unwrap_used)]

#[macro_use]
mod common;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::server::{Kind, TestServer};
use common::{Brings, LONG, asks, begin, block_on, count_to, dialog, last, turn, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::task::JoinSet;
use turnkey_storage::{Commit, DialogKey, Error, Pending, Statement, Storage, Sync, Value, mysql};

/// The address that a child process works on.
const CHILD: &str = "TURNKEY_TEST_CHILD";

fn open(url: &str) -> Arc<dyn Storage> {
    let kind = match url.starts_with("mysql:") {
        true => Kind::Mysql,
        false => Kind::Postgres,
    };
    kind.open(url)
}

/// A process that holds the locks of dialogs 0 to 4, waits for dialog "line", and
/// tries to commit dialog 0 when it is told to.
struct Process {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Process {
    fn start(url: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture", "--quiet"])
            .env(CHILD, url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut process = Process { child, said };
        assert_eq!(process.says(), "held");
        process
    }

    fn says(&mut self) -> String {
        let mut line = String::new();
        while self.said.read_line(&mut line).unwrap() > 0 {
            if let Some(word) = line.trim().strip_prefix("child: ") {
                return word.to_owned();
            }
            line.clear();
        }
        panic!("the child process ended");
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The body of a [`Process`]; as a test it does nothing.
#[test]
fn child() {
    let Ok(url) = std::env::var(CHILD) else {
        return;
    };
    let say = |word: &str| {
        let mut out = std::io::stdout();
        writeln!(out, "\nchild: {word}").unwrap();
        out.flush().unwrap();
    };
    common::runtime().block_on(async {
        let storage = open(&url);
        let mut held = Vec::new();
        for n in 0..5 {
            held.push(begin(&*storage, &dialog(n), "child").await.grant.unwrap());
        }
        let waits = storage.clone();
        let _waits = tokio::spawn(async move {
            waits
                .begin(asks(&dialog("line"), "child"))
                .await
                .map(common::flat)
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        say("held");
        let told =
            tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()).unwrap());
        told.await.unwrap();
        let late = storage.commit(&mut held[0], last("child", "9")).await;
        say(&format!("{late:?}"));
        std::future::pending::<()>().await;
    });
}

fn the_locks_of_a_killed_process_are_freed_within_two_seconds(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let url = server.url(&server.prepared(&[]).await);
        let (a, b) = (open(&url), open(&url));
        let first = begin(&*a, &dialog("line"), "first").await.grant.unwrap();
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let mut line = JoinSet::new();
        let mut process = None;
        // The dead process stands in the middle of the line.
        for n in 0..10 {
            if n == 5 {
                process = Some(Process::start(&url));
            }
            let (storage, order) = ([&a, &b][n % 2].clone(), order.clone());
            line.spawn(async move {
                let begun = begin(&*storage, &dialog("line"), &format!("u{n}")).await;
                order.lock().unwrap().push(n);
                let mut grant = begun.grant.unwrap();
                let commit = last(&format!("u{n}"), &n.to_string());
                storage.commit(&mut grant, commit).await.unwrap();
            });
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        process.as_ref().unwrap().signal(Signal::SIGKILL);
        let killed = Instant::now();
        drop(first);
        for n in 0..5 {
            turn(&*b, &dialog(n), &format!("after {n}"), "1").await;
        }
        line.join_all().await;
        let freed = killed.elapsed();
        assert!(freed < Duration::from_secs(2), "{freed:?}");
        assert_eq!(*order.lock().unwrap(), Vec::from_iter(0..10));
        assert_eq!(kind.check(&url).await.unwrap(), []);
    });
}

fn a_frozen_process_loses_its_locks_and_its_late_commit_is_refused(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let lease = Duration::from_secs(3);
        let url = server.url(&server.prepared(&[]).await);
        let url = format!("{url}{}lease=3", if url.contains('?') { '&' } else { '?' });
        let storage = open(&url);
        let mut process = Process::start(&url);
        process.signal(Signal::SIGSTOP);
        let frozen = Instant::now();
        turn(&*storage, &dialog(0), "after", "1").await;
        let freed = frozen.elapsed();
        // Not the ten seconds that are the default.
        assert!(freed > lease / 2 && freed < lease * 2, "{freed:?}");
        process.signal(Signal::SIGCONT);
        writeln!(process.child.stdin.as_ref().unwrap()).unwrap();
        assert_eq!(process.says(), "Err(Stale)");
        assert_eq!(
            turn(&*storage, &dialog(0), "last", "2").await.as_deref(),
            Some("1")
        );
    });
}

fn a_server_that_goes_and_comes_back_loses_nothing(kind: Kind) {
    let Some(server) = TestServer::start(kind) else {
        return;
    };
    block_on(async {
        let name = server
            .prepared(&["CREATE TABLE note (body VARCHAR(100) PRIMARY KEY)"])
            .await;
        let clients = [open(&server.url(&name)), open(&server.url(&name))];
        let mut tasks = JoinSet::new();
        for user in 0..40 {
            let storage = clients[user % 2].clone();
            tasks.spawn(count_to(storage, user.to_string(), 150, Brings::of(user)));
        }
        let mut stops = 0;
        while stops < 3 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(!tasks.is_empty());
            tokio::task::block_in_place(|| server.stop());
            if stops == 2 {
                // Away for so long that callers are told.
                tokio::time::sleep(Duration::from_millis(2500)).await;
                let asked = Instant::now();
                let away = clients[0]
                    .begin(asks(&dialog("away"), "u"))
                    .await
                    .map(common::flat);
                assert!(matches!(away, Err(Error::Unavailable(_))), "{away:?}");
                assert!(asked.elapsed() < Duration::from_secs(2));
            }
            tokio::task::block_in_place(|| server.start_again());
            stops += 1;
        }
        tasks.join_all().await;
        let query = |sql: &str| Statement::new(sql, ());
        let sum =
            query("SELECT sum(CAST(state AS DECIMAL)) AS n, count(*) AS users FROM turnkey_dialog");
        let rows = clients[0].query(None, sum).await.unwrap();
        assert_eq!(
            rows[0].values(),
            [Value::Integer(40 * 150), Value::Integer(40)]
        );
        let notes = clients[0]
            .query(None, query("SELECT count(*) FROM note"))
            .await
            .unwrap();
        assert_eq!(notes[0].values(), [Value::Integer(10 * 150)]);
        let relayed = clients[0]
            .query(None, query("SELECT count(*) FROM turnkey_inbox"))
            .await
            .unwrap();
        assert_eq!(relayed[0].values(), [Value::Integer(20 * 150)]);
        if kind == Kind::Mysql {
            // After each start of the server 1024 were skipped, or more.
            let last = query("SELECT max(n) > 4 * 1024 FROM turnkey_fence");
            let rows = clients[0].query(None, last).await.unwrap();
            assert_eq!(rows[0].values(), [Value::Integer(1)]);
            until("old fences are pruned", async || {
                let old = query(
                    "SELECT count(*) FROM turnkey_fence
                     WHERE n < (SELECT max(n) - 1024 FROM turnkey_fence)",
                );
                clients[1].query(None, old).await.unwrap()[0].values() == [Value::Integer(0)]
            })
            .await;
        }
        until("no lock is left", async || {
            let locks = query("SELECT count(*) FROM turnkey_lock");
            clients[1].query(None, locks).await.unwrap()[0].values() == [Value::Integer(0)]
        })
        .await;
    });
}

fn two_boxes_may_prepare_at_once_and_migrations_are_kept(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let url = server.url(&server.create().await);
        let first = "CREATE TABLE a (b INTEGER)";
        let mut both = JoinSet::new();
        for _ in 0..4 {
            let url = url.clone();
            both.spawn(async move { kind.prepare(&url, &[first]).await });
        }
        for prepared in both.join_all().await {
            prepared.unwrap();
        }
        let refused = async |list: &[&str]| kind.prepare(&url, list).await.unwrap_err().to_string();
        assert!(
            refused(&["CREATE TABLE a (c TEXT)"])
                .await
                .contains("was changed")
        );
        assert!(refused(&[]).await.contains("newer version of the bot"));
        let wrong = refused(&[first, "CREATE TABLE d (e INTEGER) STRICT"]).await;
        assert!(wrong.contains("migration 2 of the bot failed"), "{wrong}");
        kind.prepare(&url, &[first]).await.unwrap();
    });
}

/// Why a database cannot be used.
async fn refusal(kind: Kind, url: &str) -> String {
    let error = kind.prepare(url, &[]).await.unwrap_err();
    let (sentence, may_pass) = match error {
        Error::Open(why) => (why.to_string(), false),
        Error::NotYet(why) => (why.to_string(), true),
        other => panic!("{other:?}"),
    };
    // Nobody listens, or it has no room: a start is worth another try. The rest is a
    // person's to mend.
    let passes = ["start the server", "raise max_connections"];
    let passes = passes.iter().any(|remedy| sentence.contains(remedy));
    assert_eq!(may_pass, passes, "{sentence}");
    assert!(!sentence.contains("wrong"), "{sentence}");
    sentence
}

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
            let sentence = refusal(kind, &url).await;
            assert!(sentence.contains(words), "{sentence}");
        }
        let unprepared = kind.check(&server.url(&name)).await;
        assert!(
            matches!(unprepared, Err(Error::Open(why)) if why.to_string().contains("no bot has been run"))
        );
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

fn a_dump_has_every_dialog_and_a_check_finds_what_is_wrong(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let name = server.prepared(&[]).await;
        let url = server.url(&name);
        let storage = open(&url);
        for n in 0..3 {
            for user in ["ann", "b\0b"] {
                let update = format!("{user}{n}");
                let mut grant = begin(&*storage, &dialog(user), &update)
                    .await
                    .grant
                    .unwrap();
                let commit = Commit {
                    history: Some(format!("[{n}]")),
                    ..last(&update, &n.to_string())
                };
                storage.commit(&mut grant, commit).await.unwrap();
            }
        }
        for with_history in [false, true] {
            let lines = kind.dump(&url, with_history).await;
            let seen: Vec<_> = lines
                .iter()
                .map(|l| (l.dialog.user_id.as_str(), l.state.as_str(), l.history.len()))
                .collect();
            let kept = if with_history { 3 } else { 0 };
            assert_eq!(seen, [("ann", "2", kept), ("b\0b", "2", kept)]);
        }
        assert_eq!(kind.check(&url).await.unwrap(), []);
        server
            .sql(
                &name,
                match kind {
                    Kind::Postgres => {
                        "UPDATE turnkey_dialog SET state = 'nonsense' WHERE user_id = 'ann';
                         INSERT INTO turnkey_outbox VALUES (99, 1, 0, 'x')"
                    }
                    Kind::Mysql => {
                        "UPDATE turnkey_dialog SET state = 'nonsense' WHERE user_id = 'ann';
                         INSERT INTO turnkey_outbox (user_id, channel, turn, n, body)
                             VALUES ('x', 'http', 1, 0, 'x')"
                    }
                },
            )
            .await;
        let problems: Vec<String> = kind
            .check(&url)
            .await
            .unwrap()
            .into_iter()
            .map(|f| f.problem)
            .collect();
        for words in ["belong to no dialog", "not JSON"] {
            assert!(problems.iter().any(|p| p.contains(words)), "{problems:?}");
        }
    });
}

fn ids_up_to_the_bound_are_kept_and_longer_ones_refused(kind: Kind) {
    let Some(server) = TestServer::shared(kind) else {
        return;
    };
    block_on(async {
        let storage = open(&server.url(&server.prepared(&[]).await));
        let long: String = (0..1024_u32)
            .map(|n| char::from(b'a' + (n * 7 % 26) as u8))
            .collect();
        turn(&*storage, &dialog(&long), &long, "1").await;
        assert!(begin(&*storage, &dialog(&long), &long).await.seen.is_some());
        // Spaces at the end count, as does the case.
        for other in [
            format!("{} ", &long[1..]),
            long[1..].to_owned(),
            long[1..].to_uppercase(),
        ] {
            assert_eq!(turn(&*storage, &dialog(&other), &other, "2").await, None);
        }
        let longer = storage
            .begin(asks(&dialog(format!("{long}a")), "u"))
            .await
            .map(common::flat);
        assert!(matches!(longer, Err(Error::Unavailable(why)) if why.contains("1025 bytes")));
        // A relay of such an id would fail each time that its commit is tried.
        let mut grant = begin(&*storage, &dialog(1), "u").await.grant.unwrap();
        let mut relaying = async |user: String| {
            let commit = Commit {
                relays: vec![Pending {
                    dialog: dialog(user),
                    ..common::relay("1.1", 1)
                }],
                ..last("u", "1")
            };
            storage.commit(&mut grant, commit).await
        };
        let longer = relaying(format!("{long}a")).await;
        assert!(matches!(longer, Err(Error::Unavailable(why)) if why.contains("1025 bytes")));
        relaying(long.clone()).await.unwrap();
        let due = turnkey_storage::inbox::due_dialogs(&*storage, 9).await;
        assert_eq!(due.unwrap(), [dialog(&long)]);
        // The longest of everything is a key, too.
        let name = "n".repeat(turnkey_storage::messages::MAX_NAME);
        let most = DialogKey::new("c".repeat(255), &long);
        turnkey_storage::messages::set(&*storage, &most, &name, "1")
            .await
            .unwrap();
        let found = turnkey_storage::messages::find(&*storage, &most, &name).await;
        assert_eq!(found.unwrap().as_deref(), Some("1"));
    });
}

on_every_server! {
    the_locks_of_a_killed_process_are_freed_within_two_seconds
    a_frozen_process_loses_its_locks_and_its_late_commit_is_refused
    a_server_that_goes_and_comes_back_loses_nothing
    two_boxes_may_prepare_at_once_and_migrations_are_kept
    a_dump_has_every_dialog_and_a_check_finds_what_is_wrong
    ids_up_to_the_bound_are_kept_and_longer_ones_refused
}

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
            let sentence = refusal(kind, &url).await;
            assert!(sentence.contains(words), "{sentence}");
        }
        let unprepared = kind.check(&server.url(&name)).await;
        assert!(
            matches!(unprepared, Err(Error::Open(why)) if why.to_string().contains("no bot has been run"))
        );
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

/// As in a file; on MySQL also after it was cut off in the middle.
#[test]
fn marks_that_an_older_version_kept_among_the_pauses_are_moved() {
    for (kind, again) in [
        (Kind::Postgres, false),
        (Kind::Mysql, false),
        (Kind::Mysql, true),
    ] {
        let Some(server) = TestServer::shared(kind) else {
            return;
        };
        block_on(async {
            let name = server.prepared(&[]).await;
            let older = match (again, kind) {
                (true, _) => {
                    "DELETE FROM turnkey_migration WHERE owner = 'turnkey' AND number > 3;
                     UPDATE turnkey_migration SET ended_at = NULL
                         WHERE owner = 'turnkey' AND number = 3;
                     INSERT INTO turnkey_poll_mark VALUES ('vk', 42);"
                }
                (false, Kind::Postgres) => {
                    "DROP TABLE turnkey_poll_mark;
                     DROP TABLE turnkey_message;
                     DROP TABLE turnkey_broadcast;
                     DROP TABLE turnkey_broadcast_failed;
                     DELETE FROM turnkey_migration WHERE owner = 'turnkey' AND number > 3;"
                }
                (false, Kind::Mysql) => {
                    "DROP TABLE turnkey_poll_mark;
                     DROP TABLE turnkey_message;
                     DROP TABLE turnkey_broadcast;
                     DROP TABLE turnkey_broadcast_failed;
                     DELETE FROM turnkey_migration WHERE owner = 'turnkey' AND number > 2;"
                }
            };
            server.sql(&name, older).await;
            let pauses = "INSERT INTO turnkey_pause VALUES
                ('mark:vk', 1152921504606846976 + 42), ('vk:mark:', 1152921504606846976)";
            server.sql(&name, pauses).await;
            let url = server.url(&name);
            kind.prepare(&url, &[]).await.unwrap();
            let storage = kind.open(&url);
            let mark = turnkey_storage::marks::get(&*storage, "vk").await.unwrap();
            assert_eq!(mark, Some(42), "{kind:?}");
            let left = turnkey_storage::pauses::all(&*storage).await.unwrap();
            assert_eq!(left, [("vk:mark:".to_owned(), 1 << 60)], "{kind:?}");
        });
    }
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
        let sentence = refusal(Kind::Mysql, &url).await;
        assert!(
            sentence.contains("set innodb_flush_log_at_trx_commit=1 on the server"),
            "{sentence}"
        );
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
