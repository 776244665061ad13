//! Copies between engines: everything arrives, byte for byte, and order and dedupe
//! go on; what may not be copied, or into, is refused.

#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;

#[cfg(all(feature = "mysql", feature = "postgres"))]
use common::server::{Kind, TestServer};
use common::{Served, begin, block_on, dialog, last, turn};
use tokio::task::JoinSet;
use turnkey_storage::copy::{CopySource, CopyTarget, MAX_BYTES, MAX_ROWS, Report, Wanted, run};
use turnkey_storage::sqlite::{self, SqliteStorage};
use turnkey_storage::{
    Commit, DialogKey, DialogLine, Error, Result, Seen, Statement, Storage, Sync,
};
use turnkey_storage::{ReplyId, replies};
#[cfg(all(feature = "mysql", feature = "postgres"))]
use turnkey_storage::{admin, broadcasts, dead, inbox, marks, messages, mysql, pauses, postgres};

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|s| (*s).to_owned()).collect()
}

fn named(list: &[&str]) -> Wanted {
    Wanted::Named(strings(list))
}

async fn copy(
    source: &dyn CopySource,
    target: &dyn CopyTarget,
    author: &[&str],
    wanted: &Wanted,
) -> Result<Report> {
    let mut steps = Vec::new();
    let report = run(source, target, &strings(author), wanted, |progress| {
        assert!(progress.done <= progress.total);
        steps.push((progress.comparing, progress.done));
    })
    .await?;
    assert!(steps.is_sorted(), "progress goes back: {steps:?}");
    Ok(report)
}

async fn file_to_file(from: &Path, to: &Path, author: &[&str], wanted: &Wanted) -> Result<Report> {
    let (source, target) = (sqlite::copy_source(from)?, sqlite::copy_target(to)?);
    copy(&source, &target, author, wanted).await
}

fn lines(path: &Path) -> Vec<DialogLine> {
    let mut lines = Vec::new();
    sqlite::dump(path, true, |line| -> Result<()> {
        lines.push(line);
        Ok(())
    })
    .unwrap();
    lines
}

