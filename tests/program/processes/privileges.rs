//! `--user`: started as root, it serves as somebody else, and so does all it starts.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};

use crate::harness::bot::{Bot, SOON, Setup, skipped, until};
use crate::harness::client::say;

/// Somebody with few rights; none when these tests do not run as root.
fn nobody() -> Option<User> {
    if !geteuid().is_root() {
        skipped("--user: takes root");
        return None;
    }
    Some(User::from_name("nobody").unwrap().expect("a user nobody"))
}

/// A directory that belongs to a user.
fn setup_of(user: &User) -> Setup {
    let setup = Setup::counter();
    give(setup.dir.path(), user);
    setup
}

fn give(path: &Path, user: &User) {
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
}

/// All of a process's ids: real, effective, saved, of the file system; then its groups
/// and what it may do as root.
fn rights(pid: i32) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace()
            .skip(1)
            .collect::<Vec<_>>()
            .join(" ")
    };
    ["Uid:", "Gid:", "Groups:", "CapPrm:", "CapEff:"]
        .map(of)
        .to_vec()
}

fn is_without_rights(bot: &Bot, user: &User) {
    let processes = bot.processes();
    assert!(!processes.is_empty());
    for (pid, title) in processes {
        let (uid, gid) = (user.uid, user.gid);
        let all = rights(pid);
        assert_eq!(all[0], format!("{uid} {uid} {uid} {uid}"), "{title}");
        assert_eq!(all[1], format!("{gid} {gid} {gid} {gid}"), "{title}");
        assert!(
            !all[2].split(' ').any(|group| group == "0"),
            "{title}: {all:?}"
        );
        assert_eq!(
            all[3..],
            ["0000000000000000", "0000000000000000"],
            "{title}"
        );
    }
}

/// A low port, the log, a reload, a dead worker, an upgrade, a stop.
#[tokio::test]
async fn all_of_it_becomes_the_user() {
    let Some(user) = nobody() else { return };
    let setup = setup_of(&user).args(&["--workers", "2", "--user", "nobody", "-v"]);
    let log = setup.path("log");
    let setup = setup.args(&["--log-file", log.to_str().unwrap()]);
    let admin = format!("unix:{}", setup.path("admin").display());
    let setup = setup.args(&["--admin", &admin]);
    let bot = setup.start().await;
    assert!(!bot.stderr().contains("root"), "{}", bot.stderr());
    // Master, writer, two workers, and the one that writes the log.
    assert_eq!(bot.processes().len(), 5);
    is_without_rights(&bot, &user);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    for entry in fs::read_dir(bot.setup.dir.path()).unwrap() {
        let entry = entry.unwrap();
        let owner = entry.metadata().unwrap().uid();
        assert_eq!(owner, user.uid.as_raw(), "{entry:?}");
    }
    // It can be opened anew.
    fs::rename(&log, setup.path("log.1")).unwrap();
    bot.signal(Signal::SIGUSR1);
    until("a new log file", SOON, || log.exists()).await;
    assert_eq!(fs::metadata(&log).unwrap().uid(), user.uid.as_raw());
    // Children are told of the master's death, though it has changed its user.
    let (worker, writer) = (bot.worker(0).await, bot.writer().await);
    bot.signal(Signal::SIGHUP);
    bot.successor("turnkey: worker 0", worker).await;
    kill(Pid::from_raw(writer), Signal::SIGKILL).unwrap();
    bot.successor("turnkey: writer", writer).await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    is_without_rights(&bot, &user);
    // The program that takes over is started by somebody who is not root.
    let mut bot = bot;
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    bot.wait_for_stderr("serves from now on").await;
    assert_eq!(bot.ended(SOON).await, 0);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 3);
    is_without_rights(&bot, &user);
    kill(Pid::from_raw(new), Signal::SIGTERM).unwrap();
    bot.gone(SOON).await;
    assert!(!bot.setup.path("admin").exists(), "its socket is left");
    bot.setup.assert_sound();
}

#[tokio::test]
async fn a_low_port_is_bound_before() {
    let Some(user) = nobody() else { return };
    let lowest = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if !lowest.is_ok_and(|lowest| lowest.trim() == "1024") {
        return skipped("a port below 1024: here they need no right");
    }
    let Some(port) =
        (600..1000).find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
    else {
        return skipped("a port below 1024: none is free");
    };
    let setup = setup_of(&user).without_port();
    let address = format!("127.0.0.1:{port}");
    let bot = setup
        .args(&["--listen", &address, "--user", "nobody"])
        .start()
        .await;
    let worker = bot.worker(0).await;
    assert_eq!(say(port, "ann", "hi").await.number(), 1);
    bot.signal(Signal::SIGHUP);
    bot.successor("turnkey: worker 0", worker).await;
    assert_eq!(say(port, "ann", "hi").await.number(), 2);
    bot.stop().await;
}

