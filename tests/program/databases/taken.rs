//! The database's file, its log or the writer's socket is taken away under a running bot:
//! nothing that was acknowledged is lost, nothing more is acknowledged, and no other file is
//! touched.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{Bot, SOON, Setup, until, url};
use crate::harness::client::say;
use crate::operators::admin::{admin_port, get, setup as with_admin};

fn beside(setup: &Setup, suffix: &str) -> PathBuf {
    let mut path = setup.database().into_os_string();
    path.push(suffix);
    PathBuf::from(path)
}

async fn count_to(bot: &Bot, from: u64, to: u64) {
    for n in from..=to {
        assert_eq!(say(bot.port, "ann", "hi").await.number(), n);
    }
}

/// Waits until it refuses, and then that it goes on doing so.
async fn refuses(bot: &Bot) {
    let refused = say(bot.port, "ann", "hi").await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(say(bot.port, "bob", "hi").await.status, 503);
}

/// Stops it; its last line.
async fn stopped(mut bot: Bot, code: i32) -> (Setup, String) {
    bot.signal(Signal::SIGTERM);
    assert_eq!(bot.ended(SOON).await, code, "{}", bot.stderr());
    bot.gone(SOON).await;
    let stderr = bot.stderr();
    let last = stderr.lines().find(|line| line.starts_with("Stopped: "));
    (bot.setup.clone(), last.unwrap_or(&stderr).to_owned())
}

/// As the log advises.
fn restore(setup: &Setup) {
    let rescued = beside(setup, "-rescued-1");
    let (from, storage) = (rescued.to_str().unwrap(), url(&setup.database()));
    let restored = setup.bare(&["restore", "--storage", &storage, "--replace", from]);
    assert_eq!(restored.code, Some(0), "{restored:?}");
}

#[tokio::test]
async fn a_file_that_is_removed_is_written_out_beside() {
    let bot = with_admin(Setup::counter()).start().await;
    count_to(&bot, 1, 10).await;
    let setup = bot.setup.clone();
    for suffix in ["", "-wal", "-shm"] {
        fs::remove_file(beside(&setup, suffix)).unwrap();
    }
    refuses(&bot).await;
    bot.wait_for_stderr("everything that was acknowledged is in")
        .await;
    let ready = get(admin_port(&bot), "/readyz").await;
    assert_eq!(ready.status, 503);
    assert!(ready.text().contains("removed"), "{}", ready.text());
    // A worker that comes later makes no new file, and a new program is not let near.
    let worker = bot.worker(0).await;
    kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    bot.successor("turnkey: worker 0", worker).await;
    bot.signal(Signal::SIGUSR2);
    bot.wait_for_stderr("a new program would take another one")
        .await;
    refuses(&bot).await;
    let (setup, last) = stopped(bot, 1).await;
    assert!(!last.contains("nothing lost"), "{last}");
    assert!(last.contains("-rescued-1"), "{last}");
    assert!(!setup.database().exists(), "a new file was made");
    assert!(!beside(&setup, "-rescued-2").exists());
    restore(&setup);
    assert_eq!(setup.count("ann"), 10);
    setup.assert_sound();
    let bot = setup.start().await;
    count_to(&bot, 11, 12).await;
    bot.stop().await;
}

#[tokio::test]
async fn a_file_that_takes_its_name_is_left_alone() {
    let bot = Setup::counter().start().await;
    count_to(&bot, 1, 3).await;
    let setup = bot.setup.clone();
    let copy = setup.path("copy.db");
    let to = copy.to_str().unwrap();
    let backup = setup.bare(&["backup", "--storage", &url(&setup.database()), to]);
    assert_eq!(backup.code, Some(0), "{backup:?}");
    count_to(&bot, 4, 10).await;
    let stranger = fs::read(&copy).unwrap();
    // As rsync and an editor do it.
    fs::rename(&copy, setup.database()).unwrap();
    refuses(&bot).await;
    bot.wait_for_stderr("everything that was acknowledged is in")
        .await;
    // Nor does the next writer take it for ours.
    kill(Pid::from_raw(bot.writer().await), Signal::SIGKILL).unwrap();
    bot.wait_for_stderr("is not the file that it was").await;
    let (setup, _) = stopped(bot, 1).await;
    assert!(
        fs::read(setup.database()).unwrap() == stranger,
        "the other file was written to"
    );
    restore(&setup);
    assert_eq!(setup.count("ann"), 10);
}