fn sentence<T>(result: Result<T>) -> String {
    match result {
        // A bot that uses it may stop.
        Err(Error::Open(why) | Error::NotYet(why)) => why.to_string(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was not refused"),
    }
}

const AWKWARD: &[&str] = &["ann", "b\0b", "🦀\u{1}\u{1}0", "tab\t\\N\\.\r\n'\"", ""];

const NOTES: &str =
    "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT, data BLOB, size DOUBLE PRECISION)";

/// Would make a second row of each that is copied.
const DOUBLES: &str = "CREATE TRIGGER doubles AFTER INSERT ON notes BEGIN
     INSERT INTO notes (body) VALUES (new.body); END";

/// A bit of everything, and more than a batch of it.
async fn fill(storage: Arc<SqliteStorage>) {
    for (n, user) in AWKWARD.iter().enumerate() {
        for round in 0..3 {
            let update = format!("{user}{round}");
            let mut grant = begin(&*storage, &dialog(user), &update)
                .await
                .grant
                .unwrap();
            let commit = Commit {
                state: match n {
                    0 => format!("\"{}\"", "x".repeat(MAX_BYTES)),
                    _ => format!("{{\"text\":\"{round}🦀\"}}"),
                },
                digest: (0..=255).collect(),
                answer: format!("{user}\0{round}").into_bytes(),
                replies: vec![format!("{user} first"), format!("second {round}")],
                history: Some(format!("[{round}, \"é\"]")),
                ..last(&update, "")
            };
            storage.commit(&mut grant, commit).await.unwrap();
        }
    }
    let mut many = JoinSet::new();
    for n in 0..MAX_ROWS + 100 {
        let storage = storage.clone();
        many.spawn(async move {
            turn(
                &*storage,
                &dialog(format!("many {n}")),
                &format!("many {n}"),
                "1",
            )
            .await;
        });
    }
    many.join_all().await;
    keep_beside(&*storage).await;
    let insert = "INSERT INTO notes (id, body, data, size) VALUES (?1, ?2, ?3, ?4)";
    let notes = vec![
        Statement::new(insert, (7, "a\tb\\\n🦀", vec![0_u8, 255, 92], 0.1)),
        Statement::new(insert, (8, None::<String>, None::<Vec<u8>>, 1e300)),
        Statement::new(insert, (-9, "", Vec::<u8>::new(), -2.0)),
        Statement::new(insert, (10, "12", None::<Vec<u8>>, None::<f64>)),
    ];
    storage.write(notes).await.unwrap();
}

/// The inbox, dead letters, a pause, names, a broadcast and a state that was forgotten.
async fn keep_beside(storage: &dyn Storage) {
    let made_of = broadcasts::New {
        audience: broadcasts::Audience {
            filter: Some("user_id <> 'x'".to_owned()),
            ..broadcasts::Audience::default()
        },
        body: "\0 'é'".to_owned(),
        rate: Some(7),
    };
    let broadcast = broadcasts::create(storage, &made_of).await.unwrap();
    for (n, user) in AWKWARD.iter().enumerate() {
        let pending = inbox::Pending {
            dialog: dialog(user),
            update: format!("{user} waits"),
            arrived: n as i64,
            body: b"\0\xff".to_vec(),
            attempts: 1,
            due: 0,
            error: (n > 0).then(|| format!("because of {user}")),
        };
        let bounds = inbox::Bounds {
            per_dialog: 10,
            all: 100,
        };
        inbox::accept(storage, &pending, bounds).await.unwrap();
        let letter = dead::DeadLetter {
            dialog: dialog(user),
            update: format!("{user} is dead"),
            arrived: 1,
            digest: Vec::new(),
            answer: b"\0".to_vec(),
            body: pending.body.clone(),
            error: (*user).to_owned(),
            attempts: 5,
            died: 7,
        };
        // As that of a broadcast: it leaves the inbox, and is one that was not reached.
        let row = inbox::Pending {
            dialog: dialog(user),
            update: letter.update.clone(),
            body: letter.body.clone(),
            ..pending
        };
        inbox::relay(storage, &[row]).await.unwrap();
        broadcasts::bury_update(storage, broadcast, &letter)
            .await
            .unwrap();
    }
    // One that failed, and one that was given up.
    turn(storage, &dialog("failing"), "failing", "1").await;
    let mut grant = begin(storage, &dialog("failing"), "failing 2")
        .await
        .grant
        .unwrap();
    let id = |index| ReplyId {
        turn: grant.fence(),
        index,
    };
    let ids = [id(0), id(1), id(2)];
    let commit = Commit {
        replies: vec![
            "dead \0".to_owned(),
            "dead too".to_owned(),
            "fails".to_owned(),
        ],
        ..last("failing 2", "2")
    };
    storage.commit(&mut grant, commit).await.unwrap();
    let failed = replies::Waiting {
        attempts: 3,
        since: 4,
    };
    let of = dialog("failing");
    for id in &ids[..2] {
        replies::bury(storage, &of, *id, &failed, "\0 no")
            .await
            .unwrap();
    }
    replies::note(storage, &of, ids[2], &failed, "🦀")
        .await
        .unwrap();
    pauses::set(storage, "telegram \0", i64::MAX).await.unwrap();
    marks::set(storage, "vk \0", u64::MAX).await.unwrap();
    for user in AWKWARD {
        let name = format!("menu {user}");
        messages::set(storage, &dialog(user), &name, user)
            .await
            .unwrap();
    }
    turn(storage, &dialog("forgotten"), "forgotten", "1").await;
    assert!(admin::reset(storage, &dialog("forgotten")).await.unwrap());
}

/// A file that was filled and is not served any more.
fn filled(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("from.db");
    let mut served = Served::at(&path, &[NOTES]);
    served.start_writer(Vec::new());
    block_on(async { fill(Arc::new(served.open())).await });
    served.finish();
    path
}

/// What must hold wherever the awkward dialogs are served.
async fn goes_on(storage: &dyn Storage) -> u64 {
    let mut largest = 0;
    for user in AWKWARD {
        let seen = storage
            .begin(common::asks(&dialog(user), &format!("{user}1")))
            .await
            .map(common::flat)
            .unwrap();
        let expected = Seen {
            digest: (0..=255).collect(),
            answer: format!("{user}\0{}", 1).into_bytes(),
        };
        assert_eq!(seen.seen, Some(expected));
        drop(seen);
        let new = format!("{user} new");
        let begun = begin(storage, &dialog(user), &new).await;
        let bodies: Vec<&str> = begun.unsent.iter().map(|u| u.body.as_str()).collect();
        let first = format!("{user} first");
        assert_eq!(
            bodies,
            [&first, "second 0", &first, "second 1", &first, "second 2"]
        );
        assert!(begun.unsent.is_sorted_by_key(|u| u.id));
        let mut grant = begun.grant.unwrap();
        assert!(begun.unsent.iter().all(|u| u.id.turn < grant.fence()));
        largest = largest.max(grant.fence().0);
        let sent = begun.unsent.iter().map(|u| u.id).collect();
        storage.sent(&grant, sent).await.unwrap();
        storage.commit(&mut grant, last(&new, "1")).await.unwrap();
    }
    largest
}

async fn has_every_unsent(storage: &dyn Storage) {
    let mut users: Vec<DialogKey> = storage.dialogs_with_unsent(100).await.unwrap();
    users.sort();
    let mut expected: Vec<DialogKey> = AWKWARD.iter().map(dialog).collect();
    expected.push(dialog("failing"));
    expected.sort();
    assert_eq!(users, expected);
}

#[test]
fn a_file_becomes_another_file() {
    let dir = tempfile::tempdir().unwrap();
    let from = filled(dir.path());
    let to = dir.path().join("to.db");
    block_on(async {
        let report = file_to_file(&from, &to, &[NOTES, DOUBLES], &Wanted::All)
            .await
            .unwrap();
        assert!(report.same() && report.left_out.is_empty());
        let rows: Vec<_> = report
            .tables
            .iter()
            .map(|t| (t.table.as_str(), t.to.rows))
            .collect();
        let dialogs = (AWKWARD.len() + MAX_ROWS + 102) as u64;
        assert_eq!(
            rows,
            [
                ("turnkey_dialog", dialogs),
                ("turnkey_seen", dialogs + 10 + 5 + 1),
                ("turnkey_outbox", 31),
                ("turnkey_history", 15),
                ("turnkey_inbox", 5),
                ("turnkey_dead", 5),
                ("turnkey_dead_reply", 2),
                ("turnkey_pause", 1),
                ("turnkey_poll_mark", 1),
                ("turnkey_message", 5),
                ("turnkey_broadcast", 1),
                ("turnkey_broadcast_failed", 5),
                ("notes", 4)
            ]
        );
        // Not the same as an empty one's, which would compare well with itself.
        assert!(
            report
                .tables
                .iter()
                .all(|t| t.to.checksum != Default::default())
        );
    });
    assert_eq!(lines(&from), lines(&to));
    let mut served = Served::at(&to, &[NOTES, DOUBLES]);
    served.start_writer(Vec::new());
    block_on(async {
        let storage = served.open();
        has_every_unsent(&storage).await;
        goes_on(&storage).await;
    });
    served.finish();
}

#[test]
fn what_may_not_be_copied_or_into_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut served = Served::at(&at("from.db"), &[NOTES]);
    served.start_writer(Vec::new());
    block_on(async {
        turn(&served.open(), &dialog("ann"), "u", "1").await;
        let refused = sentence(sqlite::copy_source(&at("from.db")));
        assert!(
            refused.contains("in use by a running bot; stop it"),
            "{refused}"
        );
        let refused = sentence(sqlite::copy_target(&at("from.db")));
        assert!(
            refused.contains("in use by a running bot; stop it"),
            "{refused}"
        );
    });
    served.finish();
    block_on(async {
        let attempt = async |from: &str, to: &str, author: &[&str], wanted: &Wanted| {
            sentence(file_to_file(&at(from), &at(to), author, wanted).await)
        };
        let none = named(&[]);
        let refused = attempt("gone.db", "to.db", &[], &none).await;
        assert!(refused.contains("there is no file"), "{refused}");
        assert!(!at("gone.db").exists() && !at("gone.db-lock").exists());
        let refused = attempt("from.db", "to.db", &[], &named(&["nowhere"])).await;
        assert!(
            refused.contains("has no such table; its own are: notes"),
            "{refused}"
        );
        let refused = attempt("from.db", "to.db", &[], &named(&["turnkey_lock"])).await;
        assert!(refused.contains("by themselves"), "{refused}");
        assert!(
            !at("to.db").exists(),
            "refused, and yet the target was made"
        );
        let refused = attempt("from.db", "to.db", &[], &Wanted::All).await;
        assert!(
            refused.contains("the target has no table notes: run"),
            "{refused}"
        );
        let other = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT)";
        let refused = attempt("from.db", "to2.db", &[other], &Wanted::All).await;
        assert!(refused.contains("has the columns"), "{refused}");

        let left = file_to_file(&at("from.db"), &at("to3.db"), &[NOTES], &none)
            .await
            .unwrap();
        assert_eq!(
            (left.left_out, left.tables.len()),
            (strings(&["notes"]), 12)
        );
        // What is there is kept.
        let refused = attempt("from.db", "to3.db", &[NOTES], &none).await;
        assert!(
            refused.contains("is not empty: turnkey_dialog has 1 rows"),
            "{refused}"
        );
        assert_eq!(lines(&at("to3.db")), lines(&at("from.db")));
        sqlite::prepare(&at("to3.db"), Sync::Full, &strings(&[NOTES])).unwrap();

        // A row of a migration is in the way only where it was there before.
        let seeded = [NOTES, "INSERT INTO notes (id) VALUES (1)"];
        let all = Wanted::All;
        file_to_file(&at("from.db"), &at("to4.db"), &seeded, &all)
            .await
            .unwrap();
        sqlite::prepare(&at("to5.db"), Sync::Full, &strings(&seeded)).unwrap();
        let refused = attempt("from.db", "to5.db", &seeded, &all).await;
        assert!(refused.contains("notes has 1 rows"), "{refused}");
    });
}

