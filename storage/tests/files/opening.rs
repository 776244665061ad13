//! A file is made, prepared again, migrated, and shown.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rusqlite::Connection;
use turnkey_storage::sqlite::{Files, check, dump, prepare};
use turnkey_storage::{Commit, Error, Storage, Sync};

use crate::common::{Served, begin, block_on, dialog, last};
use crate::processes::refusal;

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
         DROP TABLE turnkey_taken;
         DROP TABLE turnkey_timer;
         DROP TABLE turnkey_step;
         DROP TABLE turnkey_overlap;
         DROP TABLE turnkey_callback;
         DROP TABLE turnkey_person;
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
