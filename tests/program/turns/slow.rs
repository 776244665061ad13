//! A slow handler of one user delays no other.

use std::time::{Duration, Instant};

use crate::harness::bot::{Setup, until};
use crate::harness::client::{begin, join, say};
use crate::harness::proc::raise_open_files;

const USERS: usize = 2000;

#[tokio::test]
async fn two_thousand_sleeping_turns_delay_nobody() {
    raise_open_files();
    let bot = Setup::commands().args(&["--workers", "1"]).start().await;
    let mut tasks = Vec::new();
    for user in 0..USERS {
        tasks.push(begin(bot.port, &format!("sleeper-{user}"), "sleep 8000").await);
    }
    bot.settled().await;
    assert_eq!(bot.connections(1).await, [USERS]);
    // The best of five: this machine may be busy with other tests.
    let mut best = Duration::MAX;
    for n in 1..=5 {
        let asked = Instant::now();
        assert_eq!(say(bot.port, "awake", "hi").await.number(), n);
        best = best.min(asked.elapsed());
    }
    let awake = tasks.iter().filter(|task| task.is_finished()).count();
    assert_eq!(awake, 0, "too slow to prove anything");
    assert!(best < Duration::from_millis(400), "it took {best:?}");
    for task in tasks {
        assert_eq!(join(task).await.unwrap().number(), 1);
    }
    bot.stop().await.assert_sound();
}

/// A queue of one user's messages holds up neither others nor the worker.
#[tokio::test]
async fn a_long_queue_of_one_user_delays_nobody() {
    let bot = Setup::commands().start().await;
    let port = bot.port;
    let mut tasks = Vec::new();
    for _ in 0..100 {
        tasks.push(tokio::spawn(async move {
            say(port, "ann", "sleep 30").await.number()
        }));
    }
    until("100 connections", Duration::from_secs(20), || {
        tasks.iter().any(tokio::task::JoinHandle::is_finished)
    })
    .await;
    let asked = Instant::now();
    say(port, "bob", "hi").await.number();
    assert!(
        asked.elapsed() < Duration::from_secs(1),
        "it took {:?}",
        asked.elapsed()
    );
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.push(join(task).await);
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(1..=100));
    bot.stop().await;
}
