//! A reply that rides in an answer, and the answer is lost: no user gets it after newer
//! replies, and it is not lost without a trace.

use serde_json::{Value, json};

use crate::harness::api::Api;
use crate::harness::bot::{SOON, Setup, until, url};
use crate::harness::client::once;
use crate::harness::telegram::{text, webhook};

fn pressed(update: u64, user: u64) -> Value {
    json!({"update_id": update, "callback_query": {
        "id": "q", "from": {"id": user}, "data": "more"}})
}

/// The dead replies.
fn dead(setup: &Setup) -> Vec<Value> {
    let storage = url(&setup.database());
    let ended = setup.bare(&["outbox", "list", "--json", "--storage", &storage]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let lines = ended.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn what_rode_is_not_given_after_a_newer_reply() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--workers", "2"]);
    let bot = api.configure(setup).start().await;
    let update = text(1, 7, "hi");
    // Telegram does not get these.
    for _ in 0..2 {
        let lost = once(bot.port, webhook(&update)).await;
        assert!(lost.text().contains("1: hi"), "{}", lost.text());
    }
    once(bot.port, webhook(&pressed(2, 7))).await;
    until("the newer reply", SOON, || {
        api.received("7") == ["2: button more"]
    })
    .await;
    for _ in 0..3 {
        let late = once(bot.port, webhook(&update)).await;
        assert_eq!((late.status, late.text().as_str()), (200, ""));
    }
    // Of another user nothing changes.
    let other = once(bot.port, webhook(&text(3, 8, "hi"))).await;
    assert!(other.text().contains("1: hi"), "{}", other.text());
    bot.wait_for_stderr("a reply comes too late to be given")
        .await;

    let dead = dead(&bot.setup);
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(
        dead[0]["body"].as_str().unwrap().contains("1: hi"),
        "{dead:?}"
    );
    assert_eq!(api.received("7"), ["2: button more"]);
    // Whoever operates it may have it sent all the same.
    let storage = url(&bot.setup.database());
    let name = dead[0]["reply"].as_str().unwrap();
    let retried = bot
        .setup
        .bare(&["outbox", "retry", name, "--storage", &storage]);
    assert_eq!(retried.code, Some(0), "{retried:?}");
    until("it", SOON, || {
        api.received("7") == ["2: button more", "1: hi"]
    })
    .await;
    assert_eq!(bot.stop().await.count("7"), 2);
}
