//! What surrounds the turns of the SQLite engine: opening and refusing files,
//! sockets in deep directories, idleness, checkpoints, statements that never end.
//!
//! A process that holds a lock, or has no rights, is this binary again: the test
//! [`child`] is its body.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Served, begin, block_on, dialog, last, turn, until};
use rusqlite::Connection;
use tokio::task::JoinSet;
use turnkey_storage::sqlite::{Files, check, connect, dump, prepare};
use turnkey_storage::{Commit, Error, Owner, Statement, Storage, Sync};

/// Names the child's task and the database.
const TASK: &str = "TURNKEY_TEST_TASK";
const PATH: &str = "TURNKEY_TEST_PATH";

fn as_child(task: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["child", "--exact", "--nocapture"])
        .env(TASK, task)
        .env(PATH, path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// Not a test: the body of a process that a test starts.
#[test]
fn child() {
    let Ok(task) = std::env::var(TASK) else {
        return;
    };
    let path = PathBuf::from(std::env::var_os(PATH).unwrap());
    match task.as_str() {
        "lock" => {
            let lock = Files::of(&path).lock().unwrap();
            println!("\nanswer: locked");
            // Until the parent hangs up or says so.
            let _ = std::io::stdin().read_line(&mut String::new());
            drop(lock);
        }
        "prepare" => {
            let files = Files::of(&path);
            let outcome = prepare(&path, Sync::Full, &[]);
            println!("\nanswer: {:?} {:?}", outcome, files.lock().map(drop));
        }
        other => panic!("{other}"),
    }
}

fn answer(from: &mut impl BufRead) -> String {
    loop {
        let mut line = String::new();
        assert!(
            from.read_line(&mut line).unwrap() > 0,
            "the child said nothing"
        );
        if let Some(answer) = line.strip_prefix("answer: ") {
            return answer.trim_end().to_owned();
        }
    }
}

fn refusal(path: &Path, author: &[&str]) -> String {
    let author: Vec<String> = author.iter().map(|sql| (*sql).to_owned()).collect();
    match prepare(path, Sync::Full, &author) {
        Err(Error::Open(why)) => {
            let sentence = why.to_string();
            assert!(sentence.contains(&*path.to_string_lossy()), "{sentence}");
            sentence
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_file_is_made_private_and_preparing_it_again_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bot.db");
    let author = ["CREATE TABLE note (body TEXT)".to_owned()];
    for _ in 0..2 {
        prepare(&path, Sync::Full, &author).unwrap();
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    // One migration more is applied, the first is not applied again.
    let more = [
        author[0].clone(),
        "ALTER TABLE note ADD COLUMN at INTEGER".to_owned(),
    ];
    prepare(&path, Sync::Normal, &more).unwrap();
    prepare(&path, Sync::Full, &more).unwrap();
    let files = Files::of(&path);
    let lock = files.lock().unwrap();
    let listener = files.bind(&lock).unwrap();
    assert_eq!(mode(&files.socket), 0o600);
    assert_eq!(mode(&files.lock), 0o600);
    // A socket that was left behind is replaced.
    drop(listener);
    files.bind(&lock).unwrap();
    files.remove_socket().unwrap();
    files.remove_socket().unwrap();
    drop(lock);
    block_on(async {
        assert_eq!(check(&path).await.unwrap(), []);
    });
}

#[test]
fn a_start_that_was_killed_is_finished_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bot.db");
    // An empty file, as after a kill right behind its creation.
    fs::write(&path, "").unwrap();
    prepare(&path, Sync::Full, &[]).unwrap();
    // Marked as ours, and no table yet.
    let path = dir.path().join("marked.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("PRAGMA application_id = 0x7475726e")
        .unwrap();
    prepare(&path, Sync::Full, &[]).unwrap();
    // A migration that fails is not recorded, nor is a part of it left.
    let bad = ["CREATE TABLE one (a TEXT); CREATE TABLE one (a TEXT)"];
    assert!(refusal(&path, &bad).contains("migration 1 of the bot failed"));
    prepare(&path, Sync::Full, &["CREATE TABLE one (a TEXT)".to_owned()]).unwrap();
}

/// All migrations of a start or none; a backup first, and only if they were applied.
#[test]
fn migrations_are_one_step_with_a_way_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bot.db");
    let list = |n: usize| -> Vec<String> {
        let one = |i| format!("CREATE TABLE t{i} (a TEXT)");
        (0..n).map(one).collect()
    };
    let tables = || -> i64 {
        let conn = Connection::open(&path).unwrap();
        let count = "SELECT COUNT(*) FROM sqlite_schema WHERE name LIKE 't_'";
        conn.query_row(count, [], |row| row.get(0)).unwrap()
    };
    let backups = || {
        let entries = fs::read_dir(dir.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.contains("-before-")).collect();
        names.sort();
        names
    };
    assert_eq!(prepare(&path, Sync::Full, &list(1)).unwrap(), None);
    // The second of two fails: the first did not happen either.
    let bad = [
        "CREATE TABLE t0 (a TEXT)",
        "CREATE TABLE t1 (a TEXT)",
        "CREATE TABLE t0 (a TEXT)",
    ];
    assert!(refusal(&path, &bad).contains("migration 3 of the bot failed"));
    assert_eq!((tables(), backups().len()), (1, 0));

    for n in 2..7 {
        let kept = prepare(&path, Sync::Full, &list(n)).unwrap().unwrap();
        assert_eq!(
            fs::metadata(&kept).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let before: i64 = Connection::open(&kept)
            .unwrap()
            .query_row(
                "SELECT COUNT(*) FROM sqlite_schema WHERE name LIKE 't_'",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!((tables(), before), (n as i64, n as i64 - 1));
        assert_eq!(prepare(&path, Sync::Full, &list(n)).unwrap(), None);
    }
    // Each is named after our version and the bot's, and a moment.
    let versions: Vec<String> = backups()
        .iter()
        .map(|name| {
            let (_, version) = name.split_once('.').unwrap().1.split_once('.').unwrap();
            version[..2].to_owned()
        })
        .collect();
    assert_eq!(versions, ["4-", "5-", "6-"], "the newest three");
}

#[test]
fn a_file_of_another_kind_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    fs::write(&text, "Dear diary, ".repeat(100)).unwrap();
    assert!(refusal(&text, &[]).contains("is not a SQLite database"));
    assert_eq!(
        fs::read_to_string(&text).unwrap(),
        "Dear diary, ".repeat(100)
    );

    let other = dir.path().join("other.db");
    let conn = Connection::open(&other).unwrap();
    conn.execute_batch("CREATE TABLE theirs (a TEXT)").unwrap();
    drop(conn);
    let before = fs::read(&other).unwrap();
    assert!(refusal(&other, &[]).contains("of another program"));
    assert!(
        fs::read(&other).unwrap() == before,
        "another program's file was changed"
    );
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bot.db");
    prepare(
        &path,
        Sync::Full,
        &["CREATE TABLE note (body TEXT)".to_owned()],
    )
    .unwrap();
    let changed = refusal(&path, &["CREATE TABLE note (body BLOB)"]);
    assert!(
        changed.contains("migration 1 of the bot was changed"),
        "{changed}"
    );
    assert!(refusal(&path, &[]).contains("newer version of the bot"));
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("INSERT INTO turnkey_migration VALUES ('turnkey', 999, '', 0)")
        .unwrap();
    drop(conn);
    assert!(
        refusal(&path, &["CREATE TABLE note (body TEXT)"]).contains("newer version of Turnkey")
    );
    block_on(async {
        let refused = check(&path).await.unwrap_err();
        assert!(refused.to_string().contains("newer version"), "{refused}");
    });
}

/// The mark was a pause until 2^60 ms and as many more.
#[test]
fn marks_that_an_older_version_kept_among_the_pauses_are_moved() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bot.db");
    prepare(&path, Sync::Full, &[]).unwrap();
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch(
        "DROP TABLE turnkey_poll_mark;
         DROP TABLE turnkey_message;
         DROP TABLE turnkey_broadcast;
         DROP TABLE turnkey_broadcast_failed;
         DELETE FROM turnkey_migration WHERE owner = 'turnkey' AND number >= 3;
         INSERT INTO turnkey_pause VALUES ('mark:vk', (1 << 60) + 42), ('vk:mark:', 1 << 60)",
    )
    .unwrap();
    drop(conn);
    assert!(prepare(&path, Sync::Full, &[]).unwrap().is_some());
    let conn = Connection::open(&path).unwrap();
    let ask = |sql: &str| -> String { conn.query_row(sql, [], |row| row.get(0)).unwrap() };
    let moved = "SELECT group_concat(channel || ' ' || mark) FROM turnkey_poll_mark";
    assert_eq!(ask(moved), "vk 42");
    let left = "SELECT group_concat(scope) FROM turnkey_pause";
    assert_eq!(ask(left), "vk:mark:");
}

#[test]
fn a_path_that_is_no_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(refusal(dir.path(), &[]).contains("is a directory"));
    let missing = dir.path().join("no/such/bot.db");
    assert!(refusal(&missing, &[]).contains("does not exist"));
    let locked = Files::of(&missing).lock().unwrap_err().to_string();
    assert!(locked.contains("does not exist"), "{locked}");
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    refusal(&file.join("bot.db"), &[]);
    block_on(async {
        let refused = check(&missing).await.unwrap_err().to_string();
        assert!(refused.contains("there is no file"), "{refused}");
    });
}

#[test]
fn a_file_without_the_right_to_write_is_refused() {
    // Root may write everywhere, so the question is asked by somebody else.
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let theirs = dir.path().join("bot.db");
    prepare(&theirs, Sync::Full, &[]).unwrap();
    let new = dir.path().join("new.db");
    for path in [&theirs, &new] {
        let mut command = as_child("prepare", path);
        if fs::metadata(dir.path()).unwrap().uid() == 0 {
            command.uid(65534).gid(65534);
        } else {
            fs::set_permissions(&theirs, fs::Permissions::from_mode(0o400)).unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o500)).unwrap();
        }
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(e) => {
                println!("SKIPPED: another user cannot run this test's binary: {e}");
                return;
            }
        };
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let said = answer(&mut output);
        std::io::copy(&mut output, &mut std::io::sink()).unwrap();
        child.wait().unwrap();
        assert_eq!(said.matches("no right to write").count(), 2, "{said}");
    }
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_file_in_use_is_refused_to_a_second_program() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bot.db");
    let files = Files::of(&path);
    assert!(!files.is_served().unwrap());
    let mut child = as_child("lock", &path).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    assert_eq!(answer(&mut output), "locked");
    assert!(files.is_served().unwrap());
    let refused = files.lock().unwrap_err().to_string();
    assert!(
        refused.contains("in use by another running bot"),
        "{refused}"
    );
    // One that is about to leave is waited for.
    let mut stdin = child.stdin.take().unwrap();
    let waits = std::thread::spawn(move || files.lock());
    stdin.write_all(b"leave\n").unwrap();
    waits.join().unwrap().unwrap();
    std::io::copy(&mut output, &mut std::io::sink()).unwrap();
    child.wait().unwrap();
}

