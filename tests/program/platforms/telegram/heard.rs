//! Each kind of update is a turn, polled or posted, and nothing else is asked for.

use super::*;
use crate::harness::api::TOKEN;
use crate::harness::queues::Registration;
use crate::platforms::polling;

fn ann() -> Value {
    json!({"id": 7, "is_bot": false, "first_name": "Ann", "language_code": "de"})
}

/// One of each, with what is heard of it.
fn everything() -> Vec<(Value, Value)> {
    let message = |fields: Value| {
        let mut message = json!({"message_id": 5, "date": 1, "from": ann(),
            "chat": {"id": 7, "type": "private"}});
        for (name, value) in fields.as_object().expect("an object") {
            message[name] = value.clone();
        }
        message
    };
    let member = |status: &str| json!({"status": status, "user": {"id": 12345}});
    let heard = |kind: &str, event: &str| json!({"kind": kind, "event": event});
    vec![
        (
            json!({"message": message(json!({"voice": {"file_id": "v", "file_size": 9}, "caption": "x"}))}),
            json!({"kind": "message", "text": "x", "files": [{"type": "voice", "id": "v", "size": 9}]}),
        ),
        (
            json!({"message": message(json!({"dice": {"emoji": "🎲", "value": 1}}))}),
            heard("message", "message.dice"),
        ),
        (
            json!({"message": message(json!({"location": {"latitude": 1.5, "longitude": 2}}))}),
            json!({"kind": "message", "location": {"latitude": 1.5, "longitude": 2.0}}),
        ),
        (
            json!({"message": message(json!({"contact": {"phone_number": "+43", "first_name": "A"}}))}),
            json!({"kind": "message", "contact": {"phone": "+43", "name": "A"}}),
        ),
        (
            json!({"message": message(json!({"pinned_message": message(json!({"text": "x"}))}))}),
            heard("other", "message.pinned_message"),
        ),
        (
            json!({"edited_message": message(json!({"text": "new", "edit_date": 2}))}),
            json!({"kind": "edited", "event": "edited_message", "text": "new"}),
        ),
        (
            json!({"my_chat_member": {"chat": {"id": 7, "type": "private"}, "from": ann(), "date": 1,
                "old_chat_member": member("kicked"), "new_chat_member": member("member")}}),
            heard("joined", "my_chat_member"),
        ),
        (
            json!({"message_reaction": {"chat": {"id": 7, "type": "private"}, "user": ann(), "date": 1,
                "message_id": 9, "old_reaction": [], "new_reaction": [{"type": "emoji", "emoji": "👍"}]}}),
            json!({"kind": "reaction", "event": "message_reaction", "text": "👍", "message": "9"}),
        ),
        (
            json!({"chosen_inline_result": {"result_id": "1", "from": ann(), "query": "q"}}),
            json!({"kind": "inline", "event": "chosen_inline_result", "text": "q"}),
        ),
        (
            json!({"chat_join_request": {"chat": {"id": -5, "type": "supergroup", "title": "G"},
                "from": ann(), "user_chat_id": 7, "date": 1}}),
            heard("join_request", "chat_join_request"),
        ),
        (
            json!({"business_connection": {"id": "b", "user": ann(), "user_chat_id": 7, "date": 1, "is_enabled": true}}),
            heard("business", "business_connection"),
        ),
        (
            json!({"poll_answer": {"poll_id": "1", "user": ann(), "option_ids": [0]}}),
            heard("other", "poll_answer"),
        ),
        (
            json!({"telepathy": {"from": ann(), "thought": "?"}}),
            heard("other", "telepathy"),
        ),
    ]
}

fn is_heard(said: &str, expected: &Value) -> bool {
    let said: Value = serde_json::from_str(said).expect("what was heard");
    expected
        .as_object()
        .expect("an object")
        .iter()
        .all(|(name, value)| said[name] == *value)
}

fn numbered(number: usize, fields: &Value) -> Value {
    let mut update = fields.clone();
    update["update_id"] = json!(number + 1);
    update
}

