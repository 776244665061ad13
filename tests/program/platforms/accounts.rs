//! What is meant for another page or community than the one whose token we have; and what
//! VK's Long Poll says when it says neither events nor that there are none.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::api::{Api, VK_SECRET, VK_TOKEN};
use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::{once, post};
use crate::harness::queues::Weather;
use crate::platforms::polling::vk_event;
use crate::platforms::webhooks::{PAGE, facebook, told};

fn of_page(page: &str, mid: &str) -> String {
    json!({"object": "page", "entry": [{"id": page, "messaging": [
        {"sender": {"id": "7"}, "timestamp": 1, "message": {"mid": mid, "text": "hi"}}]}]})
    .to_string()
}

fn of_group(group: u64, id: &str) -> String {
    let mut event = vk_event(1, 8, "hi");
    event["group_id"] = json!(group);
    event["event_id"] = json!(id);
    event["secret"] = json!(VK_SECRET);
    event.to_string()
}

/// Once it is known whose token it is: at once, unless the platform is away.
#[tokio::test]
async fn events_of_others_are_not_answered_with_our_token() {
    let api = Api::start();
    let bot = api.configure(Setup::commands()).start().await;
    // VK hears that it is not for us, and shows that in the community's settings.
    let deadline = Instant::now() + SOON;
    let mut number = 0;
    let refused = loop {
        number += 1;
        let answer = once(bot.port, post("/vk", of_group(2, &format!("x{number}")))).await;
        if answer.status != 200 || Instant::now() > deadline {
            break answer;
        }
    };
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(
        refused
            .text()
            .contains("community 2, and the token is of community 1")
    );
    let confirmation = json!({"type": "confirmation", "group_id": 2});
    assert_eq!(
        once(bot.port, post("/vk", confirmation.to_string()))
            .await
            .status,
        403
    );
    // Facebook posts for many pages at once, so the others of a batch must not suffer.
    let strangers = || bot.stderr().contains("page 5, and the token is of page");
    while !strangers() && Instant::now() < deadline {
        number += 1;
        told(&bot, facebook(of_page("5", &format!("x{number}"))), "").await;
    }
    assert!(strangers(), "{}", bot.stderr());
    // What was taken before it was known is answered first.
    let nothing_waits = || bot.setup.tool(&["outbox", "list"]).stdout.is_empty();
    until("earlier replies", SOON, nothing_waits).await;
    let before = api.calls().len();
    let mut mixed: Value = serde_json::from_str(&of_page("5", "m_0")).expect("JSON");
    let ours: Value = serde_json::from_str(&of_page(PAGE, "m_1")).expect("JSON");
    let test: Value = serde_json::from_str(&of_page("0", "m_2")).expect("JSON");
    let entries = mixed["entry"].as_array_mut().expect("a list");
    entries.push(ours["entry"][0].clone());
    entries.push(test["entry"][0].clone());
    for _ in 0..2 {
        told(&bot, facebook(mixed.to_string()), "").await;
        told(&bot, post("/vk", of_group(1, "e1")), "ok").await;
    }
    until("three replies", SOON, || api.calls().len() >= before + 3).await;
    let letters = bot.setup.tool(&["dead", "list"]);
    assert!(
        letters.stdout.contains("it is an event of page 5"),
        "{letters:?}"
    );
    let said = bot
        .stderr()
        .matches("does not take what is meant for others")
        .count();
    assert_eq!(said, 2, "once for each: {}", bot.stderr());
    bot.stop().await.assert_sound();
    assert_eq!(api.calls().len(), before + 3);
}

/// An error in an answer that is 200: it is said, asked again with pauses, and nothing is
/// taken for "no events"; that Long Poll cannot be turned on is said once.
#[tokio::test]
async fn an_error_of_long_poll_is_no_empty_answer() {
    let api = Api::start();
    api.queues.refuse_registrations(1000);
    let setup = Setup::commands()
        .without_port()
        .args(&["--vk-api-url", &api.url()])
        .env("TURNKEY_VK_TOKEN", VK_TOKEN);
    let bot = setup.start().await;
    until("a long poll", SOON, || api.queues.waiting() == 1).await;
    api.queues.push_vk([vk_event(1, 7, "hi")]);
    until("a reply", SOON, || api.received("7") == ["1: hi"]).await;
    let before = api.queues.asks().len();
    api.queues.weather(Weather::Error);
    bot.wait_for_stderr(
        "cannot ask VK for updates, trying again: Long Poll: \"internal, (token)\"",
    )
    .await;
    until("a few attempts", SOON, || {
        api.queues.asks().len() >= before + 4
    })
    .await;
    let asks = api.queues.asks();
    let pause = asks[before + 3].at - asks[before + 2].at;
    assert!(
        pause >= Duration::from_millis(450),
        "it backs off: {pause:?}"
    );
    let foreign = {
        let mut event = vk_event(2, 9, "for another");
        event["group_id"] = json!(2);
        event
    };
    api.queues.push_vk([foreign, vk_event(3, 7, "hi")]);
    api.queues.weather(Weather::Fine);
    until("another reply", SOON, || api.received("7").len() == 2).await;
    assert!(api.received("9").is_empty());
    bot.wait_for_stderr("VK gives updates again").await;
    assert_eq!(
        bot.stderr().matches("cannot turn on VK").count(),
        1,
        "{}",
        bot.stderr()
    );
    let letters = bot.setup.tool(&["dead", "list"]);
    assert!(
        letters.stdout.contains("it is an event of community 2"),
        "{letters:?}"
    );
    bot.stop().await.assert_sound();
}