#[test]
fn a_deep_directory_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(100)).join("é".repeat(100));
    fs::create_dir_all(&deep).unwrap();
    let mut served = Served::at(&deep.join("bot.db"), &[]);
    served.start_writer(Vec::new());
    block_on(async {
        let client = served.open();
        turn(&client, &dialog(1), "u1", "1").await;
        assert_eq!(check(&served.files.database).await.unwrap(), []);
    });
    served.finish();
}

#[test]
fn an_idle_writer_sleeps() {
    let served = Served::start(&[]);
    block_on(async {
        let client = served.open();
        // What may keep it awake: a lock that is held, one that is waited for,
        // one that was given back.
        let _held = begin(&client, &dialog(1), "u1").await;
        drop(begin(&client, &dialog(2), "u2").await);
        turn(&client, &dialog(3), "u3", "1").await;
        until("the locks are in the file", async || {
            let sql = Statement::new("SELECT 1 FROM turnkey_lock", ());
            client.query(None, sql).await.unwrap().len() == 1
        })
        .await;
        let rounds = || served.seen.lock().unwrap().1;
        let (before, since) = (rounds(), Instant::now());
        tokio::time::sleep(Duration::from_millis(1500)).await; // What is measured.
        let allowed = since.elapsed().as_millis() as u64 / 500 + 2;
        assert!(
            rounds() - before <= allowed,
            "it woke up {} times",
            rounds() - before
        );
    });
    served.finish();
}

