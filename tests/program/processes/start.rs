//! Starts that fail say why and what to do, in one sentence, and exit with code 2, or 75
//! where it may pass by itself; nothing is left behind.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use crate::harness::bot::{Ended, Setup, example, skipped};
use crate::harness::client::say;

/// It ended with code 2 and one line, which holds these parts.
fn assert_refused(ended: &Ended, parts: &[&str]) {
    assert_ended(ended, 2, parts);
}

/// The same with the code of what may pass by itself.
fn assert_not_yet(ended: &Ended, parts: &[&str]) {
    assert_ended(ended, 75, parts);
}

fn assert_ended(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    let lines = ended.stderr.trim_end().lines();
    let lines: Vec<_> = lines.filter(|line| !line.contains(" INFO ")).collect();
    assert_eq!(lines.len(), 1, "one sentence: {}", ended.stderr);
    assert!(lines[0].starts_with("error: "), "{}", lines[0]);
    for part in parts {
        assert!(lines[0].contains(part), "no {part:?} in: {}", lines[0]);
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0)
}

/// The natural beginning of a program with tokio: what to write instead is told.
#[test]
fn an_async_main() {
    let setup = Setup::of(example("async_main"));
    for setup in [setup.clone(), setup.args(&["--single-process"])] {
        let ended = setup.run_to_end();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        for part in [
            "error: main is async (#[tokio::main])",
            "fn main() -> std::process::ExitCode {",
            "App::new(handle).run()",
        ] {
            assert!(ended.stderr.contains(part), "no {part:?}: {ended:?}");
        }
    }
}

#[test]
fn a_taken_port() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let base = Setup::counter().without_port();
    for setup in [base.clone(), base.args(&["--single-process"])] {
        let ended = setup.args(&["--port", &port]).run_to_end();
        assert_not_yet(&ended, &[&port, "taken", "--port"]);
    }
}

#[test]
fn a_host_that_is_not_ours() {
    let ended = Setup::counter().args(&["--host", "192.0.2.1"]).run_to_end();
    assert_not_yet(&ended, &["192.0.2.1", "--host", "0.0.0.0"]);
    let ended = Setup::counter()
        .args(&["--host", "no such host"])
        .run_to_end();
    assert_not_yet(&ended, &["no such host", "--host"]);
}

#[test]
fn a_directory_that_is_missing() {
    let setup = Setup::counter();
    let missing = setup.path("nowhere").join("bot.db");
    let setup = setup.storage(Some(missing.clone()));
    assert_refused(
        &setup.run_to_end(),
        &[missing.to_str().unwrap(), "does not exist", "create it"],
    );
    let setup = setup.args(&["--single-process"]);
    assert_refused(&setup.run_to_end(), &["does not exist", "create it"]);
}

#[test]
fn a_directory_in_place_of_a_file() {
    let setup = Setup::counter();
    let directory = setup.path("directory");
    fs::create_dir(&directory).unwrap();
    let ended = setup.storage(Some(directory)).run_to_end();
    assert_refused(&ended, &["is a directory", "--storage"]);
}

/// Nobody (uid 65534) has no right to write to root's directory; without root it is
/// a directory that is read-only for ourselves.
#[test]
fn no_right_to_write() {
    let mut setup = Setup::counter();
    let directory = setup.path("closed");
    fs::create_dir(&directory).unwrap();
    let mode = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(setup.dir.path(), mode(0o755)).unwrap();
    fs::set_permissions(&directory, mode(0o555)).unwrap();
    if is_root() {
        setup = setup.uid(65534);
    }
    let new = setup.clone().storage(Some(directory.join("bot.db")));
    let said = ["no right to write", "write access", "directory ", "closed;"];
    assert_refused(&new.run_to_end(), &said);
    // The directory is open, the file is not ours.
    if is_root() {
        fs::set_permissions(&directory, mode(0o777)).unwrap();
        let file = directory.join("theirs.db");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, mode(0o644)).unwrap();
        let ended = setup.clone().storage(Some(file)).run_to_end();
        let said = ["no right to write to ", "theirs.db;", "write access"];
        assert_refused(&ended, &said);
        // The file would be ours, what root once left beside it is not.
        let lock = directory.join("ours.db-lock");
        fs::write(&lock, "").unwrap();
        fs::set_permissions(&lock, mode(0o600)).unwrap();
        let ours = setup.clone().storage(Some(directory.join("ours.db")));
        let said = ["no right to write to ", "ours.db-lock;", "write access"];
        assert_refused(&ours.run_to_end(), &said);
    }
    let lowest = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if is_root() && lowest.is_ok_and(|lowest| lowest.trim() == "1024") {
        // The database comes first: it is no obstacle.
        fs::set_permissions(setup.dir.path(), mode(0o777)).unwrap();
        let ended = setup.without_port().args(&["--port", "81"]).run_to_end();
        assert_refused(&ended, &["no right to listen on port 81", "--port"]);
    } else {
        skipped("port 81 without the right to it: takes root, and ports that need a right");
    }
}

