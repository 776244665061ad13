//! Each user's messages are handled one at a time, in the order of their arrival,
//! whichever worker took them in.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;

use crate::harness::bot::{Bot, Setup};
use crate::harness::client::{self, Connection, Split, join, say};

/// Connections of which each worker has at least one.
async fn one_to_each(bot: &Bot, workers: usize) -> Vec<Connection> {
    let mut connections = Vec::new();
    for _ in 0..100 {
        let mut connection = Connection::open(bot.port).await;
        connection.say("nobody", "hello").await;
        connections.push(connection);
        if bot
            .connections(workers)
            .await
            .iter()
            .all(|count| *count > 0)
        {
            return connections;
        }
    }
    panic!(
        "one worker takes all connections: {:?}",
        bot.connections(workers).await
    );
}

/// 20 users whose messages go to one worker and the other in turn: each sees
/// 1, 2, 3 … without a gap.
pub(crate) async fn users_in_turn(bot: &Bot, workers: usize, users: usize, messages: u64) {
    let mut tasks = Vec::new();
    for user in 0..users {
        let mut connections = one_to_each(bot, workers).await;
        tasks.push(tokio::spawn(async move {
            let user = format!("in-turn-{user}");
            let count = connections.len();
            for n in 1..=messages {
                let answer = connections[n as usize % count].say(&user, "hi").await;
                assert_eq!(answer.replies(), [format!("{n}: hi")], "of {user}");
            }
        }));
    }
    for task in tasks {
        join(task).await;
    }
}

/// Many senders for one user at once: every number comes exactly once, and to each
/// sender they rise.
pub(crate) async fn senders_at_once(bot: &Bot, user: &'static str, senders: u64, messages: u64) {
    let mut tasks = Vec::new();
    for _ in 0..senders {
        let mut connection = Connection::open(bot.port).await;
        tasks.push(tokio::spawn(async move {
            let mut numbers = Vec::new();
            for _ in 0..messages {
                numbers.push(connection.say(user, "hi").await.number());
            }
            numbers
        }));
    }
    let mut all = BTreeSet::new();
    for task in tasks {
        let numbers = join(task).await;
        assert!(numbers.is_sorted(), "a sender saw {numbers:?}");
        for number in numbers {
            assert!(all.insert(number), "{number} came twice");
        }
    }
    assert_eq!(all.len() as u64, senders * messages);
    assert_eq!(all.last(), Some(&(senders * messages)), "there is a gap");
}

#[tokio::test]
async fn numbers_rise_across_two_workers() {
    let bot = Setup::counter().args(&["--workers", "2"]).start().await;
    users_in_turn(&bot, 2, 20, 40).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn concurrent_senders_get_every_number_once() {
    let bot = Setup::counter().args(&["--workers", "2"]).start().await;
    let (one, other) = ("one", "other");
    tokio::join!(
        senders_at_once(&bot, one, 16, 25),
        senders_at_once(&bot, other, 16, 25)
    );
    let setup = bot.stop().await;
    assert_eq!((setup.count(one), setup.count(other)), (400, 400));
}

/// While a handler sleeps, messages of the same user arrive on other connections,
/// of both workers. Each is sent when the one before has been taken in for sure.
#[tokio::test]
async fn first_come_first_served_while_a_handler_sleeps() {
    let bot = Setup::commands().args(&["--workers", "2"]).start().await;
    let mut connections = Vec::new();
    while connections.len() < 10 || bot.connections(2).await.contains(&0) {
        let mut connection = Split::open(bot.port).await;
        connection.send("nobody", "hello").await;
        connection.answer().await.unwrap().number();
        connections.push(connection);
        assert!(connections.len() < 100, "one worker takes all connections");
    }
    // On a machine that is too slow to send them all meanwhile it sleeps longer.
    for (user, seconds) in [("ann", 4), ("bob", 20)] {
        let started = Instant::now();
        for (index, connection) in connections.iter_mut().enumerate() {
            let text = match index {
                0 => format!("sleep {seconds}000"),
                _ => "hi".to_owned(),
            };
            connection.send(user, &text).await;
            bot.settled().await;
        }
        let proves = started.elapsed() < Duration::from_secs(seconds);
        for (index, connection) in connections.iter_mut().enumerate() {
            let answer = connection.answer().await.unwrap();
            assert_eq!(answer.number(), index as u64 + 1);
        }
        if proves {
            return drop(bot.stop().await);
        }
    }
    panic!("too slow to prove anything");
}

/// Requests that are sent on one connection without waiting for the answers.
#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let bot = Setup::commands().start().await;
    let mut requests = client::raw_message("ann", "sleep 100");
    for _ in 0..20 {
        requests.extend(client::raw_message("ann", "hi"));
    }
    let mut last = String::from_utf8(client::raw_message("ann", "bye")).unwrap();
    last = last.replace("Host:", "Connection: close\r\nHost:");
    requests.extend(last.into_bytes());
    let mut stream = client::connect(bot.port).await;
    stream.write_all(&requests).await.unwrap();
    let answers = client::read_to_end(&mut stream).await;
    let mut from = 0;
    for n in 1..=22 {
        let reply = format!("\"{n}: ");
        let place = answers[from..].find(&reply);
        from += place.unwrap_or_else(|| panic!("{n} is not in its place: {answers}"));
    }
    bot.stop().await;
}

/// Random users on random connections of two workers, with handlers that sleep:
/// nobody waits for ever, and no number is given twice.
#[tokio::test]
async fn crossed_users_never_block_each_other() {
    let bot = Setup::commands().args(&["--workers", "2"]).start().await;
    let until = Instant::now() + Duration::from_secs(4);
    let port = bot.port;
    let mut tasks = Vec::new();
    for sender in 0..24 {
        let mut connection = Connection::open(port).await;
        tasks.push(tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(sender);
            let mut numbers = Vec::new();
            while Instant::now() < until {
                let user = random.usize(..5);
                let text = format!("sleep {}", random.u64(..25));
                let answer = connection.say(&user.to_string(), &text).await;
                numbers.push((user, answer.number()));
            }
            numbers
        }));
    }
    let mut seen = BTreeSet::new();
    for task in tasks {
        let numbers = tokio::time::timeout(Duration::from_secs(30), join(task)).await;
        for number in numbers.expect("somebody waits for ever") {
            assert!(seen.insert(number), "{number:?} was given twice");
        }
    }
    for user in 0..5 {
        let count = say(port, &user.to_string(), "hi").await.number();
        assert_eq!(
            seen.iter().filter(|(of, _)| *of == user).count() as u64 + 1,
            count
        );
    }
    bot.stop().await.assert_sound();
}