#[test]
fn a_log_that_cannot_begin_anew_is_not_copied_at_every_commit() {
    let served = Served::start(&["CREATE TABLE bulk (body BLOB)"]);
    block_on(async {
        let client = served.open();
        let reader = Connection::open(&served.files.database).unwrap();
        reader
            .execute_batch("BEGIN; SELECT COUNT(*) FROM turnkey_dialog")
            .unwrap();
        let bulk = || Statement::new("INSERT INTO bulk VALUES (zeroblob(?1))", (6 << 20,));
        for _ in 0..7 {
            client.write(vec![bulk()]).await.unwrap();
        }
        // At 16 MiB and at 32 MiB.
        for n in 0..20 {
            turn(&client, &dialog(n), &format!("u{n}"), "1").await;
        }
        let held = served.stats();
        assert!((1..=3).contains(&held.checkpoints), "{held:?}");
        assert!(held.log_bytes > 40 << 20, "{held:?}");
        reader.execute_batch("COMMIT").unwrap();
        for _ in 0..6 {
            client.write(vec![bulk()]).await.unwrap();
        }
        let mut n = 0..;
        until("the log begins anew", async || {
            turn(&client, &dialog(0), &format!("v{}", n.next().unwrap()), "1").await;
            served.stats().log_bytes < held.log_bytes
        })
        .await;
    });
    served.finish();
}

