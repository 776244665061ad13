//! Bots on a real database server, PostgreSQL and MariaDB: two masters share it as if
//! on two boxes. One list of cases, each on both.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::api::Api;
use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::{join, message, say, try_once};
use crate::harness::server::{Kind, TestServer};
use crate::platforms::webhooks::{told, vk};

const PASSWORD: &str = "never-to-be-shown";

async fn on(server: &TestServer, database: &str) -> Setup {
    let url = server.url_with_password(PASSWORD, database).await;
    Setup::counter().on(url).args(&["-v"])
}

/// Sends one user's messages to the bots in turn until each is answered 200; what
/// each was counted as.
async fn insist(ports: [u16; 2], user: &str, sender: u64, messages: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    for n in 0..messages {
        let id = format!("{user}.{sender}.{n}");
        let mut attempt = n + sender;
        loop {
            let port = ports[attempt as usize % 2];
            match try_once(port, message(user, "hi", Some(&id))).await {
                Ok(answer) if answer.status == 200 => {
                    numbers.push(answer.number());
                    break;
                }
                Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text()),
                Err(_) => {}
            }
            attempt += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    numbers
}

async fn two_bots_share_a_server_and_outlive_a_killed_worker(server: TestServer) {
    let database = server.create().await;
    let setups = [on(&server, &database).await, on(&server, &database).await];
    // Both at once: one makes the tables, the other finds them.
    let bots = [
        setups[0].clone().args(&["--workers", "2"]),
        setups[1].clone(),
    ];
    let bots = tokio::join!(bots[0].start(), bots[1].start());
    let ports = [bots.0.port, bots.1.port];
    assert!(
        bots.0
            .children()
            .iter()
            .all(|(_, title)| !title.contains("writer"))
    );

    let mut tasks = Vec::new();
    for sender in 0..12_u64 {
        let user = format!("user-{}", sender % 3);
        tasks.push(tokio::spawn(async move {
            (sender % 3, insist(ports, &user, sender, 60).await)
        }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let victim = bots.0.worker(0).await;
    kill(Pid::from_raw(victim), Signal::SIGKILL).unwrap();
    let mut counted = [const { BTreeSet::<u64>::new() }; 3];
    for task in tasks {
        let (user, numbers) = join(task).await;
        assert!(numbers.is_sorted(), "a sender saw {numbers:?}");
        for number in numbers {
            assert!(counted[user as usize].insert(number), "{number} came twice");
        }
    }
    for numbers in counted {
        assert!(numbers.into_iter().eq(1..=240), "there is a gap");
    }
    assert_eq!(setups[0].sum(), 720);
    setups[0].assert_sound();

    for bot in [bots.0, bots.1] {
        let pids = bot.processes();
        let shown = bot.stderr();
        assert!(shown.contains(&format!("/{database})")), "{shown}");
        assert!(!shown.contains(PASSWORD), "{shown}");
        for (pid, title) in pids {
            assert!(!title.contains(PASSWORD), "{pid}");
        }
        bot.stop().await;
    }
    let help = setups[0].tool(&["run", "--help"]);
    assert!(!help.stdout.contains(PASSWORD));
}

async fn a_server_that_is_away_is_503_and_comes_back(server: TestServer) {
    let database = server.create().await;
    let bot = on(&server, &database)
        .await
        .args(&["--single-process"])
        .start()
        .await;
    say(bot.port, "ann", "hi").await;
    server.stop();
    let answer = try_once(bot.port, message("ann", "hi", Some("second"))).await;
    assert_eq!(answer.map(|a| a.status).ok(), Some(503));
    server.start_again();
    let (port, mut number) = (bot.port, 0);
    let answered = tokio::time::timeout(SOON, async {
        while number == 0 {
            let answer = try_once(port, message("ann", "hi", Some("second"))).await;
            number = answer.map_or(0, |a| if a.status == 200 { a.number() } else { 0 });
        }
    });
    answered.await.unwrap();
    assert_eq!(number, 2);
    let setup = bot.stop().await;
    setup.assert_sound();

    server.stop();
    let refused = setup.run_to_end();
    assert_eq!(refused.code, Some(75));
    assert!(
        refused.stderr.contains("start the server"),
        "{}",
        refused.stderr
    );
    assert!(!refused.stderr.contains(PASSWORD), "{}", refused.stderr);
    until("it is said once", SOON, || {
        refused.stderr.matches("error:").count() == 1
    })
    .await;
}

/// With so short a time every turn is acknowledged from the inbox; everything is killed
/// in the midst of it, and both workers look for what is left.
async fn acknowledged_updates_outlive_a_killed_program(server: TestServer) {
    let api = Api::start();
    let database = server.create().await;
    let args = ["--workers", "2", "--ack-after", "1ms"];
    let setup = api.configure(on(&server, &database).await.args(&args));
    let bot = setup.start().await;
    for n in 1..=10 {
        for user in 1..=4 {
            told(&bot, vk(&format!("{user}-{n}"), user, "hi"), "ok").await;
        }
    }
    let bot = bot.kill_all().await.start().await;
    for user in 1..=4 {
        told(&bot, vk(&format!("{user}-11"), user, "hi"), "ok").await;
    }
    for user in 1..=4 {
        let user = user.to_string();
        let all: Vec<_> = (1..=11).map(|n| format!("{n}: hi")).collect();
        until("eleven replies", SOON * 3, || {
            api.received(&user).len() >= 11
        })
        .await;
        assert_eq!(api.received(&user), all);
    }
    let setup = bot.stop().await;
    assert_eq!(setup.sum(), 44);
    setup.assert_sound();
}

macro_rules! on_server {
    ($module:ident, $kind:expr; $($case:ident)*) => {
        mod $module {
            use super::{Kind, TestServer};

            $(#[tokio::test]
            async fn $case() {
                // None: it has said why it cannot run here.
                if let Some(server) = TestServer::start($kind) {
                    super::$case(server).await;
                }
            })*
        }
    };
}

macro_rules! on_every_server {
    ($($case:ident)*) => {
        on_server!(postgres, Kind::Postgres; $($case)*);
        on_server!(mysql, Kind::Mysql; $($case)*);
    };
}

on_every_server! {
    two_bots_share_a_server_and_outlive_a_killed_worker
    a_server_that_is_away_is_503_and_comes_back
    acknowledged_updates_outlive_a_killed_program
}