#[test]
fn a_file_that_is_no_database() {
    let setup = Setup::counter();
    for (name, content) in [
        ("text", &b"Dear diary, this is not a database at all, but quite a long text."[..]),
        ("short", b"hello"),
        ("header", b"SQLite format 3\0 and then rubbish, rubbish and more rubbish, and rubbish, rubbish, and more rubbish"),
    ] {
        let file = setup.path(name);
        fs::write(&file, content).unwrap();
        let setup = setup.clone().storage(Some(file.clone()));
        let ended = setup.run_to_end();
        assert_refused(&ended, &[file.to_str().unwrap()]);
        assert_eq!(fs::read(&file).unwrap(), content, "it was left alone");
        for tool in ["dump", "check"] {
            assert_refused(&setup.tool(&[tool]), &[file.to_str().unwrap()]);
        }
    }
}

#[test]
fn a_database_of_another_program() {
    let setup = Setup::counter();
    let other = setup.open_database();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(other);
    let before = fs::read(setup.database()).unwrap();
    assert_refused(&setup.run_to_end(), &["another program", "--storage"]);
    assert_eq!(
        fs::read(setup.database()).unwrap(),
        before,
        "it was left alone"
    );
    assert_refused(&setup.tool(&["check"]), &["not a database of Turnkey"]);
}

#[tokio::test]
async fn a_database_of_a_newer_version() {
    let bot = Setup::commands().start().await;
    say(bot.port, "ann", "hi").await.number();
    let commands = bot.stop().await;
    // The counter knows no migration: this is not its file, or it is too old.
    let counter = Setup::counter().storage(Some(commands.database()));
    assert_refused(&counter.run_to_end(), &["newer version of the bot"]);
    let newer = commands.open_database();
    newer
        .execute(
            "INSERT INTO turnkey_migration VALUES ('turnkey', 1000, 'CREATE …', 0)",
            [],
        )
        .unwrap();
    drop(newer);
    for ended in [
        commands.run_to_end(),
        commands.clone().args(&["--single-process"]).run_to_end(),
        commands.tool(&["dump"]),
        commands.tool(&["check"]),
    ] {
        assert_refused(&ended, &["newer version of Turnkey", "restore a backup"]);
    }
}

#[tokio::test]
async fn a_database_in_use() {
    let bot = Setup::counter().start().await;
    let second = bot.setup.run_to_end();
    assert_not_yet(&second, &["in use by another running bot", "--storage"]);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    bot.stop().await.assert_sound();
}

/// A transaction of another program's; when it is over, the next start succeeds.
#[tokio::test]
async fn a_database_that_another_program_locks() {
    let bot = Setup::counter().start().await;
    say(bot.port, "ann", "hi").await.number();
    let setup = bot.stop().await;
    let other = setup.open_database();
    other
        .execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; CREATE TABLE theirs (x)")
        .unwrap();
    let single = setup.clone().args(&["--single-process"]);
    for setup in [&setup, &single] {
        assert_not_yet(&setup.run_to_end(), &["locked by another program"]);
    }
    drop(other);
    let bot = setup.start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    bot.stop().await.assert_sound();
}

/// Nobody listens there; a name that is never resolved (RFC 6761).
#[test]
fn a_database_server_that_is_not_there_yet() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    for scheme in ["postgres", "mysql"] {
        for host in [format!("127.0.0.1:{port}"), "db.invalid".to_owned()] {
            let url = format!("{scheme}://bot:secret@{host}/bot");
            let setup = Setup::counter().storage(None).args(&["--storage", &url]);
            for setup in [setup.clone(), setup.args(&["--single-process"])] {
                assert_not_yet(&setup.run_to_end(), &["cannot use", "start the server"]);
            }
        }
    }
}

