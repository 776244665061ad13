//! Updates whose handlers fail: tried again, with pauses, and given up in the end, so that
//! one of them does not block its user for ever.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::api::Api;
use crate::harness::bot::{Bot, LATER, Setup, until};
use crate::harness::client::{join, once};
use crate::harness::telegram::{text, webhook};
use crate::platforms::webhooks::{told, vk};

async fn start(api: &Api, args: &[&str]) -> Bot {
    let setup = Setup::commands().args(&["--workers", "2"]).args(args);
    api.configure(setup).start().await
}

/// The followers wait, and keep attempts of their own.
#[tokio::test]
async fn a_poisonous_update_is_given_up_and_its_followers_run() {
    let api = Api::start();
    let args = [
        "--ack-after",
        "100ms",
        "--max-attempts",
        "3",
        "--turn-timeout",
        "2s",
    ];
    let bot = start(&api, &args).await;
    for (event, said) in [
        ("a", "hi"),
        ("b", "fail"),
        ("c", "try 3"),
        ("d", "order "),
        ("e", "hi"),
    ] {
        told(&bot, vk(event, 7, said), "ok").await;
    }
    told(&bot, vk("p", 8, "panic"), "ok").await;
    told(&bot, vk("t", 9, "sleep 600000"), "ok").await;
    told(&bot, vk("q", 9, "hi"), "ok").await;
    api.receives("7", &["1: hi", "2: try 3 (attempt 3)", "3: hi"])
        .await;
    api.receives("9", &["1: hi"]).await;
    for event in ["b", "d", "p", "t"] {
        bot.wait_for_stderr(&format!(" dead show vk {event} --storage "))
            .await;
        let failed = format!("update {event} failed (attempt ");
        assert_eq!(bot.stderr().matches(&failed).count(), 3, "{event}");
    }
    assert!(bot.stderr().contains("took longer than 2 s"));
    // Sent again it is known; nothing runs.
    told(&bot, vk("b", 7, "fail"), "ok").await;
    told(&bot, vk("f", 7, "hi"), "ok").await;
    api.receives("7", &["1: hi", "2: try 3 (attempt 3)", "3: hi", "4: hi"])
        .await;
    assert_eq!(bot.stderr().matches("update b failed").count(), 3);
    bot.stop().await.assert_sound();
}

/// Before --ack-after attempts are made while the platform waits: what succeeds then
/// rides in the answer.
#[tokio::test]
async fn attempts_before_the_acknowledgement_cost_no_row() {
    let api = Api::start();
    let bot = start(&api, &["--ack-after", "60s"]).await;
    let answer = once(bot.port, webhook(&text(1, 7, "try 2"))).await;
    assert_eq!(answer.json()["text"], "1: try 2 (attempt 2)");
    assert!(api.calls().is_empty());
    bot.stop().await.assert_sound();
}

/// A crash does not set the count back.
#[tokio::test]
async fn attempts_are_counted_across_crashes() {
    let api = Api::start();
    let mut bot = start(&api, &["--ack-after", "50ms", "--max-attempts", "6"]).await;
    told(&bot, vk("b", 7, "fail"), "ok").await;
    told(&bot, vk("c", 7, "hi"), "ok").await;
    let mut failures = 0;
    for _ in 0..2 {
        let failed = |bot: &Bot| bot.stderr().matches("update b failed").count();
        until("two failures", LATER, || failed(&bot) >= 2).await;
        failures += failed(&bot);
        bot = bot.kill_all().await.start().await;
    }
    api.receives("7", &["1: hi"]).await;
    failures += bot.stderr().matches("update b failed").count();
    // One may have been made and not been noted before each kill.
    assert!((4..=8).contains(&failures), "{failures} attempts");
    bot.wait_for_stderr(" dead show vk b --storage ").await;
    bot.stop().await.assert_sound();
}

/// An update that kills whatever process runs it.
#[tokio::test]
async fn an_update_that_kills_its_worker_is_given_up_while_the_bot_lives() {
    let api = Api::start();
    let bot = start(&api, &["--ack-after", "50ms", "--max-attempts", "3"]).await;
    told(&bot, vk("d", 7, "die 1000"), "ok").await;
    told(&bot, vk("e", 7, "hi"), "ok").await;
    api.receives("7", &["1: hi"]).await;
    bot.wait_for_stderr(" dead show vk d --storage ").await;
    told(&bot, vk("d", 7, "die 1000"), "ok").await;
    told(&bot, vk("f", 7, "ho"), "ok").await;
    api.receives("7", &["1: hi", "2: ho"]).await;
    bot.stop().await.assert_sound();
}

/// A pause between attempts holds up no stop: what was accepted stays in the inbox, what
/// was not is asked for again.
#[tokio::test]
async fn a_stop_does_not_wait_for_the_next_attempt() {
    let api = Api::start();
    let args = [
        "--ack-after",
        "60s",
        "--max-attempts",
        "30",
        "--grace",
        "20s",
    ];
    let bot = start(&api, &args).await;
    let port = bot.port;
    let waits = tokio::spawn(async move { once(port, vk("a", 7, "fail")).await });
    let attempts = |bot: &Bot, n: u32| {
        let line = format!("failed (attempt {n} of 30)");
        bot.stderr().contains(&line)
    };
    until("a long pause", LATER, || attempts(&bot, 5)).await;
    bot.stop().await.assert_sound();
    assert_eq!(join(waits).await.status, 503);

    // In the end comes a handler that is mended: here one that fails at first.
    let bot = start(&api, &["--ack-after", "50ms", "--max-attempts", "30"]).await;
    told(&bot, vk("b", 7, "try 6"), "ok").await;
    until("a long pause", LATER, || attempts(&bot, 5)).await;
    let bot = bot.stop().await.start().await;
    api.receives("7", &["1: try 6 (attempt 6)"]).await;
    bot.stop().await.assert_sound();
}

/// A worker that dies with a turn that was not accepted: the platform sends it again.
#[tokio::test]
async fn the_lock_of_a_pause_is_freed_with_its_worker() {
    let api = Api::start();
    let bot = start(&api, &["--ack-after", "50ms", "--max-attempts", "5"]).await;
    told(&bot, vk("b", 7, "try 4"), "ok").await;
    until("three failures", LATER, || {
        bot.stderr().matches("update b failed").count() >= 3
    })
    .await;
    for index in 0..2 {
        kill(Pid::from_raw(bot.worker(index).await), Signal::SIGKILL).unwrap();
    }
    api.receives("7", &["1: try 4 (attempt 4)"]).await;
    bot.stop().await.assert_sound();
}