#[test]
fn an_unfinished_copy_is_not_served_and_can_be_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    let from = filled(dir.path());
    let to = dir.path().join("to.db");
    block_on(async {
        // Dropped at the first row, as if killed.
        let (source, target) = (
            sqlite::copy_source(&from).unwrap(),
            sqlite::copy_target(&to).unwrap(),
        );
        let author = strings(&[NOTES]);
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let mut stop = Some(stop);
        let wanted = named(&["notes"]);
        let copying = run(&source, &target, &author, &wanted, |_| {
            if let Some(stop) = stop.take() {
                stop.send(()).unwrap();
            }
        });
        tokio::select! {
            biased;
            _ = stopped => {}
            ended = copying => panic!("{ended:?}"),
        }
        drop((source, target));
        let refused = sentence(sqlite::prepare(&to, Sync::Full, &author));
        assert!(
            refused.contains("was not finished; run that copy command again"),
            "{refused}"
        );
        let refused = sentence(sqlite::check(&to).await);
        assert!(refused.contains("was not finished"), "{refused}");
        let refused = sentence(sqlite::copy_source(&to).map(drop));
        assert!(refused.contains("was not finished"), "{refused}");
        let report = file_to_file(&from, &to, &[NOTES], &wanted).await.unwrap();
        assert!(report.same());
        assert_eq!(sqlite::check(&to).await.unwrap(), []);
    });
    assert_eq!(lines(&from), lines(&to));
}