#[test]
fn a_damaged_file_is_refused_at_the_start() {
    let mut served = Served::start(&[]);
    block_on(async {
        let client = served.open();
        for n in 0..200 {
            turn(&client, &dialog(n), &format!("u{n}"), "1").await;
        }
    });
    served.stop_writer().unwrap();
    let path = served.files.database.clone();
    prepare(&path, Sync::Full, &[]).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // The last pages are the rows'.
    let end = bytes.len();
    bytes[end - 6000..end - 2000].fill(0x5a);
    fs::write(&path, bytes).unwrap();
    let refused = prepare(&path, Sync::Full, &[]).unwrap_err().to_string();
    assert!(refused.contains("is damaged"), "{refused}");
    assert!(refused.contains("restore a backup"), "{refused}");
}

#[test]
fn readers_who_are_always_there_do_not_make_the_log_grow_without_end() {
    const MIB: u64 = 1 << 20;
    // Some milliseconds each, from three places at any time.
    const READ: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 20000)
        SELECT COUNT(*) FROM n, (SELECT 1 FROM bulk LIMIT 1)";
    let served = Served::start(&["CREATE TABLE bulk (body BLOB)"]);
    block_on(async {
        let client = Arc::new(served.open());
        let write = vec![Statement::new(
            "INSERT INTO bulk VALUES (zeroblob(?1))",
            (MIB as i64,),
        )];
        client.write(write.clone()).await.unwrap();
        let (done, mut readers) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        for _ in 0..3 {
            let (client, done) = (client.clone(), done.clone());
            readers.spawn(async move {
                let mut reads = 0_u32;
                while !done.load(Ordering::Relaxed) {
                    client.query(None, Statement::new(READ, ())).await.unwrap();
                    reads += 1;
                }
                reads
            });
        }
        let mut largest = 0;
        for _ in 0..200 {
            client.write(write.clone()).await.unwrap();
            largest = largest.max(served.stats().log_bytes);
        }
        done.store(true, Ordering::Relaxed);
        let reads = readers.join_all().await;
        assert!(reads.iter().all(|&n| n > 3), "{reads:?}");
        // While the last reads end, some more is written.
        assert!(largest < 120 * MIB, "{} MiB", largest / MIB);
    });
    served.finish();
}

