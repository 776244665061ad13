//! Telegram: what its API answers, what its updates hold.

use serde_json::{Value, json};

use super::super::telegram;
use super::*;

#[test]
fn answers_of_telegrams_api_are_told_apart() {
    let of = |status, body: Value| meaning(telegram::outcome(&answered(status, &body.to_string())));
    assert_eq!(of(200, json!({"ok": true, "result": {}})), ("ok", 0));
    let blocked = json!({"ok": false, "error_code": 403, "description": "Forbidden: bot was blocked by the user"});
    assert_eq!(of(403, blocked), ("refused", 0));
    let flood = json!({"ok": false, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 35}});
    assert_eq!(of(429, flood), ("chat", 35));
    let error = |status: u16| of(status, json!({"ok": false, "description": "it fails"}));
    // It knows no such bot, or is away: nothing of this reply.
    for status in [401, 404, 502, 503, 504] {
        assert_eq!(error(status), ("away", 0), "{status}");
    }
    assert_eq!(error(500), ("retry", 0));
    assert_eq!(of(500, json!("<html>")), ("away", 0));
    // Accepted: once more would be a second message.
    let deleted = json!({"ok": false, "error_code": 500, "description":
        "Internal Server Error: sent message was immediately deleted and can't be returned"});
    assert_eq!(of(500, deleted), ("ok", 0));
}

fn one(body: &Value) -> Update {
    let mut found = updates("telegram", &body.to_string());
    assert_eq!(found.len(), 1, "{body}");
    found.remove(0)
}

fn message(fields: &Value) -> Value {
    let mut message = json!({"message_id": 5, "date": 1, "text": "hi",
        "from": {"id": 600, "is_bot": false, "first_name": "A"},
        "chat": {"id": -1_000_000_000_503_i64, "type": "supergroup", "title": "S", "is_forum": true}});
    for (name, value) in fields.as_object().unwrap() {
        message[name] = value.clone();
    }
    message
}

fn said(fields: &Value) -> Update {
    one(&json!({"update_id": 1, "message": message(fields)}))
}

fn pressed(fields: &Value) -> Update {
    one(
        &json!({"update_id": 1, "callback_query": {"id": "q", "from": {"id": 600}, "data": "x",
        "chat_instance": "1", "message": message(fields)}}),
    )
}

/// A reply goes where the message was, and is no reply to a message for being in a topic.
#[test]
fn replies_stay_in_their_place() {
    for (fields, within) in [
        (
            json!({"message_thread_id": 42, "is_topic_message": true}),
            r#"{"message_thread_id":42}"#,
        ),
        // The thread of a reply in a group without topics.
        (json!({"message_thread_id": 42}), ""),
        // "General", which cannot be named.
        (
            json!({"message_thread_id": 1, "is_topic_message": true}),
            "",
        ),
        (
            json!({"direct_messages_topic": {"topic_id": 9_876_543_210_i64, "user": {"id": 600}}}),
            r#"{"direct_messages_topic_id":9876543210}"#,
        ),
        (
            json!({"business_connection_id": "b/1", "message_thread_id": "7", "is_topic_message": true}),
            r#"{"message_thread_id":7,"business_connection_id":"b/1"}"#,
        ),
        (json!({}), ""),
    ] {
        for update in [said(&fields), pressed(&fields)] {
            assert_eq!(update.within, within, "{fields}");
            assert_eq!(update.address, "-1000000000503");
            let plan = channel("telegram")
                .plan(&update, &["a".into(), "b".into()])
                .unwrap();
            assert_eq!(plan.send.len(), 2);
        }
    }
    // Also where it rides in the answer.
    let mut update = said(&json!({"message_thread_id": 42, "is_topic_message": true}));
    update.address = "-4242".to_owned();
    let plan = channel("telegram").plan(&update, &["hi".into()]).unwrap();
    let call: Value = serde_json::from_slice(&plan.answer).unwrap();
    assert_eq!(
        call,
        json!({"method": "sendMessage", "chat_id": "-4242", "message_thread_id": 42, "text": "hi"})
    );
}

/// Accounts that all chats share are nobody: who speaks is the chat.
#[test]
fn who_speaks_in_a_chats_name_is_the_chat() {
    for account in [1_087_968_824_i64, 136_817_688, 777_000] {
        for chat in [-1001, -1002] {
            let fields = json!({"from": {"id": account, "is_bot": true},
                "chat": {"id": chat, "type": "supergroup"}, "sender_chat": {"id": chat}});
            assert_eq!(said(&fields).dialog.user_id, chat.to_string());
            let nameless = json!({"from": {"id": account}, "chat": {"id": chat}});
            assert_eq!(said(&nameless).dialog.user_id, chat.to_string());
        }
    }
    // A channel that writes in a group.
    let other = json!({"from": {"id": 136_817_688}, "sender_chat": {"id": -1009}});
    let update = said(&other);
    assert_eq!(
        (update.dialog.user_id.as_str(), update.address.as_str()),
        ("-1009", "-1000000000503")
    );
    assert_eq!(said(&json!({})).dialog.user_id, "600");
}

#[test]
fn edits_are_of_a_kind_of_their_own() {
    for kind in ["edited_message", "edited_channel_post"] {
        let update = one(&json!({"update_id": 1, kind: message(&json!({"edit_date": 2}))}));
        assert_eq!((update.kind, update.text.as_str()), (Kind::Edited, "hi"));
    }
    assert_eq!(said(&json!({})).kind, Kind::Message);
}

/// In a business account's chats: what the customer says, not what the owner does.
#[test]
fn a_business_chat_is_its_customers() {
    let of = |from: i64, kind: &str| {
        let fields = json!({"from": {"id": from}, "chat": {"id": 600, "type": "private"},
            "business_connection_id": "b"});
        updates(
            "telegram",
            &json!({"update_id": 1, kind: message(&fields)}).to_string(),
        )
    };
    let update = of(600, "business_message").remove(0);
    assert_eq!(
        (update.kind, update.address.as_str()),
        (Kind::Message, "600")
    );
    assert_eq!(update.within, r#"{"business_connection_id":"b"}"#);
    assert_eq!(of(600, "edited_business_message")[0].kind, Kind::Edited);
    for kind in ["business_message", "edited_business_message"] {
        assert!(of(1, kind).is_empty(), "{kind}");
    }
}

#[test]
fn a_games_button_is_answered() {
    let game = json!({"update_id": 9, "callback_query": {"id": "1", "from": {"id": 600},
        "chat_instance": "1", "game_short_name": "g",
        "message": {"message_id": 1, "date": 1, "chat": {"id": 600, "type": "private"}}}});
    let received = receive(channel("telegram").as_ref(), game.to_string().as_bytes());
    let Ok(Received::Answer(answer)) = received else {
        panic!("{received:?}");
    };
    let call: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        call,
        json!({"method": "answerCallbackQuery", "callback_query_id": "1"})
    );
    // Also one that cannot be read.
    let broken =
        one(&json!({"update_id": 9, "callback_query": {"id": 5, "from": null, "data": []}}));
    assert_eq!(broken.kind, Kind::Unreadable);
    assert!(!channel("telegram").accepted(&broken).is_empty());
}