#[test]
fn a_source_that_changes_meanwhile_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let from = filled(dir.path());
    let to = dir.path().join("to.db");
    block_on(async {
        let source = sqlite::copy_source(&from).unwrap();
        let target = sqlite::copy_target(&to).unwrap();
        let (author, wanted) = (strings(&[NOTES]), named(&["notes"]));
        let mut other = Some(rusqlite::Connection::open(&from).unwrap());
        let changed = run(&source, &target, &author, &wanted, |_| {
            if let Some(other) = other.take() {
                other.execute("DELETE FROM notes WHERE id = 7", []).unwrap();
            }
        });
        let refused = sentence(changed.await);
        assert!(refused.contains("changed meanwhile"), "{refused}");
    });
}

#[cfg(all(feature = "mysql", feature = "postgres"))]
mod with_servers {
    use super::*;

    async fn open_source(kind: Kind, url: &str) -> Result<Box<dyn CopySource>> {
        Ok(match kind {
            Kind::Postgres => {
                Box::new(postgres::copy_source(&postgres::Server::parse(url)?).await?)
            }
            Kind::Mysql => Box::new(mysql::copy_source(&mysql::Server::parse(url)?).await?),
        })
    }

    async fn open_target(kind: Kind, url: &str) -> Result<Box<dyn CopyTarget>> {
        Ok(match kind {
            Kind::Postgres => {
                Box::new(postgres::copy_target(&postgres::Server::parse(url)?).await?)
            }
            Kind::Mysql => Box::new(mysql::copy_target(&mysql::Server::parse(url)?).await?),
        })
    }

