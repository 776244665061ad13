//! What a user's client sent, and what cannot be read: one such update stops no other,
//! and is kept where somebody can look at it.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use serde_json::{Value, json};

use crate::harness::api::{Api, TOKEN, VIBER_TOKEN, VK_SECRET, VK_TOKEN};
use crate::harness::bot::{SOON, Setup, until};
use crate::harness::client::post;
use crate::harness::queues::{HALF, NO_UTF8, clients_json};
use crate::harness::telegram::text;
use crate::operators::admin::{admin_port, get};
use crate::platforms::polling::vk_event;
use crate::platforms::webhooks::{facebook, signature, told};

fn pressed(update: u64, user: u64, data: &str) -> Value {
    json!({"update_id": update, "callback_query": {"id": "77", "data": data,
        "from": {"id": user, "is_bot": false, "first_name": "M"}, "chat_instance": "1",
        "message": {"message_id": 3, "date": 1, "chat": {"id": user, "type": "private"},
        "text": "q"}}})
}

/// The dead letters, by their updates' ids.
fn letters(setup: &Setup) -> Vec<(String, Value)> {
    let ended = setup.tool(&["dead", "list", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let letter = |line: &str| {
        let letter: Value = serde_json::from_str(line).expect("JSON");
        (letter["update"].as_str().expect("an id").to_owned(), letter)
    };
    let mut letters: Vec<_> = ended.stdout.lines().map(letter).collect();
    letters.sort_by(|a, b| a.0.cmp(&b.0));
    letters
}

/// One press used to stop a polling bot for a day: neither the offset moved nor did the
/// good updates beside it run.
#[tokio::test]
async fn one_update_in_a_polled_batch_stops_no_other() {
    let api = Api::start();
    let setup = Setup::commands()
        .without_port()
        .args(&["--updater", "polling", "--telegram-api-url", &api.url()])
        .args(&["--vk-api-url", &api.url()])
        .env("TURNKEY_TELEGRAM_TOKEN", TOKEN)
        .env("TURNKEY_VK_TOKEN", VK_TOKEN);
    let bot = setup.start().await;
    until("long polls", SOON, || api.queues.waiting() == 2).await;
    let mut named = text(4, 8, "hi");
    named["message"]["from"]["first_name"] = json!(format!("{NO_UTF8}{HALF}"));
    let game = json!({"update_id": 6, "callback_query": {"id": "g", "from": {"id": 9},
        "chat_instance": "1", "game_short_name": "g"}});
    api.queues.push([
        pressed(1, 7, NO_UTF8),
        text(2, 7, &format!("a{HALF}b")),
        json!({"update_id": "3", "message": {"chat": "x", "text": "unread"}}),
        named,
        json!({"update_id": 5, "message": {"chat": {"id": "8"}, "from": {"id": "8"}, "text": 12}}),
        game,
        text(7, 8, "hi"),
    ]);
    api.queues.push_vk([
        vk_event(1, 10, NO_UTF8),
        json!({"group_id": 1, "type": "message_new", "event_id": "e2", "object": {"message": 5}}),
        vk_event(3, 10, &format!("a{HALF}b")),
        json!({"group_id": 1, "type": 5, "event_id": "e4"}),
        vk_event(5, 10, "hi"),
    ]);
    until("all of Telegram's", SOON, || api.queues.kept() == 0).await;
    until("nine replies", SOON, || api.accepted() == 9).await;
    assert_eq!(
        api.received("7"),
        ["1: button \u{fffd}\u{fffd}", "2: a\u{fffd}b"]
    );
    assert_eq!(api.received("8"), ["1: hi", "2: 12", "3: hi"]);
    assert_eq!(api.received("9"), ["1: button g"]);
    assert_eq!(
        api.received("10"),
        ["1: \u{fffd}\u{fffd}", "2: a\u{fffd}b", "3: hi"]
    );
    // The game's button and the other do not wait on.
    until("two answers", SOON, || {
        let calls = api.queues.registrations();
        calls
            .iter()
            .filter(|call| call.method == "answerCallbackQuery")
            .count()
            == 2
    })
    .await;
    let setup = bot.stop().await;
    let letters = letters(&setup);
    let ids: Vec<_> = letters.iter().map(|(id, _)| id.as_str()).collect();
    assert!(
        matches!(ids[..], ["3", "e2", made_up] if made_up.starts_with("unreadable-")),
        "{ids:?}"
    );
    let shown = setup.tool(&["dead", "show", "telegram", "3"]);
    assert!(shown.stdout.contains("unread"), "its body: {shown:?}");
    assert!(
        shown
            .stdout
            .contains("it cannot be read: field `message.chat`"),
        "{shown:?}"
    );
    setup.assert_sound();
}

/// By webhook the same is answered 200, once and for all: the platform need not send it
/// for a day.
#[tokio::test]
async fn what_cannot_be_read_is_acknowledged_and_kept() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--admin", "127.0.0.1:0", "--workers", "2"]);
    let bot = api.configure(setup).start().await;
    let viber = |body: Bytes| -> Request<Full<Bytes>> {
        let signature = signature(VIBER_TOKEN, &body);
        let mut request = post("/viber", body);
        let value = signature.parse().expect("a header");
        request
            .headers_mut()
            .insert("x-viber-content-signature", value);
        request
    };
    let good =
        json!({"sender": {"id": 7}, "timestamp": "1", "message": {"mid": "m_1", "text": "hi"}});
    let bad =
        json!({"sender": {"id": 7}, "timestamp": 1, "message": {"mid": "m_2", "text": ["unread"]}});
    for _ in 0..2 {
        let update = json!({"update_id": 1, "message": {"chat": "x"}});
        told(&bot, post("/telegram", update.to_string()), "").await;
        let batch = json!({"object": "page", "entry": [{"messaging": [bad, good]}, "x"]});
        told(&bot, facebook(batch.to_string()), "").await;
        let event = json!({"type": "message_new", "event_id": "e1", "secret": VK_SECRET,
            "group_id": 1, "object": {"message": {"from_id": 7, "text": {}}}});
        told(&bot, post("/vk", event.to_string()), "ok").await;
        let event = json!({"event": "message", "message_token": 5, "sender": null, "message": {}});
        told(&bot, viber(event.to_string().into()), "").await;
    }
    until("the reply to what could be read", SOON, || {
        api.received("7") == ["1: hi"]
    })
    .await;
    // A client's bytes are no reason to keep anything.
    told(
        &bot,
        post("/telegram", clients_json(&pressed(2, 8, NO_UTF8))),
        r#"{"callback_query_id":"77","method":"answerCallbackQuery"}"#,
    )
    .await;
    let event = json!({"event": "message", "message_token": "6", "sender": {"id": "9"},
        "message": {"type": "text", "text": HALF}});
    told(&bot, viber(clients_json(&event)), "").await;
    until("their replies", SOON, || api.accepted() == 3).await;
    assert_eq!(api.received("8"), ["1: button \u{fffd}\u{fffd}"]);
    assert_eq!(api.received("9"), ["1: \u{fffd}"]);

    let found = letters(&bot.setup);
    assert_eq!(found.len(), 5, "{found:?}");
    let of = |id: &str| {
        found
            .iter()
            .find(|(found, _)| found == id)
            .map(|(_, letter)| letter)
    };
    for (id, channel) in [("1", "telegram"), ("e1", "vk"), ("5-message", "viber")] {
        let letter = of(id).unwrap_or_else(|| panic!("{id} in {found:?}"));
        assert_eq!(letter["channel"], channel);
        let error = letter["error"].as_str().expect("a reason");
        assert!(error.starts_with("it cannot be read: "), "{error}");
    }
    let facebooks: Vec<_> = found
        .iter()
        .filter(|(_, l)| l["channel"] == "facebook")
        .collect();
    assert!(
        facebooks.iter().any(|(_, letter)| letter["user_id"] == "7"),
        "{facebooks:?}"
    );
    let page = get(admin_port(&bot), "/status/dead").await.text();
    assert!(
        page.contains("unread") && page.contains("it cannot be read"),
        "{page}"
    );
    // Tried again it is no better, and is kept again.
    let retried = bot.setup.tool(&["dead", "retry", "vk", "e1"]);
    assert_eq!(retried.code, Some(0), "{retried:?}");
    until("it to be given up again", SOON, || {
        letters(&bot.setup).len() == 5
    })
    .await;
    bot.stop().await.assert_sound();
}

/// Many at once, each nearly as large as Telegram takes: an answer that was not read would
/// come again for ever.
#[tokio::test]
async fn a_large_answer_is_read() {
    let api = Api::start();
    let setup = Setup::commands()
        .without_port()
        .args(&["--telegram-api-url", &api.url()])
        .env("TURNKEY_TELEGRAM_TOKEN", TOKEN);
    let bot = setup.start().await;
    let filler = "x".repeat(450 << 10);
    let large = |id: u64| {
        let mut update = text(id, id, "hi");
        update["message"]["reply_to_message"] = json!({ "text": filler });
        update
    };
    // Above 16 MiB.
    api.queues.push((1..=40).map(large));
    until("an empty queue", SOON * 6, || api.queues.kept() == 0).await;
    let setup = bot.stop().await;
    assert_eq!(setup.sum(), 40);
}