/// The children of a master that is killed leave.
#[tokio::test]
async fn no_orphans_stay() {
    let Some(user) = nobody() else { return };
    let mut bot = setup_of(&user).args(&["--user", "nobody"]).start().await;
    bot.signal(Signal::SIGKILL);
    bot.ended(SOON).await;
    bot.gone(SOON).await;
}

#[tokio::test]
async fn one_process_can_do_it_too() {
    let Some(user) = nobody() else { return };
    let args = ["--single-process", "--user", "nobody"];
    let bot = setup_of(&user).args(&args).start().await;
    is_without_rights(&bot, &user);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    bot.stop().await.assert_sound();
}

/// Numbers need no entry anywhere, when the group is there, too.
#[tokio::test]
async fn numbers_and_groups() {
    let Some(mut user) = nobody() else { return };
    let both = format!("{}:{}", user.uid, 4242);
    let bot = setup_of(&user).args(&["--user", &both]).start().await;
    user.gid = nix::unistd::Gid::from_raw(4242);
    is_without_rights(&bot, &user);
    bot.stop().await;
    user.uid = nix::unistd::Uid::from_raw(3_999_999_999);
    let bot = setup_of(&user)
        .args(&["--user", "3999999999:4242"])
        .start()
        .await;
    is_without_rights(&bot, &user);
    bot.stop().await;
}

fn refused(setup: &Setup, words: &[&str]) {
    let ended = setup.run_to_end();
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?}: {}", ended.stderr);
    }
}

#[test]
fn what_cannot_be_is_said() {
    let Some(user) = nobody() else { return };
    let setup = setup_of(&user);
    let as_user = |name: &str| setup.clone().args(&["--user", name]);
    refused(
        &as_user("no-such-user"),
        &["no user \"no-such-user\"", "useradd"],
    );
    refused(
        &as_user("nobody:no-such-group"),
        &["no group \"no-such-group\""],
    );
    refused(&as_user("3999999999"), &["3999999999:3999999999"]);
    refused(&as_user("root"), &["is root", "fewer rights"]);
    // Who is not root becomes nobody else.
    let other = as_user("daemon").uid(user.uid.as_raw());
    refused(
        &other,
        &["only root can become another user", "leave out --user"],
    );
    // A database of an earlier start, as root.
    let file = setup.database();
    fs::write(&file, "").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    refused(
        &as_user("nobody"),
        &["nobody may not write to", "chown nobody"],
    );
    fs::remove_file(&file).unwrap();
    // A directory that is root's.
    chown(setup.dir.path(), Some(0), Some(0)).unwrap();
    fs::set_permissions(setup.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    refused(
        &as_user("nobody"),
        &["nobody may not write to the directory", "chown nobody"],
    );
    let log = setup.path("log");
    let log = as_user("nobody").args(&["--log-file", log.to_str().unwrap()]);
    refused(&log, &["cannot write to --log-file", "Permission denied"]);
    // Nothing of it was left behind.
    assert_eq!(fs::read_dir(setup.dir.path()).unwrap().count(), 0);
}

/// One is told when the settings cannot be read again later.
#[tokio::test]
async fn settings_that_only_root_can_read() {
    let Some(user) = nobody() else { return };
    let setup = setup_of(&user);
    let secret = setup.path("token");
    fs::write(&secret, "t0ken\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let setup = setup.env("TURNKEY_RPC_TOKEN_FILE", secret.to_str().unwrap());
    let bot = setup.args(&["--user", "nobody"]).start().await;
    bot.wait_for_stderr("SIGHUP will not be able to read the settings again")
        .await;
    assert!(
        bot.stderr().contains("TURNKEY_RPC_TOKEN_FILE"),
        "{}",
        bot.stderr()
    );
    // The one that is itself may be named again.
    give(&secret, &user);
    let setup = bot.stop().await;
    let bot = setup.uid(user.uid.as_raw()).start().await;
    assert!(!bot.stderr().contains("SIGHUP"), "{}", bot.stderr());
    bot.stop().await;
}

#[tokio::test]
async fn who_serves_as_root_is_told_so() {
    if nobody().is_none() {
        return;
    }
    let bot = Setup::counter().start().await;
    bot.wait_for_stderr("Running as root").await;
    bot.stop().await;
    let bot = Setup::counter().args(&["--single-process"]).start().await;
    bot.wait_for_stderr("Running as root").await;
    bot.stop().await;
}

/// What root puts back, the bot can open.
#[tokio::test]
async fn a_backup_that_root_restores_is_the_users() {
    let Some(user) = nobody() else { return };
    let setup = setup_of(&user).args(&["--user", "nobody"]);
    let bot = setup.start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("copy.db").display().to_string();
    let storage = crate::harness::bot::url(&setup.database());
    let backup = setup.bare(&["backup", "--storage", &storage, &copy]);
    assert_eq!(backup.code, Some(0), "{backup:?}");
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    bot.stop().await;
    let restore = setup.bare(&["restore", "--storage", &storage, &copy, "--replace"]);
    assert_eq!(restore.code, Some(0), "{restore:?}");
    let bot = setup.start().await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    bot.stop().await;
}
