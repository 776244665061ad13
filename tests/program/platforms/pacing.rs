//! Replies go out no faster than the platforms take them, whatever the number of workers,
//! and a platform's "too many" is heeded by all of them, also after a restart.

use std::time::{Duration, Instant};

use crate::harness::api::{Api, Call, Mood};
use crate::harness::bot::{Bot, SOON, Setup, until};
use crate::harness::client::{join, once};
use crate::harness::telegram::{text, webhook};
use crate::platforms::webhooks::vk;

/// A minute's worth of replies on a loaded machine.
const LONG: Duration = Duration::from_secs(60);

/// The most calls that came within so long.
fn most_within(calls: &[Call], window: Duration) -> usize {
    let from = |first: usize| {
        let inside = |call: &&Call| call.at < calls[first].at + window;
        calls[first..].iter().take_while(inside).count()
    };
    (0..calls.len()).map(from).max().unwrap_or(0)
}

/// The waits between the calls of a chat.
fn waits(calls: &[Call], chat: &str) -> Vec<Duration> {
    let of_chat: Vec<_> = calls.iter().filter(|call| call.chat == chat).collect();
    of_chat
        .windows(2)
        .map(|two| two[1].at - two[0].at)
        .collect()
}

async fn tell(bot: &Bot, update: u64, user: u64, message: &str) {
    let answer = once(bot.port, webhook(&text(update, user, message))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// 2 workers together keep the limit: 20 calls a second for VK. One more may fall into a
/// window where a call was late and the next was not.
#[tokio::test]
async fn workers_share_a_bots_limit() {
    let api = Api::start();
    let setup = Setup::counter().args(&["--workers", "2"]);
    let bot = api.configure(setup).start().await;
    let mut tasks = Vec::new();
    for user in 0..80 {
        let port = bot.port;
        tasks.push(tokio::spawn(async move {
            once(port, vk(&format!("e{user}"), 1000 + user, "hi")).await
        }));
    }
    for task in tasks {
        assert_eq!(join(task).await.status, 200);
    }
    until("all replies", LONG, || api.accepted() == 80).await;
    let calls = api.calls();
    let most = most_within(&calls, Duration::from_secs(1));
    assert!((2..=24).contains(&most), "{most} in a second");
    let took = calls[79].at - calls[0].at;
    assert!(took >= Duration::from_millis(3700), "80 calls in {took:?}");
    bot.stop().await.assert_sound();
}

/// A burst passes, then one a second; others do not wait.
#[tokio::test]
async fn a_chat_has_its_own_limit() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--workers", "2"]);
    let bot = api.configure(setup).start().await;
    tell(&bot, 1, 7, "many 7").await;
    tell(&bot, 2, 8, "many 2").await;
    until("the other's replies", SOON, || api.received("8").len() == 2).await;
    until("all replies", LONG, || api.received("7").len() == 7).await;
    let calls = api.calls();
    let waits = waits(&calls, "7");
    assert!(waits[5] >= Duration::from_millis(900), "{waits:?}");
    // A lone text rides only where the limits leave a place.
    let answer = once(bot.port, webhook(&text(3, 7, "hi"))).await;
    assert!(answer.body.is_empty(), "{}", answer.text());
    until("a reply", LONG, || api.received("7").len() == 8).await;
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn a_group_takes_three_and_then_waits() {
    let api = Api::start();
    let bot = api.configure(Setup::commands()).start().await;
    let update = serde_json::json!({"update_id": 1, "message": {"from": {"id": 7},
        "chat": {"id": -100}, "text": "many 4"}});
    assert_eq!(once(bot.port, webhook(&update)).await.status, 200);
    until("all replies", LONG, || api.received("-100").len() == 4).await;
    let waits = waits(&api.calls(), "-100");
    assert!(waits[2] >= Duration::from_millis(2500), "{waits:?}");
    bot.stop().await;
}

/// Telegram does not say whether chat or bot was too fast: one chat pauses alone, three of
/// them are the bot.
#[tokio::test]
async fn several_flooded_chats_pause_the_bot() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--workers", "2"]);
    let bot = api.configure(setup).start().await;
    for user in 1..=3 {
        api.be(&user.to_string(), &[Mood::Flood(4)]);
        tell(&bot, user, user, "many 2").await;
    }
    until("three floods", SOON, || api.calls().len() >= 3).await;
    let flooded = api.calls()[2].at;
    // Worker or not: nobody is called before it is over.
    for user in 4..10 {
        tell(&bot, user, user, "many 2").await;
    }
    until("all replies", LONG, || api.accepted() == 18).await;
    let first = api.calls()[3].at;
    assert!(
        first - flooded >= Duration::from_millis(3900),
        "{:?}",
        first - flooded
    );
    bot.stop().await.assert_sound();
}

/// Whom Telegram told to wait is not called again by the next run before that.
#[tokio::test]
async fn a_pause_survives_a_restart() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--workers", "2"]);
    let bot = api.configure(setup).start().await;
    api.be("7", &[Mood::Flood(8)]);
    tell(&bot, 1, 7, "many 2").await;
    until("a flood", SOON, || api.calls().len() == 1).await;
    let flooded = api.calls()[0].at;
    bot.wait_for_stderr("cannot send yet").await;
    // The pause is on its way to the database.
    tell(&bot, 2, 8, "many 2").await;
    until("the other's replies", SOON, || api.received("8").len() == 2).await;
    let bot = bot.kill_all().await.start().await;
    until("the replies", LONG, || api.received("7").len() == 2).await;
    let calls = api.calls();
    let second = calls.iter().filter(|call| call.chat == "7").nth(1);
    let waited = second.expect("a second call").at - flooded;
    assert!(waited >= Duration::from_millis(7900), "{waited:?}");
    bot.stop().await.assert_sound();
}

/// A platform that does not answer holds up only those who wait for it, and no stop.
#[tokio::test]
async fn a_platform_that_hangs_holds_up_nobody_else() {
    let api = Api::start();
    let bot = api.configure(Setup::commands()).start().await;
    for user in 100..130 {
        api.be(&user.to_string(), &[Mood::Hanging]);
        let answer = once(bot.port, vk(&format!("e{user}"), user, "many 2")).await;
        assert_eq!(answer.status, 200);
    }
    let asked = Instant::now();
    tell(&bot, 1, 7, "many 2").await;
    until("the other's replies", SOON, || api.received("7").len() == 2).await;
    assert!(asked.elapsed() < Duration::from_secs(5));
    bot.kill_all().await;
}

/// Blocked, gone: the reply ends with a reason, and is counted.
#[tokio::test]
async fn what_is_refused_is_counted() {
    let api = Api::start();
    let bot = api.configure(Setup::commands()).start().await;
    api.be("7", &[Mood::Blocked, Mood::Blocked]);
    tell(&bot, 1, 7, "many 3").await;
    until("the third", SOON, || api.received("7") == ["1.3"]).await;
    let mut bot = bot;
    bot.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(bot.ended(SOON).await, 0);
    bot.wait_for_stderr("2 replies refused").await;
}