#[tokio::test]
async fn whatever_is_posted_is_a_turn() {
    let api = Api::start();
    let bot = start(&api).await;
    for (number, (update, expected)) in everything().iter().enumerate() {
        let before = api.calls().len();
        let answer = tell(&bot, &numbered(number, update)).await;
        // What is said rides, or is called when too much has ridden.
        let said = match answer.text().as_str() {
            "" => {
                until("a reply", SOON, || api.calls().len() > before).await;
                api.calls().pop().expect("a call").text
            }
            _ => answer.json()["text"].as_str().expect("a text").to_owned(),
        };
        assert!(is_heard(&said, expected), "{said}\n{expected}");
    }
    bot.stop().await.assert_sound();
}

#[tokio::test]
async fn whatever_is_polled_is_a_turn() {
    let api = Api::start();
    let bot = polling::telegram(&api, Setup::anything()).start().await;
    let all = everything();
    let updates = all.iter().enumerate();
    api.queues
        .push(updates.map(|(number, (update, _))| numbered(number, update)));
    let said = || {
        let mut calls = api.calls();
        calls.retain(|call| call.method == "sendMessage");
        calls.into_iter().map(|call| call.text).collect::<Vec<_>>()
    };
    until("all replies", SOON, || said().len() >= all.len()).await;
    let said = said();
    // Each dialog in its order, and one is another's.
    for (_, expected) in &all {
        assert!(
            said.iter().any(|said| is_heard(said, expected)),
            "{expected}\n{said:#?}"
        );
    }
    bot.stop().await.assert_sound();
}

/// Telegram is asked for what is heard, and for nothing else.
#[tokio::test]
async fn what_is_heard_is_asked_for() {
    let api = Api::start();
    let bot = polling::telegram(&api, Setup::commands()).start().await;
    until("a question", SOON, || !api.queues.asks().is_empty()).await;
    let usual = json!([
        "message",
        "channel_post",
        "business_message",
        "callback_query",
        "my_chat_member"
    ]);
    assert_eq!(api.queues.asks()[0].kinds, usual);
    bot.stop().await;
    let api = Api::start();
    let setup = Setup::anything().args(&["--public-url", "https://bot.test"]);
    let setup = setup.args(&["--telegram-api-url", &api.url()]);
    let bot = setup.env("TURNKEY_TELEGRAM_TOKEN", TOKEN).start().await;
    bot.wait_for_stderr("Telegram posts to https://bot.test/")
        .await;
    let told = api.queues.registrations();
    let is_webhook = |call: &&Registration| call.method == "setWebhook";
    let webhook = told.iter().find(is_webhook).expect("a webhook");
    let kinds = webhook.fields["allowed_updates"].as_array().expect("kinds");
    assert_eq!(kinds.len(), 27, "{kinds:?}");
    bot.stop().await;
}

/// Kinds that nobody wants to hear are answered and counted, and no dialog has them.
#[tokio::test]
async fn what_nobody_hears_is_counted() {
    let api = Api::start();
    let setup = Setup::commands().args(&["--admin", "127.0.0.1:0"]);
    let bot = api.configure(setup).start().await;
    let reaction = json!({"update_id": 1, "message_reaction": {"chat": {"id": 7, "type": "private"},
        "user": ann(), "date": 1, "message_id": 9, "old_reaction": [], "new_reaction": []}});
    assert_eq!(tell(&bot, &reaction).await.text(), "");
    let port = crate::operators::admin::admin_port(&bot);
    let figures = crate::operators::admin::get(port, "/metrics").await.text();
    assert!(
        figures
            .lines()
            .any(|line| line.contains("reaction") && line.ends_with(" 1")),
        "{figures}"
    );
    let setup = bot.stop().await;
    assert!(setup.dump(&[]).is_empty());
}

/// A user who blocked the bot is told of as somebody who left, when a reply finds out.
#[tokio::test]
async fn who_cannot_be_reached_has_left() {
    let api = Api::start();
    let bot = start(&api).await;
    api.be("7", &[crate::harness::api::Mood::Blocked]);
    tell(&bot, &asked(1, 7, &json!([{"text": "a"}, {"text": "b"}]))).await;
    let calls = calls(&api, 3).await;
    let said = calls.iter().map(|call| call.text.as_str());
    let left = said
        .filter(|text| text.contains(r#""kind":"left""#))
        .count();
    assert_eq!(left, 1, "{calls:?}");
    bot.stop().await.assert_sound();
}