/// What a supervisor goes by: these come back, those stay down.
#[test]
fn the_unit_comes_back_after_what_passes() {
    let unit = Setup::counter().bare(&["systemd"]);
    for line in [
        "Restart=on-failure",
        "RestartPreventExitStatus=2",
        "StartLimitIntervalSec=0",
    ] {
        assert!(unit.stdout.lines().any(|l| l == line), "{}", unit.stdout);
    }
}

#[test]
fn flags_that_contradict_each_other() {
    for (flags, parts) in [
        (
            &["--workers", "2", "--fast"][..],
            &["--workers and --fast"][..],
        ),
        (
            &["--workers", "2", "--single-process"],
            &["--single-process has no workers"],
        ),
        (&["--fast", "--single-process"], &["opposites"]),
        (&["--workers", "0"], &["--workers takes 1 to 256, not 0"]),
        (
            &["--workers", "257"],
            &["--workers takes 1 to 256, not 257"],
        ),
        (&["--updater", "polling"], &["polling", "--port"]),
        (
            &["--trusted-proxy", "localhost"],
            &["--trusted-proxy", "10.0.0.0/8"],
        ),
        (&["--telegram-rate", "0"], &["--telegram-rate"]),
        (&["--worker-timeout", "1s"], &["--worker-timeout", "3s"]),
        (&["--max-header", "100"], &["--max-header", "8192"]),
        (
            &["--public-url", "bot.example.org"],
            &["--public-url", "https://"],
        ),
    ] {
        let ended = Setup::counter().args(flags).run_to_end();
        assert_refused(&ended, parts);
    }
    let bad_url = Setup::counter().storage(None);
    for (url, part) in [
        ("bot.db", "sqlite:bot.db"),
        ("mysql://localhost", "names no database"),
        ("sqlite:", "names no file"),
    ] {
        let ended = bad_url.clone().args(&["--storage", url]).run_to_end();
        assert_refused(&ended, &[part]);
    }
    let token = Setup::counter().env("TURNKEY_TELEGRAM_TOKEN", "1:a b\nc");
    let ended = token.run_to_end();
    assert!([Some(2), Some(3)].contains(&ended.code), "{ended:?}");
    assert!(ended.stderr.contains("Telegram token"), "{ended:?}");
    assert!(!ended.stderr.contains("a b"), "the token is a secret");
}

#[test]
fn a_file_of_settings_that_is_wrong() {
    let setup = Setup::counter();
    let file = setup.path("turnkey.toml");
    let with = setup.clone().args(&["--config", file.to_str().unwrap()]);
    assert!(with.run_to_end().stderr.contains("cannot read --config"));
    for (text, parts) in [
        ("wokers = 3", &["wokers", "workers"][..]),
        ("workers = \"three\"", &["workers", "line 1"]),
        ("grace = 8", &["grace"]),
        ("grace = \"8\"", &["unit"]),
        ("workers = 2\nfast = true", &["--workers and --fast"]),
        ("workers", &["turnkey.toml"]),
    ] {
        fs::write(&file, text).unwrap();
        let ended = with.run_to_end();
        assert_eq!(ended.code, Some(2), "{text}: {ended:?}");
        for part in parts {
            assert!(ended.stderr.contains(part), "{text}: {}", ended.stderr);
        }
    }
}

#[test]
fn flags_that_do_not_exist() {
    for flags in [
        &["--wokers", "3"][..],
        &["--grace", "8"],
        &["--port", "70000"],
    ] {
        let ended = Setup::counter().args(flags).run_to_end();
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(flags[0]), "{}", ended.stderr);
    }
    // Secrets are no flags.
    let ended = Setup::counter().args(&["--http-token", "x"]).run_to_end();
    assert_eq!(ended.code, Some(2));
}

#[test]
fn what_is_no_file_is_refused() {
    let setup = Setup::counter().storage(Some("/dev/null".into()));
    assert_refused(&setup.run_to_end(), &["/dev/null is a device", "--storage"]);
    assert!(!fs::exists("/dev/null-lock").unwrap());
    let check = setup.tool(&["check"]);
    assert_eq!(check.code, Some(2), "{check:?}");
    assert!(check.stderr.contains("is a device"), "{check:?}");
}
