//! Backups of a file that is written to, and the way back; by hand, on a schedule, and
//! before tables are changed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{Bot, SOON, Setup, until, url};
use crate::harness::client::say;
use crate::harness::load::Load;
use crate::harness::small_disk::SmallDisk;

#[tokio::test]
async fn a_backup_of_a_running_bot_is_whole_and_can_be_restored() {
    let bot = Setup::counter().args(&["--workers", "2"]).start().await;
    for n in 1..=20 {
        assert_eq!(say(bot.port, "ann", "hi").await.number(), n);
    }
    // Others go on meanwhile.
    let port = bot.port;
    let load = tokio::spawn(async move {
        for n in 1..=200 {
            assert_eq!(
                say(port, &format!("load{}", n % 7), "hi").await.number(),
                (n - 1) / 7 + 1
            );
        }
    });
    let setup = bot.setup.clone();
    let (file, storage) = (setup.path("copy.db"), url(&setup.database()));
    let file_name = file.to_str().unwrap().to_owned();
    let backup = {
        let (setup, storage, to) = (setup.clone(), storage.clone(), file_name.clone());
        let run = move || setup.bare(&["backup", "--storage", &storage, &to, "--json"]);
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    assert_eq!(backup.code, Some(0), "{}", backup.stderr);
    load.await.unwrap();
    for n in 21..=25 {
        assert_eq!(say(bot.port, "ann", "hi").await.number(), n);
    }

    // A second one under the same name would hide which is which.
    let again = setup.bare(&["backup", "--storage", &storage, &file_name]);
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);
    // Nobody restores under a running bot.
    let restore = ["restore", "--storage", &storage, &file_name, "--replace"];
    let used = setup.bare_within(&restore, crate::harness::bot::SOON);
    assert!(used.stderr.contains("in use"), "{}", used.stderr);

    let setup = bot.stop().await;
    let refused = setup.bare(&["restore", "--storage", &storage, &file_name]);
    assert!(refused.stderr.contains("--replace"), "{}", refused.stderr);
    let restored = setup.bare(&restore);
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    assert!(
        restored.stdout.contains("before-restore"),
        "{}",
        restored.stdout
    );
    assert_eq!(setup.count("ann"), 20);
    setup.assert_sound();
    let bot = setup.start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 21);
    bot.stop().await;
}

#[tokio::test]
async fn a_backup_of_something_else_is_refused() {
    let setup = Setup::counter();
    let to = setup.path("copy.db");
    let to = to.to_str().unwrap();
    let missing = setup.bare(&["backup", "--storage", &url(&setup.database()), to]);
    assert_eq!(missing.code, Some(2));
    assert!(
        missing.stderr.contains("there is no file"),
        "{}",
        missing.stderr
    );
    std::fs::write(setup.database(), vec![7; 9000]).unwrap();
    let strange = setup.bare(&["backup", "--storage", &url(&setup.database()), to]);
    assert_eq!(strange.code, Some(2));
    assert!(
        strange.stderr.contains("not a SQLite database"),
        "{}",
        strange.stderr
    );
    assert!(!std::path::Path::new(to).exists());
}

/// What is in a directory, in order; without the lock.
fn names(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with("-backup-lock"))
        .collect();
    names.sort();
    names
}

/// Complete backups of `bot.db`, oldest first.
fn backups(dir: &Path) -> Vec<String> {
    let mut names = names(dir);
    names
        .retain(|name| name.len() == "bot-2026-11-29T10-00-00Z.db".len() && name.ends_with("Z.db"));
    names
}

fn with_backups(setup: Setup, dir: &Path, every: &str) -> Setup {
    let dir = dir.to_str().unwrap();
    setup.args(&["--backup-dir", dir, "--backup-every", every])
}

/// Sound, but for the locks of turns that were in flight at that moment.
fn assert_good(setup: &Setup, backup: &Path) {
    let check = setup.bare(&["check", "--storage", &url(backup)]);
    let is_sound = check
        .stdout
        .lines()
        .all(|line| line.contains("all is well") || line.contains("lock row"));
    assert!(is_sound && check.code != Some(2), "{check:?}");
}

