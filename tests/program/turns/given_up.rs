//! What is done when an update is given up: its user is told once, with the end of the update.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::api::Api;
use crate::harness::bot::{Bot, Setup};
use crate::harness::programs::has;
use crate::platforms::webhooks::{told, vk};

const ARGS: [&str; 6] = [
    "--workers",
    "2",
    "--ack-after",
    "50ms",
    "--max-attempts",
    "2",
];

/// The same bot in each language that is there.
fn bots() -> Vec<Setup> {
    let mut bots = vec![Setup::failing()];
    if has("python3") {
        bots.push(Setup::handled_by("failing.py"));
    }
    if has("node") {
        bots.push(Setup::handled_by("failing.mjs"));
    }
    bots
}

async fn start(api: &Api, setup: Setup) -> Bot {
    api.configure(setup.args(&ARGS)).start().await
}

/// The updates of the dead letters.
fn dead(setup: &Setup) -> Vec<String> {
    let ended = setup.tool(&["dead", "list", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let letter = |line: &str| {
        let letter: serde_json::Value = serde_json::from_str(line).expect("a letter");
        letter["update"].as_str().expect("an id").to_owned()
    };
    let mut dead: Vec<_> = ended.stdout.lines().map(letter).collect();
    dead.sort();
    dead
}

/// The state is as it was before the update, and what is done then changes it.
#[tokio::test]
async fn a_user_is_told_what_is_given_up() {
    for setup in bots() {
        let api = Api::start();
        let bot = start(&api, setup).await;
        told(&bot, vk("a", 8, "hi"), "ok").await;
        api.receives("8", &["1: hi"]).await;
        told(&bot, vk("b", 8, "fail and tell 7"), "ok").await;
        told(&bot, vk("c", 8, "never"), "ok").await;
        told(&bot, vk("d", 8, "last"), "ok").await;
        told(&bot, vk("e", 8, "hi"), "ok").await;
        let said = api.said_to("8", 5).await;
        assert!(said[1].contains("the calendar is away"), "{said:?}");
        assert!(said[2].contains("there is no such day"), "{said:?}");
        assert_eq!(said[3..], ["a little", "203: hi"], "{said:?}");
        let others = api.said_to("7", 1).await;
        assert!(others[0].starts_with("8: "), "{others:?}");
        assert_eq!(dead(&bot.setup), ["b", "c"]);
        // Sent again, it is known.
        told(&bot, vk("b", 8, "fail and tell 7"), "ok").await;
        // Tried again by hand, it is given up anew, and told anew.
        let retried = bot.setup.tool(&["dead", "retry", "vk", "b"]);
        assert_eq!(retried.code, Some(0), "{retried:?}");
        let said = api.said_to("8", 6).await;
        assert!(said[5].starts_with("Sorry: "), "{said:?}");
        assert_eq!(api.said_to("7", 2).await.len(), 2);
        bot.wait_for_stderr(" dead show vk b --storage ").await;
        bot.stop().await.assert_sound();
    }
}

/// Whatever is killed after it was told, it is told once.
#[tokio::test]
async fn nobody_is_told_twice_after_a_kill() {
    let api = Api::start();
    let mut bot = start(&api, Setup::failing()).await;
    for round in 1..=3 {
        told(&bot, vk(&format!("f{round}"), 8, "fail"), "ok").await;
        api.said_to("8", round).await;
        bot = bot.kill_all().await.start().await;
    }
    told(&bot, vk("g", 8, "hi"), "ok").await;
    let said = api.said_to("8", 4).await;
    assert_eq!(said[..3], ["Sorry: the calendar is away"; 3]);
    assert_eq!(said[3], "301: hi");
    assert_eq!(dead(&bot.setup), ["f1", "f2", "f3"]);
    bot.stop().await.assert_sound();
}

/// What is done then may fail or end its process: the update is given up, and its followers
/// run.
#[tokio::test]
async fn what_fails_at_the_end_gives_up_all_the_same() {
    for setup in bots() {
        let api = Api::start();
        let bot = start(&api, setup).await;
        told(&bot, vk("a", 8, "fail twice"), "ok").await;
        told(&bot, vk("b", 8, "hi"), "ok").await;
        told(&bot, vk("c", 9, "fail and die"), "ok").await;
        told(&bot, vk("d", 9, "hi"), "ok").await;
        api.receives("8", &["1: hi"]).await;
        api.receives("9", &["1: hi"]).await;
        bot.wait_for_stderr("update a: what is to be done when it is given up failed: ")
            .await;
        assert_eq!(dead(&bot.setup), ["a", "c"]);
        bot.stop().await.assert_sound();
    }
}

/// It is given to the handler by the worker that made it.
#[tokio::test]
async fn what_a_worker_makes_is_its_own() {
    let api = Api::start();
    let bot = start(&api, Setup::failing()).await;
    for user in ["7", "8", "9"] {
        let id = format!("of {user}");
        told(
            &bot,
            vk(&id, user.parse().expect("a number"), "process"),
            "ok",
        )
        .await;
        api.receives(user, &["true"]).await;
    }
    bot.stop().await.assert_sound();
}

/// Attempts, and their end, go on in the next worker.
#[tokio::test]
async fn a_worker_that_dies_at_the_last_attempt_leaves_it_to_the_next() {
    let api = Api::start();
    let bot = start(&api, Setup::failing()).await;
    told(&bot, vk("a", 8, "fail"), "ok").await;
    bot.wait_for_stderr("update a failed (attempt 1 of 2)")
        .await;
    for index in 0..2 {
        let worker = bot.worker(index).await;
        kill(Pid::from_raw(worker), Signal::SIGKILL).expect("it lives");
    }
    let said = api.said_to("8", 1).await;
    assert!(said[0].starts_with("Sorry: "), "{said:?}");
    assert_eq!(dead(&bot.setup), ["a"]);
    bot.stop().await.assert_sound();
}

/// With fewer attempts at the next start than it had, it is over, and its user is told.
#[tokio::test]
async fn a_user_is_told_also_when_the_limit_has_become_smaller() {
    let api = Api::start();
    let few = ["--workers", "1", "--ack-after", "50ms"];
    let setup = Setup::failing().args(&few);
    let many = setup.clone().env("TURNKEY_MAX_ATTEMPTS", "20");
    let bot = api.configure(many).start().await;
    told(&bot, vk("a", 8, "fail"), "ok").await;
    bot.wait_for_stderr("update a failed (attempt 4 of 20)")
        .await;
    let setup = bot.stop().await.env("TURNKEY_MAX_ATTEMPTS", "1");
    let bot = setup.start().await;
    assert_eq!(api.said_to("8", 1).await, ["Sorry: the calendar is away"]);
    bot.wait_for_stderr("update a was given up after 4 attempts: the calendar is away")
        .await;
    bot.stop().await.assert_sound();
}
