//! Connections are spread over the workers.

use std::collections::HashMap;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::bot::Setup;
use crate::harness::client::{Connection, Split, join, say};

#[tokio::test]
async fn kept_connections_are_spread() {
    let bot = Setup::counter().args(&["--workers", "2"]).start().await;
    let port = bot.port;
    let mut tasks = Vec::new();
    for n in 0..64 {
        tasks.push(tokio::spawn(async move {
            let mut connection = Connection::open(port).await;
            connection.say(&format!("user-{n}"), "hi").await.number();
            connection
        }));
    }
    let mut connections = Vec::new();
    for task in tasks {
        connections.push(join(task).await);
    }
    let spread = bot.connections(2).await;
    // A stranger's connection may be among them: ports are used again quickly.
    assert!(spread.iter().sum::<usize>() >= 64, "{spread:?}");
    assert!(spread.iter().all(|count| *count >= 16), "{spread:?}");
    bot.stop().await;
}

/// A burst that is there before any worker wakes: the first to wake must not keep
/// all of it.
#[tokio::test]
async fn a_burst_is_shared_out() {
    let bot = Setup::counter().args(&["--workers", "2"]).start().await;
    let workers = [bot.worker(0).await, bot.worker(1).await];
    let signal_all = |signal| {
        for pid in workers {
            kill(Pid::from_raw(pid), signal).unwrap();
        }
    };
    signal_all(Signal::SIGSTOP);
    let mut connections = Vec::new();
    for user in 0..64 {
        let mut connection = Split::open(bot.port).await;
        connection.send(&format!("user-{user}"), "hi").await;
        connections.push(connection);
    }
    signal_all(Signal::SIGCONT);
    for connection in &mut connections {
        connection.answer().await.unwrap().number();
    }
    let spread = bot.connections(2).await;
    assert!(spread.iter().all(|count| *count >= 16), "{spread:?}");
    bot.stop().await;
}

/// Which worker took a request is told by the ids that workers make up: they hold
/// the worker's process id, and the history keeps them.
#[tokio::test]
async fn connections_of_one_request_are_spread() {
    let bot = Setup::counter()
        .args(&["--workers", "2", "--history"])
        .start()
        .await;
    let port = bot.port;
    let mut tasks = Vec::new();
    for n in 0..32 {
        tasks.push(tokio::spawn(async move {
            for _ in 0..40 {
                say(port, &format!("user-{n}"), "hi").await.number();
            }
        }));
    }
    for task in tasks {
        join(task).await;
    }
    let mut by_worker: HashMap<String, usize> = HashMap::new();
    for line in bot.stop().await.dump(&["--history"]) {
        for turn in line["history"].as_array().unwrap() {
            let id = turn["update_id"].as_str().unwrap();
            let worker = id.split('-').nth(1).unwrap();
            *by_worker.entry(worker.to_owned()).or_default() += 1;
        }
    }
    assert_eq!(by_worker.values().sum::<usize>(), 32 * 40);
    let least = by_worker.values().min().unwrap();
    assert!(
        by_worker.len() == 2 && least * 10 >= 32 * 40 * 4,
        "{by_worker:?}"
    );
}