#[tokio::test]
async fn a_stop_notices_it_too() {
    let bot = Setup::counter().args(&["--sync", "normal"]).start().await;
    count_to(&bot, 1, 5).await;
    let setup = bot.setup.clone();
    bot.signal(Signal::SIGTERM);
    fs::remove_file(setup.database()).unwrap();
    let mut bot = bot;
    let code = bot.ended(SOON).await;
    let (stderr, rescued) = (bot.stderr(), beside(&setup, "-rescued-1"));
    // It may have been over before the file went; else it must say so.
    assert_eq!(
        (code, rescued.exists()),
        if stderr.contains("nothing lost") {
            (0, false)
        } else {
            (1, true)
        },
        "{stderr}"
    );
}

#[tokio::test]
async fn a_log_that_is_removed_goes_into_the_file() {
    let bot = Setup::counter().start().await;
    count_to(&bot, 1, 10).await;
    let setup = bot.setup.clone();
    fs::remove_file(beside(&setup, "-wal")).unwrap();
    fs::remove_file(beside(&setup, "-shm")).unwrap();
    refuses(&bot).await;
    bot.wait_for_stderr("everything that was acknowledged is in")
        .await;
    let in_place = !beside(&setup, "-rescued-1").exists();
    let (setup, _) = stopped(bot, i32::from(!in_place)).await;
    if !in_place {
        restore(&setup);
    }
    let bot = setup.start().await;
    count_to(&bot, 11, 12).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_file_that_comes_back_is_served_again() {
    let bot = Setup::counter().start().await;
    count_to(&bot, 1, 5).await;
    let setup = bot.setup.clone();
    let away = setup.path("away.db");
    fs::rename(setup.database(), &away).unwrap();
    refuses(&bot).await;
    fs::rename(&away, setup.database()).unwrap();
    bot.wait_for_stderr("files are back").await;
    let mut answer = say(bot.port, "ann", "hi").await;
    let deadline = std::time::Instant::now() + SOON;
    while answer.status == 503 {
        assert!(std::time::Instant::now() < deadline, "it stays refused");
        tokio::time::sleep(Duration::from_millis(20)).await;
        answer = say(bot.port, "ann", "hi").await;
    }
    assert_eq!(answer.number(), 6);
    assert_eq!(fs::metadata(setup.database()).unwrap().len() % 512, 0);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_socket_that_is_removed_is_made_anew() {
    let bot = with_admin(Setup::counter()).start().await;
    count_to(&bot, 1, 3).await;
    for round in 1..=2 {
        fs::remove_file(bot.socket()).unwrap();
        count_to(&bot, 4 * round, 4 * round).await;
        until("a new socket", SOON, || bot.socket().exists()).await;
        for index in 0..2 {
            let worker = bot.worker(index).await;
            kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
            bot.successor(&format!("turnkey: worker {index}"), worker)
                .await;
        }
        count_to(&bot, 4 * round + 1, 4 * round + 1).await;
        // The next writer finds one that nobody listens to.
        let writer = bot.writer().await;
        kill(Pid::from_raw(writer), Signal::SIGKILL).unwrap();
        bot.successor("turnkey: writer", writer).await;
        count_to(&bot, 4 * round + 2, 4 * round + 2).await;
        let port = admin_port(&bot);
        let deadline = std::time::Instant::now() + SOON;
        while get(port, "/readyz").await.status != 200 {
            assert!(std::time::Instant::now() < deadline, "never ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let list = bot
            .setup
            .bare(&["dead", "list", "--storage", &url(&bot.setup.database())]);
        assert_eq!(list.code, Some(0), "{list:?}");
        count_to(&bot, 4 * round + 3, 4 * round + 3).await;
    }
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn it_is_not_ready_while_another_program_holds_the_write_lock() {
    let bot = with_admin(Setup::counter()).start().await;
    count_to(&bot, 1, 1).await;
    let port = admin_port(&bot);
    let other = bot.setup.open_database();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let deadline = std::time::Instant::now() + SOON;
    let answer = loop {
        let answer = get(port, "/readyz").await;
        if answer.status == 503 && answer.text().contains("write lock") {
            break answer;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "it stays ready: {}",
            answer.text()
        );
    };
    assert!(answer.text().contains("another program"), "{answer:?}");
    other.execute_batch("ROLLBACK").unwrap();
    while get(port, "/readyz").await.status != 200 {
        assert!(std::time::Instant::now() < deadline, "it is never ready");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    count_to(&bot, 2, 2).await;
    bot.stop().await;
}
