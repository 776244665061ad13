//! SIGHUP, SIGTTIN, SIGTTOU, `--max-requests`, `--max-age`: workers come and go, and no
//! request fails.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{begin, join, message, once, say};
use crate::harness::load::Load;
use crate::harness::server::{Kind, TestServer};

/// Waits until something was said so often.
async fn said(bot: &Bot, what: &str, times: usize) {
    let described = format!("{what:?} {times} times on its stderr");
    until(&described, SOON, || {
        bot.stderr().matches(what).count() >= times
    })
    .await;
}

async fn reloads_under_load(bot: Bot) {
    let load = Load::start(bot.port);
    let first = bot.all_named("turnkey: worker");
    assert_eq!(first.len(), 2);
    for n in 1..=5 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        bot.signal(Signal::SIGHUP);
        said(&bot, "Reloaded: 2 workers", n).await;
    }
    let answered = load.end_unharmed().await;
    let gone = || bot.all_named("turnkey: worker").len() == 2;
    until("the old workers have left", SOON, gone).await;
    let last = bot.all_named("turnkey: worker");
    assert!(
        first.iter().all(|pid| !last.contains(pid)),
        "all were replaced"
    );
    assert!(!bot.stderr().contains("ERROR"), "{}", bot.stderr());
    assert_eq!(bot.setup.sum(), answered);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn sighup_replaces_workers_without_a_gap() {
    reloads_under_load(Setup::counter().args(&["--workers", "2"]).start().await).await;
}

#[tokio::test]
async fn sighup_replaces_workers_without_a_gap_on_postgres() {
    let Some(server) = TestServer::start(Kind::Postgres) else {
        return;
    };
    let database = server.create().await;
    let setup = Setup::counter()
        .on(server.url(&database))
        .args(&["--workers", "2"]);
    reloads_under_load(setup.start().await).await;
}

/// A turn that an old worker has in hand is finished, and comes before what a new one
/// takes in.
#[tokio::test]
async fn a_reload_keeps_the_order_of_turns() {
    let bot = Setup::commands().args(&["--workers", "2"]).start().await;
    let slow = begin(bot.port, "ann", "sleep 1500").await;
    bot.settled().await;
    bot.signal(Signal::SIGHUP);
    said(&bot, "Reloaded", 1).await;
    // The other leaves at once, with its handler.
    until("one old worker, which still has a turn", SOON, || {
        bot.all_named("turnkey: worker").len() == 3
    })
    .await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 2);
    assert_eq!(join(slow).await.unwrap().number(), 1);
    let gone = || bot.all_named("turnkey: worker").len() == 2;
    until("the old worker has left", SOON, gone).await;
    bot.stop().await.assert_sound();
}

fn with_file() -> (Setup, impl Fn(&str)) {
    let setup = Setup::counter();
    let file = setup.path("turnkey.toml");
    fs::write(&file, "workers = 2\n").unwrap();
    let setup = setup.args(&["--config", file.to_str().unwrap()]);
    (setup, move |text: &str| fs::write(&file, text).unwrap())
}

#[tokio::test]
async fn a_reload_takes_new_settings_and_keeps_the_old_ones_when_they_are_wrong() {
    let (setup, write) = with_file();
    let bot = setup.start().await;
    let before = bot.all_named("turnkey: worker");
    for wrong in ["workers = \"many\"", "workers = 0", "wokers = 2"] {
        let failed = bot.stderr().matches("Reload failed").count();
        write(wrong);
        bot.signal(Signal::SIGHUP);
        said(&bot, "Reload failed", failed + 1).await;
        assert_eq!(bot.all_named("turnkey: worker"), before, "{wrong}");
    }
    // It parses, and no worker can start with it.
    write("workers = 2\ntelegram-token = \"1:a b\"\n");
    bot.signal(Signal::SIGHUP);
    said(&bot, "Reload failed", 4).await;
    assert!(bot.stderr().contains("Telegram token"), "{}", bot.stderr());
    assert!(!bot.stderr().contains("1:a b"), "a secret");
    assert_eq!(bot.all_named("turnkey: worker"), before);
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 1);

    write("workers = 3\nhttp-token = \"sesame\"\nport = 1\n");
    bot.signal(Signal::SIGHUP);
    said(&bot, "Reloaded: 3 workers", 1).await;
    // The flag --port 0 stands before the file's line: nothing to say about it.
    until("three workers", SOON, || {
        bot.all_named("turnkey: worker").len() == 3
    })
    .await;
    assert_eq!(say(bot.port, "ann", "hi").await.status, 401);
    let mut request = message("ann", "hi", None);
    let bearer = "Bearer sesame".parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    assert_eq!(once(bot.port, request).await.number(), 2);

    write("workers = 1\nhost = \"127.0.0.1\"\nsync = \"normal\"\n");
    bot.signal(Signal::SIGHUP);
    said(&bot, "Reloaded: 1 worker,", 1).await;
    assert!(
        bot.stderr()
            .contains("a new --host, --sync takes a restart"),
        "{}",
        bot.stderr()
    );
    until("one worker", SOON, || {
        bot.all_named("turnkey: worker").len() == 1
    })
    .await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), 3);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn one_worker_more_and_one_less_under_load() {
    let bot = Setup::counter().args(&["--workers", "1"]).start().await;
    let load = Load::start(bot.port);
    let count = |n: usize| {
        let bot = &bot;
        async move {
            let what = format!("{n} workers");
            until(&what, SOON, || bot.all_named("turnkey: worker").len() == n).await;
        }
    };
    for n in [2, 3] {
        bot.signal(Signal::SIGTTIN);
        count(n).await;
    }
    // The number stands through a reload that sets no other.
    bot.signal(Signal::SIGHUP);
    said(&bot, "Reloaded: 3 workers", 1).await;
    for n in [2, 1] {
        bot.signal(Signal::SIGTTOU);
        count(n).await;
    }
    bot.signal(Signal::SIGTTOU);
    said(&bot, "still 1", 1).await;
    let answered = load.end_unharmed().await;
    assert_eq!(bot.setup.sum(), answered);
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn old_workers_are_replaced_under_load() {
    let args = ["--workers", "2", "--max-requests", "200", "--max-age", "2s"];
    let bot = Setup::counter().args(&args).start().await;
    let load = Load::start(bot.port);
    said(&bot, "has served long enough", 6).await;
    let answered = load.end_unharmed().await;
    assert_eq!(bot.setup.sum(), answered);
    assert!(!bot.stderr().contains("ERROR"), "{}", bot.stderr());
    bot.stop().await.assert_sound();
}
