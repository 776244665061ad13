//! Handlers that fail, panic, take too long or whose SQL fails change nothing.

use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{Connection, join, message, once, say};

/// Told to fail, the turn answers 503 and leaves the count as it was.
async fn assert_fails(bot: &Bot, text: &str, reason: &str) {
    let before = say(bot.port, "ann", "hi").await.number();
    let failed = say(bot.port, "ann", text).await;
    assert_eq!(failed.status, 503, "{}", failed.text());
    assert_eq!(failed.header("retry-after"), "1");
    assert_eq!(failed.error(), "the handler failed", "no more to strangers");
    until(reason, SOON, || bot.stderr().contains(reason)).await;
    assert_eq!(say(bot.port, "ann", "hi").await.number(), before + 1);
}

#[tokio::test]
async fn a_failed_turn_changes_nothing() {
    let args = ["--workers", "2", "--turn-timeout", "300ms"];
    let bot = Setup::commands().args(&args).start().await;
    let workers = bot.children();
    assert_fails(&bot, "fail", "told to fail").await;
    assert_fails(&bot, "panic", "told to panic").await;
    assert_fails(&bot, "sleep 20000", "took longer than 0.3 s").await;
    assert_fails(&bot, "sleep soon", "invalid digit").await;
    assert_fails(&bot, "order ", "CHECK").await;
    assert_eq!(say(bot.port, "ann", "orders").await.replies(), ["0 orders"]);
    // A message that failed is not one that was handled: its id runs again.
    for _ in 0..2 {
        let again = once(bot.port, message("bob", "fail", Some("f1"))).await;
        assert_eq!(again.status, 503);
    }
    assert_eq!(bot.children(), workers, "no worker was lost");
    let setup = bot.stop().await;
    assert_eq!(setup.count("bob"), 0);
    setup.assert_sound();
}

/// Each user orders and counts the orders, on the connections of both workers.
#[tokio::test]
async fn own_sql_is_part_of_the_turn_and_read_back_at_once() {
    let bot = Setup::commands().args(&["--workers", "2"]).start().await;
    let port = bot.port;
    let mut tasks = Vec::new();
    for user in 0..8 {
        tasks.push(tokio::spawn(async move {
            let user = format!("user-{user}");
            let mut connections = Vec::new();
            for _ in 0..4 {
                connections.push(Connection::open(port).await);
            }
            for n in 1..=15 {
                connections[n % 4].say(&user, "order tea").await.number();
                let orders = connections[(n + 1) % 4].say(&user, "orders").await;
                assert_eq!(orders.replies(), [format!("{n} orders")]);
                if n % 5 == 0 {
                    let refused = connections[(n + 2) % 4].say(&user, "order").await;
                    assert_eq!(refused.status, 503, "{}", refused.text());
                }
            }
        }));
    }
    for task in tasks {
        join(task).await;
    }
    let bot = bot.stop().await.start().await;
    assert_eq!(
        say(bot.port, "user-0", "orders").await.replies(),
        ["15 orders"]
    );
    bot.stop().await;
}

#[tokio::test]
async fn several_replies_and_none() {
    let bot = Setup::commands().start().await;
    assert_eq!(
        say(bot.port, "ann", "many 3").await.replies(),
        ["1.1", "1.2", "1.3"]
    );
    assert!(say(bot.port, "ann", "silent").await.replies().is_empty());
    assert_eq!(
        say(bot.port, "ann", "many 1000").await.replies().len(),
        1000
    );
    assert_fails(&bot, "many 1001", "1000 is the limit").await;
    bot.stop().await;
}