/// Makes the file so large that a backup takes a while.
fn grow(database: &Path, mebibytes: u32) {
    let conn = rusqlite::Connection::open(database).unwrap();
    conn.execute_batch(&format!(
        "CREATE TABLE filler (a BLOB);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {mebibytes})
         INSERT INTO filler SELECT randomblob(1048576) FROM n;"
    ))
    .unwrap();
}

/// The helper's process, once it writes.
async fn writing(bot: &Bot, dir: &Path) -> i32 {
    let mut found = None;
    until("a backup under way", SOON, || {
        let is_begun = names(dir).iter().any(|name| name.ends_with("-part"));
        found = bot.all_named("turnkey: backup").first().copied();
        is_begun && found.is_some()
    })
    .await;
    found.expect("it was waited for")
}

#[tokio::test]
async fn a_running_bot_makes_backups_and_removes_the_oldest() {
    let setup = Setup::counter();
    let dir = setup.path("backups");
    let setup = with_backups(setup, &dir, "1s").args(&["--backup-keep", "3", "--workers", "2"]);
    let bot = setup.start().await;
    let load = Load::start(bot.port);
    until("the first backup", SOON, || !backups(&dir).is_empty()).await;
    let first = backups(&dir).remove(0);
    for other in ["bot-old.db", "bot-2-2020-01-01T00-00-00Z.db", "other.db"] {
        fs::write(dir.join(other), "not ours").unwrap();
    }
    until("the first is gone", SOON, || {
        let there = backups(&dir);
        there.len() >= 3 && !there.contains(&first)
    })
    .await;
    let answered = load.end_unharmed().await;
    let setup = bot.stop().await;
    assert!((3..=4).contains(&backups(&dir).len()), "{:?}", names(&dir));
    for other in ["bot-old.db", "bot-2-2020-01-01T00-00-00Z.db", "other.db"] {
        assert!(dir.join(other).exists(), "{other} was not ours to remove");
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for backup in backups(&dir) {
        let backup = dir.join(backup);
        assert_eq!(mode(&backup), 0o600);
        assert_good(&setup, &backup);
    }
    assert_eq!(setup.sum(), answered);
    setup.assert_sound();
}

/// A reload, the death of the worker that keeps the schedule, a restart and an upgrade:
/// the next one is due an hour after the one that is there.
#[tokio::test]
async fn a_replaced_worker_keeps_the_schedule() {
    let setup = Setup::counter();
    let dir = setup.path("backups");
    let setup = with_backups(setup, &dir, "1h").args(&["--workers", "2", "-v"]);
    let mut bot = setup.start().await;
    let mut looks = 0;
    let mut looked = async |bot: &Bot, of: usize| {
        looks += 1;
        until("a look at the directory", SOON, || {
            bot.stderr().matches("next backup is due in").count() >= looks - of
        })
        .await;
        assert_eq!(backups(&dir).len(), 1, "{:?}", names(&dir));
    };
    looked(&bot, 0).await;
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reloaded: ").await;
    looked(&bot, 0).await;
    let first = bot.worker(0).await;
    kill(Pid::from_raw(first), Signal::SIGKILL).unwrap();
    bot.successor("turnkey: worker 0", first).await;
    looked(&bot, 0).await;
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    looked(&bot, 0).await;
    assert_eq!(bot.ended(SOON).await, 0);
    kill(Pid::from_raw(new), Signal::SIGTERM).unwrap();
    bot.gone(SOON).await;
    let bot = setup.start().await;
    looked(&bot, 4).await;
    bot.stop().await;
}

#[tokio::test]
async fn a_backup_that_is_killed_leaves_nothing_with_a_good_name() {
    let setup = Setup::counter();
    let dir = setup.path("backups");
    let bot = setup.start().await;
    say(bot.port, "ann", "hi").await.number();
    let setup = bot.stop().await;
    grow(&setup.database(), 48);
    let setup = with_backups(setup, &dir, "2s").args(&["--workers", "2"]);

    // Its own process alone: told, and tried again.
    let bot = setup.start().await;
    let load = Load::start(bot.port);
    let helper = writing(&bot, &dir).await;
    // It has nothing of the bot's, least of all the lock on the file.
    let files = fs::read_dir(format!("/proc/{helper}/fd")).unwrap();
    let files: Vec<PathBuf> = files
        .filter_map(|file| fs::read_link(file.unwrap().path()).ok())
        .collect();
    let lock = setup.path("bot.db-lock").canonicalize().unwrap();
    assert!(!files.contains(&lock), "{files:?}");
    kill(Pid::from_raw(helper), Signal::SIGKILL).unwrap();
    bot.wait_for_stderr("no backup in").await;
    assert!(backups(&dir).is_empty(), "{:?}", names(&dir));
    until("another attempt", SOON, || backups(&dir).len() == 1).await;
    load.end_unharmed().await;

    // Everything at once, in the middle of the next one.
    let helper = writing(&bot, &dir).await;
    let before = backups(&dir);
    let setup = bot.kill_all().await;
    until("its end", SOON, || {
        crate::harness::proc::stat(helper).is_none()
    })
    .await;
    let left = names(&dir);
    assert_eq!(backups(&dir), before);
    for backup in &before {
        assert_good(&setup, &dir.join(backup));
    }
    let part = left.iter().find(|name| name.ends_with("-part"));
    let part = dir.join(part.expect("what was begun"));
    let bot = setup.start().await;
    until("a backup by the next program", SOON, || {
        backups(&dir).len() > before.len()
    })
    .await;
    assert!(!part.exists(), "{:?}", names(&dir));

    // The worker that wanted it: its helper goes with it, the next worker begins anew.
    let helper = writing(&bot, &dir).await;
    let worker = bot.worker(0).await;
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    until("the helper's end", SOON, || {
        crate::harness::proc::stat(helper).is_none_or(|stat| stat.state == 'Z')
    })
    .await;
    let count = backups(&dir).len();
    until("the next worker's backup", SOON, || {
        backups(&dir).len() > count
    })
    .await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_full_disk_for_backups_is_told_and_the_bot_goes_on() {
    let setup = Setup::counter();
    let Some(disk) = SmallDisk::mount(&setup, 3) else {
        return;
    };
    disk.fill();
    let setup = with_backups(setup, disk.path(), "1s").args(&["--workers", "2"]);
    let bot = setup.start().await;
    let load = Load::start(bot.port);
    bot.wait_for_stderr("no backup in").await;
    until("the reason", SOON, || {
        let text = bot.stderr();
        text.contains("disk is full") || text.contains("No space left")
    })
    .await;
    assert!(backups(disk.path()).is_empty(), "{:?}", names(disk.path()));
    assert!(
        names(disk.path()).iter().all(|name| name == "filler"),
        "{:?}",
        names(disk.path())
    );
    disk.free();
    until("a backup once there is room", SOON, || {
        !backups(disk.path()).is_empty()
    })
    .await;
    let answered = load.end_unharmed().await;
    assert_eq!(bot.setup.sum(), answered);
    bot.stop().await;
}

#[tokio::test]
async fn a_directory_that_is_no_good_refuses_the_start() {
    let setup = Setup::counter();
    let file = setup.path("file");
    fs::write(&file, "").unwrap();
    for dir in [file.clone(), file.join("below"), setup.path("no/such")] {
        let ended = with_backups(setup.clone(), &dir, "1h").run_to_end();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        let (stderr, dir) = (&ended.stderr, dir.to_str().unwrap());
        assert!(
            stderr.contains(dir) && stderr.contains("backups: "),
            "{stderr}"
        );
    }
    // Nor does a reload to one change anything.
    let config = setup.path("bot.toml");
    fs::write(&config, "workers = 1\n").unwrap();
    let bot = setup
        .args(&["--config", config.to_str().unwrap()])
        .start()
        .await;
    fs::write(&config, format!("workers = 1\nbackup-dir = {file:?}\n")).unwrap();
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reload failed, the old settings").await;
    // And to a good one starts with a backup.
    let dir = bot.setup.path("backups");
    fs::write(&config, format!("workers = 1\nbackup-dir = {dir:?}\n")).unwrap();
    bot.signal(Signal::SIGHUP);
    until("a backup", SOON, || backups(&dir).len() == 1).await;

    // Two bots of one name would remove each other's.
    let other = with_backups(Setup::counter(), &dir, "1h").run_to_end();
    assert_eq!(other.code, Some(2), "{other:?}");
    assert!(other.stderr.contains("another database"), "{other:?}");
    bot.stop().await;
}

/// `backup --dir`, for whoever has a scheduler already.
#[tokio::test]
async fn a_backup_by_hand_is_named_by_the_time() {
    let bot = Setup::counter().start().await;
    say(bot.port, "ann", "hi").await.number();
    let setup = bot.setup.clone();
    let dir = setup.path("backups");
    let make = |more: &[&str]| {
        let base = ["backup", "--dir", dir.to_str().unwrap(), "--json"];
        let ended = setup.tool(&[&base, more].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        serde_json::from_str::<serde_json::Value>(&ended.stdout).unwrap()
    };
    let first = make(&[]);
    assert_eq!(first["dialogs"], 1);
    assert!(Path::new(first["file"].as_str().unwrap()).exists());
    assert!(make(&["--every", "1h"])["file"].is_null(), "not due yet");
    make(&[]);
    make(&["--keep", "2"]);
    assert_eq!(backups(&dir).len(), 2);
    let both = setup.tool(&["backup", "x.db", "--dir", "d"]);
    assert_eq!(both.code, Some(2), "{both:?}");
    let neither = setup.tool(&["backup"]);
    assert_eq!(neither.code, Some(2), "{neither:?}");
    bot.stop().await;
}

/// The copies from before a change of the tables.
fn before(setup: &Setup) -> Vec<String> {
    let mut names = names(setup.dir.path());
    names.retain(|name| name.starts_with("bot.db-before-"));
    names
}

#[tokio::test]
async fn tables_are_backed_up_before_they_are_changed() {
    let counter = Setup::counter();
    let database = counter.database();
    let bot = counter.start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    bot.stop().await;
    assert!(
        before(&counter).is_empty(),
        "a new file has nothing to keep"
    );

    // The example has a migration of its own.
    let example = Setup::commands().storage(Some(database.clone()));
    let bot = example.start().await;
    bot.wait_for_stderr("as it was before, it is in ").await;
    say(bot.port, "ann", "order tea").await.number();
    bot.stop().await;
    let [kept] = &before(&counter)[..] else {
        panic!("{:?}", before(&counter));
    };
    // After our own migrations, whose number rises, and the bot's one.
    let version = kept.strip_prefix("bot.db-before-").unwrap();
    assert!(
        version.split_once('.').unwrap().1.starts_with("1-2"),
        "{kept}"
    );
    // Not again when nothing is changed.
    example.start().await.stop().await;
    assert_eq!(before(&counter).len(), 1);

    // Made by a newer version: refused by name, and nothing is touched.
    let refused = counter.run_to_end();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("newer version of the bot"),
        "{refused:?}"
    );
    // The way back is the copy.
    let kept = counter.path(kept);
    let restore = ["restore", kept.to_str().unwrap(), "--replace"];
    let restored = counter.tool(&restore);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let bot = counter.start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    bot.stop().await;

    // Of Turnkey itself.
    let conn = rusqlite::Connection::open(&database).unwrap();
    conn.execute(
        "INSERT INTO turnkey_migration VALUES ('turnkey', 999, 'SELECT 1', 0)",
        [],
    )
    .unwrap();
    drop(conn);
    let refused = counter.run_to_end();
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(
        refused.stderr.contains("newer version of Turnkey"),
        "{refused:?}"
    );
}

/// The table that the migration makes is there already.
#[tokio::test]
async fn a_migration_that_fails_leaves_the_file_as_it_was() {
    let counter = Setup::counter();
    let bot = counter.start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    bot.stop().await;
    let conn = counter.open_database();
    conn.execute_batch("CREATE TABLE orders (what TEXT)")
        .unwrap();
    drop(conn);
    let failed = Setup::commands()
        .storage(Some(counter.database()))
        .run_to_end();
    assert_eq!(failed.code, Some(2), "{failed:?}");
    assert!(
        failed.stderr.contains("migration 1 of the bot failed"),
        "{failed:?}"
    );
    assert!(before(&counter).is_empty(), "{:?}", before(&counter));
    let bot = counter.start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    bot.stop().await.assert_sound();
}

/// The file is lost, its log is not: that is not the log of what is restored.
#[tokio::test]
async fn a_log_that_is_left_stays_out_of_what_is_restored() {
    let bot = Setup::counter().start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    let setup = bot.setup.clone();
    let (copy, storage) = (setup.path("copy.db"), url(&setup.database()));
    let copy = copy.to_str().unwrap();
    let backup = setup.bare(&["backup", "--storage", &storage, copy]);
    assert_eq!(backup.code, Some(0), "{backup:?}");
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    assert_eq!(say(bot.port, "bob", "hi").await.number(), 1);
    for (pid, _) in bot.processes() {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    bot.gone(SOON).await;
    fs::rename(setup.database(), setup.path("lost.db")).unwrap();
    let log = format!("{}-wal", setup.database().display());
    assert!(fs::metadata(&log).unwrap().len() > 0);
    let restored = setup.bare(&["restore", "--storage", &storage, copy]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert_eq!((setup.sum(), setup.count("ann")), (1, 1));
    setup.assert_sound();
}

#[tokio::test]
async fn nothing_is_restored_under_a_reader() {
    let bot = Setup::counter().start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    let setup = bot.setup.clone();
    let (copy, storage) = (setup.path("copy.db"), url(&setup.database()));
    let copy = copy.to_str().unwrap();
    let backup = setup.bare(&["backup", "--storage", &storage, copy]);
    assert_eq!(backup.code, Some(0), "{backup:?}");
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    let reader = setup.open_database();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM turnkey_dialog")
        .unwrap();
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 3);
    bot.stop().await;
    let restore = ["restore", "--storage", &storage, copy, "--replace"];
    let refused = setup.bare_within(&restore, SOON);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("reads"), "{refused:?}");
    drop(reader);
    assert_eq!(setup.sum(), 3);
    let restored = setup.bare(&restore);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert_eq!(setup.sum(), 1);
}

/// Names of what is kept must not depend on how much time has passed.
#[tokio::test]
async fn restored_twice_within_a_second_each_keeps_what_was_there() {
    let bot = Setup::counter().start().await;
    let setup = bot.setup.clone();
    let storage = url(&setup.database());
    // One of the names that a restore uses itself.
    let copy = setup.path("bot.db-restored-1");
    let copy = copy.to_str().unwrap();
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    let backup = setup.bare(&["backup", "--storage", &storage, copy]);
    assert_eq!(backup.code, Some(0), "{backup:?}");
    for n in 2..=7 {
        assert_eq!(say(bot.port, "ann", "hi").await.number(), n);
    }
    bot.stop().await;
    let begun = std::time::Instant::now();
    let mut kept = Vec::new();
    for _ in 0..4 {
        let restored = setup.bare(&[
            "restore",
            "--storage",
            &storage,
            copy,
            "--replace",
            "--json",
        ]);
        assert_eq!(restored.code, Some(0), "{restored:?}");
        let line: serde_json::Value = serde_json::from_str(&restored.stdout).unwrap();
        kept.push(PathBuf::from(line["kept"].as_str().unwrap()));
    }
    let took = begun.elapsed();
    let counts: Vec<u64> = kept
        .iter()
        .map(|file| {
            let mut setup = setup.clone();
            setup = setup.storage(Some(file.clone()));
            setup.count("ann")
        })
        .collect();
    assert_eq!(counts, [7, 1, 1, 1], "{kept:?}, in {took:?}");
    assert_eq!(setup.count("ann"), 1);
    assert!(Path::new(copy).exists(), "the backup itself");
    setup.assert_sound();
}