    fn notes(kind: Kind) -> &'static str {
        match kind {
            Kind::Postgres => {
                "CREATE TABLE notes (id INTEGER GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, \
                 body TEXT, data BYTEA, size DOUBLE PRECISION)"
            }
            Kind::Mysql => {
                "CREATE TABLE notes (id INTEGER AUTO_INCREMENT PRIMARY KEY, \
                 body TEXT, data BLOB, size DOUBLE)"
            }
        }
    }

    /// From a file to the first server, to the second, and to a file.
    fn there_and_back_again(first: Kind, second: Kind) {
        let (Some(one), Some(two)) = (TestServer::shared(first), TestServer::shared(second)) else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let from = filled(dir.path());
        let back = dir.path().join("back.db");
        let all = Wanted::All;
        let (sums, fence) = block_on(async {
            let at_one = one.url(&one.create().await);
            let there = {
                let source = sqlite::copy_source(&from).unwrap();
                let target = open_target(first, &at_one).await.unwrap();
                copy(&source, &*target, &[notes(first)], &all)
                    .await
                    .unwrap()
            };
            assert!(there.same(), "{there:?}");
            assert_eq!(first.dump(&at_one, true).await, lines(&from));
            first.prepare(&at_one, &[notes(first)]).await.unwrap();
            assert_eq!(first.check(&at_one).await.unwrap(), []);

            let at_two = two.url(&two.create().await);
            let again = {
                let source = open_source(first, &at_one).await.unwrap();
                let target = open_target(second, &at_two).await.unwrap();
                copy(&*source, &*target, &[notes(second)], &all)
                    .await
                    .unwrap()
            };
            assert!(again.same(), "{again:?}");
            assert_eq!(second.dump(&at_two, true).await, lines(&from));
            let back = {
                let source = open_source(second, &at_two).await.unwrap();
                let target = sqlite::copy_target(&back).unwrap();
                copy(&*source, &target, &[NOTES], &all).await.unwrap()
            };
            let sums = [there, again, back].map(|report| {
                let sums = report.tables.into_iter().map(|t| (t.table, t.to));
                std::collections::BTreeMap::from_iter(sums)
            });

            // The number that the database gives out by itself is a new one.
            let storage = second.open(&at_two);
            has_every_unsent(&*storage).await;
            let fence = goes_on(&*storage).await;
            let mut grant = begin(&*storage, &dialog("new one"), "note")
                .await
                .grant
                .unwrap();
            let commit = Commit {
                statements: vec![Statement::new("INSERT INTO notes (body) VALUES ('x')", ())],
                ..last("note", "1")
            };
            storage.commit(&mut grant, commit).await.unwrap();
            let ids = Statement::new("SELECT max(id) AS id FROM notes", ());
            let ids = storage.query(None, ids).await.unwrap();
            assert_eq!(ids[0].get::<i64>("id").unwrap(), 11);
            // The new dialog comes after all that were copied.
            let dialogs = second.dump(&at_two, false).await;
            assert_eq!(dialogs.last().unwrap().dialog, dialog("new one"));
            (sums, fence)
        });
        assert_eq!(sums[0], sums[1]);
        assert_eq!(sums[0], sums[2]);
        assert_eq!(lines(&from), lines(&back));
        let mut served = Served::at(&back, &[NOTES]);
        served.start_writer(Vec::new());
        assert!(fence > 1 << 40, "fences begin again");
        block_on(async { assert!(goes_on(&served.open()).await > 1 << 40) });
        served.finish();
    }

    #[test]
    fn from_postgresql_to_postgresql() {
        there_and_back_again(Kind::Postgres, Kind::Postgres);
    }

    #[test]
    fn from_mariadb_to_postgresql() {
        there_and_back_again(Kind::Mysql, Kind::Postgres);
    }

    #[test]
    fn from_postgresql_to_mariadb() {
        there_and_back_again(Kind::Postgres, Kind::Mysql);
    }

    fn a_server_in_use_is_neither_read_nor_filled(kind: Kind) {
        let Some(server) = TestServer::shared(kind) else {
            return;
        };
        block_on(async {
            let (used, free) = (
                server.url(&server.prepared(&[]).await),
                server.url(&server.create().await),
            );
            let storage = kind.open(&used);
            turn(&*storage, &dialog("ann"), "u", "1").await;
            for refused in [
                open_source(kind, &used).await.map(drop),
                open_target(kind, &used).await.map(drop),
            ] {
                let refused = sentence(refused);
                assert!(refused.contains("in use by a running bot"), "{refused}");
            }
            // Nor is it disturbed.
            turn(&*storage, &dialog("ann"), "v", "2").await;
            drop(storage);
            // Its sessions end a moment later, which is waited for.
            let from = open_source(kind, &used).await.unwrap();
            let refused = sentence(kind.prepare(&used, &[]).await);
            assert!(refused.contains("is being copied; wait"), "{refused}");
            let refused = sentence(open_target(kind, &used).await.map(drop));
            assert!(refused.contains("in use"), "{refused}");
            let unprepared = sentence(open_source(kind, &free).await.map(drop));
            assert!(
                unprepared.contains("no bot has been run on it"),
                "{unprepared}"
            );

            let to = open_target(kind, &free).await.unwrap();
            copy(&*from, &*to, &[], &named(&[])).await.unwrap();
            drop((from, to));
            let from = open_source(kind, &used).await.unwrap();
            let to = open_target(kind, &free).await.unwrap();
            let refused = sentence(copy(&*from, &*to, &[], &named(&[])).await);
            assert!(
                refused.contains("is not empty: turnkey_dialog has 1 rows"),
                "{refused}"
            );
            assert_eq!(kind.dump(&free, true).await.len(), 1);
        });
    }

    #[test]
    fn postgresql_in_use_is_neither_read_nor_filled() {
        a_server_in_use_is_neither_read_nor_filled(Kind::Postgres);
    }

    #[test]
    fn mariadb_in_use_is_neither_read_nor_filled() {
        a_server_in_use_is_neither_read_nor_filled(Kind::Mysql);
    }

    /// A process that was away when the copy began, or came up beside it.
    fn a_process_takes_no_turns_while_its_database_is_copied(kind: Kind) {
        let Some(server) = TestServer::shared(kind) else {
            return;
        };
        block_on(async {
            let name = server.prepared(&[]).await;
            let address = server.url(&name);
            let source = open_source(kind, &address).await.unwrap();
            let storage = kind.open(&address);
            let short = |update: &str| turnkey_storage::Begin {
                wait: std::time::Duration::from_secs(1),
                ..common::asks(&dialog("ann"), update)
            };
            let early = storage.begin(short("u")).await.map(common::flat);
            assert!(matches!(early, Err(Error::Unavailable(_))), "{early:?}");
            drop(source);
            turn(&*storage, &dialog("ann"), "u", "1").await;
            drop(storage);

            server
                .sql(&name, "CREATE TABLE turnkey_copy (started_at BIGINT)")
                .await;
            let storage = kind.open(&address);
            let marked = storage.begin(short("v")).await.map(common::flat);
            assert!(matches!(marked, Err(Error::Unavailable(_))), "{marked:?}");
        });
    }

    #[test]
    fn no_turns_are_taken_while_postgresql_is_copied() {
        a_process_takes_no_turns_while_its_database_is_copied(Kind::Postgres);
    }

    #[test]
    fn no_turns_are_taken_while_mariadb_is_copied() {
        a_process_takes_no_turns_while_its_database_is_copied(Kind::Mysql);
    }

    #[test]
    fn mariadb_takes_a_copy_that_was_not_finished_anew() {
        let Some(server) = TestServer::shared(Kind::Mysql) else {
            return;
        };
        let dir = tempfile::tempdir().unwrap();
        let from = filled(dir.path());
        let author = strings(&[notes(Kind::Mysql)]);
        block_on(async {
            let url = server.url(&server.create().await);
            for comparing in [false, true] {
                let source = sqlite::copy_source(&from).unwrap();
                let target = open_target(Kind::Mysql, &url).await.unwrap();
                let (stop, stopped) = tokio::sync::oneshot::channel();
                let mut stop = Some(stop);
                let copying = run(&source, &*target, &author, &Wanted::All, |progress| {
                    if progress.comparing == comparing
                        && let Some(stop) = stop.take()
                    {
                        stop.send(()).unwrap();
                    }
                });
                tokio::select! {
                    biased;
                    _ = stopped => {}
                    ended = copying => panic!("{ended:?}"),
                }
                drop((source, target));
                for refused in [
                    Kind::Mysql.prepare(&url, &[]).await,
                    Kind::Mysql.check(&url).await.map(drop),
                    open_source(Kind::Mysql, &url).await.map(drop),
                ] {
                    let refused = sentence(refused);
                    assert!(
                        refused.contains("was not finished; run that copy command again"),
                        "{refused}"
                    );
                }
            }
            let source = sqlite::copy_source(&from).unwrap();
            let target = open_target(Kind::Mysql, &url).await.unwrap();
            let report = copy(&source, &*target, &[notes(Kind::Mysql)], &Wanted::All).await;
            assert!(report.unwrap().same());
            assert_eq!(Kind::Mysql.dump(&url, true).await, lines(&from));
        });
    }

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
            conn.execute_batch(
                "PRAGMA foreign_keys = OFF; UPDATE kinds SET rowid = 100 WHERE me = 1",
            )
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
            for (n, (column, value, words)) in [
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
            ]
            .into_iter()
            .enumerate()
            {
                let file = dir.path().join(format!("{n}.db"));
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
                let copied = copy(&source, &*target, &[parents, rich], &Wanted::All).await;
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
            for (column, value, words) in [
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
                let file = dir.path().join(format!(
                    "{}.db",
                    column.to_owned() + &value.len().to_string()
                ));
                sqlite::prepare(&file, Sync::Full, &strings(&[plain])).unwrap();
                let conn = rusqlite::Connection::open(&file).unwrap();
                conn.execute_batch(&format!(
                    "PRAGMA foreign_keys = OFF; INSERT INTO kinds ({column}) VALUES ({value})"
                ))
                .unwrap();
                drop(conn);
                let address = server.url(&server.create().await);
                let source = sqlite::copy_source(&file).unwrap();
                let target = open_target(Kind::Postgres, &address).await.unwrap();
                let copied = copy(&source, &*target, &[parents, rich], &Wanted::All).await;
                match words {
                    Some(words) => {
                        let refused = sentence(copied);
                        assert!(refused.contains(words), "{column} {value}: {refused}");
                    }
                    None => assert!(!copied.unwrap().same(), "{column} {value}"),
                }
                drop((source, target));
                let refused = sentence(Kind::Postgres.prepare(&address, &[]).await);
                assert!(refused.contains("was not finished"), "{refused}");
            }
        });
    }
}
