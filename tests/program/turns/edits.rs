//! Edits of messages: counted and left out, unless the bot's author wants them.

use serde_json::{Value, json};

use crate::harness::api::{Api, TOKEN, VK_SECRET};
use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::{once, post};
use crate::harness::telegram::{text, webhook};
use crate::operators::admin::{admin_port, get};
use crate::platforms::webhooks::{batch, facebook, facebook_text, told, vk};

fn edit(update: u64, kind: &str, said: &str) -> Value {
    let mut message = text(update, 5, said)["message"].take();
    message["edit_date"] = json!(1_700_000_001);
    json!({"update_id": update, kind: message})
}

fn vk_edit(id: &str, said: &str) -> Value {
    json!({"group_id": 1, "type": "message_edit", "event_id": id, "v": "5.199",
        "secret": VK_SECRET, "object": {"date": 1, "from_id": 5, "id": 1, "peer_id": 5,
        "out": 0, "text": said, "attachments": []}})
}

fn facebook_edit(said: &str) -> Value {
    json!({"sender": {"id": "5"}, "recipient": {"id": "1"}, "timestamp": 2,
        "message_edit": {"mid": "m_1", "text": said, "num_edit": 1}})
}

/// Two bodies that differ in nothing but the kind and the time of an edit: one order.
#[tokio::test]
async fn an_edit_is_no_new_message() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--admin", "127.0.0.1:0"]);
    let bot = api.configure(setup).start().await;
    let said = once(bot.port, webhook(&text(1, 5, "order tea"))).await;
    assert_eq!(said.json()["text"], "1: order tea");
    told(&bot, vk("e1", 5, "order tea"), "ok").await;
    told(
        &bot,
        facebook(batch(&[facebook_text("m_1", "5", "order tea")])),
        "",
    )
    .await;
    until("two replies", SOON, || api.accepted() == 2).await;
    for (place, kind) in [
        "edited_message",
        "edited_channel_post",
        "edited_business_message",
    ]
    .into_iter()
    .enumerate()
    {
        let edit = edit(10 + place as u64, kind, "order tea");
        told(&bot, webhook(&edit), "").await;
    }
    told(
        &bot,
        post("/vk", vk_edit("e2", "order tea").to_string()),
        "ok",
    )
    .await;
    let events = [
        facebook_edit("order tea"),
        facebook_text("m_2", "5", "orders"),
    ];
    told(&bot, facebook(batch(&events)), "").await;
    until("one more reply", SOON, || api.accepted() == 3).await;
    // One on each platform.
    assert_eq!(api.received("5").last().unwrap(), "3 orders");
    let figures = get(admin_port(&bot), "/metrics").await.text();
    assert!(
        figures.contains("turnkey_updates_unheard_total{kind=\"edited\"} 5\n"),
        "{figures}"
    );
    let page = get(admin_port(&bot), "/status").await.text();
    let row = "<h2>Not heard by the handler</h2><dl><div><dt>edited</dt><dd>5</dd></div></dl>";
    assert!(page.contains(row), "{page}");
    let setup = bot.stop().await;
    // These, and what was asked.
    assert_eq!(setup.sum(), 4);
}

/// Platforms are not asked for what nobody handles.
#[tokio::test]
async fn an_edit_that_is_polled_for_is_passed_over() {
    let api = Api::start();
    let setup = Setup::commands()
        .without_port()
        .args(&["--telegram-api-url", &api.url()])
        .env("TURNKEY_TELEGRAM_TOKEN", TOKEN);
    let bot = setup.start().await;
    api.queues.push([
        text(1, 5, "order tea"),
        edit(2, "edited_message", "order tea"),
        text(3, 5, "orders"),
    ]);
    until("two replies", SOON, || api.accepted() == 2).await;
    assert_eq!(api.received("5"), ["1: order tea", "1 orders"]);
    until("an empty queue", SOON, || api.queues.kept() == 0).await;
    let asked = api.queues.asks()[0].kinds.to_string();
    assert!(!asked.contains("edited"), "{asked}");
    bot.stop().await.assert_sound();
}

/// Who wants them gets them, as what they are, in the user's order.
#[tokio::test]
async fn an_author_may_handle_edits() {
    let api = Api::start();
    let setup = Setup::commands().env("COMMANDS_EDITS", "1");
    let bot = api.configure(setup).start().await;
    let said = once(bot.port, webhook(&text(1, 5, "order tea"))).await;
    assert_eq!(said.json()["text"], "1: order tea");
    for _ in 0..2 {
        let edited = once(
            bot.port,
            webhook(&edit(2, "edited_message", "order coffee")),
        )
        .await;
        assert_eq!(edited.json()["text"], "2: edited order coffee");
    }
    told(&bot, post("/vk", vk_edit("e2", "new").to_string()), "ok").await;
    told(&bot, facebook(batch(&[facebook_edit("changed")])), "").await;
    until("two replies", SOON, || api.accepted() == 2).await;
    let mut received = api.received("5");
    received.sort();
    assert_eq!(received, ["1: edited changed", "1: edited new"]);
    let setup = bot.stop().await;
    setup.assert_sound();
    let polls = Setup::commands()
        .without_port()
        .env("COMMANDS_EDITS", "1")
        .args(&["--telegram-api-url", &api.url()])
        .env("TURNKEY_TELEGRAM_TOKEN", TOKEN);
    let bot = polls.start().await;
    until("a question", SOON, || !api.queues.asks().is_empty()).await;
    let kinds = api.queues.asks()[0].kinds.to_string();
    assert!(kinds.contains("edited_message") && kinds.contains("edited_business_message"));
    bot.stop().await;
}
