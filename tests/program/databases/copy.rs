//! `copy` as people use it: a bot moves from SQLite to a real server, PostgreSQL or
//! MariaDB, back, and is interrupted on the way.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::api::{Api, Mood};
use crate::harness::bot::{SOON, Setup, until, url};
use crate::harness::client::{join, message, once, say};
use crate::harness::server::{Kind, TestServer};
use crate::platforms::webhooks::vk;

const PASSWORD: &str = "never-to-be-shown";

async fn address(server: &TestServer, database: &str) -> String {
    server.url_with_password(PASSWORD, database).await
}

#[tokio::test]
async fn a_bot_moves_to_postgresql_and_goes_on() {
    a_bot_moves_and_goes_on(Kind::Postgres).await;
}

#[tokio::test]
async fn a_bot_moves_to_mariadb_and_goes_on() {
    a_bot_moves_and_goes_on(Kind::Mysql).await;
}

async fn a_bot_moves_and_goes_on(kind: Kind) {
    let Some(server) = TestServer::start(kind) else {
        return;
    };
    let api = Api::start();
    let there = address(&server, &server.create().await).await;
    let bot = api
        .configure(Setup::counter().args(&["--workers", "2", "--history"]))
        .start()
        .await;
    let port = bot.port;
    let mut tasks = Vec::new();
    for user in 0..20 {
        tasks.push(tokio::spawn(async move {
            for _ in 0..20 {
                say(port, &format!("user-{user}"), "hi").await;
            }
        }));
    }
    let first = once(port, message("ann", "hi \u{1f980}", Some("old"))).await;
    // Its reply has to wait, also where the bot moves to.
    api.be("7", &[Mood::Flood(12)]);
    assert_eq!(once(port, vk("e1", 7, "hello")).await.status, 200);
    until("a call", SOON, || api.calls().len() == 1).await;
    for task in tasks {
        join(task).await;
    }

    let arguments = [
        "copy",
        "--from",
        &url(&bot.setup.database()),
        "--to",
        &there,
    ];
    let refused = bot.setup.bare(&arguments);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("running bot; stop it first"),
        "{refused:?}"
    );
    let setup = bot.stop().await;
    let before = setup.dump(&["--history"]);

    let copied = setup.bare(&arguments);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    assert!(copied.stdout.contains("same on both sides"), "{copied:?}");
    assert!(copied.stderr.contains("Comparing"), "{copied:?}");
    assert!(!format!("{copied:?}").contains(PASSWORD));
    let refused = setup.bare(&arguments);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("is not empty"), "{refused:?}");

    let moved = setup.clone().on(&there);
    assert_eq!(moved.dump(&["--history"]), before);
    moved.assert_sound();
    let bot = moved.start().await;
    let again = once(bot.port, message("ann", "hi \u{1f980}", Some("old"))).await;
    assert_eq!((again.status, again.body), (200, first.body));
    until("the reply that waited", SOON, || api.accepted() == 1).await;
    assert_eq!(api.received("7"), ["1: hello"]);
    for user in 0..20 {
        assert_eq!(
            say(bot.port, &format!("user-{user}"), "hi").await.number(),
            21
        );
    }
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    drop(bot.stop().await);

    // And back, into a file that is not there yet.
    let back = setup.path("back.db");
    let arguments = ["copy", "--from", &there, "--to", &url(&back), "--json"];
    let copied = setup.bare(&arguments);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    let result: Value = serde_json::from_str(&copied.stdout).unwrap();
    assert_eq!(result["ok"], true);
    assert_eq!(result["tables"][0]["from"]["rows"], 22);
    assert_eq!(result["tables"][0]["from"], result["tables"][0]["to"]);
    let home = setup.clone().storage(Some(back));
    assert_eq!(home.dump(&[]), setup.clone().on(&there).dump(&[]));
    let bot = home.start().await;
    let again = once(bot.port, message("ann", "hi \u{1f980}", Some("old"))).await;
    assert_eq!(again.text(), r#"{"replies":[{"text":"1: hi 🦀"}]}"#);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 3);
    bot.stop().await.assert_sound();
}

/// A copy under way.
struct Copying {
    child: Child,
    stderr: BufReader<ChildStderr>,
}

impl Copying {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_turnkey"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Copying { child, stderr }
    }

    /// Sends a signal when it says the word; its exit code, if any, and last words.
    fn interrupt(mut self, word: &str, signal: Signal) -> (Option<i32>, String) {
        let mut line = String::new();
        while !line.starts_with(word) {
            line.clear();
            assert!(
                self.stderr.read_line(&mut line).unwrap() > 0,
                "it ended before {word}"
            );
        }
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).unwrap();
        (self.child.wait().unwrap().code(), rest)
    }
}

/// As many dialogs as take a while.
fn fill(path: &Path) {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.execute_batch(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)
         INSERT INTO turnkey_dialog SELECT i, 'http', 'user ' || i, i, '{\"count\":' || i || '}', i FROM n;
         INSERT INTO turnkey_seen SELECT channel, user_id, version, 1, x'00', CAST(state AS BLOB) FROM turnkey_dialog;",
    )
    .unwrap();
}

