//! Files that are refused, and left as they are.

use std::fs;
use std::io::{BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;

use rusqlite::Connection;
use turnkey_storage::sqlite::{Files, check, prepare};
use turnkey_storage::{Error, Sync};

use crate::common::{Served, block_on, dialog, turn};
use crate::processes::{answer, as_child, refusal};

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