#[test]
fn statements_that_never_end_are_stopped() {
    const ENDLESS: &str = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)";
    let mut served = Served::start(&["CREATE TABLE note (body TEXT)"]);
    let files = served.files.clone();
    let runtime = common::runtime();
    let client = runtime
        .block_on(async { connect(&files, Owner(100)) })
        .unwrap();
    let endless = |update: &str, sql: String| {
        let client = &client;
        let update = update.to_owned();
        async move {
            let mut grant = begin(client, &dialog(&update), &update)
                .await
                .grant
                .unwrap();
            let commit = Commit {
                statements: vec![Statement::new(sql, ())],
                ..last(&update, "1")
            };
            client.commit(&mut grant, commit).await
        }
    };
    let read = format!("{ENDLESS} SELECT COUNT(*) FROM n");
    let stopped = runtime.block_on(endless("read", read));
    assert!(
        matches!(&stopped, Err(Error::Statement(s)) if s.contains("took longer")),
        "{stopped:?}"
    );
    // SQLite undoes the whole transaction of a write that is stopped. Its author
    // is told; all others go on with the next writer, without noticing.
    let setup = Statement::new("CREATE UNIQUE INDEX once ON note (body)", ());
    let row = "INSERT OR ROLLBACK INTO note VALUES ('a')";
    let first = vec![setup, Statement::new(row, ())];
    runtime.block_on(client.write(first)).unwrap();
    for (update, sql) in [
        (
            "write",
            format!("{ENDLESS} INSERT INTO note SELECT x FROM n WHERE x < 0"),
        ),
        ("rollback", row.to_owned()),
    ] {
        let other = async {
            for n in 0..50 {
                let name = format!("{update}{n}");
                turn(&client, &dialog(&name), &name, "1").await;
            }
        };
        let stopped = std::thread::scope(|scope| {
            let both = scope
                .spawn(|| runtime.block_on(async { tokio::join!(endless(update, sql), other).0 }));
            let ended = served.join_writer();
            assert!(matches!(ended, Err(Error::Undone(_))), "{ended:?}");
            served.start_writer(vec![Owner(100)]);
            both.join().unwrap()
        });
        assert!(matches!(stopped, Err(Error::Statement(_))), "{stopped:?}");
    }
    let mut dialogs = 0;
    dump::<Error>(&files.database, false, |_| {
        dialogs += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(dialogs, 100);
    drop(client);
    drop(runtime);
    served.finish();
}

#[test]
fn write_is_all_or_none() {
    let served = Served::start(&["CREATE TABLE note (body TEXT UNIQUE)"]);
    block_on(async {
        let client = served.open();
        let note = |body: &str| Statement::new("INSERT INTO note VALUES (?1)", (body,));
        client.write(vec![note("a"), note("b")]).await.unwrap();
        let failed = client.write(vec![note("c"), note("a")]).await;
        assert!(matches!(failed, Err(Error::Statement(_))), "{failed:?}");
        let count = "SELECT COUNT(*) FROM note";
        let count = client.read(move |conn| conn.query_row(count, [], |row| row.get::<_, i64>(0)));
        assert_eq!(count.await.unwrap(), 2);
    });
    served.finish();
}

#[test]
fn a_crowd_of_queries_is_served() {
    let served = Served::start(&[]);
    block_on(async {
        let client = std::sync::Arc::new(served.open());
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..2000_i64 {
            let client = client.clone();
            tasks.spawn(async move {
                let rows = client
                    .query(None, Statement::new("SELECT ?1 AS n", (n,)))
                    .await
                    .unwrap();
                assert_eq!(rows[0].get::<i64>("n").unwrap(), n);
            });
        }
        tasks.join_all().await;
    });
    served.finish();
}

/// A greeting's bytes, as [`turnkey_storage`]'s protocol has them.
fn greeting(version: u32, owner: u64, resends: u32) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(0_u64.to_le_bytes());
    body.push(0);
    body.extend(version.to_le_bytes());
    body.extend(owner.to_le_bytes());
    body.extend(resends.to_le_bytes());
    body.extend(0_u32.to_le_bytes());
    framed(&body)
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32).to_le_bytes(), body].concat()
}