#[tokio::test]
async fn an_interrupted_copy_is_not_served_and_is_done_again() {
    let (Some(postgres), Some(maria)) = (
        TestServer::start(Kind::Postgres),
        TestServer::start(Kind::Mysql),
    ) else {
        return;
    };
    let setup = Setup::counter().start().await.stop().await;
    fill(&setup.database());
    let before = setup.dump(&[]);
    let from = url(&setup.database());
    let there = address(&postgres, &postgres.create().await).await;
    let in_maria = address(&maria, &maria.create().await).await;
    let file = setup.clone().storage(Some(setup.path("to.db")));
    let file_url = url(&file.database());
    for (to, target) in [
        (&there, setup.clone().on(&there)),
        (&in_maria, setup.clone().on(&in_maria)),
        (&file_url, file.clone()),
    ] {
        let arguments = ["copy", "--from", &from, "--to", to];
        for (word, signal) in [
            ("Copying", Signal::SIGKILL),
            ("Copying", Signal::SIGINT),
            ("Comparing", Signal::SIGKILL),
        ] {
            let (code, said) = Copying::start(&arguments).interrupt(word, signal);
            if signal == Signal::SIGINT {
                assert_eq!(code, Some(130), "{said}");
                assert!(said.contains("run the same command again"), "{said}");
            } else {
                assert_eq!(code, None, "{said}");
            }
            assert!(!said.contains(PASSWORD), "{said}");
            let refused = target.run_to_end();
            assert_eq!(refused.code, Some(2), "{refused:?}");
            assert!(
                refused.stderr.contains("a copy into it was not finished"),
                "{refused:?}"
            );
            let check = target.tool(&["check"]);
            assert_eq!(check.code, Some(2), "{check:?}");
            assert!(
                check.stderr.contains("a copy into it was not finished"),
                "{check:?}"
            );
        }
        let copied = setup.bare(&arguments);
        assert_eq!(copied.code, Some(0), "{copied:?}");
        assert!(target.dump(&[]) == before, "the dialogs are not the same");
        let bot = target.start().await;
        assert_eq!(say(bot.port, "user 77", "hi").await.number(), 78);
        drop(bot.stop().await);
    }
}

/// The bot's own tables, made by hand on both sides; the server writes times in
/// another way than they stand in the file.
#[tokio::test]
async fn a_difference_is_found_and_the_target_stays_unfinished() {
    let Some(server) = TestServer::start(Kind::Postgres) else {
        return;
    };
    let setup = Setup::counter().start().await.stop().await;
    let conn = setup.open_database();
    conn.execute_batch(
        "CREATE TABLE times (at TEXT); INSERT INTO times VALUES ('2026-01-02T03:04:05Z')",
    )
    .unwrap();
    let database = server.create().await;
    server
        .sql(&database, "CREATE TABLE times (at TIMESTAMPTZ)")
        .await;
    let there = address(&server, &database).await;
    let from = url(&setup.database());
    let arguments = ["copy", "--from", &from, "--to", &there, "--all-tables"];
    let copied = setup.bare(&[&arguments[..], &["--json"]].concat());
    assert_eq!(copied.code, Some(1), "{copied:?}");
    let result: Value = serde_json::from_str(&copied.stdout).unwrap();
    assert_eq!(result["ok"], false);
    assert!(copied.stderr.contains("the two sides differ"), "{copied:?}");
    let check = setup.clone().on(&there).tool(&["check"]);
    assert!(check.stderr.contains("was not finished"), "{check:?}");

    conn.execute("UPDATE times SET at = '2026-01-02 03:04:05+00'", [])
        .unwrap();
    drop(conn);
    let copied = setup.bare(&arguments);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    setup.clone().on(&there).assert_sound();
}

#[tokio::test]
async fn what_copy_is_told_wrongly_is_said() {
    let Some(server) = TestServer::start(Kind::Postgres) else {
        return;
    };
    let setup = Setup::commands().start().await.stop().await;
    let from = url(&setup.database());
    let there = address(&server, &server.create().await).await;
    let beside = url(&setup.path("beside.db"));
    let same = format!("sqlite:{}/./bot.db", setup.dir.path().display());
    let missing = url(&setup.path("missing.db"));
    for (arguments, words) in [
        (
            vec!["--from", &from, "--to", &same],
            "are the same database",
        ),
        (
            vec!["--from", &there, "--to", &there],
            "are the same database",
        ),
        (vec!["--from", &missing, "--to", &there], "there is no file"),
        (
            vec!["--from", "bot.db", "--to", &there],
            "--from takes an address",
        ),
        (
            vec!["--from", &from, "--to", "sqlite:"],
            "--to sqlite: names no file",
        ),
        (
            vec!["--from", &there, "--to", &beside],
            "no bot has been run on it",
        ),
        (
            vec!["--from", &from, "--to", &beside, "--tables", "nowhere"],
            "its own are: orders",
        ),
        (vec!["--from", &from], "--to"),
        (
            vec![
                "--from",
                &from,
                "--to",
                &there,
                "--tables",
                "orders",
                "--all-tables",
            ],
            "cannot be used with",
        ),
    ] {
        let refused = setup.bare(&[&["copy"], &arguments[..]].concat());
        assert_eq!(refused.code, Some(2), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains(words), "{arguments:?}: {refused:?}");
        assert!(!refused.stderr.contains(PASSWORD), "{refused:?}");
        assert_eq!(refused.stdout, "");
    }
    assert!(!setup.path("missing.db").exists() && !setup.path("beside.db").exists());

    // Author's tables, with the author's program.
    let bot = setup.start().await;
    say(bot.port, "ann", "order tea").await;
    let setup = bot.stop().await;
    let copied = setup.bare(&["copy", "--from", &from, "--to", &beside]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    assert!(
        copied.stderr.contains("Not copied, since not asked for"),
        "{copied:?}"
    );
    let second = setup.path("second.db");
    let copied = setup.bare(&[
        "copy",
        "--from",
        &from,
        "--to",
        &url(&second),
        "--tables",
        "orders",
    ]);
    assert_eq!(copied.code, Some(0), "{copied:?}");
    let bot = setup.clone().storage(Some(second)).start().await;
    assert_eq!(say(bot.port, "ann", "orders").await.replies(), ["1 orders"]);
    drop(bot.stop().await);
}
