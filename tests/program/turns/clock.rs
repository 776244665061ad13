//! The machine's clock is set while the bot runs: forward and back by a day, with libfaketime.
//!
//! Timers follow the wall clock: one fires early by as much as the clock was set forward, and
//! waits if it was set back; none is lost, and none fires twice. What was accepted waits for
//! nothing.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::harness::api::Api;
use crate::harness::bot::{Bot, Setup, until};
use crate::harness::client::once;
use crate::harness::clock::{set_clock, with_a_clock};
use crate::harness::telegram::{text, webhook};

/// For turns that are tried again by whoever finds them.
const LATER: Duration = Duration::from_secs(40);

/// None without the library that sets the clock.
async fn start(api: &Api, args: &[&str]) -> Option<Bot> {
    let setup = Setup::commands_in_rust().args(&["--workers", "2"]);
    let setup = with_a_clock(api.configure(setup.args(args)))?;
    Some(setup.start().await)
}

/// Sets the clock, and waits until the bot has seen it.
async fn set(bot: &Bot, to: &str, seen: &str) {
    let seen_before = bot.stderr().matches(seen).count();
    set_clock(&bot.setup, to);
    until(seen, LATER, || {
        bot.stderr().matches(seen).count() > seen_before
    })
    .await;
}

const FORWARD: &str = "the machine's clock was set forward";
const BACK: &str = "the machine's clock was set back";

async fn says(bot: &Bot, update: u64, said: &str) {
    let answer = once(bot.port, webhook(&text(update, 7, said))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The names of the timers that wait.
fn waiting(bot: &Bot) -> Vec<String> {
    let timers = bot.setup.listed(&["timers", "list", "--json"]);
    let name = |timer: &Value| timer["name"].as_str().expect("a name").to_owned();
    timers.iter().map(name).collect()
}

#[tokio::test]
async fn timers_follow_the_clock_and_none_is_lost() {
    let api = Api::start();
    let Some(bot) = start(&api, &[]).await else {
        return;
    };
    says(&bot, 1, "after 1h soup x").await;
    says(&bot, 2, "after 2d cake x").await;
    says(&bot, 3, "after 100ms tea x").await;
    api.receives("7", &["4: timer tea \"x\""]).await;
    // Early by the change, and not by more: the cake is due in two days.
    set(&bot, "+1d", FORWARD).await;
    api.receives("7", &["4: timer tea \"x\"", "5: timer soup \"x\""])
        .await;
    assert_eq!(waiting(&bot), ["cake"]);
    // Set by the clock that is ahead: it waits until its time comes again.
    says(&bot, 4, "after 1h bread x").await;
    set(&bot, "-1d", BACK).await;
    says(&bot, 5, "after 100ms milk x").await;
    let all = [
        "4: timer tea \"x\"",
        "5: timer soup \"x\"",
        "8: timer milk \"x\"",
    ];
    api.receives("7", &all).await;
    assert_eq!(waiting(&bot), ["bread", "cake"]);
    set(&bot, "+3d", FORWARD).await;
    let last = ["9: timer bread \"x\"", "10: timer cake \"x\""];
    api.receives("7", &[&all[..], &last].concat()).await;
    assert!(waiting(&bot).is_empty());
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn what_was_accepted_does_not_wait_for_the_old_time() {
    let api = Api::start();
    let Some(bot) = start(&api, &["--ack-after", "200ms"]).await else {
        return;
    };
    let kill_the_workers = |bot: &Bot| {
        for pid in bot.all_named("worker") {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
        }
    };
    says(&bot, 1, "sleep 2500").await;
    set(&bot, "-1d", BACK).await;
    kill_the_workers(&bot);
    api.receives("7", &["1: sleep 2500"]).await;
    // It failed by the new clock, and its pause is that of the next one.
    says(&bot, 2, "try 3").await;
    says(&bot, 3, "hi").await;
    set(&bot, "-2d", BACK).await;
    kill_the_workers(&bot);
    until("all three", LATER, || bot.setup.count("7") == 3).await;
    bot.stop().await.assert_sound();
}
