//! SIGUSR2: the program file is started anew beside the running program, and takes
//! over; no request fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{begin, join, say};
use crate::harness::load::Load;
use crate::harness::server::{Kind, TestServer};

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("it lives");
}

/// The old program has left with code 0; stops the new one, which is not our child.
async fn leave(mut bot: Bot, new: i32) -> Setup {
    assert_eq!(bot.ended(SOON).await, 0);
    signal(new, Signal::SIGTERM);
    bot.gone(SOON).await;
    // Its last line may still be on its way to us.
    until("both say that nothing is lost", SOON, || {
        bot.stderr().matches("nothing lost").count() == 2
    })
    .await;
    let stderr = bot.stderr();
    assert!(!stderr.contains("ERROR"), "{stderr}");
    assert!(!bot.socket().exists(), "the writer's socket is left");
    bot.setup.clone()
}

async fn upgrade_under_load(bot: Bot) {
    let load = Load::start(bot.port);
    tokio::time::sleep(Duration::from_millis(300)).await;
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    bot.wait_for_stderr("serves from now on").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answered = load.end_unharmed().await;
    assert_eq!(bot.setup.sum(), answered);
    leave(bot, new).await.assert_sound();
}

#[tokio::test]
async fn a_new_program_takes_over_without_a_gap() {
    upgrade_under_load(Setup::counter().args(&["--workers", "2"]).start().await).await;
}

#[tokio::test]
async fn a_new_program_takes_over_without_a_gap_on_postgres() {
    let Some(server) = TestServer::start(Kind::Postgres) else {
        return;
    };
    let database = server.create().await;
    let setup = Setup::counter()
        .on(server.url(&database))
        .args(&["--workers", "2"]);
    upgrade_under_load(setup.start().await).await;
}

/// The new program has a migration: nobody may write meanwhile, and nobody is refused.
#[tokio::test]
async fn a_new_program_that_changes_the_database_takes_over_without_a_gap() {
    let setup = Setup::counter().args(&["--workers", "2"]).copied();
    let bot = setup.start().await;
    let load = Load::start(bot.port);
    tokio::time::sleep(Duration::from_millis(300)).await;
    setup.install(Setup::commands().program());
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    bot.wait_for_stderr("serves from now on").await;
    assert!(
        bot.stderr().contains("has to be changed"),
        "{}",
        bot.stderr()
    );
    let answered = load.end_unharmed().await;
    assert_eq!(bot.setup.sum(), answered);
    say(bot.port, "ann", "order tea").await.number();
    let orders = say(bot.port, "ann", "orders").await.replies();
    assert_eq!(orders, ["1 orders"], "the table is there");
    leave(bot, new).await;
}

/// One that ends, one that hangs, one that is no program: the old one goes on, and a
/// good one still can take over.
#[tokio::test]
async fn a_new_program_that_fails_changes_nothing() {
    let good = Setup::counter();
    let setup = Setup::counter().args(&["--workers", "2"]).copied();
    let bot = setup.start().await;
    let load = Load::start(bot.port);
    let workers = bot.all_named("turnkey: worker");
    let script = setup.path("script");
    for (n, text) in ["#!/bin/sh\nexit 1\n", "no program", "#!/bin/sh\nkill $$\n"]
        .iter()
        .enumerate()
    {
        fs::write(&script, text).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        setup.install(&script);
        bot.signal(Signal::SIGUSR2);
        until("the failure is told", SOON, || {
            bot.stderr().matches("Upgrade failed").count() == n + 1
        })
        .await;
    }
    // A second one at a time is refused; so is a reload.
    fs::write(&script, "#!/bin/sh\nexec sleep 60\n").unwrap();
    setup.install(&script);
    bot.signal(Signal::SIGUSR2);
    until("the fourth attempt", SOON, || {
        bot.stderr().matches("Upgrading: ").count() == 4
    })
    .await;
    let hanging = bot.successor_program().await;
    bot.signal(Signal::SIGUSR2);
    bot.wait_for_stderr("Upgrade: not now").await;
    bot.signal(Signal::SIGHUP);
    bot.wait_for_stderr("Reload: not now").await;
    signal(hanging, Signal::SIGKILL);
    until("the fourth failure is told", SOON, || {
        bot.stderr().matches("Upgrade failed").count() == 4
    })
    .await;
    assert_eq!(bot.all_named("turnkey: worker"), workers);
    setup.install(good.program());
    bot.signal(Signal::SIGUSR2);
    bot.wait_for_stderr("serves from now on").await;
    let new = bot.successor_program().await;
    let answered = load.end_unharmed().await;
    assert_eq!(bot.setup.sum(), answered);
    leave(bot, new).await.assert_sound();
}

/// The old master is killed while it still finishes a turn: that turn is finished all
/// the same, its writer ends, and only then the new one's begins.
#[tokio::test]
async fn an_old_program_that_is_killed_half_way_leaves_the_file_to_the_new_one() {
    let args = ["--workers", "2", "--grace", "3s"];
    let mut bot = Setup::commands().args(&args).start().await;
    let old_writer = bot.writer().await;
    let slow = begin(bot.port, "ann", "sleep 2500").await;
    bot.settled().await;
    bot.signal(Signal::SIGUSR2);
    let new = bot.successor_program().await;
    bot.wait_for_stderr("Upgraded: finishing here with 1 turn")
        .await;
    bot.signal(Signal::SIGKILL);
    assert_eq!(bot.ended(SOON).await, -(Signal::SIGKILL as i32));
    let load = Load::start(bot.port);
    assert_eq!(join(slow).await.unwrap().number(), 1);
    until("the new program's writer alone", SOON, || {
        let writers = bot.all_named("turnkey: writer");
        writers.len() == 1 && writers[0] != old_writer
    })
    .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let answered = load.end_unharmed().await;
    assert_eq!(bot.setup.sum(), answered + 1);
    signal(new, Signal::SIGTERM);
    bot.gone(SOON).await;
    assert!(!bot.socket().exists());
    bot.setup.assert_sound();
}

/// Ctrl-C while both live goes to both, and ends both.
#[tokio::test]
async fn ctrl_c_during_an_upgrade_ends_both() {
    let mut bot = Setup::commands().args(&["--workers", "2"]).start().await;
    let slow = begin(bot.port, "ann", "sleep 1500").await;
    bot.settled().await;
    bot.signal(Signal::SIGUSR2);
    bot.wait_for_stderr("Upgraded: finishing").await;
    bot.signal_group(Signal::SIGINT);
    assert_eq!(join(slow).await.unwrap().number(), 1);
    assert_eq!(bot.ended(SOON).await, 0);
    bot.gone(SOON).await;
    assert_eq!(bot.setup.sum(), 1);
    bot.setup.assert_sound();
}

/// A socket is what it was bound as, whatever the settings say now.
#[tokio::test]
async fn an_upgrade_keeps_the_address() {
    let setup = Setup::counter().without_port();
    let settings = setup.path("turnkey.toml");
    fs::write(&settings, "listen = \"127.0.0.1:0\"\n").unwrap();
    let bot = setup
        .args(&["--config", settings.to_str().unwrap()])
        .start()
        .await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);
    fs::write(&settings, "listen = \"0.0.0.0:0\"\n").unwrap();
    bot.signal(Signal::SIGUSR2);
    bot.wait_for_stderr("Upgrade failed, this program goes on")
        .await;
    let stderr = bot.stderr();
    assert!(stderr.contains("an upgrade keeps the address"), "{stderr}");
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    bot.stop().await;
}