#[test]
fn a_peer_that_talks_nonsense_is_cut_off() {
    let mut served = Served::start(&[]);
    let nonsense = framed(&[99; 20]);
    let closed = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(&served.files.socket).unwrap();
        stream.set_read_timeout(Some(common::LONG)).unwrap();
        stream.write_all(bytes).unwrap();
        let read = stream.read(&mut [0; 100]);
        assert!(matches!(read, Ok(0)), "{read:?}");
    };
    block_on(async {
        let client = served.open();
        turn(&client, &dialog(0), "u0", "1").await;
        for (n, bytes) in [
            vec![0xff; 100],
            nonsense.clone(),
            greeting(99, 7, 0),
            [greeting(1, 7, 0), nonsense.clone()].concat(),
            [greeting(1, 7, 1), framed(&[])].concat(),
        ]
        .iter()
        .enumerate()
        {
            closed(bytes);
            turn(&client, &dialog(n), &format!("{n}"), "1").await;
        }
    });
    // While a new writer waits for the workers of the last one.
    served.stop_writer().unwrap();
    served.start_writer(vec![Owner(7)]);
    let greeted = [greeting(1, 7, 1), nonsense].concat();
    let mut stream = UnixStream::connect(&served.files.socket).unwrap();
    stream.set_read_timeout(Some(common::LONG)).unwrap();
    stream.write_all(&greeted).unwrap();
    assert!(matches!(stream.read(&mut [0; 100]), Ok(0)));
    block_on(async {
        turn(&served.open(), &dialog(1), "u1", "1").await;
    });
    served.finish();
}

#[test]
fn dump_shows_every_dialog_with_its_history() {
    let served = Served::start(&[]);
    block_on(async {
        let client = served.open();
        for n in 0..30 {
            let update = format!("u{n}");
            let mut grant = begin(&client, &dialog(n % 7), &update).await.grant.unwrap();
            let commit = Commit {
                history: (n % 7 != 3).then(|| format!("{n}")),
                ..last(&update, &n.to_string())
            };
            client.commit(&mut grant, commit).await.unwrap();
        }
    });
    // While a writer serves the file.
    let mut lines = Vec::new();
    dump::<Error>(&served.files.database, true, |line| {
        lines.push(line);
        Ok(())
    })
    .unwrap();
    assert_eq!(lines.len(), 7);
    for (user, line) in lines.iter().enumerate() {
        assert_eq!(line.dialog, dialog(user));
        let turns = (0..30).filter(|n| n % 7 == user);
        let history: Vec<_> = turns
            .clone()
            .filter(|n| n % 7 != 3)
            .map(|n| n.to_string())
            .collect();
        assert_eq!(line.history, history);
        assert_eq!(line.state, turns.max().unwrap().to_string());
    }
    served.finish();
}

/// Where everybody may write (/tmp), others may put files beside the database before it is
/// opened: a log with changes of theirs, say, or a link in place of the lock.
#[test]
fn files_that_others_have_put_there_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bot.db");
    let mode = |mode| fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
    let beside = |suffix: &str| dir.path().join(format!("bot.db{suffix}"));
    prepare(&path, Sync::Full, &[]).unwrap();
    let target = dir.path().join("target");
    std::os::unix::fs::symlink(&target, beside("-lock")).unwrap();
    let Err(Error::Open(why)) = Files::of(&path).lock() else {
        panic!("it follows a link");
    };
    let sentence = why.to_string();
    assert!(sentence.contains("bot.db-lock"), "{sentence}");
    assert!(!target.exists(), "made by way of the link");
    fs::remove_file(beside("-lock")).unwrap();
    if fs::metadata("/proc/self").unwrap().uid() != 0 {
        eprintln!("SKIPPED: files of others beside the database: takes root");
        return;
    }
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    for suffix in ["-wal", "-shm", "-journal"] {
        fs::write(beside(suffix), "").unwrap();
        std::os::unix::fs::chown(beside(suffix), Some(1), None).unwrap();
        mode(0o1777);
        for opened in [
            prepare(&path, Sync::Full, &[]).map(drop),
            block_on(check(&path)).map(drop),
        ] {
            let Err(Error::Open(why)) = opened else {
                panic!("{suffix}: {opened:?}");
            };
            let sentence = why.to_string();
            assert!(sentence.contains("by another user"), "{sentence}");
            assert!(sentence.contains(suffix), "{sentence}");
        }
        // Nobody but its owner and root could have put it there.
        mode(0o755);
        prepare(&path, Sync::Full, &[]).unwrap();
        drop(fs::remove_file(beside(suffix)));
    }
    mode(0o1777);
    prepare(&path, Sync::Full, &[]).unwrap();
}
