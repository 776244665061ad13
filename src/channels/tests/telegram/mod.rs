//! Telegram: what its updates hold, what we call, what its answers mean.

mod answers;
mod calls;
mod events;
mod judged;
mod messages;
mod plans;

use serde_json::{Value, json};

use super::super::telegram;
use super::*;

fn telegram_with(token: Option<&str>, polls: bool) -> Box<dyn Channel> {
    static WORDS: [AtomicU64; WORDS_OF_ALL] = [const { AtomicU64::new(0) }; WORDS_OF_ALL];
    let config = TelegramConfig {
        token: token.map(Into::into),
        secret: Some(SECRET.into()),
        api_url: "http://localhost:1".to_owned(),
        // Tests run beside each other.
        rate: 1_000_000,
        polls,
        delete_webhook: false,
        registers: false,
        proxies: Proxies::default(),
    };
    Box::new(telegram::Telegram::new(&config, Pacer::new(&WORDS).channel(0)).unwrap())
}

/// A bot whose token says its id.
fn telegram_bot() -> Box<dyn Channel> {
    telegram_with(Some("12345:secret"), false)
}

fn polling() -> Box<dyn Channel> {
    telegram_with(Some("12345:secret"), true)
}

fn tokenless() -> Box<dyn Channel> {
    telegram_with(None, false)
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
    let plan = telegram_bot().plan(&update, &["hi".into()]).unwrap();
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
