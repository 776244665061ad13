//! What the answers of Telegram's API mean.

use super::*;

fn of(status: u16, body: &Value) -> (&'static str, u64) {
    meaning(telegram::outcome(&answered(status, &body.to_string())))
}

fn refused(status: u16, description: &str) -> Result<Sent, SendError> {
    let body = json!({"ok": false, "error_code": status, "description": description});
    telegram::outcome(&answered(status, &body.to_string()))
}

#[test]
fn answers_of_telegrams_api_are_told_apart() {
    assert_eq!(of(200, &json!({"ok": true, "result": {}})), ("ok", 0));
    let flood = json!({"ok": false, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 35}});
    assert_eq!(of(429, &flood), ("chat", 35));
    let error = |status: u16| meaning(refused(status, "it fails"));
    // It knows no such bot, or is away: nothing of this reply.
    for status in [401, 404, 502, 503, 504] {
        assert_eq!(error(status), ("away", 0), "{status}");
    }
    assert_eq!(error(500), ("retry", 0));
    assert_eq!(error(413), ("refused", 0));
    assert_eq!(of(500, &json!("<html>")), ("away", 0));
    // Accepted: once more would be a second message.
    let deleted =
        "Internal Server Error: sent message was immediately deleted and can't be returned";
    assert_eq!(meaning(refused(500, deleted)), ("ok", 0));
    // An author's mistake, not a wrong token.
    assert_eq!(
        meaning(refused(404, "Not Found: method not found")),
        ("refused", 0)
    );
}

/// The server's own words, from its source.
#[test]
fn who_cannot_be_reached_is_told_from_what_cannot_be_said() {
    for (status, description) in [
        (403, "Forbidden: bot was blocked by the user"),
        (403, "Forbidden: user is deactivated"),
        (403, "Forbidden: bot was kicked from the supergroup chat"),
        (
            403,
            "Forbidden: bot can't initiate conversation with a user",
        ),
        (400, "Bad Request: chat not found"),
        (400, "Bad Request: have no write access to the chat"),
        (400, "Bad Request: CHAT_WRITE_FORBIDDEN"),
        (400, "Bad Request: PEER_ID_INVALID"),
    ] {
        let outcome = meaning(refused(status, description));
        assert_eq!(outcome, ("unreachable", 0), "{description}");
    }
    for description in [
        "Bad Request: message is too long",
        "Bad Request: not enough rights to send photos to the chat",
        "Bad Request: BUTTON_DATA_INVALID",
        "Bad Request: message thread not found",
    ] {
        let outcome = meaning(refused(400, description));
        assert_eq!(outcome, ("refused", 0), "{description}");
    }
}

#[test]
fn what_is_so_already_is_done_and_what_is_gone_is_told() {
    for done in [
        "Bad Request: message is not modified: specified new message content and reply markup are exactly the same as a current content and reply markup of the message",
        "Bad Request: query is too old and response timeout expired or query ID is invalid",
    ] {
        assert_eq!(refused(400, done).unwrap(), Sent::default(), "{done}");
    }
    for gone in [
        "Bad Request: message to edit not found",
        "Bad Request: message can't be edited",
        "Bad Request: message to delete not found",
        "Bad Request: MESSAGE_ID_INVALID",
    ] {
        assert_eq!(refused(400, gone).unwrap(), Sent::gone(gone));
    }
    assert_eq!(
        meaning(refused(
            400,
            "Bad Request: message can't be deleted for everyone"
        )),
        ("refused", 0)
    );
}

/// A message is known by its chat and its number: numbers begin anew in each supergroup.
#[test]
fn what_was_sent_has_a_name() {
    let sent = |result: Value| {
        let body = json!({"ok": true, "result": result});
        telegram::outcome(&answered(200, &body.to_string())).unwrap()
    };
    let message = json!({"message_id": 55, "date": 1, "chat": {"id": -1001, "type": "supergroup"}});
    assert_eq!(sent(message.clone()), Sent::message("-1001/55"));
    assert_eq!(
        sent(json!([message, {"message_id": 56}])),
        Sent::message("-1001/55")
    );
    // Of a copy nothing else is told.
    assert_eq!(sent(json!({"message_id": 7})), Sent::message("7"));
    for other in [
        json!(true),
        json!({}),
        json!([]),
        json!("x"),
        json!({"message_id": []}),
    ] {
        assert_eq!(sent(other), Sent::default());
    }
}
